"""What following an index's weights would have earned: `fpm enhance`, and the portfolios of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from consumers import portfolio
from fpm.errors import TryLater, UsageError
from fpm.portfolio.backtest import BacktestConfig, Performance, backtest
from fpm.store.jobs import runner

if TYPE_CHECKING:
    from datetime import date

    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores


def enhance(index: str, first: date, last: date, stores: Stores, progress: Progress) -> dict[str, Any]:
    """Write the weights of every session from `first` to `last`; the index's six figures, without the curve.

    Raises UsageError where the sessions have no such index.
    """
    runner.backfill(portfolio, first, last, stores, progress)
    figures = performance(index, first, last, stores).to_dict()
    return {"index": index, "first": str(first), "last": str(last)} | {
        name: value for name, value in figures.items() if name != "curve"
    }


def performance(index: str, first: date, last: date, stores: Stores) -> Performance:
    """Backtest of one index's weights as served: the first session's as they stand, then each rebalance's.

    Raises TryLater where there are no weights, UsageError where there are none of this index.
    """
    stores = stores.named_apart(last)
    weights = stores.read_served("weights", first, last, columns=["symbol", "index", "weight", "benchmark_weight"])
    if weights.is_empty():
        raise TryLater(
            code="FPM-PF-075",
            wrong=f"no weights from {first} to {last}",
            effect="nothing was computed",
            todo="score these sessions first",
        )
    own = weights.filter(pl.col("index") == index)
    if own.is_empty():
        indices = ", ".join(sorted(weights["index"].unique().to_list()))
        raise UsageError(
            code="FPM-PF-002",
            wrong=f"no weights for index {index!r}",
            effect="nothing was computed",
            todo=f"use one of {indices}",
        )
    sessions = sorted(own["session"].unique().to_list())
    targets = own.filter(pl.col("session").is_in(portfolio.rebalance_sessions(sessions, stores.market)))
    return backtest(
        targets.select("session", "symbol", "weight"),
        own.select("session", "symbol", weight="benchmark_weight"),
        stores.read("daily_bars", sessions[0], last),
        BacktestConfig(sessions_per_year=stores.market.sessions_per_year),
    )
