"""Ingest of the table `symbols`: each delivery is a snapshot, in force from the moment at which it is known."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.first_copies import NOTES, known_from, rule_of
from fpm.ingest.revisions import revise
from fpm.schema import SYMBOLS
from fpm.sessions import close, cut_off, first_session_from, previous_sessions
from fpm.store.jobs.publishing import Partition, attempt, ownership, publish, stage
from fpm.store.jobs.receipts import keep_receipt
from fpm.store.lake.files import CLOCK, latest
from fpm.store.ledger.stores import Output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from fpm.first_copies import Rule
    from fpm.ingest.daily_files import ReferenceRows
    from fpm.markets import Market
    from fpm.store.ledger.stores import Stores

NAME = "symbols"


def take(
    files: Sequence[ReferenceRows], known_at: datetime, first_published: date | None, stores: Stores, *, stated: bool
) -> None:
    """Publish the snapshots of new files, the earlier ones first; one that says what was known changes nothing.

    `known_at`: the arrival, or a moment that somebody states (`stated`). Dated snapshots follow the rule of first
    copies (`fpm.first_copies`). A file without sessions is a snapshot of its arrival, except a home's first one before
    it published anything: like all history in bulk it counts as known from the start, which is its own first day.
    """
    for file in files:
        parts = file.frame.partition_by("session", as_dict=True, maintain_order=True)
        written = []
        for (day,), rows in parts.items():
            if day is not None:
                session, rule = day, rule_of(day, first_published, stated=stated)
            elif stated or first_published or stores.sessions(NAME):
                session, rule = last_session(known_at, stores.market), "stated" if stated else "arrival"
            else:
                session, rule = first_session_from(stores.market, min(rows["first"].to_list())), "cut_off"
            if _publish(session, rows.select(*SYMBOLS.columns), rule, known_at, stores):
                written.append(session)
        if file.frame.height:
            keep_receipt(NAME, file.path, file.sha256, written, stores)


def last_session(moment: datetime, market: Market) -> date:
    """The last session whose cut-off had passed."""
    tomorrow = moment.astimezone(market.zone).date() + timedelta(days=1)
    return [day for day in previous_sessions(market, tomorrow, 30) if cut_off(market, day) <= moment][-1]


def _publish(session: date, rows: pl.DataFrame, rule: Rule, arrival: datetime, stores: Stores) -> bool:
    """Publish one snapshot (the columns of `SYMBOLS`); False where it says what was known before."""
    partition, limit = Partition(NAME, session), cut_off(stores.market, session)
    with ownership(partition, stores):
        files = stores.lake.files(NAME, session, session)
        stored = stores.lake.decode(files[0][1]) if files else None
        moment = max(limit, arrival) if files else known_from(rule, limit, arrival)
        if stores.as_of(moment).identities().sort(*SYMBOLS.keys).equals(rows.sort(*SYMBOLS.keys)):
            return False
        snapshot = rows if stored is None else pl.concat([rows, _withdrawn(rows, stored, moment)])
        incoming = snapshot.with_columns(event_timestamp=pl.lit(close(stores.market, session), dtype=CLOCK))
        frame = revise(stored, incoming, SYMBOLS.keys, moment, moment)
        with attempt(partition, "", stores) as this_attempt:
            if stored is None:
                stores.ledger.note(this_attempt, NOTES[rule])
            publish(partition, this_attempt, stage(partition, [Output(NAME, session, None, frame)], stores), stores)
    return True


def _withdrawn(rows: pl.DataFrame, stored: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """The rows of the former snapshot that the new one lacks, without values."""
    former = latest(SYMBOLS, stored, moment).select(*SYMBOLS.columns).drop_nulls("identity")
    gone = former.join(rows, on=list(SYMBOLS.keys), how="anti", maintain_order="left")
    return gone.with_columns(last=pl.lit(None, pl.Date), identity=pl.lit(None, pl.String))
