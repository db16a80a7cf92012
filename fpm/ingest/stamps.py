"""Time stamps of a vendor's file: exchange-local, none in the future, and the sessions they fall in."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError
from fpm.ingest.vendor_files import refusal
from fpm.sessions import UTC, sessions_between

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.markets import Market

FUTURE_MINUTES = 5  # how far a stamp may lie ahead of the clock
DAY_IN_FOLDER = re.compile(r"session=(\d{4})-(\d{2})-(\d{2})")
DAY_IN_NAME = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")


def local_times(path: Path, times: pl.Series, market: Market, now: datetime) -> pl.Series:
    """`times` (with or without a zone) as exchange-local times without one.

    `now` (aware) bounds them. Raises InputRefused 028 where one lies in the future, 032 beyond the years of dates.
    """
    _require_years(path, times, "check the unit of the time stamps (seconds, milliseconds, microseconds)")
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone:
        times = times.dt.convert_time_zone(market.timezone).dt.replace_time_zone(None)
    latest = (now + timedelta(minutes=FUTURE_MINUTES)).astimezone(market.zone).replace(tzinfo=None)
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


def _require_years(path: Path, times: pl.Series, todo: str) -> None:
    if (beyond := beyond_years(times)).any():
        row = beyond.arg_max() or 0
        wrong = f"row {row}, column {times.name}: year {times.dt.year()[row]} is no year from 1 to 9999"
        raise refusal(path, code="FPM-IN-032", wrong=wrong, todo=todo)


def beyond_years(times: pl.Series) -> pl.Series:
    """Whether a moment or a day lies outside the years 2 to 9998, so that in some zone it has no date; null: False."""
    scale = (
        {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}[times.dtype.time_unit]
        if isinstance(times.dtype, pl.Datetime)
        else 1
    )
    first, last = ((date(year, 1, 1) - date(1970, 1, 1)).days * scale for year in (2, 9999))
    most = 2**63 - 1  # nanoseconds reach from 1677 to 2262
    return (~times.to_physical().is_between(max(first, -most), min(last, most))).fill_null(False)


def sessions_of(path: Path, days: pl.Series, market: Market) -> list[date]:
    """The market's sessions from the first to the last of `days`; none where every day is null.

    Raises InputRefused with the calendar's own code where the calendar does not reach.
    """
    _require_years(path, days, "write days as dates")
    first, last = days.min(), days.max()
    if not isinstance(first, date) or not isinstance(last, date):
        return []
    try:
        return sessions_between(market, first, last)
    except FpmError as error:
        raise refusal(path, code=error.code, wrong=error.wrong, todo=error.todo) from None


def session_in_name(path: Path) -> date | None:
    """The one session in a file's name or `session=YYYY-MM-DD` folder; None where there is none or several.

    No other folder counts: `akshare_20250430` is the day of a download.
    """
    folder = DAY_IN_FOLDER.fullmatch(path.parent.name)
    for days in (DAY_IN_NAME.findall(path.stem), [folder.groups()] if folder else []):
        if len(days) == 1:
            try:
                return date(*(int(part) for part in days[0]))
            except ValueError:
                continue
    return None
