"""The morning page of a session: every index's portfolio, what it trades next and why, and how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from consumers.questions.attribution import daily_lines, daily_returns
from consumers.questions.enhance import index_performance, known_since
from consumers.questions.stock_days import require_session
from fpm.errors import TryLater
from fpm.identities import APART
from fpm.portfolio.attribution import linked, linked_by_period
from fpm.report import morning as page
from fpm.schema import STYLES
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from fpm.store.ledger.stores import Stores

PAGE, TEXT = "morning.html", "morning.md"
TODAY = ("orders", "trades", "blocked", "actions", "holdings", "targets")  # tables of the session itself


def write(session: date, out: Path | None, stores: Stores) -> Path:
    """Write the page and its Markdown twin (default: under the home's reports); the page's path.

    Same store, same bytes. Raises UsageError for a day without trading, TryLater where the session has no portfolio.
    """
    morning = gather(session, stores)
    target = out or stores.settings.reports / PAGE
    write_whole(target, page.build(morning).encode())
    write_whole(target.with_suffix(".md"), page.text(morning).encode())
    return target


def newest_session(stores: Stores) -> date:
    """The newest session with a portfolio. Raises TryLater where there is none."""
    sessions = stores.sessions("weights")
    if not sessions:
        raise _none("the home has no portfolio yet")
    return sessions[-1]


def gather(session: date, stores: Stores) -> page.Morning:
    """The page's content: the standing of every index that has a portfolio in the session."""
    require_session(session, stores.market, code="FPM-MRN-001", effect="no page was written")
    if session not in stores.sessions("weights"):
        raise _none(f"{session} has no portfolio")
    weights = stores.read("weights", session).drop_nulls("weight")
    indices = sorted(weights["index"].unique().to_list())
    return page.Morning(stores.market.name, session, [standing(index, session, stores) for index in indices])


def standing(index: str, session: date, stores: Stores) -> page.Standing:
    """One index's portfolio on the evening of a session, what came before under the names of that evening."""
    first, stores = stores.sessions("weights")[0], stores.named_apart(session)
    decisions = _rows("decisions", index, first, session, stores).drop_nulls("status").sort("session")
    today, before = (decisions.filter(part) for part in (pl.col("session") == session, pl.col("session") < session))
    last = before.row(-1, named=True) if before.height else None
    frames = {table: _rows(table, index, session, session, stores) for table in TODAY}
    frames = {table: _standing_rows(table, rows) for table, rows in frames.items()}
    decided_at = last["session"] if last else session
    frames["ordered"] = _ordered(index, decided_at, session, stores) if last else frames["orders"].clear()
    targets = _rows("targets", index, first, session, stores).drop_nulls("shares")
    frames["targets_before"] = targets.filter(pl.col("session") == decided_at) if last else targets.clear()
    nav = _rows("nav", index, first, session, stores).drop_nulls("nav").sort("session")
    now, then = (_members(index, day, stores) for day in (session, decided_at))
    lines = daily_lines(index, first, session, stores)
    returns = daily_returns(index, first, session, stores)
    return page.Standing(
        index,
        session,
        today.row(0, named=True) if today.height else None,
        last,
        frames,
        nav=_last_row(nav, session),
        entered=sorted(now - then),
        left=sorted(symbol.split(APART)[0] for symbol in then - now),
        halted=_halted(frames["holdings"], session, stores),
        performance=index_performance(index, first, session, stores) if nav.height else None,
        exposures=exposure_rows(targets),
        attribution=linked(lines, returns),
        periods=linked_by_period(lines, returns),
        attributed=returns.height,
        sessions_per_year=stores.market.sessions_per_year,
        known_since=known_since(index, first, session, stores),
    )


def exposure_rows(targets: pl.DataFrame) -> pl.DataFrame:
    """session, kind, name, active: what each decision's weights have more than the index, by style and industry.

    `targets`: session, weight, benchmark_weight, industry and the styles; an unknown style counts as none.
    """
    active = targets.with_columns(active=pl.col("weight") - pl.col("benchmark_weight"))
    sums = [(pl.col("active") * pl.col(name).fill_null(0.0)).sum().alias(name) for name in STYLES]
    styles = active.group_by("session").agg(sums).unpivot(index="session", variable_name="name", value_name="active")
    industries = active.group_by("session", name=pl.col("industry").fill_null("")).agg(pl.col("active").sum())
    kinds = [
        rows.select("session", kind=pl.lit(kind), name="name", active="active")
        for kind, rows in (("style", styles), ("industry", industries))
    ]
    return pl.concat(kinds).sort("session", "kind", "name")


def _rows(table: str, index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    return stores.read(table, first, last).filter(pl.col("index") == index)


def _standing_rows(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Without the rows that a correction withdrew."""
    value = {"blocked": "ordered", "actions": "shares_before"}.get(table, "shares")
    return rows.drop_nulls(value)


def _ordered(index: str, made: date, session: date, stores: Stores) -> pl.DataFrame:
    """The orders of an earlier decision that this session filled."""
    rows = _rows("orders", index, made, made, stores).drop_nulls("shares")
    return rows.filter(pl.col("fill_session") == session)


def _last_row(nav: pl.DataFrame, session: date) -> Mapping[str, Any] | None:
    own = nav.filter(pl.col("session") == session)
    return own.row(0, named=True) if own.height else None


def _members(index: str, session: date, stores: Stores) -> set[str]:
    rows = _rows("weights", index, session, session, stores)
    return set(rows.filter(pl.col("benchmark_weight") > 0)["symbol"].to_list())


def _halted(holdings: pl.DataFrame, session: date, stores: Stores) -> list[str]:
    """Names held that did not trade in the session."""
    bars = stores.read("daily_bars", session, columns=["symbol", "volume", "suspended"])
    traded = bars.filter((pl.col("volume") > 0) & ~pl.col("suspended").fill_null(False))["symbol"].to_list()
    return sorted(set(holdings["symbol"].to_list()) - set(traded))


def _none(wrong: str) -> TryLater:
    return TryLater(
        code="FPM-MRN-075",
        wrong=wrong,
        effect="no page was written",
        todo="run a night first (`fpm nightly`), or `fpm enhance INDEX FIRST LAST`",
    )
