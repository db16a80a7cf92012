"""Producer and reader of the embedded database: each has its own password and only the rights that it needs.

A password is in a file of mode 0600 in libpq's format (`passfile`), so `psql` and every driver can use it without
showing it; the database receives only its SCRAM verifier. On a user's own server the operator decides: see
docs/consumers.md.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from fpm.store.lake.small_files import write_secret
from fpm.store.log import log

if TYPE_CHECKING:
    from pathlib import Path

Login = Literal["producer", "reader"]
LOGINS: tuple[Login, ...] = ("producer", "reader")
READER_STATEMENT = "60s"  # the longest query of a reader; a whole served session takes well under one second

# PostgreSQL grants these to everybody, and a reader could harm others with them: space on the disk (temporary tables,
# large objects) and the advisory locks between writers. `fpm_owner` owns the server and needs no grant.
RESTRICTIONS = f"""
DO $$
DECLARE routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^(lo_|pg_(try_)?advisory_)' LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fpm_producer', routine);
    END LOOP;
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO fpm_producer', current_database());
END $$;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
ALTER ROLE fpm_reader SET default_transaction_read_only = on;
ALTER ROLE fpm_reader SET statement_timeout = '{READER_STATEMENT}';
ALTER ROLE fpm_reader SET idle_in_transaction_session_timeout = '10min';
ALTER ROLE fpm_reader CONNECTION LIMIT 30;
"""


def passfile(pg: Path, login: Login) -> Path:
    """The file of a login's password, below the home's `pg`."""
    return pg / f"{login}.pgpass"


def login_dsn(owner_dsn: str, pg: Path, login: Login) -> str:
    """The connection string of a login with its own password, on the owner's server."""
    password = passfile(pg, login).read_text(errors="replace").strip().rpartition(":")[2]
    return make_conninfo(owner_dsn, user=f"fpm_{login}", password=password)


def ensure_logins(owner_dsn: str, pg: Path) -> None:
    """Give a password to every login whose file is missing."""
    if missing := [login for login in LOGINS if not passfile(pg, login).exists()]:
        _give_passwords(owner_dsn, pg, missing)


def repair_logins(owner_dsn: str, pg: Path) -> None:
    """Give a new password to every login whose file no longer works (a copied home, a killed command)."""
    _give_passwords(owner_dsn, pg, [login for login in LOGINS if not _opens(owner_dsn, pg, login)])


def rotate_logins(owner_dsn: str, pg: Path) -> None:
    """Give both logins new passwords; open connections stay open."""
    _give_passwords(owner_dsn, pg, list(LOGINS))


def _give_passwords(owner_dsn: str, pg: Path, logins: list[Login]) -> None:
    if not logins:
        return
    with psycopg.connect(owner_dsn, application_name="fpm") as connection:
        for login in LOGINS:
            ensure_role(connection, login)
        connection.execute(RESTRICTIONS)
        for login in logins:
            name, password = f"fpm_{login}", secrets.token_hex(24)
            verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
            connection.execute(
                SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(Identifier(name), verifier.decode()),
            )
            write_secret(passfile(pg, login), f"*:*:*:{name}:{password}\n".encode())
    log.info("new passwords", logins=logins)


def ensure_role(connection: psycopg.Connection[tuple[object, ...]], login: Login) -> None:
    """Create the role where no migration did so yet."""
    name = f"fpm_{login}"
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
        connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(name)))


def _opens(owner_dsn: str, pg: Path, login: Login) -> bool:
    if not passfile(pg, login).exists():
        return False
    try:
        psycopg.connect(login_dsn(owner_dsn, pg, login), connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True
