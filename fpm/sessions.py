"""Sessions: the days that trade, the hours and slots of each, the moments at which they end and are known.

A *session* is a trading date; a *minute* is a bar's END, exchange-local; a *slot* is its position in the
market's stored grid. Time is always an argument: nothing here reads the clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from fpm import markets
from fpm.calendar_overrides import Override, Segments, amend
from fpm.errors import UsageError
from fpm.trading_calendars import trading_calendar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from fpm.markets import Market

UTC = ZoneInfo("UTC")


def market(name: str) -> Market:
    """The market of a name, from the facts that come with the package and the calendar library.

    Raises UsageError for an unknown name.
    """
    return markets.named(name)


def parse_session(text: str) -> date:
    """An ISO date (`2026-01-05`, exactly ten characters), the only spelling a session has.

    Raises UsageError for anything else: paths are built from the parsed date, never from the text.
    """
    try:
        session: date | None = date.fromisoformat(text)
    except ValueError:
        session = None
    if session is None or session.isoformat() != text:  # 2026-W01-1 is an ISO date, too
        raise UsageError(
            code="FPM-CFG-064",
            wrong=f"{text!r} is not a session",
            effect="nothing was done",
            todo="give an ISO date such as 2026-01-05",
        )
    return session


def require_order(first: date, last: date) -> None:
    """Raises UsageError where a range of sessions is reversed."""
    if first > last:
        raise UsageError(
            code="FPM-CFG-065",
            wrong=f"{first} lies after {last}",
            effect="nothing was done",
            todo="give the earlier session first",
        )


def close(market: Market, session: date) -> datetime:
    """The moment the session's last minute ends, UTC. The `event_timestamp` of every daily row."""
    return moment(market, session, market.slots[-1])


def cut_off(market: Market, session: date) -> datetime:
    """The moment from which the session's first copy counts as known, UTC.

    >>> print(cut_off(market("cn"), date(2026, 1, 5)))  # 20:00 in Shanghai
    2026-01-05 12:00:00+00:00
    """
    return _local(market, session, market.cut_off).astimezone(UTC)


def opening(market: Market, session: date) -> datetime:
    """The moment at which trading begins in a session, UTC.

    >>> print(opening(market("cn"), date(2026, 1, 5)))
    2026-01-05 01:30:00+00:00
    """
    return moment(market, session, hours(market, session)[0][0])


def moment(market: Market, session: date, minute: int) -> datetime:
    """UTC moment of a minute of the day (bar END, local) of a session."""
    return _local(market, session, timedelta(minutes=minute)).astimezone(UTC)


def _local(market: Market, session: date, after: timedelta) -> datetime:
    """What the market's clocks show that long after the session's midnight."""
    return datetime.combine(session, time.min, market.zone) + after


def _calendar(market: Market) -> tuple[tuple[date, ...], Mapping[date, Segments]]:
    """All sessions of a market's calendar, and the hours of each that has its own."""
    assert market.calendar is not None
    return _with_overrides(market.calendar, market.segments, market.overrides)


@lru_cache(maxsize=16)
def _with_overrides(
    name: str, ordinary: Segments, overrides: tuple[Override, ...]
) -> tuple[tuple[date, ...], Mapping[date, Segments]]:
    own = trading_calendar(name)
    return amend(own.sessions, own.other_than(ordinary), ordinary, overrides)


def sessions_between(of: Market, first: date, last: date) -> list[date]:
    """Every session from `first` to `last`, both inclusive, in order.

    Raises UsageError where the calendar does not reach: no session is guessed.
    """
    if of.calendar is None:
        return [first + timedelta(days=i) for i in range((last - first).days + 1)]
    sessions, _ = _calendar(of)
    if first < sessions[0] or last > sessions[-1]:
        raise UsageError(
            code="FPM-CAL-001",
            wrong=f"calendar {of.calendar} covers {sessions[0]} to {sessions[-1]}, asked for {first} to {last}",
            effect="nothing was done",
            todo="upgrade exchange_calendars, or name a file of the exchange's announcements in FPM_CALENDAR",
        )
    return list(sessions[bisect_left(sessions, first) : bisect_right(sessions, last)])


def previous_sessions(market: Market, session: date, count: int) -> list[date]:
    """The `count` sessions strictly before `session`, oldest first (fewer at the start of the calendar)."""
    if market.calendar is None:
        return [session - timedelta(days=i) for i in range(count, 0, -1)]
    sessions, _ = _calendar(market)
    end = bisect_left(sessions, session)
    return list(sessions[max(0, end - count) : end])


def next_sessions(market: Market, session: date, count: int) -> list[date]:
    """The `count` sessions strictly after `session`, in order.

    Raises UsageError where the calendar ends before.
    """
    if market.calendar is None:
        return [session + timedelta(days=i) for i in range(1, count + 1)]
    sessions, _ = _calendar(market)
    start = bisect_right(sessions, session)
    if start + count > len(sessions):
        raise UsageError(
            code="FPM-CAL-002",
            wrong=f"calendar {market.calendar} ends {sessions[-1]}, {count} sessions after {session} are beyond it",
            effect="nothing was done",
            todo="upgrade exchange_calendars, or name a file of the exchange's announcements in FPM_CALENDAR",
        )
    return list(sessions[start : start + count])


def first_session_from(market: Market, day: date) -> date:
    """The first session on a day or after it; the calendar's first one for a day before it.

    Raises UsageError where the calendar ends before.
    """
    return next_sessions(market, day - timedelta(days=1), 1)[0]


def is_session(market: Market, day: date) -> bool:
    """Whether the market trades on that day."""
    return bool(sessions_between(market, day, day))


def hours(market: Market, session: date) -> Segments:
    """Start and end minute of each stretch of trading: an early close, a late open, the hours of another year."""
    if market.calendar is None:
        return market.segments
    return _calendar(market)[1].get(session, market.segments)


@dataclass(frozen=True, eq=False)
class SessionSlots:
    """The grid's slots as one session trades them: `starts`, `ends`: minutes, clipped to its hours; `open_N`: bool."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    open_N: np.ndarray


def session_slots(market: Market, session: date) -> SessionSlots:
    """The slots of a session. A call's own slot is open where trading begins or ends at the ordinary minute."""
    return _session_slots(market.slots, market.bar_minutes, market.segments, hours(market, session), market.calls)


@lru_cache(maxsize=256)
def _session_slots(
    ends: tuple[int, ...], step: int, ordinary: Segments, own: Segments, calls: frozenset[int]
) -> SessionSlots:
    import numpy as np  # `fpm --help` reads this module

    last = len(ends) - 1
    opening, closing = ends[0] in calls and ends[0] <= ordinary[0][0], last > 0 and ends[last] == ends[last - 1]
    starts, stops, open_N = [], [], np.zeros(len(ends), bool)
    for slot, end in enumerate(ends):
        if (slot == 0 and opening) or (slot == last and closing):
            edge = 0 if slot == 0 else -1
            open_N[slot] = own[edge][edge] == ordinary[edge][edge]
            start, stop = (end, end)
        else:
            stretch = next(((first, stop) for first, stop in ordinary if first < end <= stop), (end - step, end))
            start = end - step if (end - stretch[0]) % step == 0 else end - (end - stretch[0]) % step
            cut = next(
                ((max(first, start), min(stop, end)) for first, stop in own if first < end and start < stop), None
            )
            open_N[slot] = cut is not None
            start, stop = cut or (start, end)
        starts.append(start)
        stops.append(stop)
    open_N.flags.writeable = False
    return SessionSlots(tuple(starts), tuple(stops), open_N)


def last_slot(market: Market, session: date) -> int:
    """Index of the session's last stored slot: less than `len(slots) - 1` where it closes early."""
    return int(session_slots(market, session).open_N.nonzero()[0][-1])


def calendar_end(market: Market) -> date | None:
    """The calendar's last session; None for a market that trades every day."""
    return None if market.calendar is None else _calendar(market)[0][-1]
