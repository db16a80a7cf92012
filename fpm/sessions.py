"""Markets, sessions and minute grids: which days trade, which minutes a session has, when it is known.

A *session* is a trading date; a *minute* is a bar's END, exchange-local; a *slot* is its position in the
market's stored grid. Time is always an argument here: nothing asks for the current moment.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fpm.calendar_overrides import Override, applied
from fpm.errors import UsageError

UTC = ZoneInfo("UTC")


def _minutes(first: str, last: str, step: int = 1) -> tuple[int, ...]:
    """Minutes of the day from ``first`` to ``last``, both inclusive, e.g. ``_minutes("09:31", "11:30")``."""
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (first, last))
    return tuple(range(start, end + 1, step))


@dataclass(frozen=True)
class Market:
    """What never changes about a market during the life of its data.

    `slots`: minute of the day (bar END, local) of every stored slot, in order.
    `views`: name -> for every stored slot its position in that view, -1 where the view leaves it out.
    `calendar`: name in exchange_calendars, None for a market that trades every day (UTC day as session).
    `overrides`: what the exchange announced that this calendar does not know.
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
        if len(text) != 10:
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            code="FPM-CFG-064",
            wrong=f"{text!r} is not a session",
            effect="nothing was done",
            todo="give an ISO date such as 2026-01-05",
        ) from None


def close(of: Market, session: date) -> datetime:
    """The moment the session's last minute ends, UTC. The `event_timestamp` of every daily row."""
    return moment(of, session, of.slots[-1])


def cut_off(of: Market, session: date) -> datetime:
    """The moment from which the session's first copy counts as known, UTC."""
    local_midnight = datetime(session.year, session.month, session.day)
    return (local_midnight + of.cut_off).replace(tzinfo=of.zone).astimezone(UTC)


def moment(of: Market, session: date, minute: int) -> datetime:
    """UTC moment of a minute of the day (bar END, local) of a session."""
    local = datetime(session.year, session.month, session.day) + timedelta(minutes=minute)
    return local.replace(tzinfo=of.zone).astimezone(UTC)


def _calendar(of: Market) -> tuple[tuple[date, ...], dict[date, int]]:
    """All sessions a market's calendar knows, and the local minute of the day at which each early close ends."""
    assert of.calendar is not None
    return _with_overrides(of.calendar, of.overrides)


@lru_cache(maxsize=16)
def _with_overrides(name: str, overrides: tuple[Override, ...]) -> tuple[tuple[date, ...], dict[date, int]]:
    import exchange_calendars

    calendar = exchange_calendars.get_calendar(name)
    sessions = tuple(stamp.date() for stamp in calendar.sessions)
    early = {
        stamp.date(): int(end.tz_convert(calendar.tz).hour) * 60 + int(end.tz_convert(calendar.tz).minute)
        for stamp, end in calendar.closes.loc[calendar.early_closes].items()
    }
    return applied(sessions, early, overrides)


def sessions_between(of: Market, first: date, last: date) -> list[date]:
    """Every session from `first` to `last`, both inclusive, in order.

    Raises UsageError where the calendar does not reach: a session is never guessed.
    """
    if of.calendar is None:
        return [first + timedelta(days=i) for i in range((last - first).days + 1)]
    known, _ = _calendar(of)
    if first < known[0] or last > known[-1]:
        raise UsageError(
            code="FPM-CAL-001",
            wrong=f"calendar {of.calendar} covers {known[0]} to {known[-1]}, asked for {first} to {last}",
            effect="nothing was done",
            todo="upgrade exchange_calendars, or name a file of what the exchange announced in FPM_CALENDAR",
        )
    return list(known[bisect_left(known, first) : bisect_right(known, last)])


def previous_sessions(of: Market, session: date, count: int) -> list[date]:
    """The `count` sessions strictly before `session`, oldest first (fewer at the start of the calendar)."""
    if of.calendar is None:
        return [session - timedelta(days=i) for i in range(count, 0, -1)]
    known, _ = _calendar(of)
    end = bisect_left(known, session)
    return list(known[max(0, end - count) : end])


def next_sessions(of: Market, session: date, count: int) -> list[date]:
    """The `count` sessions strictly after `session`, in order."""
    if of.calendar is None:
        return [session + timedelta(days=i) for i in range(1, count + 1)]
    known, _ = _calendar(of)
    start = bisect_right(known, session)
    if start + count > len(known):
        raise UsageError(
            code="FPM-CAL-002",
            wrong=f"calendar {of.calendar} ends {known[-1]}, {count} sessions after {session} are not known",
            effect="nothing was done",
            todo="upgrade exchange_calendars, or name a file of what the exchange announced in FPM_CALENDAR",
        )
    return list(known[start : start + count])


def is_session(of: Market, day: date) -> bool:
    """Whether the market trades on that day."""
    return bool(sessions_between(of, day, day))


def last_slot(of: Market, session: date) -> int:
    """Index of the session's last stored slot: fewer than `len(slots) - 1` on a half day."""
    if of.calendar is None:
        return len(of.slots) - 1
    _, early = _calendar(of)
    end = early.get(session)
    return len(of.slots) - 1 if end is None else bisect_right(of.slots, end) - 1


def calendar_end(of: Market) -> date | None:
    """The last session the calendar knows; None for a market that never closes."""
    return None if of.calendar is None else _calendar(of)[0][-1]
