"""The demonstration killed at a random moment and repeated: it leaves the same bytes."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from fpm.store.postgres.server import connect, stop_server
from fpm.store.settings import Settings
from tests.shell import environment

SIZE = ("--symbols", "10", "--sessions", "40", "--preset", "tiny")
WALL_CLOCK = {"published_at", "started_at", "finished_at", "attempt", "created_at"}
KILLS, SLOW = 10, 8  # the last ones belong to `make stress`
SEED = 20261122
MOMENTS = [random.Random(SEED + number).uniform(0.05, 0.95) for number in range(KILLS)]


def start(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fpm.commands.cli", "demo", *SIZE],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(home: Path) -> str:
    running = start(home)
    output, _ = running.communicate(timeout=600)
    assert running.returncode == 0, output
    return output


def digest(home: Path) -> dict[str, str]:
    """Hashes of all files and rows that a reader can reach, without wall-clock columns."""
    settings = Settings(home=home)
    roots = [settings.lake, settings.models, settings.reports]
    files = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
    answer = {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    with connect(settings) as connection:
        for name in _tables(connection):
            columns = ", ".join(column for column in _columns(connection, name) if column not in WALL_CLOCK)
            rows = connection.execute(f"SELECT {columns} FROM {name} ORDER BY {columns}").fetchall()
            answer[name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return answer


def _tables(connection: psycopg.Connection) -> list[str]:
    query = (
        "SELECT table_schema || '.' || table_name FROM information_schema.tables "
        "WHERE table_schema = 'online' OR (table_schema, table_name) = ('fpm', 'publications') ORDER BY 1"
    )
    return [row[0] for row in connection.execute(query).fetchall()]


def _columns(connection: psycopg.Connection, table: str) -> list[str]:
    query = (
        "SELECT quote_ident(column_name) FROM information_schema.columns "
        "WHERE table_schema || '.' || table_name = %s AND data_type <> 'USER-DEFINED' ORDER BY ordinal_position"
    )
    return [row[0] for row in connection.execute(query, (table,)).fetchall()]


@dataclass(frozen=True)
class Demonstration:
    """An undisturbed demonstration: its home, the digest of it, and its seconds."""

    home: Path
    digest: dict[str, str]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstration]:
    home = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    finish(home)
    seconds = time.monotonic() - started
    yield Demonstration(home, digest(home), seconds)
    stop_server(Settings(home=home))


@pytest.mark.parametrize(
    "moment", [*MOMENTS[:-SLOW], *(pytest.param(moment, marks=pytest.mark.slow) for moment in MOMENTS[-SLOW:])]
)
def test_killed_at_a_random_moment_and_repeated_the_bytes_are_the_same(
    moment: float, undisturbed: Demonstration, tmp_path: Path
) -> None:
    running = start(tmp_path)
    time.sleep(moment * undisturbed.seconds)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    try:
        finish(tmp_path)
        assert digest(tmp_path) == undisturbed.digest
        assert not list((tmp_path / "staging").rglob("*.parquet"))
    finally:
        stop_server(Settings(home=tmp_path))


def test_a_second_run_does_nothing_twice(undisturbed: Demonstration) -> None:
    before = _attempts(undisturbed.home)
    finish(undisturbed.home)
    assert _attempts(undisturbed.home) == before
    assert digest(undisturbed.home) == undisturbed.digest


def _attempts(home: Path) -> list[tuple[object, ...]]:
    with connect(Settings(home=home)) as connection:
        return connection.execute("SELECT job, partition, attempt FROM fpm.ledger ORDER BY 1, 2").fetchall()
