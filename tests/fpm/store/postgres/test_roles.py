"""A reader of the embedded database: its own login and schema serving, and nothing else by any statement."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr, ValidationError

from fpm.store.postgres.migrate import migrate
from fpm.store.postgres.server import (
    Server,
    connect,
    directions,
    ensure_server,
    hold_fence,
    rotate_passwords,
    stop_server,
)
from fpm.store.settings import Settings

DENIED = psycopg.errors.InsufficientPrivilege
SERVED = (
    *("daily_factors", "fingerprints", "former_fingerprints", "scores", "weights", "orders", "trades", "decisions"),
    *("publications", "score_intervals"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A migrated home with a server of its own."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), fsync=False)
    migrate(settings)
    yield settings
    stop_server(settings)


@pytest.fixture
def reader(home: Settings) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A reader without the defaults that a client may change: only its rights are left."""
    with connect(home, role="reader") as connection:
        connection.autocommit = True
        connection.execute("SET default_transaction_read_only = off")
        yield connection


def test_each_role_is_a_login_of_its_own_with_a_closed_file(home: Settings) -> None:
    for role in ("reader", "producer"):
        with connect(home, role=role) as connection:
            row = connection.execute("SELECT session_user, current_user, rolsuper FROM pg_roles WHERE rolname = user")
            assert row.fetchone() == (f"fpm_{role}", f"fpm_{role}", False)
        assert (home.pg / f"{role}.pgpass").stat().st_mode & 0o777 == 0o600
    with connect(home) as owner:
        verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'fpm_reader'"
        assert str(owner.execute(verifier).fetchone()).startswith("('SCRAM-SHA-256$")
        owners = ensure_server(home).parts["password"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(make_conninfo(ensure_server(home).dsn, user="fpm_reader", password=owners))


def test_a_reader_reads_every_serving_view(reader: psycopg.Connection[tuple[object, ...]]) -> None:
    for view in SERVED:
        cursor = reader.execute(f"SELECT * FROM serving.{view}".encode())
        columns = {column.name for column in cursor.description or ()}
        assert columns >= {"session", "published_at", "vintage", "model", "stale_days"}, view


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO online.scores (symbol) VALUES ('A')",
        "UPDATE online.scores SET score = 0",
        "DELETE FROM online.scores",
        "INSERT INTO serving.publications (session) VALUES ('2024-01-04')",
        "UPDATE serving.publications SET session = '2024-01-04'",
        "DELETE FROM serving.publications",
        "TRUNCATE online.scores",
        "DROP VIEW serving.scores",
        "ALTER VIEW serving.scores RENAME TO mine",
        "CREATE TABLE serving.mine ()",
        "CREATE TABLE public.mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "DROP EXTENSION vector",
        "SELECT FROM online.scores",
        "SELECT FROM feast.feature_views",
        "SELECT FROM fpm.ledger",
        "SELECT FROM fpm.publications",
        "SELECT FROM fpm.models",
        "SELECT rolpassword FROM pg_authid",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY (SELECT 1) TO '/dev/null'",
        "COPY serving.scores FROM STDIN",
        "SELECT pg_read_file('postmaster.pid')",
        "SELECT pg_advisory_lock(1)",
        "SELECT lo_create(0)",
        "SELECT pg_reload_conf()",
        "SET ROLE fpm_owner",
        "SET ROLE fpm_producer",
        "SET SESSION AUTHORIZATION fpm_owner",
        "ALTER ROLE fpm_reader SUPERUSER",
        "ALTER SYSTEM SET max_connections = 1",
    ],
)
def test_a_reader_is_denied_everything_else(reader: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
    with pytest.raises(DENIED):
        reader.execute(statement.encode())


def test_a_readers_resets_lead_nowhere(reader: psycopg.Connection[tuple[object, ...]]) -> None:
    reader.execute("RESET ROLE; RESET SESSION AUTHORIZATION; RESET ALL")
    assert reader.execute("SELECT user").fetchone() == ("fpm_reader",)


def test_other_databases_of_the_server_are_closed(home: Settings) -> None:
    dsn = ensure_server(home).for_role("reader").dsn
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(make_conninfo(dsn, dbname=database))


def test_reading_only_and_a_time_limit_are_the_roles_own_defaults(home: Settings) -> None:
    with psycopg.connect(make_conninfo(ensure_server(home).logins["reader"], options="")) as bare:
        assert bare.execute("SHOW transaction_read_only").fetchone() == ("on",)
        assert bare.execute("SHOW statement_timeout").fetchone() == ("1min",)
        bare.execute("SET statement_timeout = 50")
        with pytest.raises(psycopg.errors.QueryCanceled):
            bare.execute("SELECT pg_sleep(600)")
    with connect(home, role="reader") as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE public.mine ()")


def test_a_producer_may_do_what_a_publication_needs(home: Settings) -> None:
    with connect(home, role="producer") as producer:
        producer.execute("SELECT pg_advisory_xact_lock(1); CREATE TEMPORARY TABLE incoming (LIKE online.scores)")
        with pytest.raises(DENIED):
            producer.execute("ALTER TABLE online.scores ADD COLUMN mine text")


def test_passwords_are_renewed_on_demand_and_repaired_where_they_no_longer_fit(home: Settings) -> None:
    file = home.pg / "reader.pgpass"
    first = file.read_text()
    assert hold_fence(home, ensure_server(home)) == [] and file.read_text() == first
    rotate_passwords(home)
    second = file.read_text()
    assert second != first and file.stat().st_mode & 0o777 == 0o600
    file.write_text(first)
    hold_fence(home, ensure_server(home))
    file.unlink()
    with connect(home, role="reader") as connection:  # whoever needs a missing file writes it
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("role", ["owner", "producer", "reader"])
def test_directions_connect_and_hold_no_password(home: Settings, role: str) -> None:
    answer = directions(home, role)  # type: ignore[arg-type]
    file = Path(answer["password_file"])
    secret = file.read_text().strip().rpartition(":")[2]
    assert secret not in str(answer) and file.stat().st_mode & 0o777 == 0o600
    assert conninfo_to_dict(answer["url"])["user"] == answer["user"] == f"fpm_{role}"
    password = {"password": secret} if role == "owner" else {}
    with psycopg.connect(answer["url"], **password) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (f"fpm_{role}",)


def test_a_users_own_server_takes_the_role_on_or_has_a_readers_url(
    settings: Settings, postgres_server: Server, database_url: str
) -> None:
    answer = directions(settings, "reader")
    assert "password" not in conninfo_to_dict(answer["url"]) and answer["password"] == "the one in FPM_DATABASE_URL"
    assert rotate_passwords(settings) is False
    with connect(settings, role="reader") as connection:
        row = connection.execute("SELECT session_user, current_user, current_setting('statement_timeout')").fetchone()
        assert row == ("fpm_owner", "fpm_reader", "1min")
    own = make_conninfo(postgres_server.logins["reader"], dbname=conninfo_to_dict(database_url)["dbname"])
    with_url = settings.model_copy(update={"reader_url": SecretStr(own)})
    with connect(with_url, role="reader") as connection:
        assert connection.execute("SELECT session_user").fetchone() == ("fpm_reader",)
    assert directions(with_url, "reader")["password"] == "the one in FPM_READER_URL"


def test_a_readers_url_without_a_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="FPM_DATABASE_URL"):
        Settings(home=tmp_path, reader_url=SecretStr("postgresql://127.0.0.1/x"))


def test_psql_takes_the_url_as_it_is(home: Settings) -> None:
    if not (psql := shutil.which("psql")):
        pytest.skip("no psql on this machine")
    command = [psql, directions(home, "reader")["url"], "-Atc", "SELECT user"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "fpm_reader\n"
