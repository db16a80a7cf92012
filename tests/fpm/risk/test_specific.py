"""Specific variances against numbers by hand and against residuals whose variance is known."""

import numpy as np
import pandas as pd
import pytest

from fpm.risk.factor_returns import cross_section
from fpm.risk.specific import BAND, corrected_residuals, shrunk, specific_variance, structural
from tests.fpm.risk.market import known_market

TRAITS = np.zeros((3, 2))


def test_own_variance_is_the_weighted_mean_square():
    residual_TN = 0.02 * np.random.default_rng(0).standard_normal((100, 3))
    expected_N = pd.DataFrame(residual_TN**2).ewm(halflife=20).mean().iloc[-1]
    np.testing.assert_allclose(specific_variance(residual_TN, TRAITS, 20, (10, 63), 0.02), expected_N)


def test_leverage_correction_by_hand():
    found_TN = corrected_residuals(np.array([[0.01, 0.01, np.nan]]), np.array([[0.0, 0.75, 0.5]]))
    np.testing.assert_allclose(found_TN, [[0.01, 0.02, np.nan]])


def test_leverage_correction_brings_back_the_variance_that_the_regression_took():
    market = known_market(1500, 40, seed=1)
    results = [cross_section(r_N, market.exposure_NK, market.cap_N, market.factors) for r_N in market.return_TN]
    residual_TN = np.array([result.residual_N for result in results])
    leverage_TN = np.array([result.leverage_N for result in results])
    plain = np.mean(np.square(residual_TN), axis=0) / market.specific_N
    corrected = np.mean(np.square(corrected_residuals(residual_TN, leverage_TN)), axis=0) / market.specific_N
    assert np.mean(plain) < 0.8 and np.mean(corrected) == pytest.approx(1, abs=0.03)


def test_new_names_have_the_variance_that_their_traits_say():
    random = np.random.default_rng(2)
    trait_NS = random.standard_normal((200, 2))
    deviation_N = 0.02 * np.exp(-0.3 * trait_NS[:, 0] + 0.2 * trait_NS[:, 1])
    residual_TN = random.standard_normal((400, 200)) * deviation_N
    residual_TN[:, :20] = np.nan  # never seen
    residual_TN[:-36, 20:40] = np.nan  # half-way between 10 and 63
    found_N = specific_variance(residual_TN, trait_NS, 1e9, (10, 62), 0.5)
    np.testing.assert_allclose(np.sqrt(found_N[:20]), deviation_N[:20], rtol=0.05)
    own_N = np.mean(np.square(residual_TN[-36:, 20:40]), axis=0)
    np.testing.assert_allclose(found_N[20:40], (own_N + np.square(deviation_N[20:40])) / 2, rtol=0.1)


def test_structural_deviations_stay_in_a_band_and_have_fallbacks():
    trait_NS = np.vstack([np.random.default_rng(3).standard_normal((50, 2)), [[40.0, 0.0]]])
    deviation_N = np.append(0.02 * np.exp(0.5 * trait_NS[:50, 0]), np.nan)
    median = np.median(deviation_N[:50])
    assert structural(deviation_N, trait_NS, 0.5)[50] == pytest.approx(BAND[1] * median)
    few_N = np.array([0.01, 0.03, np.nan])
    np.testing.assert_allclose(structural(few_N, TRAITS, 0.5), 0.02)
    np.testing.assert_allclose(structural(np.full(3, np.nan), TRAITS, 0.5), 0.5)


@pytest.mark.parametrize("sessions", [0, 1, 4, 12])
def test_any_history_gives_finite_positive_variances(sessions):
    residual_TN = 0.01 * np.random.default_rng(4).standard_normal((sessions, 3))
    residual_TN[:, 1] = np.nan
    found_N = specific_variance(residual_TN, TRAITS, 84, (3, 8), 0.02)
    assert np.isfinite(found_N).all() and (found_N > 0).all()
    assert np.sqrt(found_N[1]) == pytest.approx(0.02) or sessions > 3


def test_shrinkage_pulls_extremes_most_and_keeps_the_mean_variance():
    variance_N = np.square(np.array([0.01, 0.02, 0.03, 0.09]))
    cap_N = np.array([1.0, 1.0, 1.0, 1.0])
    found_N = shrunk(np.tile(variance_N, 10), np.repeat(np.arange(1.0, 11), 4), 0.5)
    for group in found_N.reshape(10, 4):
        assert group.mean() == pytest.approx(variance_N.mean())
        assert group[3] < variance_N[3] and group[0] > variance_N[0]
    np.testing.assert_array_equal(shrunk(variance_N, 0 * cap_N, 0.5), variance_N)
