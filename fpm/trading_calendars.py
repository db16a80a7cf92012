"""What the calendar library says of an exchange: its sessions and their hours.

The library needs pandas and works a calendar out from its rules, which takes longer than everything else that a short
command does. So what it said is kept for the day: tomorrow it reaches one day further.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fpm.bytecode_cache import keep, kept

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from fpm.calendar_overrides import Segments

DAY = 24 * 60


@dataclass(frozen=True)
class TradingCalendar:
    """`ordinary`: hours of an ordinary session as they are now, `special`: of every session with others.

    Hours are stretches of trading in minutes from the session's midnight.
    """

    timezone: str
    ordinary: Segments
    sessions: tuple[date, ...]
    special: dict[date, Segments]

    def other_than(self, ordinary: Segments) -> dict[date, Segments]:
        """The hours of every session whose hours are not these."""
        if ordinary == self.ordinary:
            return self.special
        hours = ((session, self.special.get(session, self.ordinary)) for session in self.sessions)
        return {session: own for session, own in hours if own != ordinary}


@cache
def trading_calendar(name: str) -> TradingCalendar:
    """The calendar of a name of exchange_calendars."""
    kind, key = f"calendar.{name.encode().hex()}", f"{version('exchange_calendars')} {_today()}"
    facts = kept(kind, key)
    if facts is None:
        facts = _facts(name)
        keep(kind, key, facts)
    special = {date.fromisoformat(day): _segments(hours) for day, hours in facts["special"].items()}
    sessions = tuple(map(date.fromisoformat, facts["sessions"]))
    return TradingCalendar(facts["timezone"], _segments(facts["ordinary"]), sessions, special)


def _today() -> date:
    """The day on which the library is asked: its calendars end a year after it."""
    return date.today()  # noqa: DTZ011  as the library has it


def _segments(hours: list[list[int]]) -> Segments:
    return tuple((start, end) for start, end in hours)


def _facts(name: str) -> dict[str, Any]:
    import exchange_calendars
    import numpy as np

    library = exchange_calendars.get_calendar(name)
    ordinary, midnights = _ordinary(library), library.sessions

    def minutes(stamps: Any) -> np.ndarray:
        local = stamps.dt.tz_convert(library.tz).dt.tz_localize(None)
        after: np.ndarray = ((local - midnights).dt.total_seconds() / 60).to_numpy()
        return after

    columns = np.column_stack(
        [minutes(stamps) for stamps in (library.opens, library.break_starts, library.break_ends, library.closes)]
    )
    special = {}
    for stamp, (opens, pause, resume, closes) in zip(midnights, columns, strict=True):
        pairs = ((opens, closes),) if np.isnan(pause) else ((opens, pause), (resume, closes))
        hours = [[round(start), round(end)] for start, end in pairs]
        if hours != ordinary:
            special[stamp.date().isoformat()] = hours
    sessions = [stamp.date().isoformat() for stamp in midnights]
    return {"timezone": str(library.tz), "ordinary": ordinary, "sessions": sessions, "special": special}


def _ordinary(library: Any) -> list[list[int]]:
    """Hours of an ordinary session as the calendar has them now."""
    start = _latest(library.open_times) + library.open_offset * DAY
    end = _latest(library.close_times) + library.close_offset * DAY
    pause = library.break_start_times and library.break_start_times[-1][1]
    if not pause:
        return [[start, end]]
    return [[start, _minutes(pause)], [_minutes(library.break_end_times[-1][1]), end]]


def _latest(times: Iterable[tuple[object, time]]) -> int:
    return _minutes(list(times)[-1][1])


def _minutes(moment: time) -> int:
    return moment.hour * 60 + moment.minute
