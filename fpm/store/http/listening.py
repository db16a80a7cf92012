"""The socket that a server listens on."""

from __future__ import annotations

import socket

from fpm.errors import UsageError


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
