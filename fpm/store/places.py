"""Where a home may lie: a folder that can be written and renamed in, on one file system, outside the program."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from fpm.errors import UsageError
from fpm.store.log import log
from fpm.store.world import world

if TYPE_CHECKING:
    from fpm.store.settings import Settings

PROGRAM = Path(__file__).resolve().parents[1]
INSTALLED = ("site-packages", "dist-packages")
MOUNTS = Path("/proc/self/mountinfo")
FULL = (errno.ENOSPC, errno.EDQUOT)
FLEETING = ("tmpfs", "ramfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs", "lustre")


def require_home(settings: Settings) -> None:
    """Raises UsageError where the home cannot be one; warns of a file system that loses or delays what is written."""
    home = settings.home
    if fault := next((path for path in (home, *home.parents) if path.exists() and not path.is_dir()), None):
        raise UsageError(
            code="FPM-CFG-018",
            wrong=f"the home {home} cannot be a folder: {fault} is a file",
            effect="nothing was done",
            todo="set FPM_HOME to another folder",
        )
    if home.resolve().is_relative_to(PROGRAM) or set(INSTALLED) & set(home.resolve().parts):
        raise UsageError(
            code="FPM-CFG-024",
            wrong=f"the home {home} lies inside the installed program: its next upgrade would remove it",
            effect="nothing was done",
            todo="set FPM_HOME to another folder",
        )
    _require_one_file_system(settings)
    _require_rename(home)
    warn_of(file_system(home), home)


def close_to_others(settings: Settings) -> None:
    """Take group's and others' rights from the home, lake, models and the server's files, also of an older home.

    What another user owns is left alone: only its owner may change it.
    """
    for folder in (settings.lake, settings.models):
        world().make_folder(folder)
    for path in (settings.home, settings.lake, settings.models, settings.pg, settings.pg / "log"):
        if path.exists() and (stat := path.stat()).st_mode & 0o077 and stat.st_uid == os.geteuid():
            path.chmod(stat.st_mode & 0o700)


def _require_one_file_system(settings: Settings) -> None:
    lake, staging = (
        next(path for path in (folder, *folder.parents) if path.exists())
        for folder in (settings.lake, settings.staging)
    )
    if lake.stat().st_dev != staging.stat().st_dev:
        raise UsageError(
            code="FPM-CFG-060",
            wrong=f"{settings.staging} is on another file system than {settings.lake}",
            effect="nothing was done",
            todo="put both on one: files are published by rename",
        )


def _require_rename(home: Path) -> None:
    """Write a probe and rename it over another, as every publication does."""
    probe, other = (home / f".probe-{token_hex(6)}{end}" for end in ("", ".new"))
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe.touch()
        other.touch()
        other.replace(probe)
    except OSError as wrong:
        if wrong.errno in FULL:  # said as such wherever it happens
            raise
        raise UsageError(
            code="FPM-CFG-025",
            wrong=f"the home {home} cannot be written: {wrong.strerror}",
            effect="nothing was done",
            todo="give fpm the right to write there, or set FPM_HOME to another folder",
        ) from None
    finally:
        for path in (probe, other):
            if os.path.lexists(path):
                path.unlink()


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system of a path, e.g. ext4; "" where the system does not say (only Linux does).

    `mounts` as in https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = path.resolve()
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")  # a blank is \040
        if real.is_relative_to(point) and len(point) >= best:  # the last of two mounts on one point is seen
            best, kind = len(point), after.split()[0]
    return kind


def warn_of(kind: str, home: Path) -> None:
    """Log a warning about a file system that is no safe place for a store."""
    if kind in FLEETING:
        log.warning("the home is in memory: a restart of the machine loses it", home=str(home), mount=kind)
    elif kind in REMOTE:
        log.warning("the home is on a network file system: locks and fsync may not hold", home=str(home), mount=kind)
