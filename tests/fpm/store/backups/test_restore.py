"""A restored home is the home of the backup's moment, to the byte; a restore replaces nothing and leaves no half."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from consumers import factor_returns, portfolio, publish
from consumers.questions.integrity import integrity
from fpm.errors import FpmError, InputRefused, StoreCorrupt, TryLater, UsageError
from fpm.sessions import cut_off
from fpm.store.backups import database, manifest
from fpm.store.backups.backup import back_up
from fpm.store.backups.manifest import DATABASE, FILE
from fpm.store.backups.restore import restore
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.fence import Limits
from fpm.store.postgres.readers import add, listed
from fpm.store.postgres.server import connect, consumer_directions, ensure_server, stop_server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.consumers.small_lake import SmallLake
from tests.small_home import LATER, TUESDAY

Elsewhere = Callable[[], Settings]


def silent(*_: object) -> None:
    """No progress."""


@pytest.fixture
def folder(home: Stores, tmp_path: Path) -> Path:
    back_up(home.settings, ensure_server(home.settings), tmp_path / "backup", silent)
    return tmp_path / "backup"


def rows_of(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of our schemas, as text, without what belongs to a place rather than to a state."""
    answer = {}
    with connect(settings) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema = ANY(%s) AND table_type = 'BASE TABLE' ORDER BY 1, 2",  # what a view says may age
            (list(database.SCHEMAS),),
        ).fetchall()
        for schema, table in tables:
            rows = connection.execute(
                psycopg.sql.SQL("SELECT held::text FROM {} AS held ORDER BY 1").format(
                    psycopg.sql.Identifier(schema, table)
                )
            ).fetchall()
            answer[f"{schema}.{table}"] = [row for row in rows if not str(row[0]).startswith("(identity,")]
    return answer


def test_files_rows_and_rights_are_those_of_the_moment(published: Stores, tmp_path: Path, elsewhere: Elsewhere) -> None:
    folder, home = tmp_path / "backup", published
    back_up(home.settings, ensure_server(home.settings), folder, silent)
    before, settings = rows_of(home.settings), elsewhere()
    whole = restore(folder, settings, silent)
    assert rows_of(settings) == before
    for copy in whole.files:
        assert (settings.home / copy.path).read_bytes() == (home.settings.home / copy.path).read_bytes()
    with connect(settings, "reader") as connection:
        assert connection.execute("SELECT count(*) FROM serving.scores").fetchone() == (36,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM fpm.ledger")
    assert not list(settings.home.parent.glob(".*restoring"))


def test_the_restored_home_goes_on_with_the_same_bytes(published: Stores, tmp_path: Path, elsewhere: Elsewhere) -> None:
    """Both homes publish the next session: the same files, the same rows online."""
    folder, home, settings = tmp_path / "backup", published, elsewhere()
    back_up(home.settings, ensure_server(home.settings), folder, silent)
    restore(folder, settings, silent)
    restored = open_stores(settings)
    features.apply(settings)
    digests = []
    for stores in (home, restored):
        SmallLake().fill(stores, LATER[0], LATER[0])
        run_job(factor_returns, LATER[0], stores)
        run_job(portfolio, LATER[0], stores)
        run_job(publish, LATER[0], stores)
        with connect(stores.settings) as connection:
            online = connection.execute("SELECT symbol, stream, score FROM serving.scores ORDER BY 1, 2").fetchall()
        files = {path: file.sha256 for path, file in stores.ledger.current(["scores", "fingerprints"]).items()}
        digests.append((files, online, stores.ledger.publications(LATER[0])[0][1].sha256))
    assert digests[0] == digests[1]
    assert integrity(None, None, restored, silent).sound
    known = cut_off(home.market, TUESDAY)
    assert restored.read("scores", TUESDAY, known_at=known).equals(home.read("scores", TUESDAY, known_at=known))
    restored.ledger.close()


def test_into_an_embedded_server(folder: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "embedded", market="cn", preset="tiny", fsync=False)
    try:
        restore(folder, settings, silent)
        restored = open_stores(settings)
        assert integrity(None, None, restored, silent).sound
        restored.ledger.close()
    finally:
        stop_server(settings)


def test_a_home_that_exists_is_not_replaced(folder: Path, elsewhere: Elsewhere) -> None:
    settings = elsewhere()
    settings.home.mkdir()
    (settings.home / "precious").write_text("precious")
    with pytest.raises(UsageError, match="FPM-BAK-008"):
        restore(folder, settings, silent)
    assert [path.name for path in settings.home.iterdir()] == ["precious"]


def test_a_database_that_is_not_empty_is_not_replaced(home: Stores, folder: Path, elsewhere: Elsewhere) -> None:
    settings = elsewhere().model_copy(update={"database_url": home.settings.database_url})
    before = rows_of(home.settings)
    with pytest.raises(UsageError, match="FPM-BAK-005"):
        restore(folder, settings, silent)
    assert rows_of(home.settings) == before
    assert not settings.home.exists()


def test_a_changed_byte_restores_nothing(folder: Path, elsewhere: Elsewhere) -> None:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != FILE]
    for path in (paths[0], folder / DATABASE, paths[-1]):
        settings, content = elsewhere(), path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(StoreCorrupt, match="FPM-BAK-009"):
            restore(folder, settings, silent)
        assert not settings.home.exists()
        path.write_bytes(content)


def test_a_manifest_that_nobody_wrote_is_refused(folder: Path, elsewhere: Elsewhere) -> None:
    settings, document = elsewhere(), json.loads((folder / FILE).read_text())
    outside = [{"path": path, "sha256": "0" * 64, "size": 0} for path in ("../../outside", "/etc/outside")]
    for forged in (
        {"format": 2},
        {"files": outside[:1]},
        {"files": outside[1:]},
        {"files": None},
        {"surprise": 1},
    ):
        (folder / FILE).write_text(json.dumps(document | forged))
        with pytest.raises(InputRefused, match="FPM-BAK-001"):
            restore(folder, settings, silent)
    for content in (b"", b"[]", b"\xff", b"{}"):
        (folder / FILE).write_bytes(content)
        with pytest.raises(InputRefused, match="FPM-BAK-001"):
            restore(folder, settings, silent)


def test_a_newer_programs_backup_is_refused(folder: Path, elsewhere: Elsewhere) -> None:
    document = json.loads((folder / FILE).read_text()) | {"revision": "9999"}
    (folder / FILE).write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"FPM-BAK-010.*9999"):
        restore(folder, elsewhere(), silent)


def test_a_failed_restore_leaves_no_home_and_can_be_repeated(
    folder: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = elsewhere()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(manifest, "sync", full)
        with pytest.raises(OSError, match="No space"):
            restore(folder, settings, silent)
    assert not settings.home.exists()
    with pytest.raises(UsageError, match="FPM-BAK-005"):  # the database came first, in one transaction
        restore(folder, settings, silent)
    again = elsewhere()
    restore(folder, again.model_copy(update={"home": settings.home}), silent)
    assert settings.home.exists()


def test_a_dump_that_is_none_is_refused_in_words(folder: Path, elsewhere: Elsewhere, tmp_path: Path) -> None:
    (tmp_path / "none.dump").write_text("none")
    settings = elsewhere()
    with pytest.raises(TryLater, match=r"FPM-BAK-006.*pg_restore") as refusal:
        database.restore(ensure_server(settings), tmp_path / "none.dump")
    assert isinstance(refusal.value, FpmError)
    assert "password=" not in str(refusal.value)


def test_a_restored_embedded_home_knows_its_consumers_who_get_new_passwords(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "first", market="cn", preset="tiny", fsync=False)
    restored = settings.model_copy(update={"home": tmp_path / "second"})
    stores = open_stores(settings)
    try:
        add("desk", Limits(3, work_mem="8MB"), "Ada", settings)
        former = consumer_directions(settings, "desk")["password_file"]
        back_up(settings, ensure_server(settings), tmp_path / "backup", silent)
        stores.ledger.close()
        restore(tmp_path / "backup", restored, silent)
        open_stores(restored).ledger.close()
        answer = consumer_directions(restored, "desk")
        with psycopg.connect(answer["url"]) as desk:
            assert desk.execute("SELECT current_setting('work_mem') FROM serving.nearest('A', 1)").fetchall() == []
            assert desk.execute("SHOW work_mem").fetchone() == ("8MB",)
        assert Path(answer["password_file"]).read_text() != Path(former).read_text()
        assert [row["by"] for row in listed(restored)] == ["Ada"]
        assert integrity(None, None, open_stores(restored), silent, None).sound
    finally:
        stop_server(settings)
        stop_server(restored)
