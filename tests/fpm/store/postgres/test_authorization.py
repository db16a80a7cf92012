"""Every cell of the table of rights in docs/security.md, tried on the embedded server and on a server of one's own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from fpm.errors import FpmError
from fpm.store.ledger.stores import open_stores
from fpm.store.postgres import fence
from fpm.store.postgres.cluster import Cluster
from fpm.store.postgres.fence import Limits
from fpm.store.postgres.readers import add, listed, remove, statements
from fpm.store.postgres.server import connect, consumer_directions, ensure_server, hold_fence, stop_server
from fpm.store.retrieval import features
from fpm.store.settings import Settings

PAGE = Path(__file__).parents[4] / "docs/security.md"
ACTIONS = {
    "read a published session": "SELECT FROM serving.scores, serving.publications, serving.metrics",
    "ask for neighbours": "SELECT FROM serving.nearest('A', 1)",
    "read earlier sessions": "SELECT FROM serving.score_history, serving.weight_history, "
    "serving.scores_known_at('A', current_date, current_date), "
    "serving.weights_known_at('A', current_date, current_date)",
    "read the tables behind it": "SELECT FROM online.scores",
    "read the tables of earlier sessions": "SELECT FROM online.score_history",
    "read the ledger": "SELECT FROM fpm.ledger",
    "read the registry": "SELECT FROM feast.feature_views",
    "write a score": "UPDATE online.scores SET score = 0",
    "write an earlier session": "UPDATE online.score_history SET score = 0",
    "write the ledger": "UPDATE fpm.deployment SET value = value",
    "rewrite the journal": "DELETE FROM fpm.journal",
    "write the registry": "DELETE FROM feast.feature_views",
    "make a table": "CREATE TABLE serving.mine ()",
    "make a temporary table": "CREATE TEMPORARY TABLE mine ()",
    "make a large object": "SELECT lo_create(0)",
    "write into the write-ahead log": "SELECT pg_logical_emit_message(true, 'a', 'b')",
    "take the publication's lock": "SELECT FROM fpm.publishing FOR UPDATE",
    "take an advisory lock": "SELECT pg_advisory_xact_lock(1)",
    "lock a table against readers": "LOCK TABLE online.scores IN ACCESS EXCLUSIVE MODE",
    "alter its own settings": "ALTER ROLE CURRENT_USER SET work_mem = '4MB'",
    "alter its own password": "ALTER ROLE CURRENT_USER PASSWORD 'mine'",
    "alter another consumer's settings": "ALTER ROLE fpm_reader_other SET extra_float_digits = -12",
    "alter another consumer's password": "ALTER ROLE fpm_reader_other PASSWORD 'mine'",
    "alter the settings of everybody": "ALTER ROLE ALL SET extra_float_digits = -12",
    "become the readers' group": "SET ROLE fpm_readers",
    "become the owner": "SET ROLE fpm_owner",
    "lift its own limit of connections": "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "lift its own limit of temporary files": "SET temp_file_limit = -1",
    "end another consumer's statement": "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
    "WHERE usename = 'fpm_reader_other'",
    "read a file of the server": "SELECT pg_read_file('postmaster.pid')",
    "run a program on the server": "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'",
}


@dataclass(frozen=True)
class Place:
    """A server with its home, and the connection string of every column of the table that exists there."""

    settings: Settings
    logins: dict[str, str]


def rights() -> dict[str, dict[str, str]]:
    """The page's table: action -> column -> "yes" or "no"."""
    lines = PAGE.read_text().split("## What each role may do in the database")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]}


def is_allowed(dsn: str, statement: str) -> bool:
    """Whether a login may do it, its own defaults aside; nothing of it stays."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET TRANSACTION READ WRITE")
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return False
        finally:
            connection.rollback()
    return True


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    settings = Settings(home=tmp_path_factory.mktemp("embedded"), market="cn", preset="tiny", fsync=False)
    open_stores(settings).ledger.close()
    features.apply(settings)
    for name in ("desk", "other"):
        add(name, Limits(), "Ada", settings)
    server = ensure_server(settings)
    consumer = consumer_directions(settings, "desk")["url"]
    own = {"embedded": server.dsn, "serve": server.logins["server"], "consumer": consumer}
    yield Place(settings, own | {name: server.logins[name] for name in ("producer", "reader")})
    stop_server(settings)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL that knows nothing of fpm: its superuser's connection string."""
    settings = Settings(home=tmp_path_factory.mktemp("host"), fsync=False)
    settings.pg.mkdir()
    cluster = Cluster(settings)
    cluster.initialise()
    cluster.start()
    yield cluster.dsn("postgres")
    stop_server(settings)


@pytest.fixture(scope="module")
def own(
    host: str,
    tmp_path_factory: pytest.TempPathFactory,
    fpm_command: Callable[..., subprocess.CompletedProcess[str]],
) -> Place:
    """A home on that server, whose owner is no superuser, closed by the statements that `fpm setup` printed."""
    with psycopg.connect(host, autocommit=True) as superuser:
        superuser.execute("CREATE ROLE desk_owner LOGIN CREATEROLE PASSWORD 'hush7hush'")
        superuser.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        superuser.execute("CREATE DATABASE desk OWNER desk_owner")
    url = make_conninfo(host, user="desk_owner", password="hush7hush", dbname="desk")
    home = tmp_path_factory.mktemp("own")
    variables = {"FPM_HOME": str(home), "FPM_DATABASE_URL": url, "FPM_FSYNC": "false"}
    settings = Settings(home=home, market="cn", preset="tiny", fsync=False, database_url=SecretStr(url))
    with pytest.raises(FpmError, match="FPM-PG-093") as groundwork:
        open_stores(settings)
    with psycopg.connect(make_conninfo(host, dbname="desk"), autocommit=True) as superuser:
        superuser.execute(groundwork.value.todo.split("run there: ")[1].encode())
    refused = fpm_command("setup", "--market", "cn", "--preset", "tiny", timeout=300, **variables)
    assert refused.returncode == 1 and "FPM-PG-088" in refused.stderr, refused.stderr
    assert "readers may call" in refused.stderr and "pg_advisory_lock" in refused.stderr
    assert "hush7hush" not in refused.stdout + refused.stderr
    script = refused.stdout[refused.stdout.index("-- ") : refused.stdout.rindex(";") + 1]
    gaps = hold_fence(settings, ensure_server(settings))
    assert script == statements(gaps), "the statements are printed as they are, however wide the terminal"
    with pytest.raises(FpmError, match=r"FPM-PG-089 .*permission denied to set parameter"):
        add("desk", Limits(), "Ada", settings)
    with psycopg.connect(make_conninfo(host, dbname="desk"), autocommit=True) as superuser:
        superuser.execute(script.encode())
    assert hold_fence(settings, ensure_server(settings)) == []
    with psycopg.connect(host, autocommit=True) as superuser:
        superuser.execute("ALTER ROLE fpm_producer PASSWORD 'p'; ALTER ROLE fpm_reader PASSWORD 'r'")
    for name in ("desk", "other"):
        add(name, Limits(), "Ada", settings)
    logins = {
        "own": url,
        "producer": make_conninfo(url, user="fpm_producer", password="p"),
        "reader": make_conninfo(url, user="fpm_reader", password="r"),
        "stranger": make_conninfo(url, user="stranger", password="stranger"),
        "consumer": consumer_directions(settings, "desk")["url"],
    }
    return Place(settings, logins)


def test_the_page_has_every_action() -> None:
    assert list(rights()) == list(ACTIONS)


@pytest.mark.parametrize("name", ["embedded", "own"])
def test_every_cell(name: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(name)
    with psycopg.connect(consumer_directions(place.settings, "other")["url"]):  # whose statement somebody may end
        tried = {
            (action, column): "yes" if is_allowed(dsn, statement) else "no"
            for action, statement in ACTIONS.items()
            for column, dsn in place.logins.items()
        }
    assert tried == {cell: rights()[cell[0]][cell[1]] for cell in tried}
    assert len(tried) == 5 * len(ACTIONS)


@pytest.mark.parametrize("name", ["embedded", "own"])
def test_what_a_consumer_alters_of_itself_is_its_own_and_lasts_until_the_next_start(
    name: str, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(name)
    with psycopg.connect(place.logins["consumer"], autocommit=True) as desk:
        desk.execute("SET default_transaction_read_only = off")
        desk.execute("ALTER ROLE fpm_reader_desk SET extra_float_digits = -12")
        desk.execute("ALTER ROLE fpm_reader_desk SET statement_timeout = 0")
        desk.execute("DROP OWNED BY CURRENT_USER")
    precise = "SELECT current_setting('extra_float_digits'), current_setting('statement_timeout')"
    for dsn in (consumer_directions(place.settings, "other")["url"], place.logins["reader"]):
        with psycopg.connect(dsn) as another:
            assert another.execute(precise).fetchone() == ("1", "1min")
            another.execute("SELECT FROM serving.scores")
    assert hold_fence(place.settings, ensure_server(place.settings)) == []
    with psycopg.connect(place.logins["consumer"]) as desk:
        assert desk.execute(precise).fetchone() == ("1", "1min")
        desk.execute("SELECT FROM serving.scores")


@pytest.mark.parametrize("name", ["embedded", "own"])
def test_a_consumer_is_listed_with_its_limits_and_its_removal_ends_its_sessions(
    name: str, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(name)
    add("brief", Limits(2, "5s", "10MB", "1MB"), "Ada", place.settings)
    url = consumer_directions(place.settings, "brief")["url"]
    with psycopg.connect(url) as first, psycopg.connect(url):
        assert [first.execute(f"SHOW {name}").fetchone() for name in ("statement_timeout", "temp_file_limit")] == [
            ("5s",),
            ("10MB",),
        ]
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(url)
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="temporary file size exceeds"):
            first.execute("SELECT count(*) FROM (SELECT generate_series(1, 3000000) AS n ORDER BY n DESC) AS many")
        first.rollback()
        (row,) = [row for row in listed(place.settings) if row["name"] == "brief"]
        assert (row["connections"], row["open"], row["by"]) == (2, 2, "Ada")
        assert remove("brief", place.settings) == 2
        with pytest.raises(psycopg.OperationalError):
            first.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    assert "brief" not in [row["name"] for row in listed(place.settings)]
    with connect(place.settings) as owner:
        entries = owner.execute(
            "SELECT change, content::json ->> 'by' FROM fpm.journal "
            "WHERE relation = 'readers' AND content::json ->> 'name' = 'brief' ORDER BY id"
        ).fetchall()
        assert entries == [("INSERT", "Ada"), ("DELETE", "Ada")]


def test_a_transaction_without_end_is_ended_at_the_next_start(embedded: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(embedded.logins["consumer"]) as desk:
        desk.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        hold_fence(embedded.settings, ensure_server(embedded.settings))
        desk.execute("SELECT 1")
        monkeypatch.setattr(fence, "LONGEST_TRANSACTION", "1ms")
        hold_fence(embedded.settings, ensure_server(embedded.settings))
        with pytest.raises(psycopg.OperationalError):
            desk.execute("SELECT 1")


def test_an_owner_that_made_no_role_adds_consumers_after_the_statements_of_its_first_refusal(
    host: str, own: Place, tmp_path: Path
) -> None:
    with psycopg.connect(host, autocommit=True) as superuser:
        superuser.execute("CREATE ROLE plain_owner LOGIN PASSWORD 'plain'")
        superuser.execute("CREATE DATABASE plain OWNER plain_owner")
    url = make_conninfo(host, user="plain_owner", password="plain", dbname="plain")
    settings = Settings(home=tmp_path, market="cn", preset="tiny", fsync=False, database_url=SecretStr(url))
    with psycopg.connect(make_conninfo(host, dbname="plain"), autocommit=True) as superuser:
        superuser.execute("CREATE EXTENSION vector")
        open_stores(settings).ledger.close()
        with pytest.raises(FpmError, match="FPM-PG-089") as refused:
            add("plain", Limits(), "Ada", settings)
        superuser.execute(refused.value.todo.split("run: ")[1].encode())
    add("plain", Limits(), "Ada", settings)
    with psycopg.connect(consumer_directions(settings, "plain")["url"]) as consumer:
        consumer.execute("SELECT FROM serving.scores")
    assert remove("plain", settings) == 0, "no session of it was open"


def test_without_a_login_that_reads_there_is_nothing_to_close(own: Place) -> None:
    with connect(own.settings) as owner:
        owner.execute("CREATE SCHEMA loose; GRANT CREATE ON SCHEMA loose TO PUBLIC")
        assert [gap.what for gap in fence.gaps(owner, embedded=False)] == ["readers may create tables in schema loose"]
        owner.execute(
            "UPDATE fpm.readers SET name = 'nobody' WHERE name = 'desk'; DELETE FROM fpm.readers WHERE name = 'other'"
        )
        owner.execute("ALTER ROLE fpm_reader NOLOGIN")
        assert fence.gaps(owner, embedded=False) == []
        owner.rollback()
