"""docs/consumers.md, run as its reader would: every block, in the order of the page, in a home with two sessions."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from fpm.running_session import cut
from fpm.schema import CLOCKS, STREAMS
from fpm.store.ledger.stores import open_stores
from fpm.store.online import webhook
from fpm.store.online.running import publish_running
from fpm.store.postgres.server import connect, stop_server
from fpm.store.settings import Settings
from tests.shell import bash, environment, run
from tests.small_home import MONDAY, TUESDAY, published_home

PAGE = (Path(__file__).parent.parent / "docs/consumers.md").read_text()
# What a block must have left behind, by its section and its place in it; Python's `assert` is run after the block.
HOLDS = {
    ("SQL", 0): "assert [session.day for _, session in publications] == [2, 3]",
    ("SQL", 1): "assert len(rows) == 12 and set(weights['stale_days']) == set(weights['stale_days'][:1])",
    ("Webhook", 0): "assert genuine",
    ("SDK", 0): (
        "assert then['score'].null_count() == 0 and factors['log_size'].null_count() == 0 "
        "and decision['status'].to_list() == ['optimal']"
    ),
    ("SDK", 1): "assert answer['score'][0] is not None and answer['score'][1] is None",
    ("Arrow, in bulk", 0): "assert scores.num_rows == 24",
    ("Arrow, in bulk", 1): "assert arrow.num_rows == 12 and {'session', 'stale_days'} <= set(arrow.column_names)",
    ("Arrow, in bulk", 2): (
        "assert fingerprints.num_rows == 12 and len(fingerprints['fingerprint'][0].as_py()) == 128 "
        "and streams == [(name, 24) for name in ('dual', 'fingerprint', 'traditional')] "
        "and nearest['similarity'][0] > 0.999999"
    ),
}


def blocks(language: str, section: str) -> list[str]:
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the reader works, with the home in it."""
    folder = tmp_path_factory.mktemp("consumer")
    settings = published_home(folder / ".fpm")
    publish_minutes(settings)
    yield folder
    stop_server(settings)


def publish_minutes(settings: Settings) -> None:
    """Tuesday's scores as those of two minutes of Tuesday."""
    stores = open_stores(settings)
    rows = stores.read("scores", TUESDAY).drop("session", *CLOCKS)
    for text in ("10:30", "14:30"):
        at = cut(TUESDAY, text, stores.market, stores.market.default_view)
        clocks = {"event_timestamp": at.moment, "created_timestamp": at.moment + timedelta(minutes=1)}
        publish_running(at, rows.with_columns(pl.lit(moment).alias(name) for name, moment in clocks.items()), stores)
    stores.ledger.close()


def run_python(section: str, folder: Path) -> None:
    for number, block in enumerate(blocks("python", section)):
        run([sys.executable, "-c", f"{block}\n{HOLDS[section, number]}"], folder, folder / ".fpm")


def test_every_block_is_run() -> None:
    languages = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)
    assert {name: languages.count(name) for name in set(languages)} == {
        "bash": 8,
        "sql": 12,
        "python": 8,
        "console": 1,
        "json": 1,
    }


def test_sql(folder: Path) -> None:
    (shell,) = blocks("bash", "SQL")
    printed = bash(shell, folder, folder / ".fpm")
    assert "(5 rows)" in printed
    for file in (folder / ".fpm/pg").glob("*pass*"):
        assert file.read_text().strip().rpartition(":")[2] not in printed
    one, several, orders, fills, prices, active, nearest, *minutes, stands, known, market = blocks("sql", "SQL")
    with connect(Settings(home=folder / ".fpm"), role="reader") as connection:
        cursor = connection.execute(one.encode())
        assert [column.name for column in cursor.description or ()][-1] == "stale_days"
        assert {row[3] for row in cursor.fetchall()} == {TUESDAY}
        ordered = connection.execute(orders.encode()).fetchall()
        assert ordered and {row[3] for row in ordered} <= {"buy", "sell"} and all(row[4] > 0 for row in ordered)
        assert {row[1] for row in ordered} == {date(2024, 12, 4)}, "the session after the published one"
        filled = connection.execute(fills.encode()).fetchall()
        assert filled and all(row[5] == pytest.approx(row[3] * row[4], abs=0.005) and row[6] > 0 for row in filled)
        assert {row[7] for row in filled} == {MONDAY}, "decided the session before"
        felt = connection.execute(prices.encode()).fetchall()
        assert felt and all(0 < row[2] < row[4] + 1e-6 and row[7] >= 0.0005 for row in felt)
        assert len(connection.execute(active.encode()).fetchall()) == len(ordered)
        connection.rollback()
        connection.autocommit = True
        connection.execute(several.encode())
        neighbours = connection.execute(nearest.encode()).fetchall()
        assert len(neighbours) == 12 and neighbours[0] == ("600000.SH", TUESDAY, False), "a stock is most like itself"
        last, every = (connection.execute(block.encode()).fetchall() for block in minutes)
        assert len(last) == 12 and {row[3:5] for row in last} == {("14:30", TUESDAY)}
        assert [row[0] for row in every] == ["10:30", "14:30"]
        rows = connection.execute(stands.encode()).fetchall()
        assert {(row[0], row[1]) for row in rows} == {(day, stream) for day in (MONDAY, TUESDAY) for stream in STREAMS}
        first, second = (connection.execute(part.encode()).fetchall() for part in known.split(";")[:2])
        assert first == [], "published in the days of this test, not in 2024"
        assert [row[0] for row in second] == [MONDAY, TUESDAY]
        assert len(connection.execute(market.encode()).fetchall()) == 12
    run_python("SQL", folder)


def test_webhook(folder: Path) -> None:
    """The JSON has the fields of an announcement, and the signature is one."""
    (document,) = blocks("json", "Webhook")
    assert set(json.loads(document)) == set(webhook._NAMES)
    run_python("Webhook", folder)


def test_http(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (started,) = blocks("console", "HTTP")
    command = [*started.removeprefix("$ ").split(), "--port", port]
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder / ".fpm"), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None and "url" in server.stdout.readline()
            own = [block.replace(":6566", f":{port}") for block in blocks("bash", "HTTP")]
            ask, health, fresh, past, minute, news = own
            printed = bash(ask, folder, folder / ".fpm")
            assert f"x-fpm-session: {TUESDAY}" in printed
            answer = json.loads((folder / "answer.json").read_text())
            assert answer["results"][2]["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"]
            assert json.loads(bash(health, folder, folder / ".fpm"))["session"] == str(TUESDAY)
            refused = json.loads(bash(fresh, folder, folder / ".fpm"))["error"]
            assert refused["code"] == "FPM-HTTP-087" and f"session {TUESDAY} is published" in refused["wrong"]
            rows = json.loads(bash(past, folder, folder / ".fpm"))["rows"]
            assert [row["session"] for row in rows] == [str(MONDAY), str(TUESDAY)]
            running = json.loads(bash(minute, folder, folder / ".fpm"))
            assert running["minute"] == "14:30" and [row["stream"] for row in running["rows"]] == ["dual"]
            (publication,) = json.loads(bash(news, folder, folder / ".fpm"))["publications"]
            assert publication["session"] == str(TUESDAY) and set(publication) == set(webhook._NAMES)
        finally:
            server.terminate()


def test_sdk(folder: Path) -> None:
    run_python("SDK", folder)


def test_arrow_in_bulk(folder: Path) -> None:
    started = time.monotonic()
    (shell,) = blocks("bash", "Arrow, in bulk")
    bash(shell, folder, folder / ".fpm")
    run_python("Arrow, in bulk", folder)
    assert time.monotonic() - started < 60


def test_rotation_gives_other_secrets(folder: Path) -> None:
    files = [folder / ".fpm/pg/reader.pgpass", folder / ".fpm/pg/producer.pgpass", folder / ".fpm/http-token"]
    before = [file.read_text() for file in files]
    run(["fpm", "setup", "--rotate", "--json"], folder, folder / ".fpm")
    assert not {file.read_text() for file in files} & set(before)
    assert "1 row" in bash('psql "$(fpm connection --url)" -c "SELECT 1"', folder, folder / ".fpm")
