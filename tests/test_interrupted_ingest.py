"""`fpm ingest` beside another one, and ended in the middle: nothing is lost, doubled or half there, no traceback."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import psycopg
import pytest

from fpm.sessions import market, sessions_between
from fpm.store.faults import FAULTPOINTS
from fpm.store.ledger.stores import open_stores
from fpm.store.postgres.server import Server
from fpm.store.settings import Settings
from tests.databases import fresh_database
from tests.shell import FPM, environment
from tests.tape import FIRST, SYMBOLS, tape, write

DAYS = sessions_between(market("cn"), FIRST, FIRST.replace(day=9))[:3]
MOMENTS, FEW = 20, 2  # at random; all but the first ones belong to `make stress`
POINTS = [(f"{point}:{count}", name) for point in FAULTPOINTS for count in (1, 3) for name in ("SIGINT", "SIGTERM")]
QUICK = [("begun:1", "SIGTERM"), ("staged:3", "SIGINT"), ("renamed:3", "SIGINT"), ("renamed:3", "SIGTERM")]


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> Iterator[Callable[[], str]]:
    """A fresh database at every call."""
    with ExitStack() as databases:
        yield lambda: databases.enter_context(fresh_database(postgres_server))


class Home:
    """A home of its own and the processes that ingest into it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder, self.url = folder, database_url

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        command = [*FPM, "ingest", *words, "--market", "cn", "--preset", "tiny", "--json"]
        return subprocess.Popen(
            command,
            env=environment(self.folder, FPM_DATABASE_URL=self.url, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ingest(self, *words: str) -> dict[str, object]:
        process = self.start(*words)
        answer, messages = process.communicate(timeout=300)
        assert process.returncode == 0, messages
        return dict(json.loads(answer))

    def stored(self) -> pl.DataFrame:
        settings = Settings(home=self.folder, market="cn", preset="tiny", database_url=self.url)
        stores = open_stores(settings)
        try:
            return pl.concat(stores.read("minute_bars", day).with_columns(session=pl.lit(day)) for day in DAYS)
        finally:
            stores.ledger.close()

    def digest(self) -> dict[str, str]:
        """The sha256 of every file of the lake and every receipt, and what the ledger has published."""
        files = [path for name in ("lake", "receipts") for path in sorted((self.folder / name).rglob("*"))]
        answer = {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path.is_file()
        }
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT DISTINCT job, partition FROM fpm.ledger WHERE status = 'published'")
            return answer | {f"{job} {partition}": "published" for job, partition in rows.fetchall()}


def deliver(folder: Path) -> tuple[Path, Path]:
    """Two deliveries of the same sessions, one symbol apart in each: two symbols, and the third."""
    for name, symbols in (("two", SYMBOLS["cn"][:2]), ("third", SYMBOLS["cn"][2:])):
        for day in DAYS:
            write(tape("cn", day, symbols=symbols), folder / name / f"{day}.parquet")
    return folder / "two", folder / "third"


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, database: Callable[[], str]
) -> tuple[Path, dict[str, str], float]:
    """A delivery, the digest of the home that took it, and the seconds of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    delivery, _ = deliver(folder)
    home = Home(folder / "home", database())
    started = time.monotonic()
    home.ingest(str(delivery))
    return delivery, home.digest(), time.monotonic() - started


# --- in the middle ---------------------------------------------------------------------------------------------------
def check_ended(process: subprocess.Popen[str], number: int, may_be_done: bool = False) -> None:
    _, messages = process.communicate(timeout=120)
    ended = {signal.SIGINT: (130, -signal.SIGINT), signal.SIGTERM: (-signal.SIGTERM,)}[signal.Signals(number)]
    assert process.returncode in (*ended, *((0,) if may_be_done else ())), messages
    assert "Traceback" not in messages and "Error" not in messages, messages


@pytest.mark.parametrize(
    ("point", "name"),
    [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in POINTS if each not in QUICK)],
)
def test_ended_at_a_point_of_the_publication(
    point: str,
    name: str,
    undisturbed: tuple[Path, dict[str, str], float],
    tmp_path: Path,
    database: Callable[[], str],
) -> None:
    delivery, expected, _ = undisturbed
    home = Home(tmp_path / "home", database())
    check_ended(home.start(str(delivery), FPM_FAULT=f"{point}:{name}"), signal.Signals[name])
    home.ingest(str(delivery))
    assert home.digest() == expected
    assert not list((home.folder / "staging").rglob("*.parquet"))


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=[pytest.mark.slow] if n >= FEW else []) for n in range(MOMENTS)]
)
def test_ended_at_a_random_moment(
    number: int, undisturbed: tuple[Path, dict[str, str], float], tmp_path: Path, database: Callable[[], str]
) -> None:
    delivery, expected, seconds = undisturbed
    home = Home(tmp_path / "home", database())
    process = home.start(str(delivery))
    while not home.folder.exists() and process.poll() is None:  # Python's own start knows no signal of ours
        time.sleep(0.01)
    time.sleep(random.Random(number).uniform(0.0, 0.7) * seconds)
    process.send_signal(sent := (signal.SIGINT, signal.SIGTERM)[number % 2])
    check_ended(process, sent, may_be_done=True)
    home.ingest(str(delivery))
    assert home.digest() == expected


# --- side by side ----------------------------------------------------------------------------------------------------
def check_whole(reports: list[dict[str, object]], home: Home) -> None:
    """Every row that went in is stored once, and each process's account says so."""
    delivered = sum(each["rows_in"] for each in reports)  # type: ignore[misc]
    assert all(each["rows_in"] == each["rows_out"] == sum(f["stored"] for f in each["files"]) for each in reports)  # type: ignore[attr-defined]
    stored = home.stored()
    assert stored.height == delivered
    assert not stored.select("session", "symbol", "slot").is_duplicated().any()


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_two_deliveries_of_the_same_sessions_at_once(rounds: int, tmp_path: Path, database: Callable[[], str]) -> None:
    two, third = deliver(tmp_path)
    for number in range(rounds):
        home = Home(tmp_path / f"home-{number}", database())
        together(home, [(str(two),), (str(third),)])


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_one_delivery_twice_at_once(rounds: int, tmp_path: Path, database: Callable[[], str]) -> None:
    two, _ = deliver(tmp_path)
    delivered = sum(pl.scan_parquet(path).select(pl.len()).collect().item() for path in two.iterdir())
    for number in range(rounds):
        home = Home(tmp_path / f"home-{number}", database())
        processes = [home.start(str(two)) for _ in range(3)]
        answers = [process.communicate(timeout=300) for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], answers
        # whoever comes second to a file takes nothing of it: only the store tells how much went in
        stored = home.stored()
        assert stored.height == delivered
        assert not stored.select("session", "symbol", "slot").is_duplicated().any()
        assert not [path for path in home.folder.rglob(".*") if path.name.endswith(".unfinished")]


@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_two_deliveries_of_different_sessions_at_once(rounds: int, tmp_path: Path, database: Callable[[], str]) -> None:
    deliver(tmp_path)
    files = [str(path) for name in ("two", "third") for path in sorted((tmp_path / name).iterdir())]
    for number in range(rounds):
        home = Home(tmp_path / f"home-{number}", database())
        days = [[file for file in files if file.endswith(f"{day}.parquet")] for day in DAYS]
        together(home, [(*days[0], *days[2]), tuple(days[1])])


def together(home: Home, deliveries: list[tuple[str, ...]]) -> None:
    processes = [home.start(*words) for words in deliveries]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), answers
    check_whole([json.loads(answer) for answer, _ in answers], home)
