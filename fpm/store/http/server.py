"""Feast's feature server behind our door: the address it may listen on, and its life until interrupted."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import fpm.store.retrieval.quick_feast  # noqa: F401  before all others that import Feast

# isort: split
from feast.infra.registry.sql import FeastRegistrySchemaError

from fpm.errors import TryLater, UsageError
from fpm.store.http.door import Door
from fpm.store.http.listening import listening_socket, server
from fpm.store.http.token import token_file
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm.store.settings import Settings


def serve(settings: Settings, host: str, port: int, insecure: bool, announce: Callable[[dict[str, Any]], None]) -> None:
    """Serve until interrupted.

    `announce` is called with the address and the token's file once the port is ours.
    Raises UsageError for a host that other machines can reach (unless `insecure`) and for a port in use, TryLater
    where the feature definitions are not applied.
    """
    if not insecure and not _is_loopback(host):
        raise UsageError(
            code="FPM-HTTP-001",
            wrong=f"{host} can be reached from other machines, and the token would travel unencrypted",
            effect="nothing was served",
            todo="use 127.0.0.1 behind a proxy with TLS, or say --insecure-bind",
        )
    with listening_socket(host, port) as listening:
        door = _door(settings)
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{listening.getsockname()[1]}"
        announce({"url": url, "token_file": str(token_file(settings))})
        try:
            server(door, settings, idle=5, farewell=5).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has shut down by then, and raises the signal again
            log.info("server stopped")
        finally:
            door.close()


def _door(settings: Settings) -> Door:
    try:
        return Door(settings)
    except FeastRegistrySchemaError as error:
        raise TryLater(
            code="FPM-HTTP-003",
            wrong="the feature definitions are not applied",
            effect="nothing was served",
            todo="run `fpm setup`",
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
