"""Rows of the running session: published minute by minute, each known a stated time after its minute.

A session's partition holds every minute that was read of it, and every version. Bars that came later than that, or were
corrected, make their rows known later.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import TryLater
from fpm.ingest.revisions import revise
from fpm.schema import CLOCKS, INTRADAY_BARS
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import digest
from fpm.store.jobs.publishing import (
    Partition,
    attempt,
    discard,
    last_published,
    outcome,
    ownership,
    publish,
    stage,
)
from fpm.store.lake.files import canonical, instant, table_of
from fpm.store.ledger.absences import absences
from fpm.store.ledger.stores import Output

if TYPE_CHECKING:
    from datetime import date, datetime

    from fpm.running_session import Cut
    from fpm.store.jobs.publishing import Outcome
    from fpm.store.ledger.stores import Stores

EVENT, CREATED = CLOCKS
NIGHTLY = ("daily_bars", "daily_factors", "fingerprints")  # what a minute's scores read of the session before
LOOKS = 60  # sessions in which one that is not absent is looked for


def earliest(at: Cut, stores: Stores) -> datetime:
    """The earliest moment at which something of a minute may be known: `intraday_latency` seconds after it."""
    return at.moment + timedelta(seconds=stores.settings.intraday_latency)


def as_known(at: Cut, stores: Stores) -> Stores:
    """The stores as known when the bars up to a minute were, under the names of its session.

    Raises TryLater where no bars of the running session are there.
    """
    everything = stores.as_delivered().as_of(None)
    stored = everything.read(INTRADAY_BARS.name, at.session, at.session, columns=["slot", CREATED])
    moments = stored.filter(pl.col("slot") <= at.slot)[CREATED]
    if moments.is_empty():
        raise TryLater(
            code="FPM-DAY-004",
            wrong=f"there are no bars of {at.session} up to {at.text}",
            effect="nothing was computed",
            todo=f"deliver them: fpm intraday {at.session} --at {at.text} PATH",
        )
    return stores.as_of(max([earliest(at, stores), *moments.unique().to_list()])).named(at.session)


def bars_so_far(at: Cut, known: Stores) -> pl.DataFrame:
    """The session's bars up to a minute, later ones left out."""
    return known.read(INTRADAY_BARS.name, at.session).filter(pl.col("slot") <= at.slot)


def session_before(at: Cut, known: Stores) -> date:
    """The last session before the running one that was not declared absent. Raises TryLater where its night is open."""
    absent = absences(known.ledger)
    before = next(day for day in reversed(previous_sessions(known.market, at.session, LOOKS)) if day not in absent)
    lacking = [table for table in NIGHTLY if before not in known.sessions(table)]
    if lacking:
        raise TryLater(
            code="FPM-DAY-005",
            wrong=f"{before}, the session before {at.session}, has no {lacking[0]}",
            effect="nothing was computed",
            todo=f"ingest it and run its night: fpm nightly --session {before}",
        )
    return before


def publish_minute(table: str, rows: pl.DataFrame, at: Cut, known_at: datetime, stores: Stores) -> Outcome:
    """Add one minute's rows to a table's partition: new ones, and new versions of changed ones.

    `rows` without `event_timestamp` describe the minute itself. Equal rows publish nothing.
    """
    declared, partition = table_of(table), Partition(table, at.session)
    if EVENT not in rows.columns:
        rows = rows.with_columns(instant(at.moment).alias(EVENT))
    with ownership(partition, stores):
        files = stores.lake.files(table, at.session, at.session)
        before = stores.lake.decode(files[0][1]) if files else None
        incoming = canonical(declared, rows.drop("session", strict=False).with_columns(_created(known_at)))
        whole = revise(before, incoming.drop(CREATED), declared.keys, known_at, known_at)
        staged = stage(partition, [Output(table, at.session, None, canonical(declared, whole))], stores)
        content = digest([staged[0].file.sha256])
        last = last_published(partition, stores)
        if last is not None and last.inputs_sha == content:
            discard(staged, stores)
            return outcome(partition, "unchanged", last.files)
        with attempt(partition, content, stores) as current:
            stores.ledger.note(current, f"{at.text}, known from {known_at.isoformat()}")
            return publish(partition, current, staged, stores)


def _created(known_at: datetime) -> pl.Expr:
    return instant(known_at).alias(CREATED)
