"""What a backup holds: one line of JSON about the whole, and the sha256 of every file.

A backup without its manifest is an unfinished one: the manifest is its last file, and the moment at which it is there
is the moment at which the backup is.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fpm.errors import InputRefused
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

FILE, HOME, DATABASE = "backup.json", "home", "database.dump"
FORMAT = 1


@dataclass(frozen=True)
class Copy:
    """One file of a home: its path below the home, its sha256 and its size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """A whole backup: `moment` (UTC, ISO) of the database's snapshot, the home's `identity`, the database's `revision`.

    `head` is that of the ledger's journal (`fpm verify --head`).

    `database` is the sha256 of the dump; `files` are in the order of their paths.
    """

    moment: str
    identity: str
    revision: str
    head: str
    program: str
    database: str
    files: tuple[Copy, ...]
    format: int = FORMAT

    def summary(self) -> dict[str, str | int]:
        """The whole in a few words: moment, identity, revision, head, program, number and bytes of the home's files."""
        about = {"moment": self.moment, "identity": self.identity, "revision": self.revision, "head": self.head}
        return {
            **about,
            "program": self.program,
            "files": len(self.files),
            "bytes": sum(copy.size for copy in self.files),
        }


def write(folder: Path, manifest: Manifest) -> None:
    """Finish a backup: everything that it names is on the disk when this returns."""
    sync()
    write_whole(folder / FILE, json.dumps(asdict(manifest), indent=1).encode())


def sync() -> None:
    """Force all copies to the disk at once: an fsync for each of a lake's 100,000 files takes minutes."""
    os.sync()


def read(folder: Path) -> Manifest:
    """The manifest of a backup. Raises InputRefused where the folder holds none, or a manifest that nobody wrote."""
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
        copies = tuple(Copy(**copy) for copy in document.pop("files"))
        manifest = Manifest(**document, files=copies)
        wrong = _wrong(manifest)
    except FileNotFoundError:
        wrong = f"there is no {FILE} in it: no backup, or an unfinished one"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        wrong = f"{FILE} cannot be read ({type(error).__name__})"
    if wrong:
        raise InputRefused(
            code="FPM-BAK-001",
            wrong=f"{folder} is no backup: {wrong}",
            effect="nothing was restored",
            todo="name a folder that `fpm backup` finished",
        )
    return manifest


def _wrong(manifest: Manifest) -> str | None:
    """Why a manifest is none; None for a sound one. A path that leaves the home would write outside it."""
    if manifest.format != FORMAT:
        return f"its format is {manifest.format}, this version reads {FORMAT}"
    for copy in manifest.files:
        path = PurePosixPath(copy.path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            return f"it names the file {copy.path!r} outside a home"
    return None
