"""uvicorn's HTTP protocol, which waits for ever for the head of a request, with an end to its patience.

A client that sends a header a minute would otherwise hold a connection as long as it likes, before any token is asked
for; bodies are timed where they are read (`feature_server`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

HEAD_SECONDS = 10.0
_WORDS = {
    "code": "FPM-HTTP-077",
    "wrong": f"no whole head of a request in {HEAD_SECONDS:g} s",
    "todo": "send it at once",
}
_CONTENT = json.dumps({"error": _WORDS}).encode()
LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    % len(_CONTENT)
) + _CONTENT


class PatientProtocol(H11Protocol):
    """The timer runs from the connection, or the first byte of a later request, to the end of the head."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _forget(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(LATE)
            self.transport.close()
