"""The running session: the minute at which it is read.

What is known at a minute is a kind of its own: bars up to it, and of whole sessions those before. Nothing here reads
the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm.errors import UsageError
from fpm.sessions import is_session, last_slot, moment, session_slots

if TYPE_CHECKING:
    from datetime import date, datetime

    from fpm.markets import Market

SPELLING = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True)
class Cut:
    """A minute of a running session: its `text` (`14:30`), stored `slot`, `position` in a view, and moment (UTC)."""

    session: date
    text: str
    slot: int
    position: int
    moment: datetime

    def vintage(self, encoder: str) -> str:
        """The vintage of vectors that an encoder makes of sessions cut here; whole sessions never have it."""
        return f"{encoder}@{self.text}"


def cut(session: date, text: str, market: Market, view: str) -> Cut:
    """The minute of a session in a view of its grid.

    Raises UsageError for a day without trading, for text that is no minute, and for a minute that ends no bar of the
    session, or its last one: then the session is whole, and its night's.
    """
    if not is_session(market, session):
        raise UsageError(
            code="FPM-DAY-001",
            wrong=f"{session} is no session of {market.name}",
            effect="nothing was done",
            todo="give a day on which the market trades",
        )
    spelled = SPELLING.fullmatch(text)
    if spelled is None:
        raise UsageError(
            code="FPM-DAY-002",
            wrong=f"{text!r} is no minute of a day",
            effect="nothing was done",
            todo="give the end of a bar on the exchange's clock, such as 14:30",
        )
    minute, ends = 60 * int(spelled[1]) + int(spelled[2]), _ends(session, market, view)
    if minute not in ends:
        shown = ", ".join(_spelled(end) for end in sorted(sorted(ends, key=lambda end: abs(end - minute))[:2]))
        raise UsageError(
            code="FPM-DAY-003",
            wrong=f"no bar of {session} ends at {text} before its last one",
            effect="nothing was done",
            todo=f"give a minute within the session's hours (nearest: {shown}); a whole session is its night's",
        )
    slot = ends[minute]
    return Cut(session, text, slot, market.views[view][slot], moment(market, session, minute))


def _ends(session: date, market: Market, view: str) -> dict[int, int]:
    """Minute of the day -> stored slot, of every minute of the view that the session ends before its last one."""
    slots, places = session_slots(market, session), market.views[view]
    whole = {place: slot for slot, place in enumerate(places) if place >= 0}  # the last slot of each minute of the view
    final = places[last_slot(market, session)]
    return {slots.ends[slot]: slot for place, slot in whole.items() if slots.open_N[slot] and place != final}


def _spelled(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
