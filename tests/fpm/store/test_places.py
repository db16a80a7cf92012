"""Homes in places that are none (RELIABILITY 59, 60), and what a file system is called."""

from pathlib import Path

import pytest

import fpm
from fpm.errors import UsageError
from fpm.store import places
from fpm.store.places import close_to_others, file_system, require_home, warn_of
from fpm.store.settings import Settings

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw
31 22 0:40 / /mnt/two\\040words rw shared:2 - nfs4 server:/x rw
32 22 0:41 / /mnt rw - ext4 /dev/vdb rw
33 30 0:42 / /dev/shm/over rw - xfs /dev/vdc rw
"""


@pytest.mark.parametrize("inside", ["store/home", ".fpm", "../site-packages/home"])
def test_case_59_a_home_inside_the_program_is_refused(inside: str) -> None:
    home = Path(fpm.__file__).parent / inside
    with pytest.raises(UsageError, match=r"FPM-CFG-024 .*inside the installed program"):
        require_home(Settings(home=home))
    assert not home.exists()


def test_case_59_the_checkout_itself_may_hold_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PROGRAM", tmp_path / "fpm")
    require_home(Settings(home=tmp_path / ".fpm"))
    assert list((tmp_path / ".fpm").iterdir()) == [], "the probe leaves nothing"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that even root may not write is Linux's")
def test_case_59_a_home_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(UsageError, match=r"FPM-CFG-025  the home /proc/fpm cannot be written: "):
        require_home(Settings(home=Path("/proc/fpm")))


def test_case_59_the_type_of_a_mount_is_that_of_the_longest_point_above_the_path(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    shown = {
        "/srv/fpm": "ext4",
        "/dev/shm/fpm": "tmpfs",
        "/dev/shmother": "ext4",
        "/mnt/two words/fpm": "nfs4",
        "/dev/shm/over/x": "xfs",
    }
    assert {path: file_system(Path(path), mounts) for path in shown} == shown
    assert file_system(tmp_path, tmp_path / "nothing") == ""


@pytest.mark.parametrize(("kind", "words"), [("tmpfs", "in memory"), ("nfs4", "network file system"), ("ext4", "")])
def test_case_59_memory_and_networks_are_warned_of(kind: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    warn_of(kind, Path("/home/of/fpm"))
    output = capsys.readouterr().err
    assert (words in output and "/home/of/fpm" in output) if words else not output


def test_a_home_is_its_users_alone_also_an_older_one(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    for folder in (settings.lake, settings.models, settings.pg):
        folder.mkdir(parents=True)
    (settings.pg / "log").touch()
    paths = [settings.home, settings.lake, settings.models, settings.pg, settings.pg / "log"]
    for path in paths:
        path.chmod(0o755)
    (settings.lake / "part").touch(mode=0o644)
    close_to_others(settings)
    assert {path.stat().st_mode & 0o077 for path in paths} == {0}
    assert {path.stat().st_mode & 0o700 for path in paths} == {0o700}, "the owner's rights stay"
    assert (settings.lake / "part").stat().st_mode & 0o777 == 0o644, "below a closed folder nothing needs a change"
