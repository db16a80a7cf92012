"""A time limit for the head of a request, which uvicorn's HTTP protocol does not have.

Without it a client that sends one header per minute holds a connection as long as it likes, before it needs a token.
The limit for bodies is where they are read (`fpm.store.http.door`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

HEAD_SECONDS = 10.0
_ERROR = {
    "code": "FPM-HTTP-077",
    "wrong": f"no whole head of a request in {HEAD_SECONDS:g} s",
    "todo": "send it at once",
}
_CONTENT = json.dumps({"error": _ERROR}).encode()
LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    % len(_CONTENT)
) + _CONTENT


class PatientProtocol(H11Protocol):
    """uvicorn's protocol with a timer from the connection, or a later request's first byte, to the end of the head."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the timer."""
        super().connection_made(transport)
        self._update_timer()

    def data_received(self, data: bytes) -> None:
        """Stop the timer when the head is whole; start it with the first byte of the next one."""
        super().data_received(data)
        self._update_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _update_timer(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(LATE)
            self.transport.close()
