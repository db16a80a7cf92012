"""Prices that a style bends: what a random walk keeps, by its own moments."""

from __future__ import annotations

import numpy as np
import pytest

from fpm.exchange.bends import BRIDGE_CC, bent_path, extremes, keep_extremes, trends, waves
from fpm.exchange.prices import CONTINUOUS, ROWS, VOLUME_C

RNG = np.random.default_rng(8)
LENGTH = CONTINUOUS.stop - CONTINUOUS.start


@pytest.mark.parametrize("share", [-0.5, 0.0, 0.5])
def test_trends_have_their_autocorrelation_and_the_walks_long_run_variance(share: float) -> None:
    steps_ST = RNG.normal(size=(3_000, ROWS))
    trended_SC = trends(steps_ST, np.full(steps_ST.shape, share))[:, CONTINUOUS][:, 30:]
    measured = (trended_SC[:, 1:] * trended_SC[:, :-1]).mean() / np.square(trended_SC).mean()
    assert measured == pytest.approx(share, abs=0.01)
    apart_S = trended_SC.sum(axis=1) - steps_ST[:, CONTINUOUS][:, 30:].sum(axis=1)
    assert apart_S.std() < 0.15 * np.sqrt(LENGTH - 30), "the path ends where it would without the trend"


def test_a_bent_path_meets_the_plain_one_at_both_calls() -> None:
    path_ST, step_ST = np.cumsum(RNG.normal(size=(20, ROWS)), axis=1), RNG.normal(size=(20, ROWS))
    path_ST[:, CONTINUOUS.stop :] = path_ST[:, [CONTINUOUS.stop - 1]]
    bent_ST = bent_path(path_ST, step_ST, np.zeros((20, LENGTH)))
    outside = [*range(CONTINUOUS.start), *range(CONTINUOUS.stop - 1, ROWS)]
    assert np.allclose(bent_ST[:, outside], path_ST[:, outside])
    assert not np.allclose(bent_ST, path_ST)


def test_a_wave_is_zero_at_high_and_low_and_over_the_days_volume() -> None:
    pattern_SC = RNG.normal(size=(50, 1)) * np.sin(np.linspace(0, 3 * np.pi, LENGTH))
    high_S, low_S = RNG.integers(5, LENGTH - 5, (2, 50))
    wave_SC = waves(pattern_SC, high_S, low_S)
    at = np.arange(50)
    scale = np.abs(pattern_SC).max()
    assert np.abs(wave_SC[at, high_S]).max() < 1e-4 * scale and np.abs(wave_SC[at, low_S]).max() < 1e-4 * scale
    assert np.abs(wave_SC @ VOLUME_C).max() < 1e-4 * scale
    assert np.square(wave_SC).mean() > 0.1 * np.square(pattern_SC).mean(), "most sessions keep a part of the wave"


def test_a_wave_is_the_nearest_one_by_the_bridges_covariance() -> None:
    """Kriging by another route: the correction lies in the span of the covariances with the three conditions."""
    pattern_SC = np.sin(np.linspace(0, 3 * np.pi, LENGTH))[None]
    high_S, low_S = np.array([40]), np.array([150])
    removed_C = (pattern_SC - waves(pattern_SC, high_S, low_S))[0]
    kernels = np.column_stack([BRIDGE_CC[:, 40], BRIDGE_CC[:, 150], BRIDGE_CC @ VOLUME_C])
    fitted_C = kernels @ np.linalg.lstsq(kernels, removed_C)[0]
    assert np.allclose(fitted_C, removed_C, atol=1e-8)


def test_the_days_high_and_low_stay_and_the_rows_that_reach_them() -> None:
    plain = {
        "open": np.array([[3, 4, 2]]),
        "high": np.array([[4, 5, 3]]),
        "low": np.array([[2, 3, 1]]),
        "close": np.array([[4, 3, 2]]),
    }
    bent = {
        "open": np.array([[3, 4, 2]]),
        "high": np.array([[7, 4, 3]]),
        "low": np.array([[2, 0, 2]]),
        "close": np.array([[5, 3, 2]]),
    }
    kept = keep_extremes(plain, bent)
    assert kept["high"].tolist() == [[5, 5, 3]] and kept["low"].tolist() == [[2, 1, 1]]
    assert kept["close"].tolist() == [[5, 3, 2]]


def test_absent_rows_are_no_extremes() -> None:
    high_S, low_S = extremes(np.array([[np.nan, 3.0, 5.0]]), np.array([[2.0, np.nan, 4.0]]))
    assert (high_S.tolist(), low_S.tolist()) == ([2], [0])
