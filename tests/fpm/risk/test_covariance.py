"""Exponential weights against pandas and numbers by hand; each step against a slow form of its formula."""

import numpy as np
import pandas as pd
import pytest

from fpm.risk.covariance import (
    FLOOR,
    eigenfactor_adjusted,
    ewma_correlation,
    ewma_mean,
    factor_covariance,
    newey_west,
    regime_multiplier,
    serial_ratio,
    surprise,
)
from tests.fpm.risk.market import known_market


def returns(sessions=200, factors=4, seed=0):
    return 0.01 * np.random.default_rng(seed).standard_normal((sessions, factors))


def test_weighted_mean_by_hand():
    x_TN = np.array([[1.0, np.nan], [2.0, np.nan], [4.0, np.nan]])
    found_N = ewma_mean(x_TN, 1)  # weights 1/4, 1/2, 1
    assert found_N[0] == pytest.approx((0.25 + 1 + 4) / 1.75) and np.isnan(found_N[1])


def test_weighted_mean_of_pandas_with_gaps():
    x_TN = returns()
    x_TN[np.random.default_rng(1).random(x_TN.shape) < 0.2] = np.nan
    expected = pd.DataFrame(x_TN).ewm(halflife=30, ignore_na=False).mean().iloc[-1]
    np.testing.assert_allclose(ewma_mean(x_TN, 30), expected, rtol=1e-12)


def test_covariance_of_pandas_without_a_mean():
    x_TK = returns()
    found_KK = factor_covariance(x_TK, None, (40, 40))
    for k in range(4):
        for j in range(4):
            expected = pd.Series(x_TK[:, k] * x_TK[:, j]).ewm(halflife=40).mean().iloc[-1]
            assert found_KK[k, j] == pytest.approx(expected, rel=1e-10)


def test_half_lives_of_volatility_and_correlation_are_apart():
    x_TK = returns(seed=2)
    both_KK, fast_KK = factor_covariance(x_TK, None, (10, 90)), factor_covariance(x_TK, None, (10, 10))
    np.testing.assert_allclose(np.diag(both_KK), np.diag(fast_KK))
    deviation_K = np.sqrt(np.diag(both_KK))
    np.testing.assert_allclose(both_KK / np.outer(deviation_K, deviation_K), ewma_correlation(x_TK, 90), atol=1e-12)


def test_newey_west_of_a_slow_loop_and_of_serial_correlation():
    x_TK, half_life, lags = returns(60, 3, 3), 20, 2
    weight_T = np.array([0.5 ** ((59 - t) / half_life) for t in range(60)])
    expected_KK = np.zeros((3, 3))
    for t in range(60):
        for lag in range(lags + 1):
            if t < lag:
                continue
            product_KK = np.outer(x_TK[t], x_TK[t - lag]) * np.sqrt(weight_T[t] * weight_T[t - lag]) / weight_T.sum()
            expected_KK += product_KK if lag == 0 else (1 - lag / 3) * (product_KK + product_KK.T)
    np.testing.assert_allclose(newey_west(x_TK, half_life, lags), expected_KK, rtol=1e-10)
    assert np.linalg.eigvalsh(newey_west(x_TK, half_life, lags)).min() >= 0
    lasting_T = np.convolve(np.random.default_rng(4).standard_normal(4001), [1, 1], "valid")[:, None]
    daily = newey_west(lasting_T, 1e9, 0)[0, 0]
    assert newey_west(lasting_T, 1e9, 20)[0, 0] / daily == pytest.approx(2, abs=0.2)  # (1 + 1)² over 1² + 1²


def test_noise_comes_off_the_variances_down_to_a_floor():
    x_TK = returns()
    noise_TK = np.full(x_TK.shape, 2e-5)
    noise_TK[:, 3] = 1.0
    plain_K = np.diag(factor_covariance(x_TK, None, (84, 252)))
    found_K = np.diag(factor_covariance(x_TK, noise_TK, (84, 252)))
    np.testing.assert_allclose(found_K[:3], plain_K[:3] - 2e-5)
    assert found_K[3] == pytest.approx(FLOOR * plain_K[3])


def test_a_factor_without_returns_is_unknown_and_gaps_lead_towards_no_correlation():
    x_TK = returns()
    x_TK[:, 1] = x_TK[:, 0]
    x_TK[::2, 1], x_TK[:, 3] = np.nan, np.nan
    found_KK = factor_covariance(x_TK, None, (84, 84))
    assert np.isnan(np.diag(found_KK)).tolist() == [False, False, False, True]
    known_KK = found_KK[:3, :3]
    assert 0.5 < known_KK[0, 1] / np.sqrt(known_KK[0, 0] * known_KK[1, 1]) < 0.9
    assert np.linalg.eigvalsh(known_KK).min() > 0


def test_eigenfactors_of_a_sample_get_their_true_variance():
    true_K = np.geomspace(1, 0.01, 12)
    random, before, after = np.random.default_rng(5), [], []
    for draw in range(30):
        sample_TK = random.standard_normal((60, 12)) * np.sqrt(true_K)
        estimate_KK = sample_TK.T @ sample_TK / 60
        adjusted_KK = eigenfactor_adjusted(estimate_KK, 1e9, 60, 100, draw, scale=1.0)
        vector_K = np.linalg.eigh(estimate_KK)[1][:, 0]  # the least risky one is understated most
        truth = vector_K @ np.diag(true_K) @ vector_K
        before.append(vector_K @ estimate_KK @ vector_K / truth)
        after.append(vector_K @ adjusted_KK @ vector_K / truth)
    assert np.mean(before) < 0.75 and abs(np.mean(after) - 1) < abs(np.mean(before) - 1) / 2


def test_surprise_of_a_slow_loop():
    x_TN = returns(40, 3, 6)
    x_TN[5, 1] = np.nan
    typical_N = [pd.Series(x_TN[:, n] ** 2).ewm(halflife=8).mean().iloc[-1] for n in range(3)]
    predicted_TN = pd.DataFrame(x_TN**2).ewm(halflife=8).mean().shift(1).to_numpy()
    found_T = surprise(x_TN, 8, 2)
    assert np.isnan(found_T[:2]).all()
    for t in range(2, 40):
        known = [n for n in range(3) if np.isfinite(x_TN[t, n])]
        expected = sum(x_TN[t, n] ** 2 / typical_N[n] for n in known)
        assert found_T[t] == pytest.approx(expected / sum(predicted_TN[t, n] / typical_N[n] for n in known), rel=1e-9)


def test_the_regime_of_a_calm_market_that_wakes_up():
    random = np.random.default_rng(7)
    scale_T1 = np.where(np.arange(300) < 270, 1.0, 3.0)[:, None]
    x_TN = random.standard_normal((300, 200)) * scale_T1
    jump_T = surprise(x_TN, 84, 20)
    assert jump_T[20:270].mean() == pytest.approx(1, abs=0.05)
    assert regime_multiplier(jump_T, 10) > 3
    assert regime_multiplier(np.full(5, np.nan), 10) == 1


def test_estimates_of_a_known_market_converge():
    market = known_market(1)
    root_KK = np.linalg.cholesky(market.covariance_KK + 1e-12 * np.eye(11))
    sample_TK = np.random.default_rng(8).standard_normal((40_000, 11)) @ root_KK.T
    found_KK = factor_covariance(sample_TK, None, (1e9, 1e9))
    scale_K = np.sqrt(np.diag(market.covariance_KK))
    np.testing.assert_allclose(
        found_KK / np.outer(scale_K, scale_K), market.covariance_KK / np.outer(scale_K, scale_K), atol=0.03
    )


def test_the_serial_ratio_is_that_of_an_autoregression():
    """AR(1) of coefficient 0.1: the variance of five sessions is 5 + 2 Σ (5 - l) 0.1^l times that of one, over five."""
    random = np.random.default_rng(3)
    x_TN = random.standard_normal((2000, 60)) * np.linspace(0.5, 3, 60)
    for t in range(1, len(x_TN)):
        x_TN[t] += 0.1 * x_TN[t - 1]
    expected = 1 + 2 * sum((1 - lag / 5) * 0.1**lag for lag in range(1, 5))
    x_TN[random.random(x_TN.shape) < 0.05] = np.nan
    assert serial_ratio(x_TN, 1e6, 5) == pytest.approx(expected, abs=0.01)
    assert serial_ratio(x_TN, 1e6, 1) == 1.0
    assert serial_ratio(x_TN[:1], 84, 5) == 1.0 and serial_ratio(np.full((9, 2), np.nan), 84, 5) == 1.0
    assert serial_ratio(-x_TN * np.where(np.arange(2000) % 2, 1, -1)[:, None], 1e6, 5) == 1.0  # returns that come back
