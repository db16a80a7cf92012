"""Vendor bars in the slots of their sessions: a label and the side it names give one session and one slot, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.markets import DAY
from fpm.sessions import SessionSlots, session_slots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.ingest.conventions import Conventions
    from fpm.markets import Market


def placed(bars: pl.DataFrame, market: Market, conventions: Conventions, sessions: Sequence[date]) -> pl.DataFrame:
    """`bars` (day, label, whole, symbol) with `session` and `slot` (null where no minute of a session is named).

    `sessions`: those around the bars' days, in order; one that begins on the evening before takes bars of that day. A
    row outside every session keeps its own day as session.
    """
    days = bars["day"].cast(pl.Int32).cast(pl.Int64)
    minute_R = (days * DAY + bars["label"].cast(pl.Int64)).fill_null(-1).to_numpy()
    for label, true in conventions.moved:
        minute_R = np.where(minute_R % DAY == label, minute_R + true - label, minute_R)
    session_R, slot_R = _placed(minute_R, market, conventions, sessions)
    own_label = conventions.stamp_side == "start" and market.closing_call in conventions.calls
    slot_R = _continuous(bars, session_R, slot_R, market, sessions, -1 if own_label else len(market.slots) - 2)
    inside_R = (slot_R >= 0) & bars["whole"].fill_null(False).to_numpy() & bars["day"].is_not_null().to_numpy()
    own = pl.Series("session", [*sessions, None], pl.Date).gather(np.where(session_R < 0, len(sessions), session_R))
    return bars.with_columns(
        pl.coalesce(own, "day").alias("session"),
        pl.Series("slot", np.where(inside_R, slot_R, -1), pl.Int16).replace(-1, None),
    )


def _placed(
    minute_R: np.ndarray, market: Market, conventions: Conventions, sessions: Sequence[date]
) -> tuple[np.ndarray, np.ndarray]:
    """Position in `sessions` and slot of each absolute minute, -1 where there is none."""
    nowhere: np.ndarray = np.full(len(minute_R), -1)
    if not sessions:
        return nowhere, nowhere
    midnight_D = np.array(pl.Series(sessions).cast(pl.Int32).to_list(), np.int64) * DAY
    kinds = {slots: number for number, slots in enumerate({session_slots(market, day): None for day in sessions})}
    tables = [_labels(market, conventions, slots) for slots in kinds]
    kind_D = np.array([kinds[session_slots(market, day)] for day in sessions])
    low, high = min(min(table) for table in tables), max(max(table) for table in tables)
    slot_KL: np.ndarray = np.full((len(tables), high - low + 1), -1)
    for table, slot_L in zip(tables, slot_KL, strict=True):
        slot_L[np.array(list(table)) - low] = list(table.values())
    first_D = midnight_D + np.array([min(table) for table in tables])[kind_D]
    last_D = midnight_D + np.array([max(table) for table in tables])[kind_D]
    session_R = np.searchsorted(first_D, minute_R, side="right") - 1
    within_R = (session_R >= 0) & (minute_R <= last_D[session_R])
    label_R = np.where(within_R, minute_R - midnight_D[session_R] - low, 0)
    return np.where(within_R, session_R, -1), np.where(within_R, slot_KL[kind_D[session_R], label_R], -1)


def _labels(market: Market, conventions: Conventions, slots: SessionSlots) -> dict[int, int]:
    """Label -> slot under the vendor's conventions. A call's slot is filled only by the label that holds the call."""
    by_start, last = conventions.stamp_side == "start", len(market.slots) - 1
    table: dict[int, int] = {}
    for slot, (start, end) in enumerate(zip(slots.starts, slots.ends, strict=True)):
        if not slots.open_N[slot] or (slot == 0 and market.opening_call is not None):
            continue
        is_call = slot == last and market.closing_call is not None
        table[end - market.bar_minutes if is_call and by_start else start if by_start else end] = slot
    opening, closing = (
        [call for call in conventions.calls if (call == market.closing_call) is late] for late in (False, True)
    )
    if opening and slots.open_N[0]:
        table[opening[0]] = 0
    if by_start and closing and slots.open_N[last]:
        table[closing[0] - market.bar_minutes], table[closing[0]] = last - 1, last
    return table


def _continuous(
    bars: pl.DataFrame,
    session_R: np.ndarray,
    slot_R: np.ndarray,
    market: Market,
    sessions: Sequence[date],
    instead: int,
) -> np.ndarray:
    """Slots with the last bar of an exchange that had no closing call yet in slot `instead`, the last continuous one.

    `instead` is -1 where the vendor's label holds the call alone: then such a bar is none of the session's.
    """
    since = market.exchange.closing_call_since
    if market.closing_call is None or not since or not sessions or sessions[0] >= max(since.values()):
        return slot_R
    last = len(market.slots) - 1
    exchange = bars["symbol"].str.split(".").list.last()
    day = pl.Series([*sessions, None], dtype=pl.Date).gather(np.where(session_R < 0, len(sessions), session_R))
    before = [((exchange == suffix) & (day < first)).fill_null(False).to_numpy() for suffix, first in since.items()]
    return np.where((slot_R == last) & np.logical_or.reduce(before), instead, slot_R)
