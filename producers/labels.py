"""Job: each symbol's forward return, which evaluates its score of a session, once that return is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.features.labels import HORIZON, labels
from fpm.sessions import next_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "labels"
READS: Mapping[str, Window] = {"daily_bars": Window(ahead=HORIZON + 1)}
WRITES: tuple[str, ...] = (NAME,)


def run(session: date, stores: Stores) -> None:
    """Write the labels of `session` from the daily bars of the sessions after it."""
    last = next_sessions(stores.market, session, HORIZON + 1)[-1]
    stores.write(NAME, session, labels(stores.read("daily_bars", session, last), session))
