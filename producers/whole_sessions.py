"""Whether a stored session is whole over the market: judged at ingest, and again where its bars or hours changed."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import FpmError
from fpm.ingest.session_holes import HISTORY, VERSION, hole, presence, words
from fpm.sessions import previous_sessions, session_slots
from fpm.store.ledger.holes import accepted, judged, note

if TYPE_CHECKING:
    from datetime import date

    from fpm.ingest.session_holes import Hole, Presence
    from fpm.markets import Market
    from fpm.running_session import Cut
    from fpm.store.ledger.stores import Stores

BARS, COLUMNS = "minute_bars", ("symbol", "slot", "volume")


def fault(session: date, stores: Stores) -> str | None:
    """What a stored session lacks over the market, in words; None for a whole one, and for one without bars.

    Each content is judged once, beside the whole sessions before it, and the ledger keeps the words.
    """
    content = _content(session, stores)
    if content is None:
        return None
    judgement = judged(stores.ledger.beside(session), stores.ledger).get(session)
    if judgement is not None and judgement[0] == content:
        return judgement[1]
    gap = hole(_presence(session, stores), _before(session, stores), stores.market)
    reason = None if gap is None else words(gap, stores.market, session)
    note(session, content, reason, stores.ledger)
    return reason


def hole_up_to(bars: pl.DataFrame, at: Cut, stores: Stores) -> Hole | None:
    """The gravest hole of a running session's bars (symbol, slot, volume) up to a minute; what comes later is none."""
    today, market = presence(bars, stores.market, at.session), stores.market
    passed_N = np.arange(len(market.slots)) <= at.slot
    return hole(replace(today, open_N=today.open_N & passed_N), _before(at.session, stores), market)


def standing(session: date, stores: Stores) -> str | None:
    """`fault`, unless somebody accepted the session as it is."""
    reason = fault(session, stores)
    return None if reason is None or session in accepted(stores.ledger) else reason


def refusal(session: date, reason: str) -> FpmError:
    """The error of a night whose session is not whole."""
    return FpmError(
        code="FPM-NGT-020",
        wrong=f"the bars of {session} are not whole: {reason}",
        effect="the night does not run, what was online stays",
        todo=advice(session),
    )


def advice(session: date) -> str:
    """What to do about a session that is not whole."""
    return (
        f"fpm ingest PATH with the rest; where the exchange closed early, a line in FPM_CALENDAR (early HH:MM); "
        f"where no more will come: fpm accept {session} --reason TEXT"
    )


def of_delivery(
    bars: pl.DataFrame, home: Stores | None, market: Market, before: dict[date, Presence]
) -> dict[date, str]:
    """Sessions of bars that are not stored yet (session, symbol, slot, volume) and what they lack, in words.

    `before`: whole sessions of the same delivery, to which this adds its own; a home's are taken where there are none.
    Rows that the home has of a session count as delivered.
    """
    faults = {}
    for (session,), rows in sorted(bars.partition_by("session", as_dict=True).items()):
        own = rows.select(pl.col("symbol").cast(pl.String), "slot", pl.col("volume").cast(pl.Float64))
        if home is not None and home.lake.files(BARS, session, session):
            stored = home.as_delivered().read(BARS, session, columns=COLUMNS).select(COLUMNS)
            own = pl.concat([stored, own]).unique(["symbol", "slot"], keep="last")
        today = presence(own, market, session)
        earlier = [before[day] for day in sorted(before) if day < session][-HISTORY:]
        if not earlier and home is not None:
            earlier = _before(session, home)
        gap = hole(today, earlier, market)
        if gap is None:
            before[session] = today
            for day in sorted(before)[:-HISTORY]:
                del before[day]
        else:
            faults[session] = words(gap, market, session)
    return faults


def _content(session: date, stores: Stores) -> str | None:
    """What the judgement rests on: the file, the hours of the session, the judgement itself."""
    path = stores.lake.relative(BARS, session)
    file = stores.ledger.current([BARS], session, session).get(path)
    if file is None or not file.rows:
        return None
    slots = session_slots(stores.market, session)
    return sha256(repr((VERSION, file.sha256, slots.starts, slots.ends, slots.open_N.tolist())).encode()).hexdigest()


def _presence(session: date, stores: Stores) -> Presence:
    return presence(stores.as_delivered().read(BARS, session, columns=COLUMNS), stores.market, session)


def _before(session: date, stores: Stores) -> list[Presence]:
    """The newest whole or accepted sessions before this one."""
    days = previous_sessions(stores.market, session, 2 * HISTORY)
    faults = judged(days, stores.ledger)
    good = accepted(stores.ledger)
    whole = [
        day
        for day in days
        if stores.lake.files(BARS, day, day) and (day in good or faults.get(day, ("", None))[1] is None)
    ]
    return [each for day in whole[-HISTORY:] if len((each := _presence(day, stores)).symbols)]
