"""Clients that send a byte at a time are cut off; those that only take their time between requests are not."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn

from fpm.store.http import patience as http_patience

PATIENCE = 0.5


async def app(scope: object, receive: object, send: object) -> None:
    """Answers everything after a while longer than the patience."""
    time.sleep(2 * PATIENCE)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(http_patience, "HEAD_SECONDS", PATIENCE)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=http_patience.PatientProtocol, lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


def trickled(port: int, head: bytes) -> tuple[bytes, float]:
    """What came back, and after how long, for a head sent byte by byte."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        with suppress(ConnectionError):
            for byte in head:
                line.send(bytes([byte]))
                time.sleep(0.05)
        told = b""
        with suppress(ConnectionError):
            while part := line.recv(1000):
                told += part
    return told, time.monotonic() - started


def test_a_head_that_trickles_in_is_given_up_in_words(port: int) -> None:
    told, seconds = trickled(port, b"GET / HTTP/1.1\r\nhost: x\r\n")
    assert told.startswith(b"HTTP/1.1 408") and b"FPM-HTTP-077" in told and seconds < 5


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        assert line.recv(100).startswith(b"HTTP/1.1 408")


def test_a_slow_answer_and_a_second_request_are_not_cut(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(2):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"
        time.sleep(2 * PATIENCE)
    connection.close()
