"""An index's portfolio over a span of sessions: `fpm enhance`, its export, and the portfolios of the report."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from consumers.questions.walk_needs import no_scores, require_inputs, stream_in_use, unknown_index
from consumers.streams import stream_of
from fpm.errors import FpmError, TryLater
from fpm.portfolio.instructions import AWAITING
from fpm.sessions import next_sessions, previous_sessions
from fpm.store.jobs import answers

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from fpm.portfolio.performance import Performance
    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

BOOK_TABLES = ("decisions", "targets", "trades", "holdings", "nav", "actions")  # of one index, as exported
SECOND = ("second_solver", "second_difference")
READ = (  # what the figures are computed from
    *("nav", "trades", "blocked", "holdings", "weights", "daily_bars", "exposures", "factor_returns"),
    *("decisions", "scores", "stream_scores", "vector_scores"),
)
CLOCKS = ("event_timestamp", "created_timestamp")


def enhance(index: str, first: date, last: date, stores: Stores, progress: Progress) -> dict[str, Any]:
    """Write decisions, fills, marks and forecast tests of the sessions from `first` to `last`; the figures, no curve.

    The risk model's evidence of the sessions before is computed where it is absent. Raises UsageError where the home
    has no such index or stream, TryLater where bars, snapshots or scores are missing: before the walk begins. Raises
    FpmError where a second solver contradicts a decision, and where none was filled: the walk is then written.
    """
    question = ("enhance", index, str(first), str(last))
    if answers.is_kept(question, stores):
        before = answers.kept(question, _content(index, last, stores), stores)
        if before is not None and _is_walked(first, last, stores):
            return before
    without = require_inputs(index, first, last, stores)
    _walk(first, last, stores, progress)
    answer = _figures(index, first, last, without, stores)
    answers.keep(question, _content(index, last, stores), answer, stores)
    return answer


def _content(index: str, last: date, stores: Stores) -> str:
    """Digest of everything that the figures depend on."""
    beside = [index, stream_in_use(index, stores), stream_of(stores.settings)]
    return answers.content_of(__file__, READ, last, beside, stores)


def _walk(first: date, last: date, stores: Stores, progress: Progress) -> None:
    from consumers import factor_returns, portfolio, risk_tests  # after the refusals, which need none of it
    from fpm.store.jobs import runner

    runner.backfill(factor_returns, _oldest(first, stores), last, stores, progress)
    runner.backfill(portfolio, first, last, stores, progress)
    runner.backfill(risk_tests, first, last, stores, progress)


def _is_walked(first: date, last: date, stores: Stores) -> bool:
    """Whether the walk has nothing to do."""
    from consumers import factor_returns, portfolio, risk_tests
    from fpm.store.jobs import runner

    spans = {factor_returns: _oldest(first, stores), portfolio: first, risk_tests: first}
    return all(runner.is_settled(job, begin, last, stores) for job, begin in spans.items())


def _oldest(first: date, stores: Stores) -> date:
    """The first session of the risk model's evidence."""
    from fpm.risk.estimate import PRESETS

    return previous_sessions(stores.market, first, PRESETS[stores.settings.preset].window)[0]


def _figures(index: str, first: date, last: date, without: list[date], stores: Stores) -> dict[str, Any]:
    from consumers.questions.attribution import contributions
    from fpm.portfolio.second_solver import refuse_contradicted

    decisions = own_decisions(index, first, last, stores)
    refuse_contradicted(decisions)
    figures = index_performance(index, first, last, stores).to_dict()
    since = known_since(index, first, last, stores)
    groups = contributions(index, first, last, stores).group_by("group", maintain_order=True)
    return {
        "index": index,
        "first": str(first),
        "last": str(last),
        "stream": stream_in_use(index, stores),
        **({"known_since": since.isoformat()} if since else {}),
        **({"sessions_without_scores": len(without)} if without else {}),
        **{name: value for name, value in figures.items() if name != "curve"},
        "second_solver": second_opinions(decisions),
        "attribution": dict(groups.agg(pl.col("contribution").sum()).iter_rows()),
    }


def second_opinions(decisions: pl.DataFrame) -> dict[str, Any]:
    """Of how many decisions a second solver was asked, to how many it found no optimum, the largest difference."""
    from fpm.portfolio.second_solver import SILENT

    absent = [] if "second_solver" in decisions.columns else [pl.lit(None).alias(name) for name in SECOND]
    asked = decisions.with_columns(absent).filter(pl.col("second_solver").is_not_null())
    silent = asked.filter(pl.col("second_solver") == SILENT).height
    return {"asked": asked.height, "no_answer": silent, "largest_difference": asked["second_difference"].max()}


def index_performance(index: str, first: date, last: date, stores: Stores) -> Performance:
    """Figures of one index's portfolio as it was at every close.

    A book that came to be known later than its sessions (`known_since`) is read as it is known now. Raises TryLater
    where there is no portfolio or its first decision waits for approval, UsageError where there is none of this index,
    FpmError where no decision of it could be filled.
    """
    from consumers.questions.attribution import own_rows
    from fpm.portfolio.performance import PerformanceConfig, performance

    nav = stores.read_served("nav", first, last)
    own = nav.filter(pl.col("index") == index)
    if own.is_empty() and known_since(index, first, last, stores) is None:
        _require_purchase(index, first, last, stores)
        if nav.is_empty():
            raise no_scores(stream_of(stores.settings), first, last, stores)
        raise unknown_index(index, sorted(nav["index"].unique().to_list()), stores)

    def rows(table: str) -> pl.DataFrame:
        if own.is_empty():
            return own_rows(table, index, first, last, stores)
        return stores.read_served(table, first, last).filter(pl.col("index") == index)

    trades, blocked = rows("trades"), rows("blocked")
    closes = stores.read("daily_bars", first, last, columns=["symbol", "close"])
    missed = blocked.join(closes, on=["session", "symbol"], how="left")
    value = (pl.col("ordered") - pl.col("filled")) * pl.col("close").fill_null(0.0)
    config = PerformanceConfig(stores.market.sessions_per_year)
    return performance(rows("nav"), trades, missed.select("session", value=value), config)


def known_since(index: str, first: date, last: date, stores: Stores) -> datetime | None:
    """The moment from which an index's book is known, where none of it was known in its own sessions; else None.

    Its members, bars or scores came after those sessions, so what it follows was known later than what it traded on.
    """
    if stores.read_served("nav", first, last).filter(pl.col("index") == index).height:
        return None
    late = stores.read("nav", first, last).filter(pl.col("index") == index).drop_nulls("nav")
    since = late["created_timestamp"].min()
    return since if isinstance(since, datetime) else None


def _require_purchase(index: str, first: date, last: date, stores: Stores) -> None:
    """Raises where an index has decisions and never bought."""
    made = own_decisions(index, first, last, stores)
    if made.is_empty():
        return
    each = made["status"].value_counts().sort("status")
    counts = ", ".join(f"{count} {status}" for status, count in each.iter_rows())
    waits, newest = AWAITING in made["status"].to_list(), made["session"].to_list()[-1]
    raise (TryLater if waits else FpmError)(
        code="FPM-PF-100",
        wrong=f"{index} has bought nothing from {first} to {last}: its decisions are {counts}",
        effect="the decisions are stored, there are no figures",
        todo=f"approve one: fpm enhance --approve {newest} --index {index}"
        if waits
        else "see the log of the walk for the code of each decision, and docs/portfolios.md",
    )


def own_decisions(index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """Rows of `decisions` of one index, without those that were withdrawn."""
    return stores.read("decisions", first, last).filter(pl.col("index") == index).drop_nulls("status")


# --- export -------------------------------------------------------------------------------------------------------
def export(index: str, first: date, last: date, folder: Path, stores: Stores) -> dict[str, int]:
    """Write the index's eight tables and its two attributions as Parquet files into a folder; returns table -> rows.

    Columns: docs/portfolios.md. `exposures` and `covariance` are those of the decisions' sessions.
    """
    from consumers.questions.attribution import daily_brinson, daily_lines, own_rows

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
    frames["brinson"] = daily_brinson(index, first, last, stores)
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
    from fpm.risk.stored import exposure_columns

    covariance, specific = (
        stores.read(table, session).filter(pl.col("index") == index) for table in ("covariance", "specific_variances")
    )
    factors = covariance["factor"].unique(maintain_order=True).to_list()
    exposed = stores.read("exposures", session)
    rows = specific.select("symbol", "specific_variance").join(exposed, on="symbol", how="left", maintain_order="left")
    return rows.select(pl.lit(session).alias("session"), "symbol", "specific_variance", **exposure_columns(factors))
