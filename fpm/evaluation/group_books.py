"""Two books of score groups after costs: top minus bottom group, and the top group over all names.

A book is rebalanced once a label's horizon: on the last session of each week for labels of five sessions, else on every
horizon-th one, so that no two labels overlap. Excess of the top group: its equal-weight mean less that of all names
with a score and a label; the comparison with all names pays nothing.

Shapes: T sessions, N symbols, W rebalances, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.costs import Costs, costs, trades, weights
from fpm.evaluation.execution import execution_prices, shift
from fpm.evaluation.groups import group_count, group_returns, memberships
from fpm.evaluation.long_short import LongShortConfig
from fpm.evaluation.rank_ic import restrict, sort
from fpm.panels import axes, pivot, weekly_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import polars as pl
    from numpy.typing import NDArray

    from fpm.evaluation.evaluate import EvaluationConfig

WEEK = 5  # sessions
YEAR = 52 * WEEK


@dataclass(frozen=True)
class Book:
    """One book: its name, the number of its rebalances, what it pays and holds; None without any rebalance."""

    name: str
    rebalances: int
    costs: Costs | None


def rebalances(sessions: Sequence[date], horizon: int) -> NDArray[np.intp]:
    """Positions of the sessions on which a book is made anew."""
    return weekly_grid(sessions) if horizon == WEEK else np.arange(0, len(sessions), horizon)


def books(scores: pl.DataFrame, returns: pl.DataFrame, daily: pl.DataFrame, config: EvaluationConfig) -> list[Book]:
    """Both books of `scores` (session, symbol, score) on `returns` (session, symbol, label).

    `daily`: daily bars as stored, for the amounts of the day of the fill.
    """
    sessions, symbols = axes(scores)
    score_TN, label_TN = pivot(scores, "score", sessions, symbols), pivot(returns, "label", sessions, symbols)
    groups = group_count(score_TN, label_TN, config.groups)
    group_TN = memberships(restrict(sort(score_TN), np.isfinite(label_TN)), groups)
    grid = rebalances(sessions, config.horizon)
    grid = grid[(group_TN[grid] >= 0).any(axis=1)]
    group_WN, label_WN = group_TN[grid], label_TN[grid]
    mean_WG = group_returns(group_WN, label_WN, groups)
    all_W = group_returns(np.where(group_WN >= 0, 0, -1), label_WN, 1)[:, 0]
    prices = execution_prices(daily, tuple(symbols))
    amount_WN = shift(prices.amount_TN, prices.sessions, [sessions[i] for i in grid], 1)
    weight_WN = weights(group_WN, groups)
    settings = _settings(config)
    spreads = {
        "long-short": (mean_WG[:, -1] - mean_WG[:, 0], weight_WN),
        "top group": (mean_WG[:, -1] - all_W, np.maximum(weight_WN, 0.0)),
    }
    return [
        Book(name, len(grid), costs(spread_W, trades(own_WN), amount_WN, settings))
        for name, (spread_W, own_WN) in spreads.items()
    ]


def _settings(config: EvaluationConfig) -> LongShortConfig:
    """Settings of a book's figures; `annualise_from` weeks are so many rebalances more where a label is shorter."""
    per_year = config.weeks_per_year if config.horizon == WEEK else YEAR // config.horizon
    return LongShortConfig(per_year, config.annualise_from, config.level, config.draws, config.seed)
