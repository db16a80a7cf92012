"""Bars of a running session: what is stored, passed over and refused, in a home that has no other bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fpm.commands.intraday import intraday
from fpm.errors import InputRefused, TryLater, UsageError
from fpm.exchange import simulate
from fpm.ingest.vendor_bars import read_bars
from fpm.running_session import Cut, cut
from fpm.sessions import next_sessions
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores
from producers import intraday_bars

NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One session's file of bars."""
    folder = tmp_path_factory.mktemp("exchange")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=2, symbols=10, seed=5, spoiled_every=0), folder)
    return min((folder / "minute_bars").glob("*.parquet"))


@pytest.fixture
def home(day: Path, stores: Stores) -> Stores:
    """A home that remembers the conventions of whole sessions, as one with history does."""
    stores.decide_profile("l2_32")
    remembered = read_bars(day, stores.market, NOW).report.conventions
    stores.ledger.decide("conventions", remembered.to_json())
    return stores


def between(day: Path, first: str, last: str, folder: Path) -> list[Path]:
    """A file with the bars whose minutes end from `first` to `last`."""
    path, end = folder / f"from{first}to{last}.parquet".replace(":", "h"), pl.col("minute").dt.strftime("%H:%M")
    pl.read_parquet(day).filter((end >= first) & (end <= last)).write_parquet(path)
    return [path]


def at(day: Path, text: str, home: Stores) -> Cut:
    return cut(date.fromisoformat(day.stem), text, home.market, "240")


def test_bars_up_to_the_minute_are_stored_apart(day: Path, home: Stores, tmp_path: Path) -> None:
    minute = at(day, "14:30", home)
    account = intraday_bars.take(between(day, "09:00", "14:35", tmp_path), minute, NOW, home)
    rows = home.read("intraday_bars", minute.session)
    ends = pl.read_parquet(day)["minute"].dt.strftime("%H:%M")
    later = ends.filter((ends > "14:30") & (ends <= "14:35")).len()
    assert (account.stored, account.later, account.other) == (rows.height, later, 0) and later > 0
    assert rows["event_timestamp"].max() == minute.moment
    assert set(rows["created_timestamp"]) == {minute.moment + timedelta(seconds=60)}
    assert home.sessions("minute_bars") == [] and home.ledger.first_files("bars") == []


def test_bars_may_come_in_parts(day: Path, home: Stores, tmp_path: Path) -> None:
    intraday_bars.take(between(day, "09:00", "10:30", tmp_path), at(day, "10:30", home), NOW, home)
    minute = at(day, "14:30", home)
    intraday_bars.take(between(day, "10:31", "14:30", tmp_path), minute, NOW, home)
    parts = home.read("intraday_bars", minute.session)
    by_part = parts.group_by(pl.col("slot") <= 60).agg(pl.col("created_timestamp").max())
    known = dict(by_part.rows())
    assert known == {
        True: at(day, "10:30", home).moment + timedelta(seconds=60),
        False: minute.moment + timedelta(seconds=60),
    }
    whole = pl.read_parquet(day).filter(pl.col("minute").dt.strftime("%H:%M") <= "14:30")
    assert parts.height == whole.height


def test_the_same_bars_again_change_no_byte(day: Path, home: Stores, tmp_path: Path) -> None:
    minute, files = at(day, "14:30", home), between(day, "09:00", "14:30", tmp_path)
    path = home.lake.root / home.lake.relative("intraday_bars", minute.session)
    intraday_bars.take(files, minute, NOW, home)
    before = path.read_bytes()
    intraday_bars.take(files, minute, NOW, home)
    assert path.read_bytes() == before


def test_a_hole_before_the_minute_stores_nothing(day: Path, home: Stores, tmp_path: Path) -> None:
    with pytest.raises(TryLater, match="FPM-DAY-009"):
        intraday_bars.take(between(day, "09:00", "13:50", tmp_path), at(day, "14:30", home), NOW, home)
    assert home.sessions("intraday_bars") == []


def test_what_cannot_be_read_is_refused_by_name(day: Path, home: Stores, tmp_path: Path) -> None:
    minute, files = at(day, "14:30", home), between(day, "09:00", "14:30", tmp_path)
    (following,) = next_sessions(home.market, minute.session, 1)
    with pytest.raises(TryLater, match="FPM-DAY-004"):
        intraday(minute.session, "14:30", [], NOW, home)
    with pytest.raises(InputRefused, match="FPM-DAY-006"):
        intraday(following, "14:30", files, NOW, home)
    with pytest.raises(TryLater, match="FPM-DAY-007"):
        intraday(minute.session, "14:30", files, minute.moment - timedelta(seconds=1), home)
    with pytest.raises(TryLater, match="FPM-DAY-005"):  # the bars are there, the session before them is not
        intraday(minute.session, "14:30", files, NOW, home)
    bars = home.read("intraday_bars", minute.session).drop("session", "created_timestamp")
    publish_frames("bars", minute.session, {"minute_bars": bars}, home)
    with pytest.raises(UsageError, match="FPM-DAY-008"):
        intraday(minute.session, "14:30", files, NOW, home)
