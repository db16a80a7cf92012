"""The server of `fpm page`: loopback alone, until interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.store.http.listening import listening_socket, server
from fpm.store.http.page_door import PageDoor

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm.store.http.page_door import Answer
    from fpm.store.settings import Settings

HOST = "127.0.0.1"  # and no other: the page holds what its owner may see


def serve_page(settings: Settings, answer: Answer, port: int, announce: Callable[[str], None]) -> None:
    """Serve until interrupted; `announce` gets each link. Raises UsageError for a port in use."""
    with listening_socket(HOST, port) as listening:
        door = PageDoor(answer, listening.getsockname()[1], announce)
        try:
            server(door, settings, idle=30, farewell=2).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has shut down by then, and raises the signal again
            return
