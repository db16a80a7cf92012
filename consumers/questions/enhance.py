"""An index's portfolio over a span of sessions: `fpm enhance`, its export, and the portfolios of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from consumers import factor_returns, portfolio, risk_tests
from consumers.questions.attribution import contributions, daily_lines
from fpm.errors import TryLater, UsageError
from fpm.portfolio.performance import Performance, PerformanceConfig, performance
from fpm.risk.estimate import PRESETS
from fpm.risk.stored import exposure_columns
from fpm.sessions import previous_sessions
from fpm.store.jobs import runner

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

BOOK_TABLES = ("decisions", "targets", "trades", "holdings", "nav", "actions")  # of one index, as exported
CLOCKS = ("event_timestamp", "created_timestamp")


def enhance(index: str, first: date, last: date, stores: Stores, progress: Progress) -> dict[str, Any]:
    """Write decisions, fills, marks and forecast tests of the sessions from `first` to `last`; the figures, no curve.

    The risk model's evidence of the sessions before is computed where it is absent. Raises UsageError where the home
    has no such index, TryLater where no session is scored.
    """
    _require(index, first, last, stores)
    oldest = previous_sessions(stores.market, first, PRESETS[stores.settings.preset].window)[0]
    runner.backfill(factor_returns, oldest, last, stores, progress)
    runner.backfill(portfolio, first, last, stores, progress)
    runner.backfill(risk_tests, first, last, stores, progress)
    figures = index_performance(index, first, last, stores).to_dict()
    groups = contributions(index, first, last, stores).group_by("group", maintain_order=True)
    return {
        "index": index,
        "first": str(first),
        "last": str(last),
        **{name: value for name, value in figures.items() if name != "curve"},
        "attribution": dict(groups.agg(pl.col("contribution").sum()).iter_rows()),
    }


def _require(index: str, first: date, last: date, stores: Stores) -> None:
    if not any(first <= session <= last for session in stores.sessions("scores")):
        raise _no_scores(first, last)
    sessions = [session for session in stores.sessions("index_members") if session <= last]
    if sessions:
        rows = stores.read("index_members", sessions[-1], columns=["index"])
        indices = sorted(rows["index"].unique().to_list())
    else:
        indices = [portfolio.EVERY_NAME]
    if index not in indices:
        raise _unknown(index, indices)


def index_performance(index: str, first: date, last: date, stores: Stores) -> Performance:
    """Figures of one index's portfolio as it was at every close.

    Raises TryLater where there is no portfolio, UsageError where there is none of this index.
    """
    nav = stores.read_served("nav", first, last)
    if nav.is_empty():
        raise _no_scores(first, last)
    own = nav.filter(pl.col("index") == index)
    if own.is_empty():
        raise _unknown(index, sorted(nav["index"].unique().to_list()))
    trades, blocked = (
        stores.read_served(table, first, last).filter(pl.col("index") == index) for table in ("trades", "blocked")
    )
    closes = stores.read("daily_bars", first, last, columns=["symbol", "close"])
    missed = blocked.join(closes, on=["session", "symbol"], how="left")
    value = (pl.col("ordered") - pl.col("filled")) * pl.col("close").fill_null(0.0)
    config = PerformanceConfig(stores.market.sessions_per_year)
    return performance(own, trades, missed.select("session", value=value), config)


# --- export -------------------------------------------------------------------------------------------------------
def export(index: str, first: date, last: date, folder: Path, stores: Stores) -> dict[str, int]:
    """Write the index's eight tables and its attribution as Parquet files into a folder; returns table -> rows.

    Columns: docs/portfolios.md. `exposures` and `covariance` are those of the decisions' sessions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames = {table: stores.read(table, first, last).filter(pl.col("index") == index) for table in BOOK_TABLES}
    sessions = frames["decisions"]["session"].unique().sort().to_list()
    frames["exposures"] = pl.concat([exposures(index, session, stores) for session in sessions], how="diagonal")
    covariance = stores.read("covariance", first, last).filter(pl.col("index") == index)
    frames["covariance"] = covariance.filter(pl.col("session").is_in(sessions)).select(
        "index", "session", "factor", "other", "value"
    )
    frames["attribution"] = daily_lines(index, first, last, stores)
    for name, frame in frames.items():
        frame.drop(CLOCKS, strict=False).write_parquet(folder / f"{name}.parquet")
    return {name: frame.height for name, frame in frames.items()}


def exposures(index: str, session: date, stores: Stores) -> pl.DataFrame:
    """index, session, symbol, specific_variance and one column a factor of the index's risk model at a decision."""
    covariance, specific = (
        stores.read(table, session).filter(pl.col("index") == index) for table in ("covariance", "specific_variances")
    )
    factors = covariance["factor"].unique(maintain_order=True).to_list()
    rows = stores.read("exposures", session).join(specific.select("symbol", "specific_variance"), on="symbol")
    head = (pl.lit(index).alias("index"), pl.lit(session).alias("session"))
    return rows.select(*head, "symbol", "specific_variance", **exposure_columns(factors))


def _no_scores(first: date, last: date) -> TryLater:
    return TryLater(
        code="FPM-PF-075",
        wrong=f"no scores from {first} to {last}",
        effect="nothing was computed",
        todo="score these sessions first: fpm walk-forward FIRST LAST",
    )


def _unknown(index: str, indices: list[str]) -> UsageError:
    return UsageError(
        code="FPM-PF-002",
        wrong=f"no members of index {index!r}",
        effect="nothing was computed",
        todo=f"use one of {', '.join(indices)}",
    )
