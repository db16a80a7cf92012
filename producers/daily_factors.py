"""Job: the traditional factors of every symbol of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.features.daily_factors import HISTORY, daily_factors
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "daily_factors"
READS: Mapping[str, Window] = {"daily_bars": Window(back=HISTORY)}
WRITES: tuple[str, ...] = (NAME,)


def run(session: date, stores: Stores) -> None:
    """Write the factors of `session` from its daily bars and those of earlier sessions."""
    first = previous_sessions(stores.market, session, HISTORY)[0]
    stores.write(NAME, session, daily_factors(stores.read("daily_bars", first, session), session))
