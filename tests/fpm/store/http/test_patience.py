"""A client that sends a head byte by byte is disconnected; one that waits between requests is not."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn

from fpm.store.http import patience

PATIENCE = 0.5


async def app(scope: object, receive: object, send: object) -> None:
    """Answers everything later than the time limit of a head."""
    await asyncio.sleep(2 * PATIENCE)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(patience, "HEAD_SECONDS", PATIENCE)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=patience.PatientProtocol, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


def slow_head(port: int, head: bytes) -> tuple[bytes, float]:
    """The answer to a head sent byte by byte, and the seconds it took."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        with suppress(ConnectionError):
            for byte in head:
                line.send(bytes([byte]))
                time.sleep(0.05)
        answer = b""
        with suppress(ConnectionError):
            while part := line.recv(1000):
                answer += part
    return answer, time.monotonic() - started


def test_a_slow_head_is_refused_in_words(port: int) -> None:
    answer, seconds = slow_head(port, b"GET / HTTP/1.1\r\nhost: x\r\n")
    assert answer.startswith(b"HTTP/1.1 408") and b"FPM-HTTP-077" in answer and seconds < 5


def test_a_silent_connection_is_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        assert line.recv(100).startswith(b"HTTP/1.1 408")


def test_a_slow_answer_and_a_second_request_are_not_cut(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(2):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"
        time.sleep(2 * PATIENCE)
    connection.close()
