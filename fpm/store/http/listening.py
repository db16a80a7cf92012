"""The socket that a server listens on, and the server: its limits and its log are the same for all of ours."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from fpm.errors import UsageError
from fpm.store.http.patience import PatientProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from fpm.store.settings import Settings

LONGEST_HEADERS = 16_384  # bytes


def server(app: ASGIApp, settings: Settings, *, idle: int, farewell: int) -> uvicorn.Server:
    """A server of an ASGI app: seconds that a connection may be `idle`, and that requests have after an interrupt."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=PatientProtocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            log_config=None if settings.log_format == "json" else LOGGING_CONFIG,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=LONGEST_HEADERS,
            timeout_keep_alive=idle,
            timeout_graceful_shutdown=farewell,
        )
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UsageError where the port is taken or the host is none of this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            code="FPM-HTTP-002",
            wrong=f"cannot listen on {host}:{port}: {error.strerror}",
            effect="nothing was served",
            todo="choose another --port, or stop what listens there",
        ) from error
