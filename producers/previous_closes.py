"""Each symbol's last close before a session: `pre_close` of derived daily bars, and the scale of prices."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.scales import KEYS, scale_faults, scaled_sessions
from fpm.sessions import previous_sessions

if TYPE_CHECKING:
    from fpm.ingest.units import Stated
    from fpm.ingest.vendor_bars import Combined
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


def in_scale(combined: Combined, stated: Stated, stores: Stores) -> Combined:
    """The bars of a batch without the symbol-sessions that look scaled beside the closes before.

    Nothing is compared where the caller says what the prices are.
    """
    if stated.prices or combined.frame.is_empty():
        return combined
    first = combined.frame["session"].min()
    closes = previous_closes(first, stores, None) if isinstance(first, date) else pl.DataFrame()
    scaled = scaled_sessions(combined.frame, closes)
    if scaled.is_empty():
        return combined
    faults = scale_faults(combined.frame, scaled)
    frame = combined.frame.join(scaled, on=KEYS, how="anti", maintain_order="left")
    return replace(combined, frame=frame, quarantined=pl.concat([combined.quarantined, faults]))
