"""The disk's forecast, by hand and by the files of a small home."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from fpm.sessions import market, sessions_between
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.disk import Disk, disk, forecast
from fpm.store.ledger.stores import Stores

MONDAY = date(2025, 1, 6)


def test_days_by_hand() -> None:
    """Two weeks of 100 bytes a session: ten sessions over eleven days, so 11/9 days a session."""
    sessions = [MONDAY + timedelta(day) for day in (*range(5), *range(7, 12))]
    assert forecast(9_000, dict.fromkeys(sessions, 100)) == Disk(9_000, 100, pytest.approx(110.0))


def test_neither_an_unfinished_session_nor_a_burst_is_the_rate() -> None:
    sizes = {MONDAY + timedelta(day): size for day, size in enumerate((100, 100, 9_000_000, 100, 3))}
    assert forecast(1_000, sizes) == Disk(1_000, 100, 10.0)


@pytest.mark.parametrize("sizes", [{}, {MONDAY: 100}])
def test_without_two_sessions_there_is_no_rate(sizes: dict[date, int]) -> None:
    answer = forecast(1_000, sizes)
    assert answer.days is None and not answer.is_short(3650)


def test_the_bound_is_a_number_of_days() -> None:
    answer = forecast(1_000, {MONDAY + timedelta(day): 100 for day in range(5)})
    assert answer.is_short(10.1) and not answer.is_short(10.0)


def test_the_rate_is_that_of_the_files(stores: Stores) -> None:
    days = sessions_between(market("cn"), date(2025, 1, 2), date(2025, 1, 10))
    for day in days:
        bars = pl.DataFrame({"symbol": ["600000.SH"], "close": [10.0]})
        publish_frames("bars", day, {"daily_bars": bars}, stores)
    sizes = [path.stat().st_size for _, path in stores.lake.files("daily_bars", days[0], days[-1])]
    answer = disk(stores.settings, stores.ledger)
    assert answer.session == sorted(sizes)[len(sizes) // 2] and answer.free > 0
    assert answer.days == pytest.approx(answer.free / answer.session * 8 / 6)
