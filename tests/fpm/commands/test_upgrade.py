"""An older home is recognised; nothing is migrated or computed again before somebody says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from consumers import factor_returns, portfolio, publish
from fpm.commands.jobs import MODULES
from fpm.commands.night import nightly
from fpm.commands.status import screen
from fpm.commands.upgrade import plan, require_confirmed, this_program
from fpm.errors import UsageError
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.programs import confirm, confirmed
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.migrate import migrate, newest_revision, revision_of
from fpm.store.postgres.server import Server, connect, ensure_server, stop_server
from fpm.store.settings import Settings
from tests.consumers.questions.conftest import Command
from tests.consumers.small_lake import SmallLake
from tests.small_home import MONDAY, TUESDAY

OLD = "0012"


@pytest.fixture
def old(tmp_path: Path, postgres_server: Server) -> Iterator[Settings]:
    """A home whose database is that of an older version."""
    name = f"old_{uuid4().hex}"
    with psycopg.connect(postgres_server.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        settings = Settings(
            home=tmp_path / "home", preset="tiny", database_url=make_conninfo(postgres_server.dsn, dbname=name)
        )
        migrate(settings, OLD)
        yield settings
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_an_older_home_is_not_touched_until_somebody_says_so(old: Settings) -> None:
    with pytest.raises(UsageError, match=r"FPM-PG-087.*0012.*fpm setup --plan"):
        open_stores(old)
    answer = plan(old)
    assert answer["revision"] == {"is": OLD, "becomes": newest_revision()}
    assert answer["migrations"][-1]["revision"] == newest_revision()
    assert all(row["what"].endswith(".") and row["revision"] > OLD for row in answer["migrations"])
    assert answer["version"]["confirmed"] is None
    assert revision_of(ensure_server(old)) == OLD
    open_stores(old, upgrade=True).ledger.close()
    assert revision_of(ensure_server(old)) == newest_revision()
    open_stores(old).ledger.close()


def test_an_empty_database_needs_no_word(old: Settings) -> None:
    with psycopg.connect(ensure_server(old).dsn) as connection:
        connection.execute("DROP SCHEMA fpm, online, feast, serving CASCADE")
    open_stores(old).ledger.close()
    assert revision_of(ensure_server(old)) == newest_revision()


def test_the_program_knows_every_job(stores: Stores) -> None:
    program = this_program()
    assert list(program.code) == list(MODULES)
    assert all(len(digest) == 64 for digest in program.code.values())
    assert plan(stores.settings)["migrations"] == []


def test_other_code_runs_no_night_before_it_is_confirmed(stores: Stores) -> None:
    stores.ledger.decide("market", "cn")
    SmallLake().fill(stores, MONDAY, TUESDAY)
    for session in (MONDAY, TUESDAY):
        run_job(factor_returns, session, stores)
        run_job(portfolio, session, stores)
        run_job(publish, session, stores)
    program = this_program()
    require_confirmed(stores)  # nobody said anything yet
    confirm(replace(program, version="0.0.9", code=program.code | {"scores": "0" * 64}), "Ada", stores.ledger)
    before = stores.ledger.rows()
    now = datetime(2024, 12, 4, tzinfo=UTC)
    with pytest.raises(UsageError, match=r"FPM-NGT-030.*computes scores otherwise"):
        nightly(TUESDAY, stores)
    assert stores.ledger.rows() == before
    answer, is_red = screen(stores, now)
    assert is_red and "FPM-NGT-030" in answer["program"]["refused"]
    answer = plan(stores.settings)
    assert answer["version"]["confirmed"] == "0.0.9"
    assert answer["jobs"] == [{"job": "scores", "code": "changed", "sessions": 2}]
    confirm(program, "Ada", stores.ledger)
    require_confirmed(stores)
    assert plan(stores.settings)["jobs"] == []
    assert "program" not in screen(stores, now)[0]


def test_a_confirmed_program_is_a_row_with_its_person(stores: Stores) -> None:
    program = this_program()
    confirm(program, "Ada", stores.ledger)
    confirm(program, "Bob", stores.ledger)
    assert confirmed(stores.ledger) == program
    assert stores.ledger.query('SELECT version, "by" FROM fpm.programs') == [(program.version, "Ada")]


def test_setup_confirms_a_new_home_and_an_upgrade(stores: Stores, command: Command) -> None:
    assert command(stores, "setup", "--plan", "--json").code == 0
    assert confirmed(stores.ledger) is None
    assert command(stores, "setup").code == 0
    program = this_program()
    assert confirmed(stores.ledger) == program
    former = replace(program, code=program.code | {"scores": "0" * 64})
    confirm(former, "Ada", stores.ledger)
    assert command(stores, "setup").code == 0
    assert confirmed(stores.ledger) == former
    assert command(stores, "setup", "--upgrade").code == 0
    assert confirmed(stores.ledger) == program


def test_an_older_home_with_a_spoilt_reader_is_carried_over(tmp_path: Path) -> None:
    """What the reader of an older home altered of itself is gone, its limits are there, and readers may be let in."""
    settings = Settings(home=tmp_path, market="cn", preset="tiny", fsync=False)
    try:
        migrate(settings, "0018")
        with connect(settings) as owner:
            owner.execute("ALTER ROLE fpm_reader RESET ALL; ALTER ROLE fpm_reader SET extra_float_digits = -12")
            owner.execute("ALTER ROLE fpm_reader CONNECTION LIMIT -1 PASSWORD 'spoilt'; DROP ROLE fpm_server")
        (settings.pg / "server.pgpass").unlink()
        settings.home.chmod(0o755)
        open_stores(settings, upgrade=True).ledger.close()
        assert settings.home.stat().st_mode & 0o777 == 0o700
        with connect(settings, "reader") as reader:
            shown = [reader.execute(f"SHOW {name}").fetchone() for name in ("extra_float_digits", "temp_file_limit")]
            assert shown == [("1",), ("1GB",)]
            reader.execute("SELECT FROM serving.scores, serving.nearest('A', 1)")
        with connect(settings, "server") as server:
            server.execute("SELECT FROM serving.scores")
            assert server.execute("SELECT current_user").fetchone() == ("fpm_server",)
    finally:
        stop_server(settings)
