"""A disk that is too small: a tmpfs whose size is set to what is on it and some pages more. Needs Linux and root."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
LARGE = "64m"


def can_be_mounted() -> bool:
    """Whether this machine lets us mount a disk."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    try:
        with mounted():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def mounted() -> Iterator[Path]:
    """The folder of an empty disk."""
    folder = Path(tempfile.mkdtemp(prefix="fpm-disk-"))
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={LARGE}", "tmpfs", str(folder))
        try:
            yield folder
        finally:
            _run("umount", "--lazy", str(folder))
    finally:
        folder.rmdir()


@contextmanager
def room_for(pages: int, disk: Path) -> Iterator[None]:
    """The disk with so many free pages; afterwards it is large again."""
    of = os.statvfs(disk)
    used = (of.f_blocks - of.f_bfree) * of.f_frsize // PAGE
    _resize(disk, str((used + pages) * PAGE))
    try:
        yield
    finally:
        _resize(disk, LARGE)


def _resize(disk: Path, size: str) -> None:
    _run("mount", "-o", f"remount,size={size}", str(disk))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
