"""The seal of a file: every reader of the lake gets a file that the ledger published, or none.

A file can be whole, with checksums that match, and still be a forgery, another session's or an older version. What it
has to be, the ledger knows by its sha256. To hash a file each time would cost more than to read it, so the ledger also
keeps the file's `identity` at its publication: inode, time of change and size. No program can set the time of change;
whatever writes, renames or replaces a file renews it. A file of the recorded identity is the published one; any other
(restored from a backup, copied with its home) is hashed once in every process. `fpm verify` records the identities of
such files anew.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from threading import Lock
from typing import TYPE_CHECKING

from fpm.errors import StoreCorrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BufferedReader
    from pathlib import Path

ATTEMPTS = 5  # a file may be replaced by a publication while it is opened
PATIENCE = 50  # ms; a tick takes 1 to 10
COARSE = 5  # Linux' CLOCK_REALTIME_COARSE, by which file systems stamp
UNKNOWN = "none, the ledger does not know it"


@dataclass(frozen=True)
class Seal:
    """What the ledger says of a file: its `sha256`, and its `identity` if that was recorded.

    `coming` are the sha256 of files that running publications are about to put, or have just put, in its place;
    `sha256` is empty where there is only such a one.
    """

    sha256: str
    identity: str | None = None
    coming: frozenset[str] = frozenset()


class Seals:
    """Opens files under `root` that the ledger published and refuses all others.

    `seals(table, path)` asks the ledger for the seals of a table by their path, of all files (None) or of one. A table
    is asked for once; a file that does not fit the answer is asked for again, because it may be newer.
    """

    def __init__(self, root: Path, seals: Callable[[str, str | None], Mapping[str, Seal]]) -> None:
        self._root, self._seals = root, seals
        self._tables: dict[str, dict[str, Seal]] = {}
        self._sound: dict[str, str] = {}  # identities of files that were hashed here, by path
        self._asking = Lock()

    @contextmanager
    def opened(self, path: Path) -> Iterator[BufferedReader]:
        """The file at `path`, open for reading. Raises StoreCorrupt where it is not the published one."""
        for left in reversed(range(ATTEMPTS)):
            with path.open("rb") as stream:
                seal, actual = self._judged(path, stream)
                if actual is None:
                    yield stream
                    return
                if left == 0 or identity_of(path.stat()) == identity_of(os.fstat(stream.fileno())):
                    raise refusal(path, seal, actual, "nothing was returned")

    def _judged(self, path: Path, stream: BufferedReader) -> tuple[Seal | None, str | None]:
        """The seal of an open file, and its own sha256 where it breaks the seal, else None."""
        name, identity = path.relative_to(self._root).as_posix(), identity_of(os.fstat(stream.fileno()))
        if self._sound.get(name) == identity:
            return None, None
        table = name.partition("/")[0]
        seal = self._of_table(table).get(name)
        if seal is not None and seal.identity == identity:
            return seal, None
        seal = self._seals(table, name).get(name)  # asked for after the file was opened: never older than the file
        if seal is not None and seal.identity == identity:
            return seal, None
        actual = file_digest(stream, "sha256").hexdigest()
        if seal is None or actual not in {seal.sha256, *seal.coming}:
            return seal, actual
        stream.seek(0)
        if (stat := os.fstat(stream.fileno())) and identity_of(stat) == identity and _is_settled(stat):
            self._sound[name] = identity
        return seal, None

    def _of_table(self, table: str) -> Mapping[str, Seal]:
        with self._asking:
            if table not in self._tables:
                self._tables[table] = dict(self._seals(table, None))
            return self._tables[table]


def identity_of(stat: os.stat_result) -> str:
    """Inode, time of change and size in one word."""
    return f"{stat.st_ino}:{stat.st_ctime_ns}:{stat.st_size}"


def settled_identity(path: Path) -> str | None:
    """The identity of a file, once a later change would give another: clocks of file systems tick each few ms.

    None where that does not come soon: the file lies with a machine whose clock is ahead.
    """
    for _ in range(PATIENCE):
        if _is_settled(stat := path.stat()):
            return identity_of(stat)
        time.sleep(0.001)
    return None


def _is_settled(stat: os.stat_result) -> bool:
    return stat.st_ctime_ns < time.clock_gettime_ns(COARSE)


def refusal(path: Path, seal: Seal | None, actual: str | None, effect: str) -> StoreCorrupt:
    """The error of a file that is not the published one; `actual` None: there is no file."""
    expected = seal.sha256 if seal is not None and seal.sha256 else UNKNOWN
    return StoreCorrupt(
        code="FPM-LAKE-111",
        wrong=f"{path} is not the file that the ledger recorded: sha256 {actual or 'none, there is no file'}, "
        f"recorded {expected}",
        effect=effect,
        todo="restore it from a backup, or delete it and run its job again (`fpm verify` names it)",
    )
