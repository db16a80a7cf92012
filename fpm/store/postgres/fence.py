"""The fence around readers: what PostgreSQL lets everybody do is taken from them, and each has its own limits.

A role may always alter its own settings and its own password
(https://www.postgresql.org/docs/18/sql-alterrole.html), and end the sessions of roles that it belongs to. So nobody
shares a login: the rights lie with `fpm_readers`, which is none, and a login's settings are set right at every start.
A gap comes with the statements that close it, so that a superuser can run what the owner's login may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GROUP = "fpm_readers"
SETS_MEMBERSHIP = 160_000  # PostgreSQL 16 may forbid a member to become the group: SET ROLE
GRANTS_PARAMETERS = 150_000  # before, only a superuser sets temp_file_limit
STATEMENT = "60s"  # the longest query of a reader; a whole served session takes well under one second

LONGEST_TRANSACTION = "1h"  # an older snapshot keeps vacuum from every table

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Limits:
    """What one login may take: connections at once; time, temporary files and memory of a statement."""

    connections: int = 5
    statement_timeout: str = STATEMENT
    temp_file_limit: str = "1GB"
    work_mem: str = "16MB"

    @property
    def settings(self) -> dict[str, str]:
        """The role's own settings, as `pg_db_role_setting` holds them."""
        return {
            "default_transaction_read_only": "on",
            "statement_timeout": self.statement_timeout,
            "idle_in_transaction_session_timeout": "10min",
            "temp_file_limit": self.temp_file_limit,
            "work_mem": self.work_mem,
        }


OWN = {"fpm_reader": Limits(30), "fpm_server": Limits(30)}  # the home's own logins


@dataclass(frozen=True)
class Gap:
    """What is open to readers that should not be, and the statements that close it."""

    what: str
    closing: str


_READERS: LiteralString = "SELECT name, connections, statement_timeout, temp_file_limit, work_mem FROM fpm.readers"
_LOGINS: LiteralString = """
SELECT rolname, rolconnlimit, coalesce(pg_has_role(oid, to_regrole('fpm_readers'), 'USAGE'), false),
    (SELECT setconfig FROM pg_db_role_setting WHERE setrole = roles.oid AND setdatabase = 0),
    EXISTS (SELECT FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
            WHERE setrole = roles.oid AND datname = current_database())
FROM pg_roles AS roles WHERE rolcanlogin AND rolname = ANY(%s)
"""
# Space on the disk (large objects, WAL messages), and the locks between writers.
_ROUTINES: LiteralString = (
    "pronamespace = 'pg_catalog'::regnamespace "
    "AND proname ~ '^(lo_|loread|lowrite|pg_(try_)?advisory_|pg_logical_emit_message)'"
)
_OPEN: LiteralString = f"""
SELECT
    ARRAY(SELECT DISTINCT proname::text FROM pg_proc
          WHERE {_ROUTINES} AND has_function_privilege('fpm_readers', oid, 'EXECUTE') ORDER BY 1),
    has_database_privilege('fpm_readers', current_database(), 'TEMPORARY'),
    has_database_privilege('fpm_readers', current_database(), 'CONNECT'),
    ARRAY(SELECT nspname::text FROM pg_namespace WHERE has_schema_privilege('fpm_readers', oid, 'CREATE') ORDER BY 1),
    ARRAY(SELECT datname::text FROM pg_database
          WHERE datname IN ('postgres', 'template1') AND has_database_privilege('fpm_readers', oid, 'CONNECT')),
    ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace('serving') AND relkind = 'v'
          AND NOT (has_table_privilege('fpm_readers', oid, 'SELECT')
                   AND has_schema_privilege('fpm_readers', relnamespace, 'USAGE')) ORDER BY 1),
    current_database(), current_user
"""
_END_OVERLONG: LiteralString = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE usename = ANY(%s) AND datname = current_database() AND now() - xact_start > %s::interval
"""
_REVOKE_ROUTINES = f"""DO $$
DECLARE routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc WHERE {_ROUTINES} LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fpm_producer, {{owner}}', routine);
    END LOOP;
END $$;"""


def gaps(connection: Connection, *, embedded: bool) -> list[Gap]:
    """Where the fence is open; none where no reader can log in.

    `embedded`: the whole server is ours, and its other databases are closed, too.
    """
    limits = logins(connection)
    present = {str(row[0]): row for row in connection.execute(_LOGINS, (list(limits),))}
    if not present:
        return []
    if connection.execute("SELECT to_regrole('fpm_readers')").fetchone() == (None,):
        return [Gap("there is no role fpm_readers", "CREATE ROLE fpm_readers NOLOGIN;")]
    version = connection.info.server_version
    open_logins = [
        Gap(f"{name} has other settings than its own", limit_login(connection, name, limits[name], version))
        for name, row in sorted(present.items())
        if row[1:] != (limits[name].connections, True, row[3], False) or _settings(row[3]) != limits[name].settings
    ]
    return [*_open_to_all(connection, embedded=embedded), *_out_of_reach(connection, version), *open_logins]


def close(connection: Connection, *, embedded: bool) -> list[Gap]:
    """Close what is open, as far as this login may; returns what stays open."""
    before: list[Gap] = []
    while (now := gaps(connection, embedded=embedded)) and now != before:  # one gap may hide behind another
        before = now
        for gap in now:
            _try(connection, gap)
    return now


def end_overlong(connection: Connection) -> int:
    """End sessions of readers whose transaction is older than `LONGEST_TRANSACTION`; returns how many.

    A reader may lift its own time limits, and PostgreSQL cannot forbid it.
    """
    try:
        with connection.transaction():
            names = list(logins(connection))
            return connection.execute(_END_OVERLONG, (names, LONGEST_TRANSACTION)).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return 0


def _try(connection: Connection, gap: Gap) -> None:
    try:
        with connection.transaction():
            connection.execute(gap.closing.encode())
    except psycopg.errors.InsufficientPrivilege:
        pass  # the gap is still there, and is named
    except (
        psycopg.errors.InternalError_
    ) as wrong:  # another process altered the role at this moment: it is looked at again
        if "concurrently" not in str(wrong):
            raise


def logins(connection: Connection) -> dict[str, Limits]:
    """The logins that read, whether they are there or not, and the limits of each."""
    if connection.execute("SELECT to_regclass('fpm.readers')").fetchone() == (None,):
        return OWN
    return OWN | {login_of(name): Limits(*limits) for name, *limits in connection.execute(_READERS)}


def login_of(name: str) -> str:
    """The role of a consumer."""
    return f"fpm_reader_{name}"


def limit_login(connection: Connection, login: str, limits: Limits, version: int) -> str:
    """The statements that give a login its limits and the group's rights, and take all other settings from it."""
    role = Identifier(login)
    membership = " WITH INHERIT TRUE, SET FALSE" if version >= SETS_MEMBERSHIP else ""
    statements = [
        SQL("ALTER ROLE {} RESET ALL;").format(role),
        SQL("ALTER ROLE {} IN DATABASE {} RESET ALL;").format(role, Identifier(connection.info.dbname)),
        SQL("ALTER ROLE {} CONNECTION LIMIT {};").format(role, Literal(limits.connections)),
        *(
            SQL("ALTER ROLE {} SET {} = {};").format(role, Identifier(name), Literal(value))
            for name, value in limits.settings.items()
        ),
        SQL("GRANT {} TO {}{};").format(Identifier(GROUP), role, SQL(membership)),
    ]
    return "\n".join(statement.as_string(connection) for statement in statements)


def _out_of_reach(connection: Connection, version: int) -> Iterator[Gap]:
    """A limit that the owner's login could not set right again."""
    if version < GRANTS_PARAMETERS:
        return
    query = "SELECT has_parameter_privilege('temp_file_limit', 'SET'), quote_ident(current_user)"
    (may_set, owner), *_ = connection.execute(query).fetchall()
    if not may_set:
        yield Gap("their limits are not the owner's to set", f"GRANT SET ON PARAMETER temp_file_limit TO {owner};")


def _settings(entries: list[str] | None) -> Mapping[str, str]:
    return dict(entry.split("=", 1) for entry in entries or ())


def _open_to_all(connection: Connection, *, embedded: bool) -> Iterator[Gap]:
    row = connection.execute(_OPEN).fetchone()
    assert row is not None, "a list of values is one row"
    routines, temporary, connects, schemas, databases, closed_views = row[:6]
    database, owner = (Identifier(str(name)).as_string(connection) for name in row[6:])
    if routines:
        yield Gap(f"readers may call {', '.join(routines)}", _REVOKE_ROUTINES.format(owner=owner))
    if temporary:
        yield Gap(
            "readers may make temporary tables",
            f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;\n"
            f"GRANT TEMPORARY ON DATABASE {database} TO fpm_producer, {owner};",
        )
    if not connects:
        yield Gap("readers may not connect", f"GRANT CONNECT ON DATABASE {database} TO {GROUP};")
    for schema in schemas:
        name = Identifier(schema).as_string(connection)
        yield Gap(f"readers may create tables in schema {schema}", f"REVOKE CREATE ON SCHEMA {name} FROM PUBLIC;")
    if embedded and databases:
        yield Gap(
            "readers may enter other databases", f"REVOKE CONNECT ON DATABASE {', '.join(databases)} FROM PUBLIC;"
        )
    if closed_views:
        yield Gap(
            f"readers may not read {', '.join(closed_views)}",
            f"GRANT USAGE ON SCHEMA serving TO {GROUP};\nGRANT SELECT ON ALL TABLES IN SCHEMA serving TO {GROUP};\n"
            f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA serving TO {GROUP};",
        )
