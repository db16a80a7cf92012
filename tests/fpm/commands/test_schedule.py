"""Nights in a small home: what is due, every job in order, once; and the clock that catches up."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from fpm.commands.jobs import MODULES
from fpm.commands.night import due, nightly
from fpm.commands.schedule import serve
from fpm.errors import TryLater
from fpm.exchange import simulate
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server, connect
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from producers import bars, encoder
from tests.small_chain import fresh_database, quiet
from tests.test_truncation import chain, deliver

SESSIONS, TONIGHT = 44, 42


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5, spoiled_every=0), folder)
    return folder


@pytest.fixture(scope="module")
def days(source: Path) -> list[date]:
    return sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))


@pytest.fixture(scope="module")
def home(
    source: Path, days: list[date], tmp_path_factory: pytest.TempPathFactory, postgres_server: Server
) -> Iterator[Stores]:
    """A home that knows history up to its last but one session, and raw bars of all."""
    root = tmp_path_factory.mktemp("night")
    with fresh_database(postgres_server) as url:
        stores = open_stores(Settings(home=root, preset="tiny", database_url=SecretStr(url)))
        features.apply(stores.settings)
        deliver(source, root / "raw", days[TONIGHT - 1], None)
        chain(stores, root / "raw")
        deliver(source, root / "late", days[-1], None)
        arrival = cut_off(stores.market, days[-1])
        bars.ingest([root / "late"], bars.Arrival(known_at=arrival, now=arrival), stores, quiet)
        yield stores
        stores.ledger.close()


def test_a_home_that_never_published_is_due_for_its_newest_session(home: Stores, days: list[date]) -> None:
    assert due(home, cut_off(home.market, days[TONIGHT])) == [days[TONIGHT]]
    assert due(home, cut_off(home.market, days[TONIGHT]) - timedelta(seconds=1)) == [days[TONIGHT - 1]]


def test_a_whole_night_publishes_once(home: Stores, days: list[date]) -> None:
    session = days[TONIGHT]
    rows = nightly(session, home)
    assert [row["job"] for row in rows] == list(MODULES)
    assert {row["status"] for row in rows} <= {"published", "unchanged"}
    assert _served(home) == [session]
    assert f"Portfolios after {session}" in (home.settings.reports / "morning.html").read_text()
    before = _publications(home)
    assert {row["status"] for row in nightly(session, home) if row["job"] != "publish"} <= {
        "unchanged",
        "published",  # parity looks again, every time
    }
    assert _publications(home) == before
    assert due(home, cut_off(home.market, session)) == []


def test_a_newer_encoder_does_not_disturb_the_scorer_in_force(home: Stores, days: list[date]) -> None:
    """A vintage nobody's scorer was trained on is promoted in the morning; the night still scores with the old one."""
    served = home.models.record_in_force("scorer", days[TONIGHT]).manifest["vintage"]
    newer = encoder.train(days[TONIGHT - 8], home, quiet)
    assert newer != served
    rows = nightly(days[TONIGHT], home)
    assert next(row for row in rows if row["job"] == "fingerprints")["status"] == "unchanged"
    assert home.read("scores", days[TONIGHT])["vintage"].unique().to_list() == [served]


def test_the_clock_catches_up_with_what_is_due_and_then_rests(home: Stores, days: list[date]) -> None:
    now, stop = cut_off(home.market, days[-1]), threading.Event()
    clock = threading.Thread(target=serve, args=(home, lambda: now, 1, stop))
    clock.start()
    deadline = time.monotonic() + 80
    while _served(home) != [days[-1]] and time.monotonic() < deadline:
        time.sleep(0.5)
    stop.set()
    clock.join(timeout=30)
    assert not clock.is_alive()
    assert _served(home) == [days[-1]]
    assert due(home, now) == []


def test_a_session_without_bars_is_try_later(home: Stores) -> None:
    with pytest.raises(TryLater):
        nightly(date(2025, 1, 6), home)


def _served(stores: Stores) -> list[date]:
    with connect(stores.settings, role="reader") as connection:
        return [row[0] for row in connection.execute("SELECT DISTINCT session FROM serving.scores").fetchall()]


def _publications(stores: Stores) -> int:
    with connect(stores.settings) as connection:
        return int(connection.execute("SELECT count(*) FROM fpm.publications").fetchone()[0])  # type: ignore[index]
