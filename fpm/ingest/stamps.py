"""Time stamps of a vendor's file: exchange-local, none in the future, and the sessions they fall in."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError
from fpm.ingest.quarantine import RULES
from fpm.ingest.vendor_files import refusal
from fpm.sessions import UTC, Market, sessions_between

if TYPE_CHECKING:
    from pathlib import Path

DAY_IN_NAME = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")


def local_times(path: Path, times: pl.Series, market: Market, now: datetime) -> pl.Series:
    """`times` (with or without a zone) as exchange-local times without one.

    `now` (aware) bounds them. Raises InputRefused 028 where one lies in the future.
    """
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone:
        times = times.dt.convert_time_zone(market.timezone).dt.replace_time_zone(None)
    latest = (now + timedelta(minutes=RULES[market.name].future_minutes)).astimezone(market.zone).replace(tzinfo=None)
    last = times.max()
    if isinstance(last, datetime) and last > latest:
        after = (times > latest).sum()
        raise refusal(
            path,
            code="FPM-IN-028",
            wrong=f"{after} rows after {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC, the last at {last}",
            todo="check the source's clock and the time zone of its stamps",
        )
    return times


def sessions_of(path: Path, days: pl.Series, market: Market) -> list[date]:
    """The market's sessions from the first to the last of `days`; none where every day is null.

    Raises InputRefused with the calendar's own code where the calendar does not reach.
    """
    first, last = days.min(), days.max()
    if not isinstance(first, date) or not isinstance(last, date):
        return []
    try:
        return sessions_between(market, first, last)
    except FpmError as error:
        raise refusal(path, code=error.code, wrong=error.wrong, todo=error.todo) from None


def session_in_name(path: Path) -> date | None:
    """The one session in a file's name or `session=` folder; None where there is none or several."""
    for text in (path.stem, path.parent.name.removeprefix("session=")):
        days = DAY_IN_NAME.findall(text)
        if len(days) == 1:
            try:
                return date(*(int(part) for part in days[0]))
            except ValueError:
                continue
    return None
