"""The screen: what it says of the disk, and what is told of it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from consumers import vitals
from fpm.commands import alerts
from fpm.commands.status import screen
from fpm.sessions import market, sessions_between
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.alerts import recent
from fpm.store.ledger.stores import Stores
from fpm.store.ledger.vitals import record_vitals
from fpm.store.online.metrics import QUERY, exposition
from tests.consumers.questions.conftest import Command, command

__all__ = ["command"]  # a fixture
NOW = datetime(2025, 1, 11, tzinfo=UTC)
DAYS = sessions_between(market("cn"), date(2025, 1, 2), date(2025, 1, 10))


@pytest.fixture
def home(stores: Stores) -> Stores:
    """Seven sessions of daily bars, each of about as many bytes."""
    stores.ledger.decide("market", "cn")
    stores.ledger.decide("preset", "tiny")
    for day in DAYS:
        publish_frames("bars", day, {"daily_bars": pl.DataFrame({"symbol": ["600000.SH"], "close": [10.0]})}, stores)
    return stores


def session_bytes(stores: Stores) -> int:
    (path, *_) = [path for _, path in stores.lake.files("daily_bars", DAYS[0], DAYS[-1])]
    return path.stat().st_size


def fill_disk(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(total=10 * free, used=9 * free, free=free))


def test_a_disk_that_is_soon_full_is_red(home: Stores, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(15 * session_bytes(home), monkeypatch)  # 15 sessions, or 20 days
    answer, is_red = screen(home, NOW)
    assert is_red and answer["disk"]["state"] == "red" and "fpm retention" in answer["disk"]["todo"]
    assert answer["disk"]["full_in_days"] == pytest.approx(20, abs=0.5)
    printed = command(home, "status", "--json")
    assert printed.code == 1 and json.loads(printed.output)["disk"] == answer["disk"]
    monkeypatch.setenv("FPM_DISK_DAYS", "5")
    assert command(home, "status", "--json").code == 0


def test_it_is_told_once_and_so_is_its_recovery(home: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = tmp_path / "heard"
    watched = home.settings.model_copy(update={"alert_command": f"tee -a {heard}"})
    stores = Stores(watched, home.market, home.lake, home.ledger, home.models)
    for sessions in (15, 15, 1000, 1000, 15):
        fill_disk(sessions * session_bytes(home), monkeypatch)
        alerts.watch([], stores, NOW)
    states = [row["state"] for row in reversed(recent(home.ledger))]
    assert states == ["red", "recovered", "red"]
    assert heard.read_text(encoding="utf-8").count("the disk of the home lasts 20 days") == 2


def test_the_figures_are_metrics(home: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(15 * session_bytes(home), monkeypatch)
    record_vitals(DAYS[-1], vitals.space(home), home.ledger)
    text = exposition(home.ledger.query(QUERY)).decode()
    lines = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("fpm_disk")}
    assert lines["fpm_disk_free_bytes"] == 15 * session_bytes(home)
    assert lines["fpm_disk_session_bytes"] == pytest.approx(session_bytes(home), rel=0.02)
    assert lines["fpm_disk_full_days"] == pytest.approx(20, abs=0.5)
    assert text.count("# HELP fpm_disk") == 3
