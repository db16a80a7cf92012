"""A backup is of one moment, whatever happens beside it, or it is none."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from consumers.questions.integrity import integrity
from fpm.errors import FpmError, StoreCorrupt, TryLater, UsageError
from fpm.store.backups import backup, database, manifest
from fpm.store.backups.backup import back_up
from fpm.store.backups.manifest import FILE, Manifest
from fpm.store.backups.restore import checked, restore
from fpm.store.jobs.runner import publish_frames
from fpm.store.lake.files import sha256_of
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server, ensure_server
from fpm.store.settings import Settings
from tests.consumers.small_lake import SmallLake
from tests.small_home import LATER, MONDAY, TUESDAY


def silent(*_: object) -> None:
    """No progress."""


def backed_up(home: Stores, folder: Path) -> Manifest:
    return back_up(home.settings, ensure_server(home.settings), folder, silent)


def bytes_below(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_backup_holds_every_file_of_the_home_and_nothing_of_the_server(home: Stores, tmp_path: Path) -> None:
    (home.settings.staging / "half.parquet").parent.mkdir(parents=True, exist_ok=True)
    (home.settings.staging / "half.parquet").write_text("half")
    (home.settings.home / ".probe-1").touch()
    whole = backed_up(home, tmp_path / "backup")
    expected = bytes_below(home.settings.home)
    expected = {name: digest for name, digest in expected.items() if not name.startswith(("staging", "pg", ".probe"))}
    assert bytes_below(tmp_path / "backup" / "home") == expected
    assert {copy.path: copy.sha256 for copy in whole.files} == expected
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0
    assert checked(tmp_path / "backup", silent) == whole


def test_while_a_night_publishes_the_backup_is_one_of_its_moments(
    home: Stores, tmp_path: Path, elsewhere: Callable[[], Settings]
) -> None:
    """A job corrects sessions without a pause; the restored home is sound, and its rows are one version's."""
    started, stop, lake = threading.Event(), threading.Event(), SmallLake()

    def correct() -> None:
        night, number = open_stores(home.settings), 0
        while not stop.is_set():
            number += 1
            for session in (MONDAY, TUESDAY, *LATER):
                scores = lake.scores(session).with_columns(score=pl.lit(float(number)))
                publish_frames("scores", session, {"scores": scores}, night)
                started.set()
        night.ledger.close()

    writer = threading.Thread(target=correct)
    writer.start()
    try:
        assert started.wait(60)
        for attempt in range(20):
            with suppress(TryLater):  # it says so, and may be tried again
                backed_up(home, tmp_path / f"backup-{attempt}")
                break
        else:
            pytest.fail("no backup in twenty attempts")
    finally:
        stop.set()
        writer.join()
    settings = elsewhere()
    restore(tmp_path / f"backup-{attempt}", settings, silent)
    restored = open_stores(settings)
    assert integrity(None, None, restored, silent).faults == ()
    assert restored.read("scores", MONDAY)["score"].n_unique() == 1
    restored.ledger.close()


def test_a_file_published_between_snapshot_and_copy_costs_a_second_snapshot(
    home: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, corrected = backup._copied, list[Path]()

    def after_a_correction(source: Path, target: Path) -> str | None:
        if not corrected and "scores" in str(source):
            corrected.append(source)
            rows = SmallLake().scores(TUESDAY).with_columns(score=pl.lit(0.5))
            publish_frames("scores", TUESDAY, {"scores": rows}, home)
        return copied(source, target)

    monkeypatch.setattr(backup, "_copied", after_a_correction)
    whole = backed_up(home, tmp_path / "backup")
    assert corrected
    current = {file.sha256 for file in home.ledger.current(["scores"]).values()}
    assert current == {copy.sha256 for copy in whole.files if copy.path.startswith("lake/scores/")}


def test_a_damaged_home_makes_no_backup(home: Stores, tmp_path: Path) -> None:
    path = home.settings.lake / home.lake.relative("daily_bars", MONDAY)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreCorrupt, match=r"FPM-BAK-004.*daily_bars"):
        backed_up(home, tmp_path / "backup")
    with pytest.raises(FpmError, match=r"FPM-BAK-001.*unfinished"):
        manifest.read(tmp_path / "backup")


def test_an_interrupted_backup_goes_on_with_what_it_has(
    home: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(database, "dump", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backed_up(home, tmp_path / "backup")
    kept = tmp_path / "backup" / "home" / "lake" / home.lake.relative("daily_bars", MONDAY)
    before = kept.stat().st_mtime_ns
    (kept.parent / "stranger.parquet").touch()
    whole = backed_up(home, tmp_path / "backup")
    assert kept.stat().st_mtime_ns == before
    assert set(bytes_below(tmp_path / "backup" / "home")) == {copy.path for copy in whole.files}


def test_only_a_folder_of_its_own_is_written(home: Stores, tmp_path: Path) -> None:
    full, file, inside, finished = (tmp_path / name for name in ("full", "file", "home/backup", "finished"))
    full.mkdir()
    (full / "precious").write_text("precious")
    file.write_text("precious")
    backed_up(home, finished)
    for folder in (full, file, inside, finished):
        before = bytes_below(tmp_path)
        with pytest.raises(UsageError, match="FPM-BAK-002"):
            backed_up(home, folder)
        assert bytes_below(tmp_path) == before


def test_a_backup_of_an_unanswering_database_is_for_later(home: Stores, tmp_path: Path) -> None:
    server = ensure_server(home.settings)
    nobody = Server(server.dsn.replace("dbname=", "dbname=nobody_"), embedded=False)
    with pytest.raises(TryLater, match="FPM-PG-076"):
        back_up(home.settings, nobody, tmp_path / "backup", silent)


def test_a_moved_copy_stays_a_backup(home: Stores, tmp_path: Path) -> None:
    whole = backed_up(home, tmp_path / "backup")
    shutil.move(tmp_path / "backup", tmp_path / "moved")
    assert checked(tmp_path / "moved", silent) == whole
    (tmp_path / "moved" / FILE).unlink()
    manifest.write(tmp_path / "moved", replace(whole, database="0" * 64))
    with pytest.raises(StoreCorrupt, match=r"FPM-BAK-009.*database\.dump"):
        checked(tmp_path / "moved", silent)
