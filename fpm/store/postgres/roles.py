"""Logins of the embedded database: each has its own password and only the rights that it needs.

A password is in a file of mode 0600 in libpq's format (`passfile`), so `psql` and every driver can use it without
showing it, and read it anew at each connection; the database receives only its SCRAM verifier. What the file says
counts: a login that changed its own password gets the file's again.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode
from hashlib import pbkdf2_hmac
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from fpm.store.lake.small_files import write_secret
from fpm.store.log import log
from fpm.store.postgres import fence

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fpm.store.postgres.fence import Connection

LOGINS = ("producer", "reader", "server")  # of every home; `fpm serve` shares its login with nobody
OWN_SERVER = ("fpm_producer", "fpm_reader")  # what migrations name, and the user's own server needs


def passfile(pg: Path, login: str) -> Path:
    """The file of a login's password, below the home's `pg`."""
    return pg / f"{login}.pgpass"


def login_dsn(owner_dsn: str, pg: Path, login: str) -> str:
    """The connection string of a login on the owner's server; libpq reads the password from its file.

    The empty password keeps one of the environment (PGPASSWORD) out.
    """
    return make_conninfo(owner_dsn, user=f"fpm_{login}", password="", passfile=str(passfile(pg, login)))


def ensure_logins(owner_dsn: str, pg: Path) -> None:
    """Give a password to every login whose file is missing."""
    if any(not passfile(pg, login).exists() for login in LOGINS):
        repair_logins(owner_dsn, pg)


def repair_logins(owner_dsn: str, pg: Path) -> None:
    """Set right what is not as the home has it: roles, their rights and limits, and passwords unlike their files'.

    A login without a file gets a new password.
    """
    with psycopg.connect(owner_dsn, application_name="fpm") as connection:
        ensure_roles(connection)
        fence.close(connection, embedded=True)
        fence.end_overlong(connection)
        _give_passwords(connection, pg, [login for login in _present(connection) if not _fits(connection, pg, login)])


def rotate_logins(owner_dsn: str, pg: Path) -> None:
    """Give every login a new password; open connections stay open."""
    with psycopg.connect(owner_dsn, application_name="fpm") as connection:
        ensure_roles(connection)
        _give_passwords(connection, pg, _present(connection), renew=True)


def ensure_roles(connection: Connection, *, embedded: bool = True) -> None:
    """Create the roles that are not there: the home's own logins and the readers' group.

    On the embedded server also the consumers', who are missing after a restore.
    """
    names = [*(f"fpm_{login}" for login in LOGINS), *fence.logins(connection)] if embedded else OWN_SERVER
    roles = {fence.GROUP: SQL("NOLOGIN")} | dict.fromkeys(names, SQL("LOGIN"))
    present = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (list(roles),)).fetchall()
    for name in roles.keys() - {str(row[0]) for row in present}:
        connection.execute(SQL("CREATE ROLE {} {}").format(Identifier(name), roles[name]))


def set_password(connection: Connection, pg: Path, login: str, *, renew: bool) -> None:
    """Give a login the password of its file, or a new one, which is then in its file."""
    name, file = f"fpm_{login}", passfile(pg, login)
    password = secrets.token_hex(24) if renew or not file.exists() else _password(file)
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    connection.execute(SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(Identifier(name), verifier))
    write_secret(file, f"*:*:*:{name}:{password}\n".encode())


def _present(connection: Connection) -> list[str]:
    consumers = [name.removeprefix("fpm_") for name in fence.logins(connection).keys() - fence.OWN.keys()]
    return [*LOGINS, *sorted(consumers)]


def _give_passwords(connection: Connection, pg: Path, logins: Iterable[str], *, renew: bool = False) -> None:
    for login in logins:
        set_password(connection, pg, login, renew=renew)
        log.info("password set", login=login)


def _password(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace").strip().rpartition(":")[2]


def _fits(connection: Connection, pg: Path, login: str) -> bool:
    """Whether the database takes the password of a login's file."""
    query = "SELECT rolpassword FROM pg_authid WHERE rolname = %s AND rolcanlogin"
    row, file = connection.execute(query, (f"fpm_{login}",)).fetchone(), passfile(pg, login)
    return bool(row and row[0] and file.exists() and is_verifier_of(_password(file), str(row[0])))


def is_verifier_of(password: str, verifier: str) -> bool:
    """Whether a verifier as PostgreSQL stores it, `SCRAM-SHA-256$ROUNDS:SALT$STORED:SERVER`, is this password's.

    StoredKey = H(HMAC(SaltedPassword, "Client Key")), RFC 5802, section 3; of passwords in ASCII.
    """
    scheme, _, rest = verifier.partition("$")
    head, _, keys = rest.partition("$")
    rounds, _, salt = head.partition(":")
    if scheme != "SCRAM-SHA-256" or not rounds.isdecimal():
        return False
    salted = pbkdf2_hmac("sha256", password.encode(), b64decode(salt), int(rounds))
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return hmac.compare_digest(server_key, b64decode(keys.partition(":")[2]))
