"""The regression against an explicit solution of its optimality conditions, and against markets without noise."""

import numpy as np
import pytest

from fpm.risk.factor_returns import INDUSTRY, cross_section, exposures, factor_names, pure_portfolios, standard_score
from tests.fpm.risk.market import INDUSTRIES, known_market


@pytest.fixture(scope="module")
def market():
    return known_market(400, 90, seed=4)


def optimality(market, return_N):
    """Factor returns of min Σ √cap (r - Xf)² subject to Σ cap f_industry = 0, by the full system of conditions."""
    x, weight, size = market.exposure_NK, np.sqrt(market.cap_N), len(market.factors)
    constraint = np.zeros(size)
    for k, name in enumerate(market.factors):
        if name.startswith(INDUSTRY):
            constraint[k] = market.cap_N @ x[:, k]
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = 2 * x.T @ (x * weight[:, None])
    system[:size, size] = system[size, :size] = constraint
    return np.linalg.solve(system, np.append(2 * x.T @ (weight * return_N), 0))[:size]


def test_equals_the_optimality_conditions(market):
    for return_N in market.return_TN[:5]:
        found = cross_section(return_N, market.exposure_NK, market.cap_N, market.factors)
        np.testing.assert_allclose(found.return_K, optimality(market, return_N), atol=1e-12)
        np.testing.assert_allclose(found.residual_N, return_N - market.exposure_NK @ found.return_K, atol=1e-12)


def test_industry_returns_weighted_by_size_sum_to_zero(market):
    found = cross_section(market.return_TN[0], market.exposure_NK, market.cap_N, market.factors)
    assert abs(market.cap_N @ market.exposure_NK[:, 1:4] @ found.return_K[1:4]) < 1e-12


def test_leverage_is_the_hat_matrix_diagonal(market):
    found = cross_section(market.return_TN[0], market.exposure_NK, market.cap_N, market.factors)
    root = np.sqrt(np.sqrt(market.cap_N))[:, None]
    basis = np.linalg.qr(np.delete(market.exposure_NK, 1, axis=1) * root)[0]  # the same space, of full rank
    np.testing.assert_allclose(found.leverage_N, np.square(basis).sum(axis=1), atol=1e-10)


def test_the_noise_is_the_variance_of_the_estimation_errors():
    market = known_market(3000, 90, seed=5)
    noise, errors = [], []
    true_TN = market.return_TN
    for return_N in true_TN[:1500]:
        found = cross_section(return_N, market.exposure_NK, market.cap_N, market.factors)
        noise.append(found.noise_K)
    # specific returns alone: what the regression makes of them is error
    random = np.random.default_rng(6)
    for _ in range(3000):
        own_N = random.standard_normal(90) * np.sqrt(market.specific_N)
        errors.append(optimality(market, own_N))
    np.testing.assert_allclose(np.mean(noise, axis=0), np.var(errors, axis=0), rtol=0.1)


def test_pure_portfolios_have_their_factor_and_no_other(market):
    pure_KN = pure_portfolios(market.exposure_NK, market.cap_N, market.factors)
    styles = slice(4, None)
    np.testing.assert_allclose((pure_KN @ market.exposure_NK)[styles, styles], np.eye(7), atol=1e-10)
    np.testing.assert_allclose((pure_KN @ market.exposure_NK)[styles, :4], 0, atol=1e-10)


def test_what_is_missing_is_left_out(market):
    return_N = market.return_TN[0].copy()
    return_N[3], cap_N = np.nan, market.cap_N.copy()
    cap_N[4] = np.nan
    found = cross_section(return_N, market.exposure_NK, cap_N, market.factors, np.arange(90) != 5)
    kept = [n for n in range(90) if n not in (3, 4, 5)]
    own = cross_section(return_N[kept], market.exposure_NK[kept], market.cap_N[kept], market.factors)
    np.testing.assert_allclose(found.return_K, own.return_K, atol=1e-12)
    assert np.isnan(found.residual_N[3]) and np.isfinite(found.residual_N[[4, 5]]).all()
    assert not found.leverage_N[[3, 4, 5]].any()


def test_an_industry_of_one_name_says_nothing_of_the_name(market):
    exposure_NK = market.exposure_NK.copy()
    exposure_NK[:, 2], exposure_NK[:, 1] = 0.0, exposure_NK[:, 1] + exposure_NK[:, 2]
    exposure_NK[0, 1:4] = (0, 1, 0)
    found = cross_section(market.return_TN[0], exposure_NK, market.cap_N, market.factors)
    assert np.isnan(found.residual_N[0]) and np.isfinite(found.return_K).all()


def test_a_factor_that_no_name_has_is_unknown(market):
    exposure_NK = market.exposure_NK.copy()
    exposure_NK[:, 1], exposure_NK[:, 2] = exposure_NK[:, 1] + exposure_NK[:, 2], 0.0
    exposure_NK[:, -1] = 0.0
    found = cross_section(market.return_TN[0], exposure_NK, market.cap_N, market.factors)
    assert (
        np.isnan(found.return_K[[2, -1]]).all()
        and np.isfinite(np.delete(found.return_K, [2, len(market.factors) - 1])).all()
    )


def test_a_session_without_returns(market):
    found = cross_section(np.full(90, np.nan), market.exposure_NK, market.cap_N, market.factors)
    assert np.isnan(found.return_K).all() and np.isnan(found.residual_N).all()


def test_exposures_of_two_names():
    found = exposures(np.arange(12.0).reshape(2, 6), np.array([2, 0]), INDUSTRIES, np.array([1.0, np.nan]))
    np.testing.assert_array_equal(found[:, :4], [[1, 0, 0, 1], [1, 1, 0, 0]])
    assert len(factor_names(INDUSTRIES, score=True)) == found.shape[1]


def test_the_score_as_an_exposure():
    found_N = standard_score(np.array([1.0, 2.0, 3.0, np.inf, np.nan, 2.0]))
    np.testing.assert_allclose(found_N, [-np.sqrt(2), 0, np.sqrt(2), 0, 0, 0])
    assert not standard_score(np.full(3, np.nan)).any() and not standard_score(np.ones(3)).any()
