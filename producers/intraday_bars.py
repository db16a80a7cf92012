"""Bars of the running session, up to a minute: a table of their own, which no night reads.

They are no delivery of their session: its whole bars come by `fpm ingest`, and are judged there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused, TryLater, UsageError
from fpm.first_copies import rule_of
from fpm.ingest.bar_files import order_in
from fpm.ingest.conventions import NOTHING
from fpm.ingest.deliveries import find, read_all
from fpm.ingest.session_holes import words
from fpm.ingest.signed_deliveries import require_signed
from fpm.ingest.vendor_bars import combine, original_rows
from fpm.sessions import moment
from fpm.store.jobs.minutes import EVENT, earliest, publish_minute
from fpm.store.lake.files import CLOCK
from fpm.store.lake.quarantine import keep_rows
from producers import whole_sessions
from producers.bars import PUBLISH
from producers.decisions import remembered, stated_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fpm.ingest.vendor_bars import Combined, Parsed
    from fpm.running_session import Cut
    from fpm.store.ledger.stores import Stores

NAME = "intraday_bars"


@dataclass(frozen=True)
class Account:
    """What became of the rows of a delivery: `later` than the minute and of `other` sessions they are passed over."""

    stored: int
    later: int
    other: int
    quarantined: int
    deduplicated: int


def take(paths: Sequence[Path], at: Cut, now: datetime, stores: Stores) -> Account:
    """Store the bars of the running session up to a minute; what files hold beyond it is passed over.

    Bars are known from the minute and its latency; in a home that publishes from their arrival, if later. A refused
    file refuses the delivery.
    Raises TryLater for a minute that has not passed and for bars that are not whole up to it, InputRefused where there
    are none, UsageError for a session that is delivered whole, and what reading bar files raises.
    """
    _require_running(at, now, stores)
    parsed = _parsed(paths, now, stores)
    today, until = pl.col("session") == at.session, pl.col("slot") <= at.slot
    later = sum(file.frame.filter(today & ~until).height for file in parsed)
    other = sum(file.frame.filter(~today).height for file in parsed)
    cut = [replace(file, frame=file.frame.filter(today & until)) for file in parsed]
    if not any(file.frame.height for file in cut):
        raise InputRefused(
            code="FPM-DAY-006",
            wrong=f"no row is of {at.session} up to {at.text}: {later} are later, {other} of other sessions",
            effect="nothing was stored",
            todo="deliver the bars of the running session",
        )
    stored = _stored(at, stores)
    delivered = [file.frame.select(stored.columns).cast(stored.schema) for file in cut]
    _require_whole(pl.concat([stored, *delivered]), at, stores)  # before symbols with holes are set aside
    combined = combine(cut, stores.market, _counted(stored, cut, at, stores))
    rows = combined.frame.drop("source", "row", "session")
    ends = [moment(stores.market, at.session, minute) for minute in stores.market.slots]
    events = pl.col("slot").replace_strict(list(range(len(ends))), ends, return_dtype=CLOCK).alias(EVENT)
    publish_minute(NAME, rows.with_columns(events), at, _known_at(at, now, stores), stores)
    quarantined = sum(_quarantine(number, file, combined, stores) for number, file in enumerate(parsed))
    return Account(rows.height, later, other, quarantined, combined.deduplicated)


def _require_running(at: Cut, now: datetime, stores: Stores) -> None:
    if at.moment > now:
        raise TryLater(
            code="FPM-DAY-007",
            wrong=f"{at.text} of {at.session} has not passed",
            effect="nothing was read",
            todo="come back after it",
        )
    if at.session in stores.sessions(whole_sessions.BARS):
        raise UsageError(
            code="FPM-DAY-008",
            wrong=f"{at.session} is closed: its whole bars are delivered",
            effect="nothing was read",
            todo=f"its night has the whole session: fpm nightly --session {at.session}",
        )


def _parsed(paths: Sequence[Path], now: datetime, stores: Stores) -> list[Parsed]:
    """Every bar file, read by the home's conventions."""
    delivery = find(paths)
    require_signed(paths, stores.settings.signing_key)
    order = order_in(delivery.bars)
    parsed, refused = read_all(
        delivery.bars, stores.market, now, remembered(stores), stated_words(NOTHING, stores), order
    )
    for file in refused:
        raise file.refusal
    return parsed


def _stored(at: Cut, stores: Stores) -> pl.DataFrame:
    """Symbol, slot and volume of the running session's bars that are already there."""
    rows = stores.as_delivered().as_of(None).read(NAME, at.session, at.session, columns=whole_sessions.COLUMNS)
    return rows.filter(pl.col("slot") <= at.slot).select(whole_sessions.COLUMNS)


def _counted(stored: pl.DataFrame, parsed: Sequence[Parsed], at: Cut, stores: Stores) -> pl.DataFrame:
    """Session, symbol and slot that count as delivered: bars already there, and every minute still to come."""
    symbols = pl.concat([file.frame.select(pl.col("symbol").cast(pl.String)) for file in parsed]).unique()
    slots = pl.Series("slot", range(at.slot + 1, len(stores.market.slots)), dtype=stored["slot"].dtype)
    rest = symbols.join(slots.to_frame(), how="cross")
    return pl.concat([stored.select("symbol", "slot"), rest]).select(pl.lit(at.session).alias("session"), pl.all())


def _require_whole(bars: pl.DataFrame, at: Cut, stores: Stores) -> None:
    """Raises TryLater where a part of the market lacks bars up to the minute, as a night judges its session."""
    gap = whole_sessions.hole_up_to(bars.unique(["symbol", "slot"], keep="last"), at, stores)
    if gap is not None:
        raise TryLater(
            code="FPM-DAY-009",
            wrong=f"the bars of {at.session} up to {at.text} are not whole: {words(gap, stores.market, at.session)}",
            effect="nothing was stored, what is online stays",
            todo="deliver all of them in one call, or an earlier minute",
        )


def _known_at(at: Cut, now: datetime, stores: Stores) -> datetime:
    live = stores.ledger.first_published(PUBLISH)
    arrived = rule_of(at.session, live and live[0], stated=False) == "arrival"
    return max(earliest(at, stores), now) if arrived else earliest(at, stores)


def _quarantine(number: int, file: Parsed, combined: Combined, stores: Stores) -> int:
    """Keep a file's bad rows as the vendor wrote them; returns their number."""
    across = pl.concat([combined.quarantined, combined.amended]).filter(pl.col("source") == number)
    faults = pl.concat([file.quarantined, across.select(file.quarantined.columns)])
    if faults.height:
        keep_rows(stores.settings.quarantine, NAME, original_rows(file.path, faults), file.report.sha256)
    return faults.height
