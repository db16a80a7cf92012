"""RankIC by month and industry, autocorrelation, coverage and correlations with factors, against scipy and pandas."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from fpm.evaluation.evaluate import EvaluationConfig, evaluate
from fpm.evaluation.figures import Surroundings
from fpm.evaluation.rank_ic import lagged_correlations, rank_correlations_within, sort
from tests.fpm.evaluation.panels import factor, long, symbol_names
from tests.fpm.evaluation.slow_newey_west import slow_newey_west
from tests.fpm.report.sample_report import daily


def test_ranks_inside_groups_are_those_of_pandas():
    generator = np.random.default_rng(5)
    left_TN, right_TN = generator.integers(0, 9, (12, 40)).astype(float), generator.normal(size=(12, 40))
    left_TN[generator.random(left_TN.shape) < 0.1] = np.nan
    right_TN[generator.random(right_TN.shape) < 0.1] = np.nan
    group_TN = generator.integers(-1, 5, (12, 40))
    series_TG = rank_correlations_within(sort(left_TN), sort(right_TN), group_TN, 6, 3)
    for t in range(12):
        rows = pd.DataFrame({"left": left_TN[t], "right": right_TN[t], "group": group_TN[t]}).dropna()
        for group in range(6):
            own = rows[rows["group"] == group]
            expected = own["left"].corr(own["right"], method="spearman") if len(own) >= 3 else np.nan
            assert series_TG[t, group] == pytest.approx(expected, nan_ok=True)


def test_a_lag_pairs_a_session_with_a_later_one():
    generator = np.random.default_rng(6)
    left_TN, right_TN = generator.normal(size=(9, 12)), generator.normal(size=(9, 12))
    series_T = lagged_correlations(sort(left_TN), sort(right_TN), 4)
    assert series_T == pytest.approx([stats.spearmanr(left_TN[t], right_TN[t + 4])[0] for t in range(5)])
    assert len(lagged_correlations(sort(left_TN), sort(right_TN), 20)) == 0


def test_months_have_the_mean_and_interval_of_their_own_sessions():
    score_TN, label_TN, days = factor(90, 30, strength=0.1)
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days))
    series = pd.Series(dict(figures.series))
    series.index = pd.to_datetime(series.index)
    by_month = series.groupby(series.index.strftime("%Y-%m"))
    assert [month for month, _ in figures.by_month] == sorted(by_month.groups)
    for month, part in figures.by_month:
        own = by_month.get_group(month)
        assert (part.value, part.sessions) == (pytest.approx(own.mean()), len(own))
        if part.interval:
            assert part.interval.error == pytest.approx(slow_newey_west(own.to_numpy(), 5))
    whole = sum(part.value * part.sessions for _, part in figures.by_month) / figures.labelled_sessions
    assert whole == pytest.approx(figures.rank_ic_all_days)


def test_industries_are_judged_alone():
    score_TN, label_TN, days = factor(30, 24, strength=0.5)
    names = np.array(["bank", "steel", "food"])[np.arange(24) % 3]
    label_TN = label_TN + np.where(names == "bank", 0.5, 0.0)  # a move of a whole industry tells nothing inside it
    industry = pl.DataFrame({"symbol": symbol_names(24), "industry": names})
    bars = daily(np.ones((30, 24)), days).join(industry, on="symbol")
    figures = evaluate(
        long(score_TN, "score", days), long(label_TN, "label", days), EvaluationConfig(), Surroundings(daily=bars)
    )
    assert [name for name, _ in figures.by_industry] == ["bank", "food", "steel"]
    for name, part in figures.by_industry:
        own = names == name
        expected = [stats.spearmanr(score_TN[t, own], label_TN[t, own])[0] for t in range(30)]
        assert (part.value, part.sessions) == (pytest.approx(np.mean(expected)), 30)


def test_autocorrelation_of_scores_that_forget_one_half_a_session():
    """An AR(1) of 0.5 a session: about 0.5 after one session, 0.03 after five (Spearman's is a little below)."""
    generator = np.random.default_rng(7)
    score_TN = np.zeros((260, 200))
    for t in range(1, 260):
        score_TN[t] = 0.5 * score_TN[t - 1] + generator.normal(size=200)
    _, label_TN, days = factor(260, 200)
    parts = dict(evaluate(long(score_TN[20:], "score", days[20:]), long(label_TN[20:], "label", days[20:])).persistence)
    assert list(parts) == ["1", "5", "10", "20"]
    own = score_TN[20:]
    for lag, part in parts.items():
        pairs = [stats.spearmanr(own[t], own[t + int(lag)])[0] for t in range(240 - int(lag))]
        assert (part.value, part.sessions) == (pytest.approx(np.mean(pairs)), len(pairs))
    expected = 6 / np.pi * np.arcsin(0.25)  # Spearman's of a normal pair with correlation 0.5
    assert parts["1"].value == pytest.approx(expected, abs=0.01)
    assert abs(parts["20"].value) < 0.02


def test_a_lag_follows_the_calendar_where_scores_skip_sessions():
    score_TN, label_TN, days = factor(12, 20)
    kept = [t for t in range(12) if t not in (4, 5)]
    closes = long(np.ones((12, 20)), "close", days)
    scores = long(score_TN[kept], "score", [days[t] for t in kept])
    parts = dict(
        evaluate(scores, long(label_TN, "label", days), EvaluationConfig(), Surroundings(closes=closes)).persistence
    )
    pairs = [(t, t + 1) for t in kept if t + 1 in kept]
    assert parts["1"].sessions == len(pairs) == 8
    assert parts["1"].value == pytest.approx(np.mean([stats.spearmanr(score_TN[a], score_TN[b])[0] for a, b in pairs]))


def test_coverage_counts_the_names_that_traded():
    """Ten names with bars; one is suspended on day 2; three have no scores at all; one score is missing on day 1."""
    score_TN, label_TN, days = factor(4, 7)
    score_TN[1, 0] = np.nan
    suspended = np.zeros((4, 10), dtype=bool)
    suspended[2, 0] = True
    bars = daily(np.ones((4, 10)), days, suspended=suspended)
    figures = evaluate(
        long(score_TN, "score", days), long(label_TN, "label", days), EvaluationConfig(), Surroundings(daily=bars)
    )
    assert dict(figures.scored) == {days[0]: 0.7, days[1]: 0.6, days[2]: pytest.approx(6 / 9), days[3]: 0.7}
    late = bars.filter(pl.col("session") > days[0])
    assert [
        day
        for day, _ in evaluate(
            long(score_TN, "score", days), long(label_TN, "label", days), EvaluationConfig(), Surroundings(daily=late)
        ).scored
    ] == days[1:]


def test_correlations_with_factors_are_means_of_spearmans():
    score_TN, label_TN, days = factor(25, 30)
    other_TN = np.exp(5 * (score_TN + np.random.default_rng(8).normal(size=score_TN.shape)))  # ranks forget the scale
    frame = long(other_TN, "range_20", days).with_columns(nothing=pl.lit(None, dtype=pl.Float64))
    around = Surroundings(styles=long(other_TN, "size", days), factors=frame)
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), EvaluationConfig(), around)
    fridays = [t for t in range(25) if days[t].weekday() == 4]
    expected = np.mean([stats.spearmanr(score_TN[t], other_TN[t])[0] for t in fridays])
    ((name, part),) = figures.correlations
    assert (name, part.value, part.sessions) == ("range_20", pytest.approx(expected), 5)
    assert part.interval.low < expected < part.interval.high
    assert dict(figures.exposures)["size"] == part  # the same values are the same figure, as a style and as a factor


def test_a_gap_of_weeks_is_no_month_of_its_own():
    score_TN, label_TN, days = factor(4, 10)
    spread = [days[0], days[0] + timedelta(31), days[0] + timedelta(93), days[0] + timedelta(94)]
    figures = evaluate(long(score_TN, "score", spread), long(label_TN, "label", spread))
    assert [(month, part.sessions) for month, part in figures.by_month] == [
        ("2025-06", 1),
        ("2025-07", 1),
        ("2025-09", 2),
    ]
