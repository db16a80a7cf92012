"""Figures of a whole factor against scipy and by hand."""

from __future__ import annotations

import json
from datetime import date
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from fpm.evaluation.evaluate import PRESETS, EvaluationConfig, evaluate
from fpm.evaluation.figures import Surroundings
from fpm.evaluation.intervals import critical_value
from fpm.evaluation.rank_ic import rank_ic
from fpm.panels import weekly_grid
from tests.fpm.evaluation.panels import MONDAY, factor, long, weekdays
from tests.fpm.evaluation.slow_newey_west import slow_newey_west


def test_figures_of_a_factor_that_works():
    score_TN, label_TN, days = factor(100, 60, strength=0.2)
    label_TN[-6:] = np.nan
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    daily = [stats.spearmanr(score_TN[i], label_TN[i])[0] for i in range(94)]
    fridays = [i for i in range(94) if days[i].weekday() == 4]
    assert figures.sessions == 100
    assert figures.labelled_sessions == 94
    assert figures.independent_periods == 19
    assert figures.rank_ic == pytest.approx(np.mean([daily[i] for i in fridays]))
    assert figures.icir_annual == pytest.approx(figures.icir * sqrt(52))
    assert figures.newey_west.low < figures.rank_ic_all_days < figures.newey_west.high
    assert figures.bootstrap.low < figures.rank_ic_all_days < figures.bootstrap.high
    assert figures.rank_ic_all_days > figures.null_band
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


@pytest.mark.parametrize("leaders", [0, 3])
def test_a_score_that_does_not_order_the_names_makes_no_portfolio(leaders):
    """The later half of the names earns 2 % a session more; the score is constant, or higher for three names."""
    _, label_TN, days = factor(60, 60, strength=0.2)
    label_TN[:, 30:] += 0.02
    score_TN = np.zeros(label_TN.shape)
    score_TN[:, :leaders] = 1.0
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    assert (figures.groups, figures.group_weeks, figures.turnover_weeks, figures.long_short.weeks) == ((), (), (), ())
    assert figures.long_short.annual_return is None and figures.sharpe is None
    assert figures.tied_sessions == figures.to_dict()["tied_sessions"] == 60


def test_figures_without_ties_say_nothing_of_them():
    score_TN, label_TN, days = factor(20, 30, strength=0.2)
    assert "tied_sessions" not in evaluate(long(score_TN, "score", days), long(label_TN, "label", days)).to_dict()


def test_the_weekly_mean_the_groups_and_the_turnover_have_their_intervals():
    score_TN, label_TN, days = factor(100, 60, strength=0.2)
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
    assert figures.long_short.turnover == pytest.approx(0.9, abs=0.03)  # a new random score keeps a tenth by chance


def test_hit_rate_and_coverage_by_hand():
    days = [date(2025, 6, 6), date(2025, 6, 13), date(2025, 6, 20), date(2025, 6, 27)]
    score_TN = np.array([[1.0, 2.0, 3.0, 4.0]] * 4)
    label_TN = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 4.0, np.nan], [np.nan] * 4])
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), EvaluationConfig(horizon=1))
    assert figures.hit_rate.value == pytest.approx(2 / 3) and figures.hit_rate.sessions == 3
    assert (figures.hit_rate.interval.low, figures.hit_rate.interval.high) == (0.0, 1.0)  # three sessions say little
    assert figures.coverage == pytest.approx(11 / 12)  # the last session has no labels yet


def test_a_factor_without_information_lies_in_its_null_band():
    inside = 0
    for seed in range(20):
        score_TN, label_TN, days = factor(60, 30, seed=seed)
        figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), PRESETS["tiny"])
        inside += abs(figures.rank_ic_all_days) <= figures.null_band
    assert inside >= 17  # 19 expected at 95 %; 16 or fewer of 20 has a chance of 1.6 %


def test_the_null_band_covers_market_moves_that_the_score_loads_on():
    """Score = a fixed exposure, label = exposure x a market that goes anywhere: permuting symbols would miss this."""
    generator = np.random.default_rng(5)
    exposure_N, days = generator.normal(size=40), weekdays(MONDAY, 60)
    label_TN = 0.02 * generator.normal(size=(60, 1)) * exposure_N + 0.001 * generator.normal(size=(60, 40))
    figures = evaluate(long(np.tile(exposure_N, (60, 1)), "score", days), long(label_TN, "label", days))
    assert figures.null_band > 0.2


def test_short_histories_and_tiny_universes_leave_figures_out():
    score_TN, label_TN, days = factor(10, 4)
    label_TN[-6:] = np.nan
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    assert (figures.independent_periods, figures.symbols, len(figures.groups)) == (1, 4, 2)
    assert figures.newey_west is figures.bootstrap is figures.null_band is figures.icir is None
    assert figures.long_short.annual_return is None
    assert figures.long_short.information_ratio is None
    assert figures.rank_ic_all_days is not None


@pytest.mark.parametrize(("sessions", "symbols"), [(1, 1), (1, 2), (44, 1), (44, 2), (44, 4), (2, 50)])
def test_no_size_of_history_breaks(sessions, symbols):
    score_TN, label_TN, days = factor(sessions, symbols)
    surroundings = Surroundings(long(1 + abs(label_TN), "close", days), long(abs(score_TN), "size", days))
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), PRESETS["tiny"], surroundings)
    json.dumps(figures.to_dict(), allow_nan=False)


def test_nothing_scored_or_nothing_labelled():
    scores = long(np.ones((3, 5)), "score", weekdays(MONDAY, 3))
    nothing = evaluate(scores.clear(), scores.rename({"score": "label"}))
    unlabelled = evaluate(scores, scores.rename({"score": "label"}).clear())
    assert (nothing.sessions, nothing.rank_ic) == (0, None)
    assert (unlabelled.sessions, unlabelled.labelled_sessions, unlabelled.groups) == (3, 0, ())


def test_by_size_looks_inside_each_third():
    score_TN, label_TN, days = factor(20, 90)
    size_TN = np.tile(np.arange(90.0), (20, 1))
    label_TN[:, 60:] = score_TN[:, 60:] / 100  # only the largest third is predicted
    surroundings = Surroundings(sizes=long(size_TN, "size", days))
    by_size = dict(
        evaluate(long(score_TN, "score", days), long(label_TN, "label", days), surroundings=surroundings).by_size
    )
    assert by_size["large"] == pytest.approx(1.0)
    assert abs(by_size["small"]) < 0.2


def test_row_order_does_not_matter():
    score_TN, label_TN, days = factor(30, 12, strength=0.3)
    scores, labels = long(score_TN, "score", days), long(label_TN, "label", days)
    again = evaluate(scores.sample(fraction=1, shuffle=True, seed=1), labels.reverse())
    assert again == evaluate(scores, labels)


def test_symbols_that_never_get_a_score_do_not_count():
    score_TN, label_TN, days = factor(5, 6)
    score_TN[:, 4:] = np.nan
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    assert figures.symbols == 4
