"""Markets: an exchange's facts, its calendar's hours and a bar length make the grid that bars are stored in.

Hours, breaks and time zone come from the calendar library; what no calendar knows (calls, lot, tick, currency, suffix,
cut-off) stands in one file per exchange, `fpm/exchanges/*.toml`, or in the operator's own (`FPM_MARKETS`). A calendar
without a file has the defaults of `Exchange`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from fpm.errors import UsageError
from fpm.exchange_facts import Exchange, file_refused, shipped
from fpm.trading_calendars import trading_calendar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.calendar_overrides import Override, Segments

BARS = (1, 3, 5, 10, 15, 30, 60)  # minutes a bar may cover
DAY = 1440
WHOLE_DAY = ((0, DAY),)
CALLS = ("opening_call", "closing_call", "closing_call_begins")
NAME = re.compile(r"(?P<exchange>24/5|24/7|[A-Za-z_]+)(?P<minutes>[0-9]{0,4})")
BAR = re.compile(r"(?P<count>[0-9]{1,4}) ?(?P<unit>m|min|minutes|h|)")


@dataclass(frozen=True)
class Market:
    """Facts of a market that stay as they are during the life of its data.

    `slots`: minute of the day (bar END, local; negative on the evening before) of every stored slot, in order.
    `segments`: start and end minute of every continuous stretch of an ordinary session.
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
    segments: Segments = WHOLE_DAY
    exchange: Exchange = field(default_factory=lambda: Exchange("", "", ""))

    @property
    def zone(self) -> ZoneInfo:
        """The market's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def hours(self) -> str:
        """The stretches of an ordinary session as text, e.g. 09:30-11:30,13:00-15:00."""
        return ",".join(f"{clock(start)}-{clock(end)}" for start, end in self.segments)

    def view_size(self, view: str) -> int:
        """Number of slots T of a view."""
        return max(self.views[view]) + 1

    @property
    def opening_call(self) -> int | None:
        """The label of the opening call's own slot; None where the call lies within the first bar."""
        return minute_of(self.exchange.opening_call) if self.bar_minutes == 1 and self.exchange.opening_call else None

    @property
    def closing_call(self) -> int | None:
        """The label of the closing call's own slot; None where the call lies within the last bar."""
        return minute_of(self.exchange.closing_call) if self.bar_minutes == 1 and self.exchange.closing_call else None

    @property
    def closing_call_begins(self) -> int | None:
        """The minute at which continuous trading ends, where the closing call has a slot of its own."""
        begins = self.exchange.closing_call_begins
        return minute_of(begins) if begins and self.closing_call is not None else None

    @cached_property
    def calls(self) -> frozenset[int]:
        """Minutes in which only a call can trade: nobody expects a row of them."""
        opening = () if self.opening_call is None else (self.opening_call,)
        if self.closing_call is None or self.closing_call_begins is None:
            return frozenset(opening)
        return frozenset((*opening, *range(self.closing_call_begins + 1, self.closing_call + 1)))


def minute_of(text: str) -> int:
    """`HH:MM` as a minute of the day; 24:00 is the end of the day.

    >>> minute_of("09:30")
    570
    """
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


# --- a market by its name ------------------------------------------------------------------------------------------
def named(name: str, own: Mapping[str, Exchange] | None = None) -> Market:
    """The market of a name: an exchange or calendar, followed by the minutes of a bar where it is not one.

    `own`: the operator's exchanges by name (`exchange_facts.read_exchanges`), before those of the package.
    Raises UsageError for an unknown name or a bar length outside `BARS`.

    >>> named("cn15").slots[:3]  # a bar ends at 09:45, 10:00, 10:15
    (585, 600, 615)
    """
    parts = NAME.fullmatch(name)
    exchange = parts and exchange_of(parts["exchange"], own or {})
    if not parts or exchange is None:
        raise UsageError(
            code="FPM-CFG-002",
            wrong=f"unknown market {name!r}",
            effect="nothing was done",
            todo=f"use one of {', '.join(shipped())}, a calendar of exchange_calendars, or a section of FPM_MARKETS",
        )
    return of_exchange(exchange, int(parts["minutes"] or 1))


def with_bar(name: str, bar: str) -> str:
    """The name of a market at a bar length such as `5m`, `15 min` or `1h`.

    Raises UsageError for another length than those of `BARS`.

    >>> with_bar("nse", "15m"), with_bar("cn", "1m")
    ('nse15', 'cn')
    """
    parts = BAR.fullmatch(bar.strip().lower())
    minutes = int(parts["count"]) * (60 if parts["unit"] == "h" else 1) if parts else 0
    exchange = exchange_name(name)
    suffix = name[len(exchange) :]
    if minutes not in BARS or (suffix and int(suffix) != minutes):
        raise _bar_refused(bar, name)
    return exchange + (str(minutes) if minutes > 1 else "")


def exchange_name(name: str) -> str:
    """The exchange of a market's name, without the length of a bar.

    >>> exchange_name("cn15"), exchange_name("24/75")
    ('cn', '24/7')
    """
    parts = NAME.fullmatch(name)
    return parts["exchange"] if parts else name


def clock(minute: int) -> str:
    """A minute of the day as text; one of the evening before is negative.

    >>> clock(571), clock(-360)
    ('09:31', '18:00')
    """
    return f"{minute // 60 % 24 if minute != DAY else 24:02d}:{minute % 60:02d}"


def _bar_refused(bar: str, name: str) -> UsageError:
    return UsageError(
        code="FPM-CFG-014",
        wrong=f"bars of {bar} for market {name}",
        effect="nothing was done",
        todo=f"use one of {', '.join(f'{minutes}m' for minutes in BARS)}",
    )


def exchange_of(name: str, own: Mapping[str, Exchange]) -> Exchange | None:
    """The exchange of a name: the operator's, the package's, or a calendar's with defaults; None for no calendar."""
    if name in own or name in shipped():
        return own.get(name) or shipped()[name]
    import exchange_calendars

    if name not in exchange_calendars.get_calendar_names(include_aliases=True):
        return None
    by_calendar = {each.calendar: each for each in (*own.values(), *shipped().values())}
    facts = by_calendar.get(name) or Exchange(name, name, re.sub("[^A-Z0-9]", "", name.upper().removeprefix("X"))[:8])
    return replace(facts, name=name)


# --- grids -------------------------------------------------------------------------------------------------------
def of_exchange(exchange: Exchange, minutes: int) -> Market:
    """The market of an exchange at a bar length. A stretch that no whole number of bars fills ends with a shorter one.

    At one minute a call that has a label of its own has a slot of its own, before or after the continuous ones.
    Raises UsageError for a bar length outside `BARS`, or for calls that lie within the hours.
    """
    if minutes not in BARS:
        raise _bar_refused(f"{minutes}m", exchange.name)
    own = trading_calendar(exchange.calendar) if exchange.calendar else None
    timezone, segments = (own.timezone, own.ordinary) if own else ("UTC", WHOLE_DAY)
    name = exchange.name + (str(minutes) if minutes > 1 else "")
    market = Market(
        name,
        timezone,
        exchange.calendar or None,
        (),
        {},
        "",
        exchange.suffix,
        cut_off=timedelta(minutes=minute_of(exchange.cut_off)),
        sessions_per_year=exchange.sessions_per_year,
        bar_minutes=minutes,
        segments=segments,
        exchange=exchange,
    )
    ends = tuple(min(end, last) for first, last in segments for end in range(first + minutes, last + minutes, minutes))
    opening, closing = market.opening_call, market.closing_call
    slots = (*(() if opening is None else (opening,)), *ends, *(() if closing is None else (closing,)))
    begins = market.closing_call_begins
    inside = begins is None or (segments[-1][0] < begins <= ends[-1] and slots[-1] - begins < len(ends))
    if not inside or list(slots) != sorted(slots):
        raise _calls_refused(market)
    return replace(
        market, slots=slots, views=_views(len(ends), opening is not None, closing, market), default_view=str(len(ends))
    )


def _calls_refused(market: Market) -> UsageError:
    exchange = market.exchange
    calls = ", ".join(f"{key} {getattr(exchange, key)}" for key in CALLS if getattr(exchange, key))
    return file_refused(
        f"[{exchange.name}] has {calls} beside the hours {market.hours}: the opening call lies before them, the "
        "closing call after them, and it begins within the last stretch"
    )


def _views(count: int, opening: bool, closing: int | None, market: Market) -> dict[str, tuple[int, ...]]:
    """Calls merged into the bar beside them (the default, named by the number of continuous bars), or kept apart."""
    before, after = int(opening), int(closing is not None)
    views = {str(count): (*([0] * before), *range(count), *([count - 1] * after))}
    if opening:
        views[str(count + 1)] = (0, *range(1, count + 1), *([count] * after))
    if after:
        views[str(count + before + 1)] = tuple(range(count + before + 1))
        begins = market.closing_call_begins
        if begins is not None and closing is not None:
            kept = count - (closing - begins)
            views[str(kept)] = (*([-1] * before), *range(kept), *([-1] * (count - kept + 1)))
    return views
