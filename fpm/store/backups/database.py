"""Our schemas as `pg_dump` writes them and `pg_restore` reads them (https://www.postgresql.org/docs/current/app-pgdump.html).

Both programs come with the embedded server; they are clients, and speak to an older server of the user's, too. The
password goes to them in their environment, which other users of the machine cannot read.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg

from fpm.errors import TryLater, UsageError
from fpm.store.addresses import sealed
from fpm.store.postgres.cluster import programs
from fpm.store.postgres.roles import ensure_roles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fpm.store.postgres.server import Server

SCHEMAS = ("fpm", "feast", "online", "serving")
_PRESENT: LiteralString = "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s) ORDER BY nspname"


@contextmanager
def snapshot(server: Server) -> Iterator[tuple[psycopg.Connection[tuple[Any, ...]], str]]:
    """A connection that sees the database of one moment for the length of the block, and that snapshot's name."""
    try:
        with psycopg.connect(server.dsn, application_name="fpm backup") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            row = connection.execute("SELECT pg_export_snapshot()").fetchone()
            assert row is not None, "a function returns a row"
            yield connection, str(row[0])
    except psycopg.OperationalError as wrong:
        raise TryLater(
            code="FPM-PG-076",
            wrong=f"the database does not answer: {server.words(wrong)}",
            effect="nothing was finished",
            todo="see that Postgres runs (`fpm setup`), then run the same command again",
        ) from sealed(wrong)


def dump(server: Server, name: str, path: Path) -> None:
    """Write our schemas as of the snapshot `name`. Raises TryLater where the program fails."""
    schemas = [f"--schema={schema}" for schema in SCHEMAS]
    _run(server, "pg_dump", "--format=custom", "--no-owner", f"--snapshot={name}", f"--file={path}", *schemas)


def restore(server: Server, path: Path) -> None:
    """Read a dump into a database that has none of our schemas, in one transaction.

    Raises UsageError where it has, TryLater where the program fails.
    """
    require_empty(server)
    with psycopg.connect(server.dsn, application_name="fpm restore") as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        ensure_roles(connection, embedded=server.embedded)
    _run(
        server, "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", f"--dbname={_database(server)}",
        str(path),
    )  # fmt: skip


def require_empty(server: Server) -> None:
    """Raises UsageError where the database has one of our schemas."""
    with psycopg.connect(server.dsn, application_name="fpm restore") as connection:
        schemas = [str(row[0]) for row in connection.execute(_PRESENT, (list(SCHEMAS),))]
    if schemas:
        raise UsageError(
            code="FPM-BAK-005",
            wrong=f"the database {server.name} has the schemas {', '.join(schemas)} already",
            effect="nothing was restored",
            todo="name an empty database in FPM_DATABASE_URL: a restore replaces nothing",
        )


def _database(server: Server) -> str:
    return str(server.parts.get("dbname") or server.parts.get("user") or "")


# libpq's variables (https://www.postgresql.org/docs/current/libpq-envars.html); what has none stays with its default
_VARIABLES = {
    "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER",
    "password": "PGPASSWORD", "passfile": "PGPASSFILE", "service": "PGSERVICE", "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslrootcert": "PGSSLROOTCERT",
    "channel_binding": "PGCHANNELBINDING", "gssencmode": "PGGSSENCMODE", "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}  # fmt: skip


def _run(server: Server, program: str, *arguments: str) -> None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C"}
    for part, value in server.parts.items():
        if part in _VARIABLES and value is not None:
            environment[_VARIABLES[part]] = str(value)
    answer = subprocess.run(
        [str(programs(as_root=False) / program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if answer.returncode:
        complaint = " | ".join(answer.stderr.strip().splitlines()[-4:])
        raise TryLater(
            code="FPM-BAK-006",
            wrong=f"{program} ended with {answer.returncode}: {server.words(RuntimeError(complaint))}",
            effect="nothing was finished",
            todo="see that the database answers and has room, then run the same command again",
        )
