"""An index's portfolio over a span of sessions: `fpm enhance`, its export, and the portfolios of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from consumers import factor_returns, portfolio, risk_tests
from consumers.questions.attribution import contributions, daily_lines, own_rows
from consumers.questions.walk_needs import no_scores, require_inputs, stream_in_use, unknown_index
from consumers.streams import stream_of
from fpm.portfolio.instructions import AWAITING
from fpm.portfolio.performance import Performance, PerformanceConfig, performance
from fpm.risk.estimate import PRESETS
from fpm.risk.stored import exposure_columns
from fpm.sessions import next_sessions, previous_sessions
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
    has no such index or stream, TryLater where bars, snapshots or scores are missing: before the walk begins.
    """
    without = require_inputs(index, first, last, stores)
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
        "stream": stream_in_use(index, stores),
        **({"sessions_without_scores": len(without)} if without else {}),
        **{name: value for name, value in figures.items() if name != "curve"},
        "attribution": dict(groups.agg(pl.col("contribution").sum()).iter_rows()),
    }


def index_performance(index: str, first: date, last: date, stores: Stores) -> Performance:
    """Figures of one index's portfolio as it was at every close.

    Raises TryLater where there is no portfolio, UsageError where there is none of this index.
    """
    nav = stores.read_served("nav", first, last)
    if nav.is_empty():
        raise no_scores(stream_of(stores.settings), first, last, stores)
    own = nav.filter(pl.col("index") == index)
    if own.is_empty():
        raise unknown_index(index, sorted(nav["index"].unique().to_list()), stores)
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
    frames = {table: own_rows(table, index, first, last, stores) for table in BOOK_TABLES}
    after = next_sessions(stores.market, last, 1)[0]
    frames["decisions"] = filled_decisions(frames["decisions"], frames["trades"], after)
    sessions = frames["decisions"]["session"].unique().sort().to_list()
    frames["exposures"] = pl.concat([exposures(index, session, stores) for session in sessions], how="diagonal")
    covariance = stores.read("covariance", first, last).filter(pl.col("index") == index)
    frames["covariance"] = covariance.filter(pl.col("session").is_in(sessions)).select(
        "session", "factor", "other", "value"
    )
    frames["attribution"] = daily_lines(index, first, last, stores)
    for name, frame in frames.items():
        frame.drop(CLOCKS, strict=False).write_parquet(folder / f"{name}.parquet")
    return {name: frame.height for name, frame in frames.items()}


def filled_decisions(decisions: pl.DataFrame, trades: pl.DataFrame, after: date) -> pl.DataFrame:
    """`decisions` with what became of those that waited for approval: the session of their fills, or none so far.

    `trades`: session, decided of the span. A stored row is never written again, so it has the session in which the
    decision would have been filled without waiting. Here one that was approved has status "approved" and the session
    of its first fill; one without a fill in the span stays "awaiting approval" and has `after`, the session after the
    span, where that is later: until then its forecast is not that of the book.
    """
    fills = trades.group_by(session="decided").agg(filled=pl.col("session").min())
    rows, waited = decisions.join(fills, on="session", how="left", maintain_order="left"), pl.col("status") == AWAITING
    filled, open_ = pl.col("filled").is_not_null(), pl.max_horizontal("fill_session", pl.lit(after))
    return rows.with_columns(
        fill_session=pl.when(waited).then(pl.coalesce("filled", open_)).otherwise("fill_session"),
        status=pl.when(waited & filled).then(pl.lit("approved")).otherwise("status"),
    ).drop("filled")


def exposures(index: str, session: date, stores: Stores) -> pl.DataFrame:
    """session, symbol, specific_variance and one column a factor of the index's risk model at a decision."""
    covariance, specific = (
        stores.read(table, session).filter(pl.col("index") == index) for table in ("covariance", "specific_variances")
    )
    factors = covariance["factor"].unique(maintain_order=True).to_list()
    rows = stores.read("exposures", session).join(specific.select("symbol", "specific_variance"), on="symbol")
    return rows.select(pl.lit(session).alias("session"), "symbol", "specific_variance", **exposure_columns(factors))
