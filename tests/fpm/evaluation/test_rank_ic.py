"""RankIC and its series against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fpm.evaluation.rank_ic import (
    decay,
    decay_series,
    icir,
    path_mean,
    rank_ic,
    ranks_within,
    sort,
    tie_places,
)
from tests.fpm.evaluation.panels import factor


@pytest.mark.parametrize("ties", [False, True])
def test_rank_ic_equals_scipy_with_ties_and_gaps(ties):
    score_TN, label_TN, _ = factor(30, 25, strength=0.5)
    if ties:
        score_TN, label_TN = np.round(score_TN), np.round(label_TN * 50)
    score_TN[3, :7] = np.nan
    label_TN[3, 5:12] = np.nan
    ours = rank_ic(score_TN, label_TN)
    for index in range(30):
        both = np.isfinite(score_TN[index]) & np.isfinite(label_TN[index])
        assert ours[index] == pytest.approx(stats.spearmanr(score_TN[index, both], label_TN[index, both])[0], abs=1e-12)


def test_rank_ic_by_hand():
    # ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6
    assert rank_ic(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0.2, 0.1, 0.4, 0.3]])) == pytest.approx([0.6])


def test_rank_ic_is_undefined_for_constants_and_too_few_symbols():
    constant, label = np.ones((1, 5)), np.arange(5.0)[None]
    assert np.isnan(rank_ic(constant, label)).all()
    assert np.isnan(rank_ic(label[:, :2], label[:, :2])).all()


def test_ranks_of_any_part_of_a_sorted_panel_equal_scipys():
    generator = np.random.default_rng(7)
    values_TN = np.round(generator.normal(size=(20, 50)), 1)
    values_TN[generator.random(values_TN.shape) < 0.1] = np.nan
    values_TN[0, :2] = np.inf, -np.inf
    panel = sort(values_TN)
    mask_TN = panel.available_TN & (generator.random(values_TN.shape) < 0.6)
    ranked_TN = ranks_within(panel, mask_TN)
    for ranked_N, values_N, mask_N in zip(ranked_TN, values_TN, mask_TN, strict=True):
        ranks = stats.rankdata(values_N[mask_N])
        assert ranked_N[mask_N] == pytest.approx(ranks - ranks.mean(), abs=1e-12)
        assert not ranked_N[~mask_N].any()


def test_places_of_ties_are_scipys_lowest_and_highest_ranks():
    values_TN = np.random.default_rng(8).integers(0, 5, (10, 300)).astype(float)
    values_TN[:, ::7] = np.nan
    known_TN = np.isfinite(values_TN)
    for place_TN, method in zip(tie_places(sort(values_TN)), ("min", "max"), strict=True):
        for place_N, values_N, known_N in zip(place_TN, values_TN, known_TN, strict=True):
            assert np.array_equal(place_N[known_N], stats.rankdata(values_N[known_N], method) - 1)


def test_the_mean_over_start_days_gives_each_the_same_weight():
    # paths of three: (1, 4), (2), (3) -> means 2.5, 2, 3
    assert path_mean(np.array([1.0, 2.0, 3.0, 4.0]), 3) == pytest.approx(2.5)
    assert path_mean(np.array([np.nan, np.nan]), 2) is None


def test_icir_by_hand():
    # mean 0.2, sample deviation 0.1
    assert icir(np.array([0.1, 0.2, 0.3, np.nan])) == pytest.approx(2.0)
    assert icir(np.array([0.1])) is None


def test_decay_shows_the_one_session_that_the_score_predicts():
    score_TN, _, _ = factor(12, 40)
    close_TN = np.ones((12, 40))
    for session in range(12 - 4):  # the score of t is exactly the return from t+3 to t+4: lag 3
        close_TN[session + 4] = close_TN[session + 3] * (1 + 0.01 * score_TN[session])
    means = decay(score_TN, close_TN, 5)
    assert means[2] > 0.999
    assert max(abs(means[lag]) for lag in (0, 1, 3, 4)) < 0.3
    assert decay(score_TN, close_TN, 11)[-1] is None


def test_decay_of_every_lag_equals_scipy_with_gaps():
    score_TN, change_TN, _ = factor(9, 30)
    close_TN = np.exp(change_TN)
    score_TN[2, :9], close_TN[4, 3:8], close_TN[8, 20:] = np.nan, np.nan, np.nan
    for lag, series_T in enumerate(decay_series(score_TN, close_TN, 10), start=1):
        assert len(series_T) == max(0, 8 - lag)
        for t, rank_ic_t in enumerate(series_T):
            later_N = close_TN[t + lag + 1] / close_TN[t + lag] - 1
            assert rank_ic_t == pytest.approx(stats.spearmanr(score_TN[t], later_N, nan_policy="omit")[0], abs=1e-12)
