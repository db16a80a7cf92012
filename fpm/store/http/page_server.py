"""The server of `fpm page`: loopback alone, until interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from fpm.store.http.listening import listening_socket
from fpm.store.http.page_door import PageDoor
from fpm.store.http.patience import PatientProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm.store.http.page_door import Answer
    from fpm.store.settings import Settings

HOST = "127.0.0.1"  # and no other: the page holds what its owner may see


def serve_page(settings: Settings, answer: Answer, port: int, announce: Callable[[str], None]) -> None:
    """Serve until interrupted; `announce` gets each link. Raises UsageError for a port in use."""
    with listening_socket(HOST, port) as listening:
        door = PageDoor(answer, listening.getsockname()[1], announce)
        configuration = uvicorn.Config(
            door,
            http=PatientProtocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            log_config=None if settings.log_format == "json" else LOGGING_CONFIG,
            access_log=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=16_384,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
        )
        try:
            uvicorn.Server(configuration).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has shut down by then, and raises the signal again
            return
