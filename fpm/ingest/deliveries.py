"""Deliveries: folders and files -> bar files, other tables by their kind, and batches by session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.errors import FpmError, InputRefused, UsageError
from fpm.ingest.bar_files import read_file
from fpm.ingest.conventions import NOTHING
from fpm.ingest.member_intervals import FILE_OF_INDEX
from fpm.ingest.signed_deliveries import LIST, SIGNATURE
from fpm.ingest.stamps import beyond_years
from fpm.ingest.table_kinds import (
    BARS,
    DAILY,
    HOLDINGS,
    INTERVALS,
    MEMBERS,
    RESTRICTIONS,
    SCORES,
    SYMBOLS,
    VECTORS,
    kind_of_table,
)
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.ingest.vendor_bars import Parsed, read_bars
from fpm.ingest.vendor_files import KINDS, SUMS, check_regular, digest, kind_of, name_of, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fpm.ingest.conventions import Conventions
    from fpm.ingest.daily_files import ReferenceRows
    from fpm.ingest.units import Stated
    from fpm.markets import Market

NAMED_TABLES = (DAILY, MEMBERS, SYMBOLS, SCORES, HOLDINGS, RESTRICTIONS, VECTORS)
SIGNED = (LIST, SIGNATURE)
FIELDS = {  # of a delivery, by the kind of its files
    DAILY: "daily",
    MEMBERS: "members",
    SYMBOLS: "symbols",
    INTERVALS: "intervals",
    SCORES: "scores",
    HOLDINGS: "holdings",
    RESTRICTIONS: "restrictions",
    VECTORS: "vectors",
}


@dataclass(frozen=True)
class Delivery:
    """The files of one call, in order of path; `passed_over`: names in its folders that nobody looks into."""

    bars: tuple[Path, ...]
    daily: tuple[Path, ...]
    members: tuple[Path, ...]
    refused: tuple[Refused, ...] = ()
    symbols: tuple[Path, ...] = ()
    intervals: tuple[Path, ...] = ()
    scores: tuple[Path, ...] = ()
    holdings: tuple[Path, ...] = ()
    restrictions: tuple[Path, ...] = ()
    vectors: tuple[Path, ...] = ()
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """One file that is refused whole, with the reason."""

    path: Path
    refusal: FpmError

    @property
    def digest(self) -> str:
        """The digest of its bytes, or of its name where it has none that may be read."""
        try:
            check_regular(self.path)
            return digest(self.path)
        except (InputRefused, OSError):
            return sha256(str(self.path).encode(errors="surrogateescape")).hexdigest()


def find(paths: Sequence[Path]) -> Delivery:
    """The files below `paths`: of a folder `minute_bars/*`, else its bar files, and its other tables.

    Raises UsageError for a path that does not exist, a file of another kind, or a folder without any table.
    """
    everything = [(path, file) for path in paths for file in _below(path)]
    plain, refused = plain_files(everything)
    kinds = {file: kind_of_table(file) for file in sorted(plain)}
    tables = {name: tuple(file for file, kind in kinds.items() if kind == name) for name in FIELDS}
    bars = tuple(file for file, kind in kinds.items() if kind not in FIELDS)
    others = _passed_over(paths, {file for _, file in everything})
    return replace(delivery_of(bars, tables, tuple(refused)), passed_over=others)


def _passed_over(paths: Sequence[Path], files: set[Path]) -> tuple[str, ...]:
    """Names of what lies in the delivered folders and is none of `files`: workbooks, archives, folders of other days.

    Hidden names, checksums and the mark of a complete delivery are left out.
    """
    bars = [path / BARS for path in paths]
    folders = [folder for folder in dict.fromkeys([*paths, *bars]) if folder.is_dir()]
    entries = (entry for folder in folders for entry in folder.iterdir() if entry not in files and entry not in bars)
    return tuple(
        sorted(
            f"{name_of(entry)}{'/' if entry.is_dir() else ''}"
            for entry in entries
            if not entry.name.startswith(".") and entry.suffix not in (*SUMS, ".done") and entry.name not in SIGNED
        )
    )


def delivery_of(
    bars: tuple[Path, ...], tables: Mapping[str, tuple[Path, ...]], refused: tuple[Refused, ...] = ()
) -> Delivery:
    """A delivery of bar files and of the files of each kind in `FIELDS`."""
    fields: dict[str, Any] = {FIELDS[name]: files for name, files in tables.items()}
    return Delivery(bars, refused=refused, **fields)


def plain_files(files: Sequence[tuple[Path, Path]]) -> tuple[list[Path], list[Refused]]:
    """The plain files among `files`, pairs of the path that the caller named and a file below it, and the others."""
    plain, refused = [], []
    for folder, path in dict.fromkeys(files):
        try:
            check_regular(path, folder if folder != path else None)
        except InputRefused as error:
            refused.append(Refused(path, error))
        else:
            plain.append(path)
    return plain, refused


def _below(path: Path) -> list[Path]:
    if kind_of(path) and not path.is_dir() and (path.exists() or path.is_symlink()):
        return [path]
    inner = path / BARS
    files = _tables(inner) + [file for file in _tables(path) if _is_named(file)]
    if path.is_dir() and not inner.is_dir():
        files = _tables(path)
    if not files:
        fault = "does not exist" if not path.exists() else f"holds no {' or '.join(KINDS)} file"
        raise UsageError(
            code="FPM-CFG-101",
            wrong=f"{path} {fault}",
            effect="nothing was read",
            todo="name a folder of raw tables, or bar files",
        )
    return files


def _is_named(file: Path) -> bool:
    """Whether a file beside the folder of bars belongs to the delivery."""
    return file.stem in NAMED_TABLES or FILE_OF_INDEX.fullmatch(file.stem) is not None


def _tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if kind_of(file) and not file.name.startswith("."))


def without_repeated_snapshots(files: Sequence[ReferenceRows]) -> tuple[list[ReferenceRows], list[Refused]]:
    """Files of index members, and those refused because an earlier file has a snapshot of the same index and session.

    Raises nothing: which of two files is right, nobody can say, and half of each would be a third index.
    """
    single: list[ReferenceRows] = []
    refused: list[Refused] = []
    taken = pl.DataFrame(schema={"index": pl.String, "session": pl.Date, "file": pl.String})
    for file in files:
        own = file.frame.select("index", "session").unique()
        again = own.join(taken, on=["index", "session"]).sort("session", "index")
        if again.height:
            index, session, other = again.row(0)
            wrong = f"{index} of {session} is in {other}, too"
            error = refusal(file.path, code="FPM-IN-169", wrong=wrong, todo="deliver each snapshot once")
            refused.append(Refused(file.path, error))
        else:
            single.append(file)
            taken = taken.vstack(own.with_columns(file=pl.lit(file.path.name)))
    return single, refused


def batches(paths: Sequence[Path], order: Order = NO_ORDER) -> list[list[Path]]:
    """Batches of files by first day; files that share a day share a batch, so that each session is complete in one.

    An unreadable file is a batch of its own: reading it again raises the reason.
    """
    groups: dict[int, tuple[set[date], list[Path]]] = {}
    group_of: dict[date, int] = {}
    for number, path in enumerate(paths):
        days = _days(path, order)
        touched = sorted({group_of[day] for day in days & group_of.keys()}, key=lambda group: len(groups[group][1]))
        own = touched.pop() if touched else number  # the largest stays: ten thousand files of one day are one list
        groups.setdefault(own, (set(), []))[1].append(path)
        for other_days, members in [(days, []), *(groups.pop(other) for other in touched)]:
            groups[own][0].update(other_days)
            groups[own][1].extend(members)
            group_of.update(dict.fromkeys(other_days, own))
    ordered = sorted(groups.values(), key=lambda group: (min(group[0], default=date.max), group[1]))
    return [sorted(members) for _, members in ordered]


def _days(path: Path, order: Order) -> set[date]:
    try:
        minutes = read_file(path, ("minute",), (), order).frame["minute"]
    except InputRefused:
        return set()
    if not isinstance(minutes.dtype, pl.Datetime) or beyond_years(minutes).any():
        return set()
    return set(minutes.dt.date().drop_nulls().unique().to_list())


def read_all(
    paths: Sequence[Path],
    market: Market,
    now: datetime,
    fallback: Conventions | None,
    stated: Stated = NOTHING,
    order: Order = NO_ORDER,
) -> tuple[list[Parsed], list[Refused]]:
    """Every file that can be read, and the refused ones; the other arguments as in `read_bars`.

    A fault that only one file shows costs that file alone, whatever its kind.
    """
    parsed, refused = [], []
    for path in paths:
        try:
            parsed.append(read_bars(path, market, now, fallback, stated, order=order))
        except FpmError as error:
            refused.append(Refused(path, error))
    return parsed, refused
