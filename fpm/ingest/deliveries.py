"""What a caller hands over: folders and files -> bar files, a daily table, index members, and batches by session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from fpm.errors import InputRefused, UsageError
from fpm.ingest.bar_files import read_file
from fpm.ingest.vendor_bars import Parsed, read_bars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fpm.ingest.conventions import Conventions
    from fpm.sessions import Market

SUFFIXES = (".parquet", ".csv")
DAILY, MEMBERS = "daily_bars", "index_members"


@dataclass(frozen=True)
class Delivery:
    """The files of one call, in order of path."""

    bars: tuple[Path, ...]
    daily: tuple[Path, ...]
    members: tuple[Path, ...]


@dataclass(frozen=True)
class Refused:
    """One file refused whole."""

    path: Path
    refusal: InputRefused


def find(paths: Sequence[Path]) -> Delivery:
    """A folder gives `minute_bars/*`, or without that sub-folder every bar file in it, and its two other tables.

    Raises UsageError for a path that does not exist, a file of another kind, or a folder without any table.
    """
    found = [file for path in paths for file in _below(path)]
    daily, members = ([file for file in found if file.stem == name] for name in (DAILY, MEMBERS))
    bars = sorted(set(found) - set(daily) - set(members))
    return Delivery(tuple(bars), tuple(sorted(set(daily))), tuple(sorted(set(members))))


def _below(path: Path) -> list[Path]:
    if path.is_file() and path.suffix in SUFFIXES:
        return [path]
    inner = path / "minute_bars"
    found = _tables(inner) + [file for file in _tables(path) if file.stem in (DAILY, MEMBERS)]
    if path.is_dir() and not inner.is_dir():
        found = _tables(path)
    if not found:
        what = "does not exist" if not path.exists() else f"holds no {' or '.join(SUFFIXES)} file"
        wrong = f"{path} {what}"
        raise UsageError(
            code="FPM-CFG-101", wrong=wrong, effect="nothing was read", todo="name a folder of raw tables, or bar files"
        )
    return found


def _tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [file for file in folder.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".")]


def batches(paths: Sequence[Path]) -> list[list[Path]]:
    """Files that share a day belong to one batch, so that each session is complete in one; batches by first day.

    A file that cannot be read is a batch of its own: reading it again says why.
    """
    groups: list[tuple[set[date], list[Path]]] = []
    for path in paths:
        days, members = _days(path), [path]
        touching = [group for group in groups if group[0] & days]
        for group in touching:
            days |= group[0]
            members = group[1] + members
            groups.remove(group)
        groups.append((days, members))
    groups.sort(key=lambda group: (min(group[0], default=date.max), group[1]))
    return [sorted(members) for _, members in groups]


def _days(path: Path) -> set[date]:
    try:
        minutes = read_file(path, ("minute",), ()).frame["minute"]
    except InputRefused:
        return set()
    return set(minutes.dt.date().drop_nulls().unique().to_list()) if minutes.dtype.is_temporal() else set()


def read_all(
    paths: Sequence[Path], market: Market, now: datetime, known: Conventions | None
) -> tuple[list[Parsed], list[Refused]]:
    """Read every file; a refused one is set aside and the others go on."""
    parsed, refused = [], []
    for path in paths:
        try:
            parsed.append(read_bars(path, market, now, known))
        except InputRefused as refusal:
            refused.append(Refused(path, refusal))
    return parsed, refused
