"""Deliveries: folders and files -> bar files, a daily table, index members, and batches by session."""

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
    """One file that is refused whole, with the reason."""

    path: Path
    refusal: InputRefused


def find(paths: Sequence[Path]) -> Delivery:
    """The files below `paths`: of a folder `minute_bars/*`, else its bar files, and its two other tables.

    Raises UsageError for a path that does not exist, a file of another kind, or a folder without any table.
    """
    files = [file for path in paths for file in _below(path)]
    daily, members = ([file for file in files if file.stem == name] for name in (DAILY, MEMBERS))
    bars = sorted(set(files) - set(daily) - set(members))
    return Delivery(tuple(bars), tuple(sorted(set(daily))), tuple(sorted(set(members))))


def _below(path: Path) -> list[Path]:
    if path.is_file() and path.suffix in SUFFIXES:
        return [path]
    inner = path / "minute_bars"
    files = _tables(inner) + [file for file in _tables(path) if file.stem in (DAILY, MEMBERS)]
    if path.is_dir() and not inner.is_dir():
        files = _tables(path)
    if not files:
        fault = "does not exist" if not path.exists() else f"holds no {' or '.join(SUFFIXES)} file"
        raise UsageError(
            code="FPM-CFG-101",
            wrong=f"{path} {fault}",
            effect="nothing was read",
            todo="name a folder of raw tables, or bar files",
        )
    return files


def _tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [file for file in folder.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".")]


def batches(paths: Sequence[Path]) -> list[list[Path]]:
    """Batches of files by first day; files that share a day share a batch, so that each session is complete in one.

    An unreadable file is a batch of its own: reading it again raises the reason.
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
    paths: Sequence[Path], market: Market, now: datetime, fallback: Conventions | None
) -> tuple[list[Parsed], list[Refused]]:
    """Every file that can be read, and the refused ones; `now` and `fallback` as in `read_bars`."""
    parsed, refused = [], []
    for path in paths:
        try:
            parsed.append(read_bars(path, market, now, fallback))
        except InputRefused as error:
            refused.append(Refused(path, error))
    return parsed, refused
