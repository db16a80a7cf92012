"""The feature server from a client's side: `fpm serve` in a process of its own, over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fpm import sessions
from fpm.errors import TryLater, UsageError
from fpm.store.http import door, published
from fpm.store.http.requests import RequestRefused
from fpm.store.http.server import serve
from fpm.store.http.token import renew_token, token_file
from fpm.store.ledger.stores import open_stores
from fpm.store.postgres.server import connect, ensure_server, stop_server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.consumers.small_lake import SCORER, VINTAGE, SmallLake
from tests.small_home import LATER, MONDAY, TUESDAY, publish_session, published_home

LAKE = SmallLake()
GOOD: dict[str, Any] = {
    "features": ["scores:score", "scores:model"],
    "entities": {"symbol": list(LAKE.names), "stream": ["dual"] * LAKE.symbols},
}


@dataclass
class Running:
    """A server process and how to send it requests."""

    settings: Settings
    process: subprocess.Popen[str]
    port: int

    def ask(
        self, method: str, path: str, body: bytes | None = None, token: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        token = token_file(self.settings).read_text().strip() if token is None else token
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            extra = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"authorization": f"Bearer {token}", **extra})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def read(self, request: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        return self.ask("POST", "/get-online-features", json.dumps(request).encode())


@contextmanager
def served(folder: Path) -> Iterator[Running]:
    """`fpm serve` of a home with two published sessions."""
    settings = published_home(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "fpm.commands.cli", "serve", "--port", "0", "--json"],
        env={**os.environ, "FPM_HOME": str(settings.home), "FPM_FSYNC": "false"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
    assert Path(address["token_file"]) == token_file(settings)
    yield Running(settings, process, int(address["url"].rpartition(":")[2]))
    process.kill()
    process.wait()
    process.stdout.close()
    stop_server(settings)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


def columns(answer: Any) -> dict[str, list[Any]]:
    return {
        name: column["values"]
        for name, column in zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
    }


def expected(session: Any) -> list[float]:
    scores = LAKE.scores(session)
    return scores.filter(scores["stream"] == "dual")["score"].to_list()


def test_values_and_the_publication_they_are_of(server: Running) -> None:
    status, headers, answer = server.read(GOOD)
    assert status == 200
    assert columns(answer)["score"] == expected(TUESDAY) and set(columns(answer)["model"]) == {SCORER}
    assert headers["x-fpm-session"] == str(TUESDAY) and headers["x-fpm-vintage"] == VINTAGE
    assert headers["x-fpm-model"] == SCORER and int(headers["x-fpm-stale-days"]) > 300
    assert headers["x-fpm-published-at"].endswith("+00:00") and headers["cache-control"] == "no-store"


def test_the_metrics_stand_behind_the_same_token(server: Running) -> None:
    status, _, _ = server.ask("GET", "/metrics", token="guessed")
    assert status == 401
    assert server.ask("POST", "/metrics", b"")[0] == 405
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    token = token_file(server.settings).read_text().strip()
    connection.request("GET", "/metrics", headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    connection.close()
    assert answer.status == 200 and answer.getheader("content-type").startswith("text/plain; version=0.0.4")
    symbols = {each.labels["stream"]: each.value for each in families["fpm_served_symbols"].samples}
    assert symbols["dual"] == LAKE.symbols
    assert families["fpm_served_stale_days"].samples[0].value > 300


def test_an_unknown_stock_is_not_found_and_sql_is_data(server: Running) -> None:
    hostile = "'; DROP TABLE online.scores; -- %s {}"
    request = {**GOOD, "entities": {"symbol": [LAKE.names[0], "999999.SH", hostile], "stream": ["dual"] * 3}}
    status, _, answer = server.read(request)
    assert status == 200
    assert answer["results"][3]["statuses"] == ["PRESENT", "NOT_FOUND", "NOT_FOUND"]
    assert server.read(GOOD)[0] == 200


def test_a_vector_and_a_service(server: Running) -> None:
    entities = {"symbol": [LAKE.names[0]], "vintage": [VINTAGE]}
    status, _, answer = server.read({"features": ["fingerprints:fingerprint"], "entities": entities})
    assert status == 200 and len(columns(answer)["fingerprint"][0]) == 128
    entities = {"symbol": [LAKE.names[0]], "index": ["CSI300"]}
    status, _, answer = server.read({"feature_service": "weights", "entities": entities})
    assert status == 200 and columns(answer)["weight"][0] is not None


def test_a_stale_session_is_refused_where_a_fresh_one_is_required(server: Running) -> None:
    """The published session is of 2024; many have been due since."""
    for method, path, body in (("POST", "/get-online-features", json.dumps(GOOD).encode()), ("GET", "/health", None)):
        status, headers, answer = server.ask(method, f"{path}?require=fresh", body)
        assert status == 409 and answer["error"]["code"] == "FPM-HTTP-087" and headers["x-fpm-session"] == str(TUESDAY)
        assert str(TUESDAY) in answer["error"]["wrong"] and "is due since" in answer["error"]["wrong"]
        assert server.ask(method, f"{path}?require=anything", body)[0] == 400


@pytest.mark.parametrize(
    ("market", "now", "due"),
    [  # cut-offs: 20:00 in Shanghai, midnight UTC
        ("cn", "2024-12-03T11:59:59+00:00", "2024-12-02"),
        ("cn", "2024-12-03T12:00:00+00:00", "2024-12-03"),
        ("cn", "2024-12-08T12:00:00+00:00", "2024-12-06"),  # a Sunday
        ("cn", "2024-10-07T23:00:00+00:00", "2024-09-30"),  # the national holiday
        ("crypto", "2024-12-08T12:00:00+00:00", "2024-12-07"),
    ],
)
def test_the_session_that_is_due(market: str, now: str, due: str) -> None:
    assert str(published.due_session(sessions.market(market), datetime.fromisoformat(now))) == due


@pytest.mark.parametrize("token", ["", "guessed", "é", "Bearer", "eyJhbGciOiJub25lIn0.e30."])
def test_without_the_token_every_answer_is_the_same(server: Running, token: str) -> None:
    answers = [
        server.ask("POST", path, b"{}", token=token.encode().decode("latin-1"))
        for path in ("/get-online-features", "/push", "/none")
    ]
    assert [(status, answer) for status, _, answer in answers] == [(401, answers[0][2])] * 3
    assert answers[0][1]["www-authenticate"] == "Bearer"


def test_the_token_is_secret_and_may_be_changed_while_serving(server: Running) -> None:
    file = token_file(server.settings)
    before = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600 and len(before) >= 43
    renew_token(server.settings)
    assert server.ask("GET", "/health", token=before)[0] == 401
    assert server.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/push", 403),
        ("POST", "/write-to-online-store", 403),
        ("POST", "/materialize", 403),
        ("POST", "/materialize-incremental", 403),
        ("POST", "/search", 403),
        ("GET", "/openapi.json", 403),
        ("GET", "/docs", 403),
        ("GET", "/chat", 403),
        ("GET", "/get-online-features", 405),
        ("POST", "/health", 405),
        ("GET", "/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/static/%2e%2e/%2e%2e/etc/passwd", 404),
        ("POST", "/get-online-features/", 404),
    ],
)
def test_only_reading_is_open(server: Running, method: str, path: str, status: int) -> None:
    actual, _, answer = server.ask(method, path, b"{}" if method == "POST" else None)
    assert (actual, set(answer["error"])) == (status, {"code", "wrong", "todo"})


def test_malformed_requests_are_refused_in_words(server: Running) -> None:
    many = {"symbol": ["A"] * 2001, "stream": ["dual"] * 2001}
    for request, status in (
        ({**GOOD, "features": ["nothing:score"]}, 404),
        ({**GOOD, "features": ["scores:nothing"]}, 404),
        ({**GOOD, "features": ["score"]}, 400),
        ({**GOOD, "features": ["daily_bars:close"]}, 404),
        ({**GOOD, "entities": {"code": ["A"]}}, 400),
        ({**GOOD, "entities": {"symbol": [], "stream": []}}, 400),
        ({**GOOD, "entities": {"symbol": [None], "stream": ["dual"]}}, 422),
        ({**GOOD, "entities": {"symbol": [float("nan")], "stream": ["dual"]}}, 422),
        ({**GOOD, "entities": {"symbol": [600000], "stream": ["dual"]}}, 422),
        ({**GOOD, "entities": {"symbol": ["A", "B"], "stream": ["dual"]}}, 422),
        ({**GOOD, "entities": many}, 413),
    ):
        actual, _, answer = server.read(request)
        assert actual == status and answer["error"]["code"].startswith("FPM-HTTP-"), request


def test_long_and_compressed_bodies_are_refused_unread(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        token = token_file(server.settings).read_text().strip()
        line.sendall(
            f"POST /get-online-features HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
            "content-length: 50000000\r\n\r\n".encode()
        )
        assert line.recv(100).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line, suppress(ConnectionError):
        line.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 65_536)
        assert line.recv(100).startswith(b"HTTP/1.1 400")  # or the connection is closed while we still send
    assert server.ask("POST", "/get-online-features", b"\x1f\x8b", content_encoding="gzip")[0] == 415
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(
            f"POST /get-online-features HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
            "transfer-encoding: chunked\r\n\r\n".encode()
        )
        with suppress(ConnectionError):
            for _ in range(200):
                line.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        with suppress(ConnectionError):
            assert line.recv(100).startswith(b"HTTP/1.1 413")
    assert server.read(GOOD)[0] == 200


def test_an_answer_is_of_one_session_while_others_are_published(server: Running) -> None:
    """Two views in one request, while publications go on."""
    symbols = list(LAKE.names)
    entities = {"symbol": symbols, "stream": ["dual"] * len(symbols), "index": ["CSI300"] * len(symbols)}
    request = {"features": ["scores:score", "weights:weight"], "entities": entities}
    answers: list[tuple[int, dict[str, str], Any]] = []
    done = threading.Event()

    def hammer() -> None:
        while not done.is_set():
            answers.append(server.read(request))

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    stores = open_stores(server.settings)
    for session in LATER:
        publish_session(session, LAKE, stores)
    stores.ledger.close()
    time.sleep(0.2)
    done.set()
    for thread in threads:
        thread.join()
    correct = {str(session): expected(session) for session in (MONDAY, TUESDAY, *LATER)}
    good = [(headers["x-fpm-session"], answer) for status, headers, answer in answers if status == 200]
    assert {status for status, _, _ in answers} <= {200, 503} and len(good) > 20
    assert all(columns(answer)["score"] == correct[session] for session, answer in good)
    moments = [{s for c in answer["results"][3:] for s in c["event_timestamps"]} for _, answer in good]
    assert all(len(moment) == 1 for moment in moments)
    assert len({session for session, _ in good}) >= 2


def test_an_internal_error_is_a_number_and_nothing_else(server: Running) -> None:
    with connect(server.settings) as owner:
        owner.execute("ALTER VIEW serving.weights RENAME TO elsewhere")
    entities = {"symbol": [LAKE.names[0]], "index": ["CSI300"]}
    status, _, answer = server.read({"features": ["weights:weight"], "entities": entities})
    with connect(server.settings) as owner:
        owner.execute("ALTER VIEW serving.elsewhere RENAME TO weights")
    assert status == 500 and answer["error"]["code"] == "FPM-HTTP-086"
    assert not [word for word in ("serving", "relation", "psycopg", str(server.settings.home)) if word in str(answer)]


def test_a_stopped_database_is_try_later_and_comes_back_by_itself(server: Running) -> None:
    stop_server(server.settings)
    for path, body in (("/health", None), ("/get-online-features", json.dumps(GOOD).encode())):
        started = time.perf_counter()
        status, headers, answer = server.ask("POST" if body else "GET", path, body)
        assert (status, headers["retry-after"], answer["error"]["code"]) == (503, "5", "FPM-HTTP-085")
        assert time.perf_counter() - started < 2
    ensure_server(server.settings)
    deadline = time.monotonic() + 5
    while (answered := (server.ask("GET", "/health")[0], server.read(GOOD)[0])) != (200, 200):
        assert time.monotonic() < deadline, answered


def test_it_holds_no_right_to_write(server: Running) -> None:
    assert server.read(GOOD)[0] == 200
    with connect(server.settings) as owner:
        rows = owner.execute(
            "SELECT usename FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type ~ 'client'"
        )
        roles = {row[0] for row in rows.fetchall()}
    assert "fpm_server" in roles and roles <= {"fpm_server", "fpm_producer"}


def test_a_slow_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "BODY_SECONDS", 0.05)

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    with pytest.raises(RequestRefused) as refusal:
        asyncio.run(door._body({"headers": []}, never))
    assert refusal.value.status == 408


def test_on_a_users_own_server_it_reads_as_the_role(settings: Settings) -> None:
    features.apply(settings)
    store = features.serving_store(settings)
    assert set(door.catalogue(store).features) == {
        *("daily_factors", "fingerprints", "scores", "score_intervals", "weights", "orders", "trades", "decisions")
    }
    row = {"symbol": "A", "stream": "dual"}
    assert store.get_online_features(features=["scores:score"], entity_rows=[row]).to_dict()["score"] == [None]
    features._disconnect(store)


def test_definitions_that_are_not_applied_are_named(settings: Settings) -> None:
    with pytest.raises(TryLater, match="fpm setup"):
        serve(settings, "127.0.0.1", 0, False, print)


def test_other_machines_are_refused_and_a_taken_port_is_named(settings: Settings, server: Running) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(UsageError, match="FPM-HTTP-001"):
            serve(settings, host, 0, False, print)
    with pytest.raises(UsageError, match="FPM-HTTP-002"):
        serve(settings, "127.0.0.1", server.port, False, print)


def test_an_interrupt_ends_it_cleanly(server: Running) -> None:
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=30) == 0
