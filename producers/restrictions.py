"""Ingest of the table `restrictions`: each delivery is the whole list, in force from when it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.schema import RESTRICTIONS
from fpm.sessions import first_session_from, previous_sessions
from fpm.store.jobs.receipts import keep_receipt
from producers.snapshots import last_session, publish_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from fpm.first_copies import Rule
    from fpm.ingest.daily_files import ReferenceRows
    from fpm.markets import Market
    from fpm.store.ledger.stores import Stores

NAME = "restrictions"


def take(
    files: Sequence[ReferenceRows], known_at: datetime, first_published: date | None, stores: Stores, *, stated: bool
) -> None:
    """Publish the lists of new files; one that says what was known changes nothing.

    `known_at`: the arrival, or a moment that somebody states (`stated`, or the file's own column known_at). A home's
    first list before it published anything counts as known from the start, like all history in bulk.
    """
    for file in files:
        own = file.frame["known_at"].max()
        moment: datetime = own if own is not None else known_at  # type: ignore[assignment]  # polars types max loosely
        is_stated = stated or own is not None
        rows = file.frame.select(*RESTRICTIONS.columns)
        session, rule = last_session(moment, stores.market), _rule(is_stated)
        if not is_stated and not first_published and not stores.sessions(NAME) and rows.height:
            session, rule = _evening_before(min([session, *rows["first"].to_list()]), stores.market), "cut_off"
        written = [session] if publish_snapshot(RESTRICTIONS, session, rows, rule, moment, stores) else []
        keep_receipt(NAME, file.path, file.sha256, written, stores)


def _evening_before(day: date, market: Market) -> date:
    """The session before the first one from a day on: its decision is the first that the list binds."""
    first = first_session_from(market, day)
    return (previous_sessions(market, first, 1) or [first])[0]


def _rule(stated: bool) -> Rule:
    return "stated" if stated else "arrival"
