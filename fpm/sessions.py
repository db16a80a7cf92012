"""Markets, sessions and minute grids: the days that trade, the minutes of a session, the moment it is known.

A *session* is a trading date; a *minute* is a bar's END, exchange-local; a *slot* is its position in the
market's stored grid. Time is always an argument: nothing here reads the clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fpm.calendar_overrides import Override, amend
from fpm.errors import UsageError

UTC = ZoneInfo("UTC")


def _minutes(first: str, last: str, step: int = 1) -> tuple[int, ...]:
    """Minutes of the day from ``first`` to ``last``, both inclusive, e.g. ``_minutes("09:31", "11:30")``."""
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (first, last))
    return tuple(range(start, end + 1, step))


@dataclass(frozen=True)
class Market:
    """Facts of a market that stay as they are during the life of its data.

    `slots`: minute of the day (bar END, local) of every stored slot, in order.
    `views`: name -> for every stored slot its position in that view, -1 where the view leaves it out.
    `calendar`: name in exchange_calendars, None for a market that trades every day (UTC day as session).
    `overrides`: announcements of the exchange that this calendar lacks.
    `cut_off`: time after local midnight of the session by which the session's first copy is known.
    `bar_minutes`: minutes of trading that a bar covers; "minute" elsewhere means such a bar.
    """

    name: str
    timezone: str
    calendar: str | None
    slots: tuple[int, ...]
    views: dict[str, tuple[int, ...]]
    default_view: str
    suffix: str
    cut_off: timedelta = timedelta(hours=20)
    sessions_per_year: int = 252
    overrides: tuple[Override, ...] = ()
    bar_minutes: int = 1

    @property
    def zone(self) -> ZoneInfo:
        """The market's time zone."""
        return ZoneInfo(self.timezone)

    def view_size(self, view: str) -> int:
        """Number of slots T of a view."""
        return max(self.views[view]) + 1


_CN = (565, *_minutes("09:31", "11:30"), *_minutes("13:01", "15:00"), 900)
_CN15 = (*_minutes("09:45", "11:30", 15), *_minutes("13:15", "15:00", 15))
_US = (570, *_minutes("09:31", "16:00"))

# Continuous auction 09:30-11:30 and 13:00-14:57, calls 09:25 and 15:00: Shanghai and Shenzhen trading rules 2023, 3.
MARKETS = {
    "cn": Market(
        "cn",
        "Asia/Shanghai",
        "XSHG",
        _CN,
        {
            "237": (-1, *range(237), -1, -1, -1, -1),
            "240": (0, *range(240), 239),
            "241": (0, *range(1, 241), 240),
            "242": tuple(range(242)),
        },
        "240",
        "SH",
    ),
    "cn15": Market(  # a quarter of an hour a bar, each call within the bar beside it
        "cn15", "Asia/Shanghai", "XSHG", _CN15, {"16": tuple(range(16))}, "16", "SH", bar_minutes=15
    ),
    "us": Market(
        "us", "America/New_York", "XNYS", _US, {"390": (0, *range(390)), "391": tuple(range(391))}, "390", "US"
    ),
    "nse": Market("nse", "Asia/Kolkata", "XBOM", _minutes("09:16", "15:30"), {"375": tuple(range(375))}, "375", "NS"),
    "crypto": Market(
        "crypto",
        "UTC",
        None,
        tuple(range(1, 1441)),
        {"1440": tuple(range(1440))},
        "1440",
        "BN",
        cut_off=timedelta(hours=25),
        sessions_per_year=365,
    ),
}


def market(name: str) -> Market:
    """The market of that name.

    Raises UsageError for an unknown name.

    >>> market("cn15").slots[:3]  # a bar ends at 09:45, 10:00, 10:15
    (585, 600, 615)
    """
    if name not in MARKETS:
        raise UsageError(
            code="FPM-CFG-002",
            wrong=f"unknown market {name!r}",
            effect="nothing was done",
            todo=f"use one of {', '.join(MARKETS)}",
        )
    return MARKETS[name]


def parse_session(text: str) -> date:
    """An ISO date (`2026-01-05`, exactly ten characters), the only spelling a session has.

    Raises UsageError for anything else: paths are built from the parsed date, never from the text.
    """
    try:
        session: date | None = date.fromisoformat(text)
    except ValueError:
        session = None
    if session is None or len(text) != 10:
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

    >>> print(cut_off(MARKETS["cn"], date(2026, 1, 5)))  # 20:00 in Shanghai
    2026-01-05 12:00:00+00:00
    """
    return _local(market, session, market.cut_off).astimezone(UTC)


def moment(market: Market, session: date, minute: int) -> datetime:
    """UTC moment of a minute of the day (bar END, local) of a session."""
    return _local(market, session, timedelta(minutes=minute)).astimezone(UTC)


def _local(market: Market, session: date, after: timedelta) -> datetime:
    """What the market's clocks show that long after the session's midnight."""
    return datetime.combine(session, time.min, market.zone) + after


def _calendar(market: Market) -> tuple[tuple[date, ...], dict[date, int]]:
    """All sessions of a market's calendar, and by half day the local minute of the day at which it ends."""
    assert market.calendar is not None
    return _with_overrides(market.calendar, market.overrides)


@lru_cache(maxsize=16)
def _with_overrides(name: str, overrides: tuple[Override, ...]) -> tuple[tuple[date, ...], dict[date, int]]:
    import exchange_calendars

    calendar = exchange_calendars.get_calendar(name)
    sessions = tuple(stamp.date() for stamp in calendar.sessions)
    early_closes = {
        stamp.date(): int(end.tz_convert(calendar.tz).hour) * 60 + int(end.tz_convert(calendar.tz).minute)
        for stamp, end in calendar.closes.loc[calendar.early_closes].items()
    }
    return amend(sessions, early_closes, overrides)


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


def is_session(market: Market, day: date) -> bool:
    """Whether the market trades on that day."""
    return bool(sessions_between(market, day, day))


def last_slot(market: Market, session: date) -> int:
    """Index of the session's last stored slot: less than `len(slots) - 1` on a half day."""
    if market.calendar is None:
        return len(market.slots) - 1
    _, early_closes = _calendar(market)
    end = early_closes.get(session)
    return len(market.slots) - 1 if end is None else bisect_right(market.slots, end) - 1


def calendar_end(market: Market) -> date | None:
    """The calendar's last session; None for a market that trades every day."""
    return None if market.calendar is None else _calendar(market)[0][-1]
