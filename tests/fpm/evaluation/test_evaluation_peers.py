"""Figures of a factor equal those of alphalens-reloaded and skfolio where both compute the same thing.

Their answers are in `evaluation_peers.json`, written by `ask_evaluation_peers.py`. Not compared, because the
definitions differ:

- Groups of a session whose number of pairs is neither a multiple of the number of groups nor one more, or whose scores
  tie: alphalens cuts at interpolated quantiles (pandas' qcut); our groups differ in size by one at most, and an
  edge inside a tie leaves none.
- Intervals: alphalens treats sessions as independent, though labels of five sessions overlap.
- `factor_returns` weighs by score, or halves long and short. Ours is top minus bottom, not halved: twice theirs with
  equal weights, two groups and an even number of pairs (from an odd number they leave out the median).
- `factor_rank_autocorrelation`: we report turnover instead.
- Annual returns: skfolio's mean is arithmetic, ours geometric.
"""

from __future__ import annotations

import json
from math import sqrt
from typing import Any

import numpy as np
import pytest

from fpm.evaluation.evaluate import EvaluationConfig, evaluate
from fpm.evaluation.figures import Figures, Surroundings
from fpm.evaluation.groups import max_drawdown
from fpm.evaluation.long_short import LongShortConfig, long_short
from fpm.evaluation.sharpe import sharpe
from tests.fpm.evaluation.ask_evaluation_peers import (
    ANSWERS,
    DAYS,
    GROUPS,
    SYMBOLS,
    TRIALS,
    WEEKLY,
    tied,
    weekly_returns,
    whole,
)
from tests.fpm.evaluation.panels import long

PEERS: dict[str, Any] = json.loads(ANSWERS.read_text())
WHOLE, TIED, WEEKS = PEERS["alphalens"]["whole"], PEERS["alphalens"]["tied"], PEERS["skfolio"]


def near(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-10, abs=1e-14)


def figures_of(score_TN: np.ndarray, label_TN: np.ndarray, groups: int = GROUPS) -> Figures:
    surroundings = Surroundings(sizes=long(np.tile(np.arange(1.0, SYMBOLS + 1), (len(DAYS), 1)), "size", DAYS))
    config = EvaluationConfig(groups=groups, draws=20, null_draws=20)
    return evaluate(long(score_TN, "score", DAYS), long(label_TN, "label", DAYS), config, surroundings)


def test_rank_ic_of_every_session_is_theirs() -> None:
    assert [value for _, value in figures_of(*whole()).series] == near(WHOLE["ic"])


def test_rank_ic_with_ties_and_gaps_is_theirs_and_sessions_without_labels_have_none() -> None:
    series = figures_of(*tied()).series
    assert [str(session) for session, _ in series] == TIED["sessions"]
    assert [value for _, value in series] == near(TIED["ic"])


def test_mean_of_rank_ic_by_size_group_is_theirs() -> None:
    assert [value for _, value in figures_of(*whole()).by_size] == near(WHOLE["ic_by_size"])


def test_returns_of_every_group_are_theirs() -> None:
    figures = figures_of(*whole())
    assert list(figures.groups) == near(WHOLE["mean_returns"])
    by_week = [list(returns) for _, returns in figures.group_weeks]
    assert np.array(by_week) == near(np.array(WHOLE["returns"])[WEEKLY])


def test_turnover_is_the_mean_of_their_outer_quantiles() -> None:
    figures = figures_of(*whole())
    assert [value for _, value in figures.turnover_weeks] == near(np.mean(WHOLE["turnover"], axis=0))
    assert figures.long_short.turnover == near(np.mean(WHOLE["turnover"]))


def test_long_short_of_two_groups_is_twice_their_factor_returns() -> None:
    weeks = dict(figures_of(*whole(), groups=2).long_short.weeks)
    even = [n for n in WEEKLY if n % 2 == 0]
    assert [weeks[DAYS[n]] for n in even] == near([2 * WHOLE["halves"][n] for n in even])


def test_what_the_weeks_earned_is_skfolios() -> None:
    returns_W = weekly_returns()
    returns_WG = np.column_stack([np.zeros_like(returns_W), returns_W])
    config = LongShortConfig(weeks_per_year=52, annualise_from=13, level=0.95, draws=20, seed=1)
    portfolio = long_short(returns_WG, np.full(len(returns_W), np.nan), [DAYS[0]] * len(returns_W), config)
    assert portfolio.total_return == near(WEEKS["total_return"])
    assert portfolio.max_drawdown == max_drawdown(returns_W) == near(WEEKS["max_drawdown"])
    assert portfolio.annual_return == near((1 + WEEKS["total_return"]) ** (52 / len(returns_W)) - 1)
    assert portfolio.information_ratio == near(portfolio.annual_return / WEEKS["annualized_standard_deviation"])


def test_sharpe_ratios_are_skfolios() -> None:
    ratio = sharpe(weekly_returns(), TRIALS, per_year=52, level=0.95)
    assert ratio is not None
    assert ratio.per_week == near(WEEKS["sharpe_ratio"])
    assert ratio.annual == near(WEEKS["annualized_sharpe_ratio"]) == near(WEEKS["sharpe_ratio"] * sqrt(52))
    assert ratio.expected_maximum == near(WEEKS["expected_max_sharpe_ratio"])
    assert ratio.probabilistic == near(WEEKS["probabilistic_sharpe_ratio"])
    assert ratio.deflated == near(WEEKS["deflated_sharpe_ratio"])
