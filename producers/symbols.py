"""Ingest of the table `symbols`: each delivery is a snapshot, in force from the moment at which it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.first_copies import rule_of
from fpm.schema import SYMBOLS
from fpm.sessions import first_session_from
from fpm.store.jobs.receipts import keep_receipt
from producers.snapshots import last_session, publish_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from fpm.ingest.daily_files import ReferenceRows
    from fpm.store.ledger.stores import Stores

NAME = "symbols"


def take(
    files: Sequence[ReferenceRows],
    known_at: datetime,
    first_published: date | None,
    stores: Stores,
    *,
    stated: bool,
    words: Mapping[date | None, Sequence[str]],
) -> None:
    """Publish the snapshots of new files, the earlier ones first; one that says what was known changes nothing.

    `known_at`: the arrival, or a moment that somebody states (`stated`). Dated snapshots follow the rule of first
    copies (`fpm.first_copies`). A file without sessions is a snapshot of its arrival, except a home's first one before
    it published anything: like all history in bulk it counts as known from the start, which is its own first day.
    `words`: what is to be noted in the ledger, by the snapshot's session.
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
            snapshot, remarks = rows.select(*SYMBOLS.columns), words.get(day, ())
            if publish_snapshot(SYMBOLS, session, snapshot, rule, known_at, stores, remarks):
                written.append(session)
        if file.frame.height:
            keep_receipt(NAME, file.path, file.sha256, written, stores)
