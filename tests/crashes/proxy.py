"""A TCP proxy before the real Postgres: it cuts a line before or after a message, holds one back, or loses an answer.

Messages of the client are told apart by Postgres's frontend protocol
(https://www.postgresql.org/docs/current/protocol-message-formats.html): a type, a length that counts itself, a body.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict, make_conninfo

KINDS = ("before", "after", "silent", "late")
SILENCE = 3.0  # seconds of a line that carries nothing and is not cut
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the connection ends by RST, as after a crash of the host


@dataclass(frozen=True)
class Break:
    """What happens at a question of the clients, counted over all connections from 1.

    `kind`: `before`, the line is cut and the server never hears of it; `after`, the server has answered and the line is
    cut before the client hears it; `silent`, the same after a silence; `late`, question and answer come, after a
    silence. `only_commits`: of the questions COMMIT alone counts.
    """

    kind: str
    number: int
    only_commits: bool = True


class Proxy:
    """One break, at the clients of one address."""

    def __init__(self, dsn: str, planned: Break) -> None:
        server = conninfo_to_dict(dsn)
        self._target, self._planned, self._passed = f"{server['host']}/.s.PGSQL.{server['port']}", planned, 0
        self.met = False
        self._lock = threading.Lock()
        self._door = socket.create_server(("127.0.0.1", 0))
        address = {"host": "127.0.0.1", "port": self._door.getsockname()[1], "sslmode": "disable"}
        self.dsn = make_conninfo(dsn, **address, gssencmode="disable")
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:  # closed
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            _Line(client, server, self).start()

    def breaks_at(self, message: bytes) -> str:
        """The kind of the break that comes at this question of a client; "" for none."""
        if self._planned.only_commits and message[5:].rstrip(b"\0").upper() != b"COMMIT":
            return ""
        with self._lock:
            self._passed += 1
            self.met |= self._passed == self._planned.number
            return self._planned.kind if self._passed == self._planned.number else ""


class _Line:
    """A client's connection and the one to the server."""

    def __init__(self, client: socket.socket, server: socket.socket, proxy: Proxy) -> None:
        self._client, self._server, self._proxy = client, server, proxy
        self._deaf = threading.Event()  # the client hears nothing any more

    def start(self) -> None:
        for work in (self._questions, self._answers):
            threading.Thread(target=work, daemon=True).start()

    def _questions(self) -> None:
        try:
            self._server.sendall(self._message(has_type=False))  # the greeting
            while True:
                message = self._message()
                kind = self._proxy.breaks_at(message) if message[:1] in b"QS" else ""
                if kind == "late":
                    time.sleep(SILENCE)
                if kind == "before":
                    return
                self._deaf_if(kind in ("after", "silent"))
                self._server.sendall(message)
                if self._deaf.is_set():
                    self._server.settimeout(60)
                    return
        except OSError:
            return
        finally:
            if not self._deaf.is_set():
                self._cut()

    def _deaf_if(self, is_so: bool) -> None:
        if is_so:
            self._deaf.set()

    def _answers(self) -> None:
        """Everything to the client; of a lost answer nothing, and the line is cut once the server is done."""
        try:
            while content := self._server.recv(65536):
                if not self._deaf.is_set():
                    self._client.sendall(content)
                elif content.endswith((b"I", b"T", b"E")) and content[-6:-5] == b"Z":  # ReadyForQuery
                    break
        except OSError:
            pass
        if self._deaf.is_set() and self._proxy._planned.kind == "silent":
            time.sleep(SILENCE)
        self._cut()

    def _message(self, *, has_type: bool = True) -> bytes:
        head = self._exactly(5 if has_type else 4)
        return head + self._exactly(int.from_bytes(head[-4:], "big") - 4)

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            more = self._client.recv(size - len(content))
            if not more:
                raise ConnectionError
            content += more
        return content

    def _cut(self) -> None:
        """Reset to the client, end to the server."""
        for end in (self._client, self._server):
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


@contextmanager
def proxy(dsn: str, planned: Break) -> Iterator[Proxy]:
    door = Proxy(dsn, planned)
    try:
        yield door
    finally:
        door.close()
