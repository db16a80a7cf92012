"""Each symbol's last close before a session, from which daily bars derived from minutes take `pre_close`."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from fpm.sessions import previous_sessions

if TYPE_CHECKING:
    import polars as pl

    from fpm.store.ledger.stores import Stores

LOOK_BACK = 5  # sessions that may hold a symbol's previous close


def previous_closes(session: date, stores: Stores, known_at: datetime | None) -> pl.DataFrame:
    """symbol, close, float_shares: each symbol's last close before the session, as known at a moment (None: now).

    A symbol that did not trade for more than `LOOK_BACK` sessions has none; a renamed company keeps its own.
    """
    before = previous_sessions(stores.market, session, LOOK_BACK) or [session - timedelta(days=1)]
    past = stores.as_of(known_at).named(session)
    rows = past.read("daily_bars", before[0], before[-1], columns=("symbol", "close", "float_shares"))
    return rows.drop_nulls("close").unique("symbol", keep="last", maintain_order=True).drop("session")
