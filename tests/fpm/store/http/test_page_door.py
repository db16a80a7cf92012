"""The page from a browser's side: `fpm page` in a process of its own, over HTTP."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from fpm.store.postgres.server import connect, ensure_server, stop_server
from fpm.store.settings import Settings
from tests.page_home import Page, opened
from tests.small_home import MONDAY, TUESDAY, published_home

SYMBOL = "600003.SH"
VIEWS = (
    "/",
    "/factor",
    "/names",
    "/names?q=60000",
    f"/names?q={SYMBOL}",
    "/portfolio",
    f"/portfolio?session={MONDAY}&index=CSI300",
    "/lineage",
    f"/lineage?table=scores&session={TUESDAY}&symbol={SYMBOL}",
    f"/lineage?table=weights&session={TUESDAY}&symbol={SYMBOL}",
    f"/lineage?table=daily_bars&session={TUESDAY}",
    f"/lineage?job=portfolio&session={TUESDAY}",
    f"/names/similar?q={SYMBOL}&session={TUESDAY}",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = published_home(tmp_path_factory.mktemp("page"))
    yield settings
    stop_server(settings)


@pytest.fixture(scope="module")
def page(home: Settings) -> Iterator[Page]:
    with opened(home) as running:
        running.enter()
        yield running


def digests(settings: Settings) -> dict[str, tuple[str, int]]:
    """Every file of the home but those of its database server, with its hash and when it was written."""
    return {
        str(path.relative_to(settings.home)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(settings.home.rglob("*"))
        if path.is_file() and not path.is_relative_to(settings.pg)
    }


def rows(settings: Settings) -> list[tuple[str, int, int, int]]:
    """What the database's tables counted of rows written since its start."""
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
    again = page.next_link()  # for another browser
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


def test_a_question_without_an_answer_is_told_in_words(page: Page) -> None:
    for path, code in (
        ("/portfolio?session=2024-12-01", "FPM-MRN-001"),
        ("/portfolio?session=yesterday", "FPM-"),
        ("/lineage?table=nothing&session=2024-12-02", "FPM-PAGE-003"),
        ("/lineage?job=publish&session=2024-12-02", "FPM-PAGE-003"),
        (f"/names/explain?q={SYMBOL}&session={TUESDAY}", "FPM-"),
        ("/names/similar?q=nobody&session=2024-12-02", "FPM-ANA-003"),
        ("/names/similar", "FPM-"),
    ):
        status, _, body = page.ask(path)
        assert status in (404, 500) and code in body and "What to type" in body and "Traceback" not in body, path
    status, _, body = page.ask("/names?q=%3Cscript%3Ealert(1)%3C/script%3E%00%F0")
    assert status == 200 and "<script>alert" not in body and "No symbol is like" in body


def test_a_report_has_an_origin_of_its_own(page: Page) -> None:
    folder = page.settings.reports
    folder.mkdir(exist_ok=True)
    (folder / "report.html").write_text("<script>document.title = 1</script>")
    (folder / "other.html").symlink_to(page.settings.home / "identity")
    status, headers, body = page.ask("/reports/report.html")
    policy = headers["content-security-policy"]
    assert (
        status == 200 and "document.title" in body and "sandbox allow-scripts" in policy and "same-origin" not in policy
    )
    for name in ("other.html", "../identity", "..%2fidentity", "", "report.json"):
        assert page.ask(f"/reports/{name}")[0] == 404


def test_tonight_says_what_is_served(page: Page) -> None:
    _, _, body = page.ask("/")
    assert "Served session" in body and str(TUESDAY) in body and "CSI300" in body


def test_looking_changes_nothing(page: Page) -> None:
    before, stored = digests(page.settings), rows(page.settings)
    for path in VIEWS:
        status, _, body = page.ask(path)
        assert status == 200 and "Traceback" not in body, path
    assert digests(page.settings) == before and len(before) > 10
    assert rows(page.settings) == stored


def test_a_database_that_is_away_and_its_return(home: Settings) -> None:
    with opened(home) as page:
        page.enter()
        stop_server(home)
        try:
            started = time.monotonic()
            status, _, body = page.ask("/")
            assert status == 503 and "The database does not answer" in body and "fpm setup" in body
            assert "Traceback" not in body and time.monotonic() - started < 8  # 1.5 where nothing else runs
        finally:
            ensure_server(home)
        assert page.ask("/")[0] == 200
        output, errors = page.end()
    assert output.splitlines()[-1] == "page stopped" and "Traceback" not in errors and "password" not in errors


def test_a_home_that_is_none_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fpm.commands.cli", "page"]
    environment = {**os.environ, "FPM_HOME": str(tmp_path / "none")}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2 and answer.stderr.startswith("FPM-PAGE-001") and not (tmp_path / "none").exists()


SLOW = """
import sys, time
from pathlib import Path
from threading import Thread
from fpm.store.http.page_server import serve_page
from fpm.store.settings import Settings
def answer(path, query):
    print("asked", flush=True)
    time.sleep(120)
serve_page(Settings(home=Path(sys.argv[1])), answer, 0, lambda link: print(link, flush=True))
print("ended", flush=True)
"""


def ask_in_vain(page: Page) -> None:
    with suppress(http.client.HTTPException, OSError):
        page.ask("/")


def test_it_ends_at_once_while_a_slow_question_is_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    link = process.stdout.readline().strip()
    page = Page(Settings(home=tmp_path), process, int(link.split("/")[2].rpartition(":")[2]), link)
    page.enter()
    page.next_link()
    Thread(target=ask_in_vain, args=(page,), daemon=True).start()
    assert process.stdout.readline().strip() == "asked"
    started = time.monotonic()
    output, errors = page.end()
    assert output.splitlines()[-1] == "ended" and "Traceback" not in errors
    assert time.monotonic() - started < 20
