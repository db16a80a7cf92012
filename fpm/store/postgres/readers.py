"""Consumers with a login of their own: let in, listed, and put out. None can change what another sees (`fence`).

Who let whom in, with which limits, is a row of `fpm.readers`, and every change of it an entry of the ledger's journal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from fpm.errors import FpmError, UsageError
from fpm.store.postgres import fence
from fpm.store.postgres.roles import passfile, set_password
from fpm.store.postgres.server import connection_to, ensure_server

if TYPE_CHECKING:
    from fpm.store.postgres.fence import Connection, Gap, Limits
    from fpm.store.settings import Settings

NAME = re.compile("[a-z][a-z0-9_]{0,39}")
DURATION, SIZE = re.compile(r"[1-9]\d{0,6}(ms|s|min|h)"), re.compile(r"[1-9]\d{0,6}(kB|MB|GB)")
MOST_CONNECTIONS = 40  # of the embedded server's 60
_LISTED = """
SELECT readers.name, 'fpm_reader_' || readers.name AS login, connections,
    (SELECT count(*) FROM pg_stat_activity WHERE usename = 'fpm_reader_' || readers.name) AS open,
    statement_timeout, temp_file_limit, work_mem, "by", added_at
FROM fpm.readers ORDER BY readers.name
"""
# a restore on the user's own server brings the row without the role
_LET_IN: LiteralString = """
INSERT INTO fpm.readers VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET
    connections = excluded.connections, statement_timeout = excluded.statement_timeout,
    temp_file_limit = excluded.temp_file_limit, work_mem = excluded.work_mem, "by" = excluded."by",
    added_at = excluded.added_at
"""


def add(name: str, limits: Limits, by: str, settings: Settings) -> None:
    """Let a consumer in: a role with its limits, a new password in its file, and the row that says who did it.

    Raises UsageError for a name or a limit that is none, or a consumer who is in; FpmError where the owner's login may
    not do it, with what a superuser has to run.
    """
    _require_usable(name, limits)
    server, login = ensure_server(settings), fence.login_of(name)
    with connection_to(server) as connection:
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (login,)).fetchone():
            raise UsageError(
                code="FPM-PG-090",
                wrong=f"the role {login} is there already",
                effect="nothing was done",
                todo=f"take another name, or put it out first: fpm reader remove {name}",
            )
        try:
            connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(login)))
            connection.execute(fence.limit_login(connection, login, limits, connection.info.server_version).encode())
            connection.execute(
                _LET_IN,
                (name, limits.connections, limits.statement_timeout, limits.temp_file_limit, limits.work_mem, by),
            )
            set_password(connection, settings.pg, f"reader_{name}", renew=True)
        except psycopg.errors.InsufficientPrivilege as refusal:
            raise _refused(connection, refusal) from None


def remove(name: str, settings: Settings) -> int:
    """Put a consumer out: its sessions end, its role and its password's file go. Returns the number of sessions.

    Raises UsageError where nobody of this name is in, FpmError where the owner's login may not do it.
    """
    server, role = ensure_server(settings), Identifier(fence.login_of(name))
    with connection_to(server) as connection:
        if not connection.execute("DELETE FROM fpm.readers WHERE name = %s", (name,)).rowcount:
            raise UsageError(
                code="FPM-PG-092",
                wrong=f"no reader is called {name}",
                effect="nothing was done",
                todo="see `fpm reader list`",
            )
        try:
            present = connection.execute("SELECT to_regrole(%s)", (fence.login_of(name),)).fetchone() != (None,)
            ended = 0
            if present:
                _take_on(connection, role)
                connection.execute(SQL("ALTER ROLE {} NOLOGIN").format(role))
                ended = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (fence.login_of(name),)
                ).rowcount
                connection.execute(SQL("DROP OWNED BY {}; DROP ROLE {}").format(role, role))
        except psycopg.errors.InsufficientPrivilege as refusal:
            raise _refused(connection, refusal) from None
    passfile(settings.pg, f"reader_{name}").unlink(missing_ok=True)
    return ended


def _take_on(connection: Connection, role: Identifier) -> None:
    """Belong to a role, as whoever ends its sessions must; a superuser need not."""
    try:
        with connection.transaction():
            connection.execute(SQL("GRANT {} TO CURRENT_USER").format(role))
    except psycopg.errors.InsufficientPrivilege:  # what follows says so
        pass


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Every consumer who is in: limits, connections open now, who let it in and when."""
    with connection_to(ensure_server(settings)) as connection:
        cursor = connection.execute(_LISTED.encode())
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def require_fence(gaps: list[Gap]) -> None:
    """Raises FpmError where something is open to readers that the owner's login may not close."""
    if gaps:
        raise FpmError(
            code="FPM-PG-088",
            wrong=f"readers may do more than read: {'; '.join(gap.what for gap in gaps)}",
            effect="the home is set up, and is open to its readers",
            todo="have a superuser run the statements printed above in this database, then run `fpm setup` again; or, "
            "where nobody logs in to read, ALTER ROLE fpm_reader NOLOGIN",
        )


def statements(gaps: list[Gap]) -> str:
    """What a superuser has to run to close the gaps."""
    return "\n".join(f"-- {gap.what}\n{gap.closing}" for gap in gaps)


def _require_usable(name: str, limits: Limits) -> None:
    fits = [
        (NAME.fullmatch(name), f"the name {name!r} is not of a-z, 0-9 and _, at most 40, a letter first"),
        (
            0 < limits.connections <= MOST_CONNECTIONS,
            f"{limits.connections} connections are not 1 to {MOST_CONNECTIONS}",
        ),
        (DURATION.fullmatch(limits.statement_timeout), f"{limits.statement_timeout!r} is no time such as 60s"),
        (SIZE.fullmatch(limits.temp_file_limit), f"{limits.temp_file_limit!r} is no size such as 1GB"),
        (SIZE.fullmatch(limits.work_mem), f"{limits.work_mem!r} is no size such as 16MB"),
    ]
    if wrong := [fault for fit, fault in fits if not fit]:
        raise UsageError(
            code="FPM-PG-091", wrong="; ".join(wrong), effect="nothing was done", todo="correct it and run this again"
        )


def _refused(connection: Connection, refusal: psycopg.Error) -> FpmError:
    complaint = str(refusal).splitlines()[0]
    owner = str(connection.info.user)
    rights = (
        f'ALTER ROLE "{owner}" CREATEROLE',
        f'GRANT "{fence.GROUP}" TO "{owner}" WITH ADMIN OPTION',  # where it has not made the group itself
        f'GRANT SET ON PARAMETER temp_file_limit TO "{owner}"',
    )
    return FpmError(
        code="FPM-PG-089",
        wrong=f"the login {owner} may not do this with roles: {complaint}",
        effect="nothing was done",
        todo=f"have a superuser run: {'; '.join(rights)}",
    )
