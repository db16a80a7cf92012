"""One home, one database (RELIABILITY 66): what is refused at a start, what is not, and what a kill leaves."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from fpm.errors import FpmError, StoreCorrupt, TryLater, UsageError
from fpm.store.ledger import stores as opening
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres import identity
from fpm.store.postgres.identity import Database, Home, fault, pair
from fpm.store.postgres.server import Server, ensure_server, stop_server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.databases import fresh_database, name_of
from tests.fpm.store.small_bars import ingest

Fpm = Callable[..., subprocess.CompletedProcess[str]]
FIRST, SECOND, HERE, THERE = "1" * 32, "2" * 32, "/srv/one", "/srv/two"


@pytest.fixture
def empty_url(postgres_server: Server) -> Iterator[str]:
    """A second database, migrated and empty."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def filled(stores: Stores) -> Stores:
    """A home with files, and their database."""
    ingest(stores)
    return stores


def on(settings: Settings, *, home: Path | None = None, url: str | None = None) -> Settings:
    """The same settings with another home or another database."""
    changes = {"home": home, "database_url": url and SecretStr(url)}
    return settings.model_copy(update={name: value for name, value in changes.items() if value})


def start(settings: Settings) -> None:
    open_stores(settings).ledger.close()


def forget(stores: Stores) -> None:
    """Leave home and database as a version without identities made them."""
    (stores.settings.home / "identity").unlink()
    stores.ledger.execute("DELETE FROM fpm.deployment WHERE key = 'identity'")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# number and files of the home; number, home, attempts and files of the database; the code of the refusal
@pytest.mark.parametrize(
    ("home", "database", "code"),
    [
        ((None, False), (None, None, False, False), None),  # both new
        ((FIRST, False), (None, None, False, False), None),  # killed between the two halves of its making
        ((FIRST, True), (FIRST, HERE, True, True), None),
        ((FIRST, True), (FIRST, THERE, True, True), None),  # moved: whether it is a copy is asked of the disk
        ((FIRST, False), (FIRST, HERE, True, False), None),  # attempts that published nothing
        ((FIRST, True), (FIRST, HERE, True, False), None),  # killed between rename and publication
        ((None, True), (None, None, True, True), None),  # of an older version
        ((None, False), (FIRST, HERE, False, False), None),  # the same folder, removed before anything was published
        ((None, False), (FIRST, THERE, False, False), "FPM-PG-081"),  # a second home
        ((None, False), (FIRST, THERE, True, True), "FPM-PG-081"),
        ((None, True), (FIRST, THERE, True, True), "FPM-PG-081"),
        ((FIRST, True), (SECOND, HERE, True, True), "FPM-PG-081"),
        ((FIRST, False), (SECOND, HERE, False, False), "FPM-PG-081"),
        ((FIRST, True), (None, None, False, False), "FPM-PG-082"),  # a second, empty database
        ((None, True), (None, None, False, False), "FPM-PG-082"),
        ((FIRST, True), (FIRST, HERE, False, False), "FPM-PG-082"),
        ((FIRST, False), (FIRST, HERE, True, True), "FPM-PG-083"),  # the home's disk is not mounted
        ((None, False), (None, None, True, True), "FPM-PG-083"),
        ((None, False), (FIRST, HERE, True, True), "FPM-PG-083"),
    ],
)
def test_every_pair_of_states(
    home: tuple[str | None, bool], database: tuple[str | None, str | None, bool, bool], code: str | None
) -> None:
    number, recorded, attempted, published = database
    wrong = fault(Home(Path(HERE), *home), Database("db at host:1", "db", number, recorded, "db", attempted, published))
    assert (wrong.code if wrong else None) == code
    assert wrong is None or (HERE in str(wrong) and "db at host:1" in str(wrong))


def test_a_second_empty_database_is_refused_and_nothing_is_written(filled: Stores, empty_url: str) -> None:
    before = tree(filled.settings.home)
    with pytest.raises(UsageError, match=f"FPM-PG-082  the home {filled.settings.home} .*restore the database"):
        open_stores(on(filled.settings, url=empty_url))
    with pytest.raises(UsageError, match="FPM-PG-081"):
        features.apply(on(filled.settings, url=empty_url))
    assert tree(filled.settings.home) == before
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT count(*) FROM fpm.deployment").fetchone() == (0,)


def test_a_database_without_our_schema_is_left_as_it_is(filled: Stores, empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute("DROP SCHEMA fpm CASCADE")
    with pytest.raises(UsageError, match="FPM-PG-082"):
        open_stores(on(filled.settings, url=empty_url))
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT to_regnamespace('fpm')").fetchone() == (None,)


def test_another_home_on_the_database_is_refused_empty_or_not(filled: Stores, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"FPM-PG-081 .*{tmp_path / 'other'} has the identity none.*of the home"):
        open_stores(on(filled.settings, home=tmp_path / "other"))
    assert not (tmp_path / "other/identity").exists()
    shutil.copytree(filled.settings.home, tmp_path / "copy")
    with pytest.raises(UsageError, match=r"FPM-PG-085 .*are copies"):
        open_stores(on(filled.settings, home=tmp_path / "copy"))


def test_two_new_homes_on_one_new_database(settings: Settings, tmp_path: Path) -> None:
    start(settings)
    with pytest.raises(UsageError, match="FPM-PG-081"):
        open_stores(on(settings, home=tmp_path / "other"))


def test_a_home_may_move_and_both_may_be_copied_together(
    filled: Stores, tmp_path: Path, postgres_server: Server
) -> None:
    filled.settings.home.rename(tmp_path / "moved")
    start(on(filled.settings, home=tmp_path / "moved"))
    filled.ledger.close()
    url = filled.settings.database_url
    assert url is not None
    shutil.copytree(tmp_path / "moved", tmp_path / "twin")
    with fresh_database(postgres_server, name_of(url.get_secret_value())) as twin:
        start(on(filled.settings, home=tmp_path / "twin", url=twin))
        start(on(filled.settings, home=tmp_path / "moved"))
        start(on(filled.settings, home=tmp_path / "twin", url=twin))


def test_a_home_of_an_older_version_gets_its_identity(filled: Stores) -> None:
    forget(filled)
    start(filled.settings)
    number = (filled.settings.home / "identity").read_text().strip()
    assert json.loads(filled.ledger.deployment()["identity"])["identity"] == number and len(number) == 32
    start(filled.settings)
    assert (filled.settings.home / "identity").read_text().strip() == number


def test_an_older_home_with_a_deleted_and_a_damaged_file_is_no_stranger(filled: Stores) -> None:
    forget(filled)
    files = sorted(filled.settings.lake.rglob("*.parquet"))
    files[0].unlink()
    files[1].write_bytes(b"damaged")
    start(filled.settings)


@pytest.mark.parametrize("harm", ["other bytes", "unknown files"])
def test_older_homes_and_databases_that_were_exchanged_are_refused(filled: Stores, harm: str) -> None:
    forget(filled)
    files = sorted(filled.settings.lake.rglob("*.parquet"))
    for number, path in enumerate(files):
        if harm == "other bytes":
            path.write_bytes(b"of another home")
        else:
            other = path.parents[1] / f"session=2031-01-{number + 1:02d}" / path.name
            other.parent.mkdir()
            path.rename(other) if number else shutil.copy(path, other)
    with pytest.raises(UsageError, match="FPM-PG-084"):
        open_stores(filled.settings)
    assert not (filled.settings.home / "identity").exists()


def test_killed_between_file_and_row_the_next_start_goes_on(settings: Settings, stores: Stores) -> None:
    number = (settings.home / "identity").read_text()
    stores.ledger.execute("DELETE FROM fpm.deployment WHERE key = 'identity'")
    start(settings)
    assert (settings.home / "identity").read_text() == number


def test_a_lost_file_is_written_again_in_its_own_place_only(filled: Stores) -> None:
    path = filled.settings.home / "identity"
    number = path.read_text()
    path.write_text("something")
    with pytest.raises(StoreCorrupt, match="FPM-PG-086"):
        open_stores(filled.settings)
    path.unlink()
    start(filled.settings)
    assert path.read_text() == number


def test_starts_at_once_agree_on_one_number(settings: Settings) -> None:
    """The lock of `pair` orders them; each reads what the one before wrote."""
    server = ensure_server(settings)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: pair(settings, server), range(8)))
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute("SELECT value FROM fpm.deployment WHERE key = 'identity'").fetchone()
    assert row and json.loads(row[0])["identity"] == (settings.home / "identity").read_text().strip()
    assert [path.name for path in settings.home.glob(".identity*")] == []


def test_a_home_whose_embedded_database_is_lost_gets_no_new_one(filled: Stores) -> None:
    """The variable of the user's own server was forgotten, or `pg` was removed."""
    forgotten = filled.settings.model_copy(update={"database_url": None})
    for call in (open_stores, ensure_server):
        with pytest.raises(UsageError, match=r"FPM-PG-082 .*FPM_DATABASE_URL"):
            call(forgotten)
    assert not (filled.settings.pg / "data").exists()


def test_every_command_that_opens_a_home_refuses(filled: Stores, empty_url: str, fpm_command: Fpm) -> None:
    variables = {"FPM_HOME": str(filled.settings.home), "FPM_DATABASE_URL": empty_url}
    for words in (("connection",), ("serve", "--port", "0")):
        done = fpm_command(*words, **variables)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith("FPM-PG-082 ")


def test_a_copied_home_with_its_own_server_is_a_home_of_its_own(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "one", market="cn", preset="tiny", fsync=False)
    start(settings)
    stop_server(settings)
    twin = Settings(home=tmp_path / "twin", market="cn", preset="tiny", fsync=False)
    subprocess.run(["cp", "-a", str(settings.home), str(twin.home)], check=True)
    start(twin)
    shutil.rmtree(twin.home / "lake", ignore_errors=True)
    start(twin)
    stop_server(twin)


def test_a_start_of_one_identity_hashes_and_writes_nothing(filled: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "has_sha256", lambda *_: pytest.fail("a file was hashed"))
    monkeypatch.setattr(opening, "pair", lambda *_: pytest.fail("something was written"))
    start(filled.settings)


def test_a_database_that_does_not_answer_is_try_later(settings: Settings, tmp_path: Path) -> None:
    nowhere = on(settings, url=f"host={tmp_path} dbname=none password=hush-hush")
    with pytest.raises(TryLater, match="FPM-PG-076") as refusal:
        open_stores(nowhere)
    assert isinstance(refusal.value, FpmError) and "hush-hush" not in str(refusal.value)
