"""Figures of a factor against scipy, slow references and numbers worked out by hand."""

from __future__ import annotations

import json
from datetime import date
from math import sqrt

import numpy as np
import polars as pl
import pytest
from scipy import stats

from fpm.evaluation.evaluate import PRESETS, EvaluationConfig, compare, evaluate, oracle_share
from fpm.evaluation.figures import Surroundings
from fpm.evaluation.groups import geometric_annual, group_count, group_returns, max_drawdown, memberships, turnovers
from fpm.evaluation.intervals import (
    block_bootstrap_error,
    critical_value,
    independent_periods,
    newey_west,
    newey_west_error,
    permuted_error,
)
from fpm.evaluation.rank_ic import (
    centred_ranks,
    decay,
    decay_series,
    icir,
    path_mean,
    places_within,
    rank_ic,
    ranks_within,
    sort,
)
from fpm.panels import pivot, pivots, weekly_grid
from tests.fpm.evaluation.panels_of import long, weekdays

MONDAY = date(2025, 6, 2)


def drawn(sessions: int, symbols: int, strength: float = 0.0, seed: int = 1):
    """(scores, labels, days): normal scores, labels that follow them with `strength`."""
    generator = np.random.default_rng(seed)
    score_TN = generator.normal(size=(sessions, symbols))
    label_TN = 0.02 * (strength * score_TN + generator.normal(size=(sessions, symbols)))
    return score_TN, label_TN, weekdays(MONDAY, sessions)


# --- rank correlation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_rank_ic_equals_scipy_with_ties_and_gaps(ties):
    score_TN, label_TN, _ = drawn(30, 25, strength=0.5)
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
    kept_TN = panel.here_TN & (generator.random(values_TN.shape) < 0.6)
    ranked_TN = ranks_within(panel, kept_TN)
    for ranked_N, values_N, kept_N in zip(ranked_TN, values_TN, kept_TN, strict=True):
        ranks = stats.rankdata(values_N[kept_N])
        assert ranked_N[kept_N] == pytest.approx(ranks - ranks.mean(), abs=1e-12)
        assert not ranked_N[~kept_N].any()


def test_places_are_those_of_a_stable_sort():
    values_TN = np.random.default_rng(8).integers(0, 5, (10, 300)).astype(float)
    values_TN[:, ::7] = np.nan
    expected_TN = np.argsort(np.argsort(values_TN, axis=1, kind="stable"), axis=1)
    assert np.array_equal(places_within(sort(values_TN)), np.where(np.isfinite(values_TN), expected_TN, -1))


def test_weekly_grid_takes_the_last_session_of_each_week_also_around_holidays_and_new_year():
    sessions = [date(2024, 12, 27), date(2024, 12, 30), date(2024, 12, 31), date(2025, 1, 2), date(2025, 1, 6)]
    assert weekly_grid(sessions).tolist() == [0, 3, 4]  # 30 Dec to 2 Jan is one ISO week across two years


def test_path_mean_gives_every_start_day_the_same_weight():
    # paths of three: (1, 4), (2), (3) -> means 2.5, 2, 3
    assert path_mean(np.array([1.0, 2.0, 3.0, 4.0]), 3) == pytest.approx(2.5)
    assert path_mean(np.array([np.nan, np.nan]), 2) is None


def test_icir_by_hand():
    # mean 0.2, sample deviation 0.1
    assert icir(np.array([0.1, 0.2, 0.3, np.nan])) == pytest.approx(2.0)
    assert icir(np.array([0.1])) is None


def test_decay_sees_the_one_session_that_the_score_knows():
    score_TN, _, _ = drawn(12, 40)
    close_TN = np.ones((12, 40))
    for session in range(12 - 4):  # the score of t is exactly the return from t+3 to t+4: lag 3
        close_TN[session + 4] = close_TN[session + 3] * (1 + 0.01 * score_TN[session])
    found = decay(score_TN, close_TN, 5)
    assert found[2] > 0.999
    assert max(abs(found[lag]) for lag in (0, 1, 3, 4)) < 0.3
    assert decay(score_TN, close_TN, 11)[-1] is None


def test_decay_of_every_lag_equals_scipy_with_gaps():
    score_TN, moved_TN, _ = drawn(9, 30)
    close_TN = np.exp(moved_TN)
    score_TN[2, :9], close_TN[4, 3:8], close_TN[8, 20:] = np.nan, np.nan, np.nan
    for lag, series_T in enumerate(decay_series(score_TN, close_TN, 10), start=1):
        assert len(series_T) == max(0, 8 - lag)
        for t, found in enumerate(series_T):
            later_N = close_TN[t + lag + 1] / close_TN[t + lag] - 1
            assert found == pytest.approx(stats.spearmanr(score_TN[t], later_N, nan_policy="omit")[0], abs=1e-12)


# --- groups -------------------------------------------------------------------------------------------------------


def test_groups_and_their_returns_by_hand():
    score_TN = np.array([[4.0, 1.0, 3.0, 2.0, np.nan]])
    label_TN = np.array([[0.04, 0.01, 0.02, 0.03, 0.9]])
    group_TN = memberships(sort(score_TN), 2)
    assert group_TN.tolist() == [[1, 0, 1, 0, -1]]
    assert group_returns(group_TN, label_TN, 2).tolist() == [[pytest.approx(0.02), pytest.approx(0.03)]]


def test_groups_are_equal_in_size_up_to_one_and_fewer_in_small_universes():
    assert np.bincount(memberships(sort(np.arange(23.0)[None]), 10)[0]).tolist() == [3, 2, 2, 3, 2, 2, 3, 2, 2, 2]
    assert group_count(np.ones((3, 4)), np.ones((3, 4)), 10) == 2
    assert group_count(np.ones((3, 100)), np.ones((3, 100)), 10) == 10
    assert (memberships(sort(np.array([[1.0, np.nan, np.nan]])), 2) == -1).all()


def test_compounding_and_drawdown_by_hand():
    returns = np.array([0.1, -0.2, 0.05])
    assert geometric_annual(returns, 52) == pytest.approx((1.1 * 0.8 * 1.05) ** (52 / 3) - 1)
    assert max_drawdown(returns) == pytest.approx(0.2)
    assert max_drawdown(np.array([-0.1, -0.1])) == pytest.approx(0.19)  # from the start, which is 1
    assert geometric_annual(np.array([-1.5]), 52) is None
    assert max_drawdown(np.array([])) is None


def test_turnover_counts_replaced_names_of_both_outer_groups():
    # top keeps one of two names, bottom keeps both: (1/2 + 0) / 2
    changed = turnovers(np.array([[1, 1, 0, 0, -1], [1, -1, 0, 0, 1]]), 2)
    assert np.isnan(changed[0]) and changed[1] == pytest.approx(0.25)
    assert np.isnan(turnovers(np.array([[0, 1]]), 2)).all()


# --- intervals ----------------------------------------------------------------------------------------------------


def slow_newey_west(values, lags):
    """Newey and West (1987) by the double sum of its definition."""
    count, mean = len(values), sum(values) / len(values)
    total = 0.0
    for i in range(count):
        for j in range(count):
            if abs(i - j) <= lags:
                total += (1 - abs(i - j) / (lags + 1)) * (values[i] - mean) * (values[j] - mean)
    return sqrt(total) / count


def test_newey_west_equals_its_double_sum_and_widens_with_overlap():
    noise = np.random.default_rng(3).normal(size=204)
    overlapping = np.convolve(noise, np.ones(5) / 5, "valid")
    assert newey_west_error(overlapping, 5) == pytest.approx(slow_newey_west(overlapping.tolist(), 5), rel=1e-12)
    assert newey_west_error(overlapping, 5) > 1.5 * newey_west_error(overlapping, 0)
    assert newey_west_error(np.array([1.0]), 5) is None


def test_block_bootstrap_agrees_with_the_known_error_of_independent_values():
    values = np.random.default_rng(4).normal(size=400)
    assert block_bootstrap_error(values, 5, 2000, 1) == pytest.approx(values.std() / sqrt(400), rel=0.15)
    assert block_bootstrap_error(values[:9], 5, 100, 1) is None
    assert block_bootstrap_error(values, 5, 50, 1) == block_bootstrap_error(values, 5, 50, 1)


def test_independent_periods_are_windows_side_by_side():
    assert independent_periods(np.ones(44, dtype=bool), 5) == 9
    assert independent_periods(np.array([True, True, False, False, False, True, True]), 5) == 2
    assert independent_periods(np.zeros(10, dtype=bool), 5) == 0


def test_interval_of_two_periods_is_wide_and_of_one_is_absent():
    assert critical_value(2, 0.95) == pytest.approx(12.706, abs=1e-3)  # Student's table, one degree of freedom
    assert critical_value(1, 0.95) is None
    assert newey_west(np.array([0.1, 0.2, 0.1]), 5, 0.95) is None


def test_permuted_error_is_that_of_a_random_ranking():
    score_TN, label_TN, _ = drawn(50, 30)
    error = permuted_error(centred_ranks(sort(score_TN)), centred_ranks(sort(label_TN)), 400, 1)
    assert error == pytest.approx(1 / sqrt(29 * 50), rel=0.15)  # variance of Spearman's coefficient: 1 / (n - 1)
    assert permuted_error(np.ones((2, 3)), np.ones((2, 3)), 10, 1) is None


# --- the whole ----------------------------------------------------------------------------------------------------


def test_figures_of_a_factor_that_works():
    score_TN, label_TN, days = drawn(100, 60, strength=0.2)
    label_TN[-6:] = np.nan
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    daily = [stats.spearmanr(score_TN[i], label_TN[i])[0] for i in range(94)]
    fridays = [i for i in range(94) if days[i].weekday() == 4]
    assert figures.sessions == 100
    assert figures.labelled_sessions == 94
    assert figures.independent_periods == 19
    assert figures.rank_ic == pytest.approx(np.mean([daily[i] for i in fridays]))
    assert figures.icir_annual == pytest.approx(figures.icir * sqrt(52))
    assert figures.newey_west.low < figures.rank_ic_paths < figures.newey_west.high
    assert figures.bootstrap.low < figures.rank_ic_paths < figures.bootstrap.high
    assert figures.rank_ic_paths > figures.null_band
    assert figures.groups[-1] > figures.groups[0]
    assert figures.long_short.win_rate > 0.5
    assert [year for year, *_ in figures.by_year] == [2025]
    assert len(figures.series) == 94


def test_long_short_by_hand():
    days = [date(2025, 6, 6), date(2025, 6, 13), date(2025, 6, 20)]
    score_TN = np.array([[1.0, 2.0, 3.0, 4.0]] * 3)
    label_TN = np.array([[0.0, 0.02, 0.03, 0.05], [0.05, 0.05, 0.02, 0.0], [0.0, 0.0, 0.02, 0.0]])
    config = EvaluationConfig(annualise_from=3)
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), config).long_short
    spreads = np.array([0.03, -0.04, 0.01])  # two groups of two
    annual = (1.03 * 0.96 * 1.01) ** (52 / 3) - 1
    assert [value for _, value in figures.weeks] == pytest.approx(spreads.tolist())
    assert figures.total_return == pytest.approx(1.03 * 0.96 * 1.01 - 1)
    assert figures.annual_return == pytest.approx(annual)
    assert figures.information_ratio == pytest.approx(annual / (spreads.std(ddof=1) * sqrt(52)))
    assert figures.win_rate == pytest.approx(2 / 3)
    assert figures.max_drawdown == pytest.approx(0.04)
    assert figures.turnover == 0.0


def test_the_weekly_mean_the_groups_and_the_turnover_have_their_intervals():
    score_TN, label_TN, days = drawn(100, 60, strength=0.2)
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    week = weekly_grid(days)
    by_week = rank_ic(score_TN, label_TN)[week]
    half = critical_value(len(week), 0.95) * slow_newey_west(by_week.tolist(), 1)
    assert (figures.rank_ic_interval.low, figures.rank_ic_interval.high) == pytest.approx(
        (by_week.mean() - half, by_week.mean() + half)
    )
    lowest = np.take_along_axis(label_TN, np.argsort(score_TN, axis=1)[:, :6], axis=1).mean(axis=1)
    half = critical_value(20, 0.95) * slow_newey_west(lowest.tolist(), 5)
    assert figures.groups[0] == pytest.approx(lowest.mean())
    assert figures.group_intervals[0].low == pytest.approx(lowest.mean() - half)
    assert len(figures.group_intervals) == len(figures.groups) == 10
    turnover = dict(figures.long_short.intervals)["turnover"]
    assert turnover.low < figures.long_short.turnover < turnover.high
    assert figures.long_short.turnover == pytest.approx(0.9, abs=0.03)  # a score drawn anew keeps a tenth by chance


def test_hit_rate_and_coverage_by_hand():
    days = [date(2025, 6, 6), date(2025, 6, 13), date(2025, 6, 20), date(2025, 6, 27)]
    score_TN = np.array([[1.0, 2.0, 3.0, 4.0]] * 4)
    label_TN = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 4.0, np.nan], [np.nan] * 4])
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), EvaluationConfig(horizon=1))
    assert figures.hit_rate.value == pytest.approx(2 / 3) and figures.hit_rate.sessions == 3
    assert (figures.hit_rate.interval.low, figures.hit_rate.interval.high) == (0.0, 1.0)  # three sessions say little
    assert figures.coverage == pytest.approx(11 / 12)  # the last session has no labels yet


def test_a_factor_that_knows_nothing_lies_in_its_null_band():
    inside = 0
    for seed in range(20):
        score_TN, label_TN, days = drawn(60, 30, seed=seed)
        figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), PRESETS["tiny"])
        inside += abs(figures.rank_ic_paths) <= figures.null_band
    assert inside >= 17  # 19 expected at 95 %; 16 or fewer of 20 has a chance of 1.6 %


def test_null_band_covers_market_moves_that_the_score_happens_to_load_on():
    """Score = a fixed exposure, label = exposure x a market that goes anywhere: exchanging symbols would miss this."""
    generator = np.random.default_rng(5)
    exposure_N, days = generator.normal(size=40), weekdays(MONDAY, 60)
    label_TN = 0.02 * generator.normal(size=(60, 1)) * exposure_N + 0.001 * generator.normal(size=(60, 40))
    figures = evaluate(long(np.tile(exposure_N, (60, 1)), "score", days), long(label_TN, "label", days))
    assert figures.null_band > 0.2


def test_short_histories_and_tiny_universes_say_so_and_invent_nothing():
    score_TN, label_TN, days = drawn(10, 4)
    label_TN[-6:] = np.nan
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    assert (figures.independent_periods, figures.symbols, len(figures.groups)) == (1, 4, 2)
    assert figures.newey_west is figures.bootstrap is figures.null_band is figures.icir is None
    assert figures.long_short.annual_return is None
    assert figures.long_short.information_ratio is None
    assert figures.rank_ic_paths is not None


@pytest.mark.parametrize(("sessions", "symbols"), [(1, 1), (1, 2), (44, 1), (44, 2), (44, 4), (2, 50)])
def test_no_size_of_history_breaks(sessions, symbols):
    score_TN, label_TN, days = drawn(sessions, symbols)
    around = Surroundings(long(1 + abs(label_TN), "close", days), long(abs(score_TN), "size", days))
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), PRESETS["tiny"], around)
    json.dumps(figures.to_dict(), allow_nan=False)


def test_nothing_scored_or_nothing_labelled():
    scores = long(np.ones((3, 5)), "score", weekdays(MONDAY, 3))
    nothing = evaluate(scores.clear(), scores.rename({"score": "label"}))
    unlabelled = evaluate(scores, scores.rename({"score": "label"}).clear())
    assert (nothing.sessions, nothing.rank_ic) == (0, None)
    assert (unlabelled.sessions, unlabelled.labelled_sessions, unlabelled.groups) == (3, 0, ())


def test_by_size_looks_inside_each_third():
    score_TN, label_TN, days = drawn(20, 90)
    size_TN = np.tile(np.arange(90.0), (20, 1))
    label_TN[:, 60:] = score_TN[:, 60:] / 100  # only the largest third is known
    around = Surroundings(sizes=long(size_TN, "size", days))
    found = dict(evaluate(long(score_TN, "score", days), long(label_TN, "label", days), surroundings=around).by_size)
    assert found["large"] == pytest.approx(1.0)
    assert abs(found["small"]) < 0.2


def test_row_order_does_not_matter():
    score_TN, label_TN, days = drawn(30, 12, strength=0.3)
    scores, labels = long(score_TN, "score", days), long(label_TN, "label", days)
    again = evaluate(scores.sample(fraction=1, shuffle=True, seed=1), labels.reverse())
    assert again == evaluate(scores, labels)


def test_pivot_places_every_value_and_treats_infinite_as_absent():
    frame = pl.DataFrame({"session": [MONDAY, MONDAY], "symbol": ["b", "a"], "x": [np.inf, 2.0]})
    assert np.array_equal(pivot(frame, "x", [MONDAY], ["a", "b"]), [[2.0, np.nan]], equal_nan=True)


def test_pivots_leave_out_other_rows_and_keep_the_last_of_two():
    rows = [
        (MONDAY, "b", 1.0, True),
        (MONDAY, "c", 2.0, True),
        (date(2025, 6, 3), "a", 3.0, False),
        (MONDAY, "b", 4.0, None),
    ]
    frame = pl.DataFrame(rows, schema=["session", "symbol", "x", "y"], orient="row")
    found = pivots(frame, ["x", "y"], [MONDAY], ["a", "b"])
    assert np.array_equal(found["x"], [[np.nan, 4.0]], equal_nan=True)
    assert np.isnan(found["y"]).all()
    assert pivot(frame, "x", [], []).shape == (0, 0)


# --- two factors --------------------------------------------------------------------------------------------------


def test_paired_difference_uses_the_symbols_of_both_only():
    score_TN, label_TN, days = drawn(40, 30, strength=0.5)
    other_TN = np.random.default_rng(9).normal(size=score_TN.shape)
    other_TN[:, :10] = np.nan
    labels = long(label_TN, "label", days)
    found = compare(long(score_TN, "score", days), long(other_TN, "score", days), labels)
    expected = [
        stats.spearmanr(score_TN[i, 10:], label_TN[i, 10:])[0] - stats.spearmanr(other_TN[i, 10:], label_TN[i, 10:])[0]
        for i in range(40)
    ]
    assert found.difference == pytest.approx(np.mean(expected))
    assert found.newey_west.low > 0
    assert found.independent_periods == 8


def test_a_factor_compared_with_itself_differs_by_nothing():
    score_TN, label_TN, days = drawn(20, 10, strength=0.5)
    scores = long(score_TN, "score", days)
    found = compare(scores, scores, long(label_TN, "label", days))
    assert (found.difference, found.newey_west.low, found.newey_west.high) == (0.0, 0.0, 0.0)


def test_share_of_the_oracle():
    score_TN, label_TN, days = drawn(60, 50, strength=1.0)
    labels, oracle = long(label_TN, "label", days), long(score_TN, "score", days)
    noisy = long(score_TN + np.random.default_rng(2).normal(size=score_TN.shape), "score", days)
    whole, half = oracle_share(oracle, oracle, labels), oracle_share(noisy, oracle, labels)
    assert (whole.share, whole.low, whole.high) == pytest.approx((1.0, 1.0, 1.0))
    assert half.share == pytest.approx(half.rank_ic / half.oracle_rank_ic)
    assert half.low < half.share < half.high < 1
    assert oracle_share(noisy, long(-score_TN, "score", days), labels).share is None  # an oracle that is wrong


def test_symbols_that_never_get_a_score_do_not_count():
    score_TN, label_TN, days = drawn(5, 6)
    score_TN[:, 4:] = np.nan
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    assert figures.symbols == 4
