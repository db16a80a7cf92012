"""Covariance against its N x N definition, and size exposure by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fpm.portfolio.risk import RiskConfig, covariance, shrinkage, size_exposure

SMALL = RiskConfig(minimum=5)


def slow_shrinkage(x_TN):
    """Ledoit and Wolf (2004), section 3.3, written with N x N matrices and loops."""
    sessions, symbols = x_TN.shape
    sample = x_TN.T @ x_TN / sessions
    target = np.trace(sample) / symbols * np.eye(symbols)
    distance = ((sample - target) ** 2).sum()
    noise = sum(((np.outer(row, row) - sample) ** 2).sum() for row in x_TN) / sessions**2
    return min(noise, distance) / distance


def returns(sessions, symbols, seed=1):
    generator = np.random.default_rng(seed)
    market = generator.normal(0, 0.01, (sessions, 1)) * generator.uniform(0.5, 1.5, symbols)
    return market + generator.normal(0, 0.02, (sessions, symbols)) * generator.uniform(0.5, 2, symbols)


@pytest.mark.parametrize(("sessions", "symbols"), [(60, 8), (20, 50)])
def test_shrinkage_equals_its_definition(sessions, symbols):
    x_TN = returns(sessions, symbols)
    x_TN -= x_TN.mean(axis=0)
    assert shrinkage(x_TN) == pytest.approx(slow_shrinkage(x_TN), rel=1e-10)


def test_covariance_keeps_volatilities_and_shrinks_correlations():
    x_TN = returns(80, 12)
    risk = covariance(x_TN, SMALL)
    covariance_NN = risk.factor_TN.T @ risk.factor_TN + np.diag(risk.specific_N)
    centred = x_TN - x_TN.mean(axis=0)
    weight = slow_shrinkage(centred / centred.std(axis=0))
    sample = np.cov(x_TN.T, ddof=0)
    assert np.diag(covariance_NN) == pytest.approx(np.diag(sample))
    off = ~np.eye(12, dtype=bool)
    assert covariance_NN[off] == pytest.approx((1 - weight) * sample[off])
    active = np.random.default_rng(2).normal(size=12)
    assert risk.variance(active) == pytest.approx(active @ covariance_NN @ active)


def test_missing_returns_leave_the_others_alone():
    x_TN = returns(60, 6)
    x_TN[10:20, 2] = np.nan
    x_TN[:-2, 4] = np.nan  # two returns are no volatility
    risk = covariance(x_TN, SMALL)
    total_N = np.square(risk.factor_TN).sum(axis=0) + risk.specific_N
    assert total_N[2] == pytest.approx(np.nanvar(x_TN[:, 2]))
    assert np.sqrt(total_N[4]) == pytest.approx(np.median([np.nanstd(x_TN[:, i]) for i in (0, 1, 2, 3, 5)]))
    assert not risk.factor_TN[:, 4].any()


def test_without_any_history_every_name_has_the_stated_volatility():
    risk = covariance(np.full((0, 3), np.nan), SMALL)
    assert risk.specific_N == pytest.approx([SMALL.unknown**2] * 3)


def test_size_exposure_is_zero_at_the_benchmark_and_where_size_is_unknown():
    size_N, benchmark_N = np.array([1.0, 2.0, 3.0, np.nan]), np.array([0.5, 0.25, 0.25, 0.0])
    exposure_N = size_exposure(size_N, benchmark_N)
    z = np.array([-1.0, 0.0, 1.0]) * np.sqrt(1.5)  # population deviation of 1 2 3 is sqrt(2/3)
    assert exposure_N == pytest.approx([*(z + 0.25 * np.sqrt(1.5)), 0.0])
    assert float(exposure_N[:3] @ benchmark_N[:3]) == pytest.approx(0.0)
