"""Cross-section operations against scipy and hand-checked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from fpm.cross_section import correlation, mad_winsorise, rank, rank_correlation, uniform_rank, z_score

NAN = float("nan")
VALUES = arrays(np.float64, st.integers(3, 30), elements=st.floats(-1e6, 1e6) | st.just(NAN))


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_ranks_are_scipys(x_N: np.ndarray) -> None:
    np.testing.assert_array_equal(rank(x_N), stats.rankdata(x_N, nan_policy="omit"))


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_z_scores_have_mean_0_and_deviation_1(x_N: np.ndarray) -> None:
    scores = z_score(x_N)[np.isfinite(x_N)]
    np.testing.assert_array_equal(np.isnan(z_score(x_N)), np.isnan(x_N))
    if len(scores) and scores.any():
        assert scores.mean() == pytest.approx(0, abs=1e-9)
        assert scores.std() == pytest.approx(1)


def test_z_score_is_scipys() -> None:
    x_NF = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(z_score(x_NF), stats.zscore(x_NF, axis=0))


def test_equal_values_have_z_score_0() -> None:
    np.testing.assert_array_equal(z_score(np.array([0.1, 0.1, 0.1, NAN])), [0, 0, 0, NAN])
    np.testing.assert_array_equal(z_score(np.array([NAN, NAN])), [NAN, NAN])


def test_winsorising_clips_the_outlier() -> None:
    """Median 3, absolute deviations 2 1 0 1 97: their median 1, so the bounds are 3 ± 3 x 1.4826."""
    np.testing.assert_allclose(mad_winsorise(np.array([1.0, 2, 3, 4, 100])), [1, 2, 3, 4, 3 + 3 * 1.4826])
    assert 1 / stats.norm.ppf(0.75) == pytest.approx(1.4826, abs=1e-4)


def test_winsorising_leaves_mostly_equal_values_and_gaps_alone() -> None:
    np.testing.assert_array_equal(mad_winsorise(np.array([5.0, 5, 5, 9, NAN])), [5, 5, 5, 9, NAN])
    assert np.isnan(mad_winsorise(np.full(3, NAN))).all()


def test_columns_are_independent() -> None:
    x_NF = np.random.default_rng(1).normal(size=(20, 4))
    x_NF[3, 2] = NAN
    for function in (mad_winsorise, z_score, rank, uniform_rank):
        columns = np.stack([function(x_NF[:, i]) for i in range(4)], axis=1)
        np.testing.assert_allclose(function(x_NF), columns, rtol=1e-12)


def test_uniform_ranks_lie_inside_0_and_1() -> None:
    np.testing.assert_array_equal(uniform_rank(np.array([30.0, 10, NAN, 20])), [2.5 / 3, 0.5 / 3, NAN, 1.5 / 3])


def test_correlations_are_scipys() -> None:
    rng = np.random.default_rng(2)
    x_N = rng.integers(0, 10, 200).astype(float)
    y_N = x_N + rng.normal(size=200) * 3
    x_N[5], y_N[9] = NAN, NAN
    both = np.isfinite(x_N) & np.isfinite(y_N)
    assert correlation(x_N, y_N) == pytest.approx(stats.pearsonr(x_N[both], y_N[both]).statistic)
    assert rank_correlation(x_N, y_N) == pytest.approx(stats.spearmanr(x_N[both], y_N[both]).statistic)


def test_correlations_without_meaning_are_nan() -> None:
    assert np.isnan(correlation(np.array([1.0, 2]), np.array([1.0, 2])))
    assert np.isnan(rank_correlation(np.ones(9), np.arange(9.0)))
