"""Homes and outputs that cannot be written to: refused in words, before anything is computed."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fpm.errors import UsageError
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.retrieval import exports
from fpm.store.settings import Settings
from producers.bars import Arrival, ingest
from tests.tape import tape, write

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Fpm = Callable[..., subprocess.CompletedProcess[str]]


def other_file(folder: Path, kind: str) -> Path:
    """A path that is no plain file."""
    path = folder / "out.parquet"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (folder / "elsewhere.parquet").write_bytes(b"theirs")
        path.symlink_to(folder / "elsewhere.parquet")
    elif kind == "device":
        return Path("/dev/full")
    elif kind == "nowhere":
        return folder / "nowhere" / "out.parquet"
    return path


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "device", "nowhere"])
def test_what_is_no_plain_file_is_never_replaced(kind: str, tmp_path: Path, stores: Stores) -> None:
    ingest([write(tape("cn"), tmp_path / "bars.parquet")], Arrival(NOW, NOW), stores, lambda *_: None)
    out = other_file(tmp_path, kind)
    before = out.lstat() if kind != "nowhere" else None
    with pytest.raises(UsageError, match="FPM-CFG-017"):
        exports.table("minute_bars", None, out, stores)
    with pytest.raises(UsageError, match="FPM-CFG-017"):
        exports.frame("daily_bars", tmp_path / "entities.parquet", None, out, stores)
    if before is not None:
        assert (out.lstat().st_ino, stat.S_IFMT(out.lstat().st_mode)) == (before.st_ino, stat.S_IFMT(before.st_mode))
    assert sorted(path.name for path in tmp_path.iterdir() if "partial" in path.name) == []


def test_a_plain_file_is_replaced_whole(tmp_path: Path, stores: Stores) -> None:
    ingest([write(tape("cn"), tmp_path / "bars.parquet")], Arrival(NOW, NOW), stores, lambda *_: None)
    (tmp_path / "out.parquet").write_bytes(b"former")
    assert exports.table("minute_bars", None, tmp_path / "out.parquet", stores) == tape("cn").height
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_a_home_that_is_a_file(tmp_path: Path, fpm_command: Fpm) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        done = fpm_command("setup", FPM_HOME=str(home))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"FPM-CFG-018  the home {home} cannot be a folder: {tmp_path / 'file'} is a file" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    if not made:
        pytest.skip("a small tmpfs needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_staging_on_another_file_system_is_refused(small_disk: Path, tmp_path: Path, database_url: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "staging").symlink_to(small_disk)
    with pytest.raises(UsageError, match=r"FPM-CFG-060 .*is on another file system"):
        open_stores(Settings(home=home, preset="tiny", database_url=database_url))


def test_a_full_disk_is_said_and_the_next_run_finishes(
    small_disk: Path, tmp_path: Path, database_url: str, fpm_command: Fpm
) -> None:
    bars = write(tape("cn"), tmp_path / "bars.parquet")
    home = {"FPM_HOME": str(small_disk / "home"), "FPM_DATABASE_URL": database_url}
    words = ("ingest", str(bars), "--market", "cn", "--preset", "tiny", "--json")
    (small_disk / "full").write_bytes(bytes((4 << 20) - (16 << 10)))
    done = fpm_command(*words, **home)
    assert (done.returncode, done.stderr.rstrip().splitlines()[-1][:10]) == (1, "FPM-IO-001"), done.stderr
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr
    (small_disk / "full").unlink()
    done = fpm_command(*words, **home)
    assert done.returncode == 0, done.stderr


def test_nothing_to_backfill_is_no_success(tmp_path: Path, database_url: str, fpm_command: Fpm) -> None:
    home = {"FPM_HOME": str(tmp_path / "home"), "FPM_DATABASE_URL": database_url}
    done = fpm_command("backfill", "minute_features", "2026-01-05", "2026-01-09", **home)
    assert (done.returncode, done.stderr.splitlines()[-1][:11]) == (75, "FPM-JOB-073"), done.stderr


def test_nothing_stored_is_no_success_and_the_report_says_why(
    tmp_path: Path, database_url: str, fpm_command: Fpm
) -> None:
    bars = write(tape("cn").with_columns(open=0.0), tmp_path / "bars.parquet")
    home = {"FPM_HOME": str(tmp_path / "home"), "FPM_DATABASE_URL": database_url}
    done = fpm_command("ingest", str(bars), "--market", "cn", "--preset", "tiny", "--json", **home)
    assert done.returncode == 1
    assert "FPM-IN-151  no row of 723 could be stored" in done.stderr
    assert '"lost": {' in done.stdout and '"2026-01-05": "FPM-IN-023 x ' in done.stdout
