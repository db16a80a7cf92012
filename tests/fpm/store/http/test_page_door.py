"""The page from a browser's side: `fpm page` in a process of its own, over HTTP."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings
from tests.small_home import TUESDAY, published_home

VIEWS = ("/",)


@dataclass
class Page:
    """The process, and a browser with its cookie."""

    settings: Settings
    process: subprocess.Popen[str]
    port: int
    link: str
    cookie: str = ""

    def ask(
        self, path: str, method: str = "GET", cookie: str | None = None, host: str = ""
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            cookies = self.cookie if cookie is None else cookie
            headers = {"host": host or f"127.0.0.1:{self.port}"} | ({"cookie": cookies} if cookies else {})
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def enter(self) -> None:
        status, headers, _ = self.ask(self.link[self.link.index("/enter") :])
        assert status == 303 and headers["location"] == "/"
        self.cookie = headers["set-cookie"].partition(";")[0]


def start(settings: Settings) -> Page:
    process = subprocess.Popen(
        [sys.executable, "-m", "fpm.commands.cli", "page", "--port", "0"],
        env={**os.environ, "FPM_HOME": str(settings.home), "FPM_FSYNC": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    link = process.stdout.readline().strip()
    return Page(settings, process, int(link.split("/")[2].rpartition(":")[2]), link)


def end(page: Page) -> tuple[str, str]:
    page.process.send_signal(signal.SIGINT)
    output, errors = page.process.communicate(timeout=30)
    return output, errors


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = published_home(tmp_path_factory.mktemp("page"))
    yield settings
    stop_server(settings)


@pytest.fixture(scope="module")
def page(home: Settings) -> Iterator[Page]:
    running = start(home)
    running.enter()
    yield running
    end(running)


def digests(settings: Settings) -> dict[str, tuple[str, int]]:
    """Every file of the home but those of its database server, with its hash and when it was written."""
    return {
        str(path.relative_to(settings.home)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(settings.home.rglob("*"))
        if path.is_file() and not path.is_relative_to(settings.pg)
    }


def rows(settings: Settings) -> list[tuple[str, int, int, int]]:
    """What the database's tables counted of rows written since its start."""
    from fpm.store.postgres.server import connect

    with connect(settings) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        return connection.execute(
            "SELECT schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1"
        ).fetchall()


def test_the_link_lets_one_browser_in(page: Page) -> None:
    assert page.ask("/")[0] == 200
    assert page.ask(page.link[page.link.index("/enter") :])[0] == 401  # used up
    for cookie in ("", "fpm_page=guessed", f"fpm_page_{page.port}=guessed", f"fpm_page_{page.port}=", "=;;\x01"):
        status, _, body = page.ask("/", cookie=cookie)
        assert status == 401 and "needs its link" in body and str(TUESDAY) not in body
    assert page.process.stdout is not None
    again = page.process.stdout.readline().strip()  # for another browser
    assert again != page.link and "/enter?key=" in again
    assert page.ask(again[again.index("/enter") :], "HEAD")[0] == 401  # a look ahead does not use it up
    assert page.ask(again[again.index("/enter") :])[0] == 303


def test_only_its_own_address_and_only_reading(page: Page) -> None:
    for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1", f"127.0.0.1.evil.example:{page.port}"):
        assert page.ask("/", host=host)[0] == 421
    assert page.ask("/", host=f"localhost:{page.port}")[0] == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = page.ask("/", method)
        assert status == 405 and headers["allow"] == "GET, HEAD"
    status, headers, body = page.ask("/", "HEAD")
    assert status == 200 and body == "" and int(headers["content-length"]) > 1000


def test_what_the_browser_is_told(page: Page) -> None:
    status, headers, body = page.ask("/")
    policy = headers["content-security-policy"]
    assert status == 200 and headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert "style=" not in body and "<style" not in body and "onclick" not in body and body.count("<script") == 1
    assert "HttpOnly" not in body and page.cookie.partition("=")[2] not in body


def test_an_unknown_address_is_said_to_be_none(page: Page) -> None:
    for path in ("/nothing", "/../etc/passwd", "/%2e%2e/%2e%2e/identity", "/static/page.css", "/" + "a" * 3000):
        status, _, body = page.ask(path)
        assert status == 404 and "There is nothing here" in body and "Traceback" not in body


def test_tonight_says_what_is_served(page: Page) -> None:
    _, _, body = page.ask("/")
    assert "Served session" in body and str(TUESDAY) in body and "CSI300" in body


def test_looking_changes_nothing(page: Page) -> None:
    before, stored = digests(page.settings), rows(page.settings)
    for path in VIEWS:
        assert page.ask(path)[0] == 200, path
    assert digests(page.settings) == before and len(before) > 10
    assert rows(page.settings) == stored


def test_a_database_that_is_away_and_its_return(home: Settings) -> None:
    from fpm.store.postgres.server import ensure_server

    page = start(home)
    page.enter()
    stop_server(home)
    try:
        started = time.monotonic()
        status, _, body = page.ask("/")
        assert status == 503 and "The database does not answer" in body and "fpm setup" in body
        assert "Traceback" not in body and time.monotonic() - started < 30
        ensure_server(home)
        assert page.ask("/")[0] == 200
    finally:
        ensure_server(home)
        output, errors = end(page)
    assert output.splitlines()[-1] == "page stopped" and "Traceback" not in errors


def test_a_home_that_is_none_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fpm.commands.cli", "page"]
    environment = {**os.environ, "FPM_HOME": str(tmp_path / "none")}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2 and answer.stderr.startswith("FPM-PAGE-001") and not (tmp_path / "none").exists()
