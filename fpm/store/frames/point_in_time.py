"""Point-in-time frames from the lake: entity rows in, the same rows with the values known beside them out.

Only the session folders within reach of the entity rows are opened, and only the columns they ask for are read. Every
entity row is kept, in its order, with nulls where nothing was known. Vintage folders are those that the rows name.

First the keys and clocks of all files say which stored row answers which entity row. Then the values are read, a few
days of the entity rows at a time, from the files that hold an answer; they are dropped after the last row that needs
them. Where the answers of a day are one whole file, row for row, that file's memory is used without a copy, so a frame
costs little more than its own bytes.

N entity rows, M rows of one day, P partition files, D days.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fpm.errors import TryLater
from fpm.schema import CLOCKS, TABLES
from fpm.store.frames.entities import Question, Serving
from fpm.store.lake.files import CLOCK, TYPES, Lake
from fpm.two_clocks import CREATED, EVENT, rows_in_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path


# A session's moments lie within a day of its date in every time zone (crypto closes at 24:00 UTC of the session).
ZONE_SLACK = timedelta(days=1)
ATTEMPTS = 3  # a partition may be replaced between its keys and its values
TOGETHER = 20  # days whose files are decoded at once: enough to keep every core busy
A = TypeVar("A")
T = TypeVar("T")
Positions = NDArray[np.int64]
Days = NDArray[np.int32]
NONE = -1


@dataclass(frozen=True)
class _Part:
    """A partition file as it was when its keys were read: inode, time and size tell it from its replacement."""

    path: Path
    version: tuple[int, int, int]
    first: int  # position of its first row among those of all parts


@dataclass(frozen=True)
class Answers:
    """Which stored row answers each entity row: `row_N` counts through all parts, `part_N` is its part; NONE for none.

    `last_P` is the last entity row that each part answers.
    """

    lake: Lake
    serving: Serving
    parts: list[_Part]
    row_N: Positions
    part_N: Positions
    last_P: Positions


class PartitionReplaced(Exception):
    """A partition is no longer the file whose keys were read."""


def frame(lake: Lake, question: Question) -> pl.DataFrame:
    """The entity rows with every table's columns beside them, row for row.

    Raises StoreCorrupt for a damaged file, TryLater where partitions are being replaced all the time.
    """
    position_N, day_N = by_day(question.clocks)
    in_order = bool((np.diff(position_N) == 1).all())
    rows, clocks = (
        columns.rechunk() if in_order else columns[position_N] for columns in (question.rows, question.clocks)
    )
    question = Question(rows, clocks, question.servings)
    for _ in range(ATTEMPTS):
        try:
            days = pl.concat(_joined(rows, day_N, answers(lake, question)))
        except PartitionReplaced:
            continue
        return days if in_order else days[np.argsort(position_N, kind="stable")]
    raise always_replaced()


def always_replaced() -> TryLater:
    """The error after ATTEMPTS reads, each of which met a partition that was being replaced."""
    return TryLater(
        code="FPM-PIT-075",
        wrong="partitions were replaced while they were read",
        effect="nothing was returned",
        todo="run it again when the jobs that write them have ended (`fpm status`)",
    )


def by_day(clocks: pl.DataFrame) -> tuple[Positions, Days]:
    """The positions of the rows in the order of their event days (UTC), and these days.

    Rows of one day keep their order.
    """
    day_N = clocks[EVENT].dt.date().to_physical().to_numpy()
    position_N = np.argsort(day_N, kind="stable")
    return position_N, day_N[position_N]


def day_starts(day_N: Days) -> list[int]:
    """The position of the first row of every day; `day_N` is in order."""
    starts: list[int] = np.flatnonzero(np.diff(day_N, prepend=np.iinfo(np.int32).min)).tolist()
    return starts


def window(
    lake: Lake, table: str, columns: Iterable[str], start: datetime | None, end: datetime | None
) -> pl.DataFrame:
    """All versions of the events from `start` to `end`, both inclusive (None: no bound), with their clocks.

    A column that a file lacks is null there. Raises StoreCorrupt where a file's bytes are not those once written.
    """
    first = (start - ZONE_SLACK).date() if start else date.min
    last = (end + ZONE_SLACK).date() if end else date.max
    paths = [path for _, path in lake.files(table, first, last)]
    names = list(dict.fromkeys([*columns, *CLOCKS]))
    rows = pl.concat([no_rows(table, names), *_mapped(partial(_stored, lake, table, names), paths)])
    inside = [pl.col(EVENT) >= start] if start else []
    inside += [pl.col(EVENT) <= end] if end else []
    return rows.filter(*inside, pl.col(CREATED).is_not_null())


def answers(lake: Lake, question: Question) -> list[Answers]:
    """The stored row that answers every entity row, for every table, by the keys and clocks of the files in reach.

    Raises PartitionReplaced where one is exchanged meanwhile.
    """
    return [_answers(lake, question.rows, question.clocks, serving) for serving in question.servings]


def _answers(lake: Lake, rows: pl.DataFrame, clocks: pl.DataFrame, serving: Serving) -> Answers:
    paths, names = _paths_in_reach(lake, rows, clocks, serving), [*serving.keys, *CLOCKS]
    versions_and_keys = _mapped(partial(_versioned, lake, serving.table, names), paths)
    versions, stored_keys = [version for version, _ in versions_and_keys], [keys for _, keys in versions_and_keys]
    kinds = _kinds(serving.table, serving.keys)
    entity_keys = clocks.with_columns(
        rows[column].cast(kinds[key], strict=False).alias(key) for key, column in serving.keys.items()
    )
    row_N = rows_in_parts(entity_keys, stored_keys, list(serving.keys), serving.ttl)
    first_P = np.cumsum([0, *map(len, stored_keys)])
    parts = [
        _Part(path, version, int(first)) for path, version, first in zip(paths, versions, first_P[:-1], strict=True)
    ]
    part_N = np.where(row_N == NONE, NONE, np.searchsorted(first_P, row_N, side="right") - 1)
    last_P = np.full(len(parts) + 1, NONE)  # its last element is for rows without an answer
    np.maximum.at(last_P, part_N, np.arange(len(part_N)))
    return Answers(lake, serving, parts, row_N, part_N, last_P)


def joined(rows: pl.DataFrame, day_N: Days, tables: Sequence[Answers], days: int) -> Iterator[pl.DataFrame]:
    """The entity rows, which are in the order of their days, with their answers, so many days at a time.

    Raises PartitionReplaced.
    """
    start_D = [*day_starts(day_N), len(day_N)]
    decoded: list[dict[int, pl.DataFrame]] = [{} for _ in tables]  # values by the number of their part
    for day in range(0, max(1, len(start_D) - 1), days):
        edges = start_D[day : day + days + 1]
        _decode_needed(decoded, tables, edges[0], edges[-1])
        yield pl.concat(
            [
                pl.concat([rows[first:last], *map(partial(_values, first, last), tables, decoded)], how="horizontal")
                for first, last in (pairwise(edges) if len(edges) > 1 else [(0, 0)])
            ]
        )


def _decode_needed(
    decoded: Sequence[dict[int, pl.DataFrame]], tables: Sequence[Answers], first: int, last: int
) -> None:
    """Drop the parts that no row from `first` on needs, and decode those that the rows before `last` need."""
    for parts, answers in zip(decoded, tables, strict=True):
        for number in [number for number in parts if answers.last_P[number] < first]:
            del parts[number]
    missing = [
        (parts, answers, number)
        for parts, answers in zip(decoded, tables, strict=True)
        for number in np.unique(answers.part_N[first:last]).tolist()
        if number != NONE and number not in parts
    ]
    values = _mapped(lambda part: _part_values(part[1].lake, part[1].serving, part[1].parts[part[2]]), missing)
    for (parts, _, number), rows in zip(missing, values, strict=True):
        parts[number] = rows


def _joined(rows: pl.DataFrame, day_N: Days, tables: Sequence[Answers]) -> list[pl.DataFrame]:
    return list(joined(rows, day_N, tables, TOGETHER))


def _values(first: int, last: int, answers: Answers, decoded: dict[int, pl.DataFrame]) -> pl.DataFrame:
    """The values that one table has for the entity rows from `first` to before `last`."""
    row_M, part_M = answers.row_N[first:last], answers.part_N[first:last]
    numbers = [number for number in np.unique(part_M).tolist() if number != NONE]
    if not numbers:
        empty = no_rows(answers.serving.table, answers.serving.columns).rename(answers.serving.columns)
        return empty.clear(len(row_M))
    values = pl.concat([decoded[number] for number in numbers]) if len(numbers) > 1 else decoded[numbers[0]]
    inside_M, count = np.full(len(row_M), NONE), 0
    for number in numbers:
        here_M = part_M == number
        inside_M[here_M] = row_M[here_M] - answers.parts[number].first + count
        count += len(decoded[number])
    if _is_whole(inside_M, len(values)):
        return values
    position = pl.Series(inside_M).replace(NONE, None).cast(pl.UInt32)
    return values.select(pl.all().gather(position))


def _is_whole(inside_M: Positions, rows: int) -> bool:
    return len(inside_M) == rows and bool((inside_M == np.arange(rows)).all())


def _part_values(lake: Lake, serving: Serving, part: _Part) -> pl.DataFrame:
    """A part's columns under their served names. Raises PartitionReplaced."""
    version, rows = _versioned(lake, serving.table, list(serving.columns), part.path)
    if version != part.version:
        raise PartitionReplaced
    return rows.rename(serving.columns)


def _versioned(lake: Lake, table: str, names: Sequence[str], path: Path) -> tuple[tuple[int, int, int], pl.DataFrame]:
    """A file's version and columns. Raises PartitionReplaced where it was replaced or removed meanwhile."""
    try:
        before, rows, after = _version(path), _stored(lake, table, names, path), _version(path)
    except FileNotFoundError as missing:
        raise PartitionReplaced from missing
    if after != before:
        raise PartitionReplaced
    return before, rows


def _version(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _stored(lake: Lake, table: str, names: Sequence[str], path: Path) -> pl.DataFrame:
    """Columns of a file in their declared types, null where it lacks one."""
    rows, kinds = lake.decode_once(path, names), _kinds(table, names)
    if dict(rows.schema) == kinds:
        return rows
    absent = [pl.lit(None, dtype=kind).alias(name) for name, kind in kinds.items() if name not in rows.schema]
    return rows.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in kinds.items())


def no_rows(table: str, names: Iterable[str]) -> pl.DataFrame:
    """An empty frame of these columns."""
    return pl.DataFrame(schema=_kinds(table, names))


def _kinds(table: str, names: Iterable[str]) -> dict[str, pl.DataType]:
    """The columns' declared types; one that is not declared is a feature of an open table."""
    declared = TABLES[table].columns
    kinds = {name: TYPES[declared.get(name, "float32")] for name in names}
    return kinds | {name: CLOCK for name in CLOCKS if name in kinds}


def _mapped(call: Callable[[A], T], items: Sequence[A]) -> list[T]:
    """`call` of every item, in order, on as many threads as Polars has and as many again, which wait for the disk."""
    return list(_pool(os.getpid()).map(call, items))


@lru_cache(1)
def _pool(process: int) -> ThreadPoolExecutor:  # noqa: ARG001  the cache's key: a forked process needs its own threads
    """Threads that last: each new one takes memory of its own, 30 to 50 MB in all."""
    return ThreadPoolExecutor(2 * pl.thread_pool_size(), "fpm-lake")


def _paths_in_reach(lake: Lake, rows: pl.DataFrame, clocks: pl.DataFrame, serving: Serving) -> list[Path]:
    """Partitions that can hold an answer: from the first moment less the time to live to the last moment."""
    if clocks.is_empty():
        return []
    earliest, latest = clocks[EVENT].min(), clocks[EVENT].max()
    assert isinstance(earliest, datetime) and isinstance(latest, datetime)
    first = (earliest - serving.ttl - ZONE_SLACK).date() if serving.ttl else date.min
    last = (latest + ZONE_SLACK).date()
    if not TABLES[serving.table].by_vintage:
        return [path for _, path in lake.files(serving.table, first, last)]
    of_rows = set(rows[serving.keys["vintage"]].unique())
    vintages = [vintage for vintage in lake.vintages(serving.table) if vintage in of_rows]
    return [path for vintage in vintages for _, path in lake.files(serving.table, first, last, vintage)]
