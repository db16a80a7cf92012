"""Files in a real folder that remember what was not forced to the disk, and lose a part of it at a power cut.

A file's bytes are safe after its fsync, a folder's entries (a new, renamed or removed file) after the folder's. At a
power cut each folder keeps a beginning of its unsafe entries, in order, and each unsafe file a beginning of its bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Entry:
    """A change of a folder's entries that a power cut may undo."""

    folder: Path
    undo: Callable[[], None]


class Disk:
    """`attic`: a folder beside the files, for what was removed or replaced and may come back."""

    def __init__(self, attic: Path) -> None:
        self._attic, self._kept = attic, 0
        self._entries: list[Entry] = []
        self._unsafe: set[Path] = set()
        attic.mkdir(parents=True)

    def create(self, path: Path) -> None:
        if not path.exists():
            self._entries.append(Entry(path.parent, lambda: path.unlink(missing_ok=True)))
        path.write_bytes(b"")
        self._unsafe.add(path)

    def fsync(self, handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if path.is_dir():
            self._entries = [entry for entry in self._entries if entry.folder != path]
        self._unsafe.discard(path)

    def make_folder(self, path: Path) -> None:
        for folder in reversed([path, *path.parents]):
            if not folder.exists():
                folder.mkdir()
                self._entries.append(Entry(folder.parent, lambda folder=folder: shutil.rmtree(folder, True)))

    def rename(self, source: Path, target: Path) -> None:
        former = self._copy(target) if target.is_file() else None
        source.rename(target)
        if source in self._unsafe:
            self._unsafe.add(target)
            self._unsafe.discard(source)

        def undo() -> None:
            if source.parent.is_dir():
                target.rename(source)
            else:
                target.unlink(missing_ok=True)
            if former:
                former.rename(target)

        self._entries.append(Entry(target.parent, undo))

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target)
        self._entries.append(Entry(target.parent, lambda: target.unlink(missing_ok=True)))

    def unlink(self, path: Path) -> None:
        if path.is_file():
            kept = self._place()
            path.rename(kept)
            self._entries.append(Entry(path.parent, lambda: kept.rename(path)))

    def remove_tree(self, path: Path) -> None:
        if not path.is_dir():
            return
        kept = self._place()
        path.rename(kept)
        self._entries.append(Entry(path.parent, lambda: None if path.exists() else kept.rename(path)))

    def lose(self, random: Random) -> None:
        """A power cut."""
        keep = {}
        for folder in dict.fromkeys(entry.folder for entry in self._entries):
            count = sum(entry.folder == folder for entry in self._entries)
            keep[folder] = random.choice((0, random.randint(0, count), count))
        passed = dict.fromkeys(keep, 0)
        undone = []
        for entry in self._entries:
            passed[entry.folder] += 1
            if passed[entry.folder] > keep[entry.folder]:
                undone.append(entry)
        for entry in reversed(undone):
            try:
                entry.undo()
            except FileNotFoundError:
                continue  # what it changed is gone with a folder above it
        for path in sorted(self._unsafe):
            if path.is_file():
                os.truncate(path, int(path.stat().st_size * random.choice((0.0, 0.5, 1.0))))
        self._entries, self._unsafe = [], set()

    def _place(self) -> Path:
        self._kept += 1
        return self._attic / str(self._kept)

    def _copy(self, path: Path) -> Path:
        """The bytes of a file that is about to be replaced."""
        place = self._place()
        shutil.copyfile(path, place)
        return place
