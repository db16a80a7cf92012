"""The inbox: deliveries that appear in a folder, which of them are complete, and their way out of it.

A delivery is a file at the top of the folder, or a sub-folder. It is complete once its files have not changed for
`QUIET`, or once its sender says so: by an empty file `NAME.done` beside it, or `.done` in the sub-folder. It leaves by
a rename into `taken/DAY/` or `refused/DAY/`, with a report beside it, and never replaces anything there. Names that
begin with a dot are the sender's unfinished ones. Links and devices are named and stay: they may lead anywhere.

The report is written first, under a hidden name, and says what moves where; so a killed move is finished by the next
look, and a delivery that already moved is never read again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm.errors import StoreCorrupt, UsageError
from fpm.json_documents import from_json, sealed, unsealed
from fpm.store.faults import faultpoint
from fpm.store.lake.files import sha256_of, sync_folder
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TAKEN, REFUSED = "taken", "refused"
MARK = ".done"
REPORT = ".report.json"
QUIET = timedelta(seconds=10)
STALLED = timedelta(hours=1)  # for a file that looks half-written: an upload may pause
MAGIC = b"PAR1"  # the end of a Parquet file
LONGEST_NAME, LONG_NAME, SHORT_STEM = 255, 200, 40  # bytes that a file system allows, and what leaves room for more
FAULTPOINTS = ("inbox_reported", "inbox_copied", "inbox_moved", "inbox_settled")
Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Waiting:
    """One delivery in the inbox.

    `signature`: name below `path`, size and time of change (ns) of every file. `marked`: the sender calls it complete.
    `fault`: why it stays where it is, "" for a plain file or folder.
    """

    path: Path
    signature: Signature = ()
    marked: bool = False
    fault: str = ""

    @property
    def name(self) -> str:
        """Its name as text that every terminal and JSON reader can show."""
        return _text(self.path.name)

    @property
    def files(self) -> list[Path]:
        """Its files, in order."""
        return [self.path / name if name else self.path for name, _, _ in self.signature]

    def digest(self) -> str:
        """The sha256 of a file, or of the names and digests of a folder's files."""
        if self.signature and not self.signature[0][0]:
            return sha256_of(self.path)
        lines = [f"{name}\0{sha256_of(self.path / name)}" for name, _, _ in self.signature]
        return sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def half_written(self) -> bool:
        """Whether a file shows that more of it has to come: it is empty, or Parquet without its end."""
        sizes = [size for _, size, _ in self.signature]
        return not sizes or not all(sizes) or any(_lacks_end(file) for file in self.files)


def _text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _lacks_end(file: Path) -> bool:
    if file.suffix.lower() != ".parquet":
        return False
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - len(MAGIC)))
            return stream.read() != MAGIC
    except FileNotFoundError:  # its sender renames it
        return True
    except PermissionError:  # whoever reads all of it says so
        return False


@dataclass(frozen=True)
class Inbox:
    """The folder `root`; `memory` is a file that remembers since when each delivery has looked as it does."""

    root: Path
    memory: Path

    def waiting(self) -> list[Waiting]:
        """Every delivery in order of name. Raises UsageError where the folder cannot be read."""
        try:
            names = sorted(entry.name for entry in self.root.iterdir())
        except OSError as wrong:
            raise self._unusable(str(wrong)) from None
        marks = {name for name in names if name.endswith(MARK)}
        plain = [name for name in names if not name.startswith(".") and name not in {TAKEN, REFUSED, *marks}]
        looked = (_look(self.root / name, f"{name}{MARK}" in marks) for name in plain)
        return [delivery for delivery in looked if delivery is not None]

    def _unusable(self, wrong: str) -> UsageError:
        return UsageError(
            code="FPM-CFG-020",
            wrong=f"the inbox {self.root} cannot be used: {wrong}",
            effect="nothing was read",
            todo="make it a folder that fpm may read and write, or set FPM_INBOX to another one",
        )

    def since(self, deliveries: Sequence[Waiting], now: datetime) -> dict[Path, datetime]:
        """Since when each delivery has looked as it does now, by this and the earlier looks, which are remembered."""
        before = self._remembered(now)
        looks: dict[str, tuple[str, datetime]] = {}
        for delivery in deliveries:
            signature = sha256(repr(delivery.signature).encode("utf-8", "surrogateescape")).hexdigest()
            earlier, moment = before.get(delivery.name, ("", now))
            looks[delivery.name] = (signature, moment if earlier == signature and moment <= now else now)
        if looks != before:
            texts = {name: (signature, moment.isoformat()) for name, (signature, moment) in looks.items()}
            write_whole(self.memory, json.dumps(texts).encode())
        return {delivery.path: looks[delivery.name][1] for delivery in deliveries}

    def _remembered(self, now: datetime) -> dict[str, tuple[str, datetime]]:
        try:
            looks = from_json(self.memory.read_bytes())
            moments = {name: (text, datetime.fromisoformat(moment)) for name, (text, moment) in looks.items()}
            return {name: (text, moment) for name, (text, moment) in moments.items() if moment <= now}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):  # a lost memory costs one more look
            return {}

    def settle(self, delivery: Waiting, verdict: str, account: Mapping[str, Any], now: datetime) -> Path | None:
        """Move a delivery to `taken` or `refused` with its report; the report, None where it changed since it was read.

        `account` has its `sha256` as it was read.
        """
        folder = self.root / verdict / f"{now:%Y-%m-%d}"
        name = _free(folder, delivery.path)
        record = {"file": delivery.name, "kept_as": _text(name), **account}
        exact = {"source": os.fsencode(delivery.path.name).hex(), "target": os.fsencode(name).hex()}
        pending = folder / f".{_label(name)}{REPORT}"
        plain = json.loads(json.dumps({"moves": exact, **record}, default=str))
        write_whole(pending, sealed(plain, indent=1))
        faultpoint("inbox_reported")
        return self._finish(pending)

    def recover(self) -> list[Path]:
        """Finish what a killed look has begun; the reports of deliveries that it had not moved.

        Raises UsageError where `taken` or `refused` is a link.
        """
        if any((self.root / verdict).is_symlink() for verdict in (TAKEN, REFUSED)):
            raise self._unusable(f"{TAKEN} or {REFUSED} in it is a link")
        for remains in self.root.glob(f".*{MARK}.removed"):
            _remove(remains)
        reports = []
        for verdict in (TAKEN, REFUSED):
            for folder in sorted((self.root / verdict).glob("*"))[-2:]:  # the last look was one of the last two days
                reports += [self._finish(pending) for pending in sorted(folder.glob(f".*{REPORT}"))]
        return [report for report in reports if report is not None]

    def _finish(self, pending: Path) -> Path | None:
        """Finish the move that a hidden report describes; None where the delivery is no longer the one it is about.

        Raises StoreCorrupt where the report is not as it was written.
        """
        try:
            record = unsealed(pending.read_bytes())
        except ValueError as wrong:
            raise _damaged(pending, wrong) from None
        names = {key: os.fsdecode(bytes.fromhex(value)) for key, value in record.pop("moves").items()}
        source, target = self.root / names["source"], pending.parent / names["target"]
        delivery = _look(source, marked=False)
        same = delivery is not None and not delivery.fault and delivery.digest() == record["sha256"]
        if not os.path.lexists(target):
            if not same:
                pending.unlink()
                return None
            _move(source, target)
        elif same:  # copied, and not yet removed
            _discard(source)
        faultpoint("inbox_moved")
        if len(os.fsencode(names["source"])) + len(MARK) <= LONGEST_NAME:  # a longer name never had a mark
            (self.root / f"{names['source']}{MARK}").unlink(missing_ok=True)
        report = pending.with_name(pending.name[1:])
        write_whole(report, json.dumps(record, indent=1).encode())
        pending.unlink()
        sync_folder(pending.parent)
        faultpoint("inbox_settled")
        return report


def _damaged(pending: Path, wrong: ValueError) -> StoreCorrupt:
    return StoreCorrupt(
        code="FPM-IN-194",
        wrong=f"{pending}, the report of a delivery that was being moved, is damaged: {wrong}",
        effect="nothing more was moved",
        todo="delete it: a delivery that still lies in the inbox is looked at again, one that was taken is known",
    )


# --- looking --------------------------------------------------------------------------------------------------------
def _look(path: Path, marked: bool) -> Waiting | None:
    """A delivery as it is now; None where it is gone."""
    try:
        entries = [*_entries(path)]
    except FileNotFoundError:
        return None
    except OSError as wrong:
        return Waiting(path, fault=f"it cannot be read: {wrong.strerror}")
    for name, state in entries:
        if kind := _kind(state.st_mode):
            return Waiting(path, fault=f"{name or 'it'} is a {kind}; put the file itself there")
    files = tuple((name, state.st_size, state.st_mtime_ns) for name, state in entries if stat.S_ISREG(state.st_mode))
    return Waiting(path, files, marked or any(name == MARK for name, _, _ in files))


def _entries(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Name below `path` ("" for itself) and state of a file, or of everything in a folder, no link followed."""
    own = path.lstat()
    yield "", own
    if not stat.S_ISDIR(own.st_mode):
        return

    def fail(wrong: OSError) -> None:
        raise wrong

    for folder, folders, files in os.walk(path, onerror=fail):
        folders.sort()
        for name in sorted((*folders, *files)):
            entry = Path(folder, name)
            yield str(entry.relative_to(path)), entry.lstat()


def _kind(mode: int) -> str:
    """The word for what is neither a plain file nor a folder."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return "symbolic link" if stat.S_ISLNK(mode) else "fifo" if stat.S_ISFIFO(mode) else "socket or device"


# --- moving ---------------------------------------------------------------------------------------------------------
def _free(folder: Path, path: Path) -> str:
    """The delivery's name, with a number where the folder has one of it."""
    number, name = 1, path.name
    stem = path.stem if len(os.fsencode(path.name)) < LONG_NAME else path.stem[:SHORT_STEM]
    while any(os.path.lexists(folder / text) for text in (name, f"{_label(name)}{REPORT}", f".{_label(name)}{REPORT}")):
        number += 1
        name = f"{stem}.{number}{path.suffix}"
    return name


def _label(name: str) -> str:
    """The name as the beginning of a longer one."""
    return _text(name).encode()[:LONG_NAME].decode(errors="ignore")


def _move(source: Path, target: Path) -> None:
    """Rename, or copy, force to the disk and remove where the target is on another file system."""
    try:
        source.rename(target)
    except OSError as wrong:
        if wrong.errno != errno.EXDEV:
            raise
        _copy(source, target)
        _discard(source)
    for folder in (target.parent, source.parent):
        sync_folder(folder)


def _copy(source: Path, target: Path) -> None:
    """A copy that appears whole, on the disk, or not at all."""
    unfinished = target.with_name(f".{_label(target.name)}.unfinished")
    _remove(unfinished)
    if source.is_dir():
        shutil.copytree(source, unfinished, symlinks=True)
    else:
        shutil.copy2(source, unfinished)
    for path in [unfinished, *unfinished.rglob("*")]:
        sync_folder(path)
    unfinished.rename(target)
    sync_folder(target.parent)
    faultpoint("inbox_copied")


def _discard(source: Path) -> None:
    """Remove a copied delivery: out of sight at once, so that a kill leaves no half of a folder behind."""
    hidden = source.with_name(f".{_label(source.name)}{MARK}.removed")
    _remove(hidden)
    source.rename(hidden)
    _remove(hidden)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
