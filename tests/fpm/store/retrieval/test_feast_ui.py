"""`feast ui` as docs/feast.md says: on this machine only, as a reader who can write nothing, ended by Ctrl-C."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.store.postgres.server import stop_server
from tests.shell import environment
from tests.small_home import published_home

pytest.importorskip("grpc_health", reason="the extra `ui` is not installed")
UI = 'eval "$(fpm connection --feast)"\nexec feast ui --host 127.0.0.1 --port {}'
SECONDS = 120  # Feast's imports, on a busy machine
ENTITY = '{"name": "stranger", "project": "fpm", "join_key": "stranger", "value_type": 2}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    settings = published_home(tmp_path_factory.mktemp("ui"))
    yield settings.home
    stop_server(settings)


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def await_start(port: int) -> None:
    until = time.monotonic() + SECONDS
    while True:
        try:
            ask(port, "GET", "/")
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.2)
        else:
            return


@pytest.mark.slow
def test_it_shows_the_views_and_changes_none(home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(["bash", "-c", UI.format(port)], env=environment(home), stderr=subprocess.DEVNULL)
    try:
        await_start(port)
        views = "/api/v1/feature_views?project=fpm"
        status, before = ask(port, "GET", views)
        assert status == 200 and b'"scores"' in before and b"postgresql://" not in before
        assert ask(port, "DELETE", "/api/v1/feature_views/scores?project=fpm")[0] == 500
        assert ask(port, "POST", "/api/v1/entities", ENTITY)[0] == 500
        assert ask(port, "GET", views) == (200, before)
        assert b"stranger" not in ask(port, "GET", "/api/v1/entities?project=fpm")[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
