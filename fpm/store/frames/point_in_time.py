"""Point-in-time frames from the lake: entity rows in, the same rows with what was known beside them out.

Only the session folders that the entity rows can reach are opened, only the columns asked for are read. Every entity
row is kept, in its order; nulls stand where nothing was known. Vintage folders are those the rows name.

First the keys and clocks of all files say which stored row answers which entity row; then the values are read, some
days of the entity rows at a time, from the files that hold an answer, and let go with the last row that needs them. A
day whose answer is a whole file, row for row, is that file's memory: a frame costs little more than its own bytes.

N entity rows, M rows of one day, P partition files.
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

from fpm.errors import InputRefused, TryLater, UsageError
from fpm.schema import CLOCKS, TABLES
from fpm.store.lake.files import CLOCK, TYPES, Lake, decode
from fpm.two_clocks import CREATED, EVENT, KNOWN_AT, rows_in_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

# A session's moments lie within a day of its date in every time zone (crypto closes at 24:00 UTC of the session).
ZONE_SLACK = timedelta(days=1)
ATTEMPTS = 3  # a partition may be replaced between its keys and its values
TOGETHER = 20  # days whose files are decoded at once: enough to keep every core busy
A = TypeVar("A")
T = TypeVar("T")
Places = NDArray[np.int64]
NONE = -1


@dataclass(frozen=True)
class Serving:
    """What one table contributes: `keys` stored name -> entity column, `columns` stored name -> served name."""

    table: str
    keys: dict[str, str]
    columns: dict[str, str]
    ttl: timedelta | None


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

    serving: Serving
    parts: list[_Part]
    row_N: Places
    part_N: Places
    last_P: Places


class Replaced(Exception):
    """A partition is no longer the file whose keys were read."""


def frame(lake: Lake, entities: pl.DataFrame, servings: Sequence[Serving], *, tied: bool = False) -> pl.DataFrame:
    """The entity rows with every table's columns beside them, row for row.

    `entities`: `event_timestamp` (aware), the join keys, optionally `known_at` (aware; default: event_timestamp).
    `tied`: additionally nothing known after the row's own event_timestamp.
    Raises UsageError for missing or clashing columns, InputRefused for naive or missing moments, StoreCorrupt,
    TryLater where partitions are being replaced all the time.
    """
    check(entities, servings)
    wanted = clocks(entities, tied=tied)
    place_N, day_N = by_day(wanted)
    asked = bool((np.diff(place_N) == 1).all())
    rows, wanted = (each.rechunk() if asked else each[place_N] for each in (entities, wanted))
    for _ in range(ATTEMPTS):
        try:
            days = pl.concat(_joined(rows, day_N, answers(lake, rows, wanted, servings)))
            return days if asked else days[np.argsort(place_N, kind="stable")]
        except Replaced:
            continue
    raise always_replaced()


def always_replaced() -> TryLater:
    return TryLater(
        code="FPM-PIT-075",
        wrong="partitions were replaced while they were read",
        effect="nothing was returned",
        todo="run it again when the jobs that write them have ended (`fpm status`)",
    )


def by_day(wanted: pl.DataFrame) -> tuple[Places, NDArray[np.int32]]:
    """The places of the rows in the order of their days (UTC), those of one day as they were, and the days in order."""
    day_N = wanted[EVENT].dt.date().to_physical().to_numpy()
    place_N = np.argsort(day_N, kind="stable")
    return place_N, day_N[place_N]


def clocks(entities: pl.DataFrame, *, tied: bool = False) -> pl.DataFrame:
    """`event_timestamp` and `known_at` of every entity row, UTC microseconds."""
    moments = {EVENT: _aware(entities[EVENT])}
    moments[KNOWN_AT] = _aware(entities[KNOWN_AT]) if KNOWN_AT in entities.columns else moments[EVENT]
    wanted = pl.DataFrame(moments)
    return wanted.with_columns(pl.min_horizontal(EVENT, KNOWN_AT).alias(KNOWN_AT)) if tied else wanted


def check(entities: pl.DataFrame, servings: Sequence[Serving]) -> None:
    """The moment and every join key are there, and no entity column hides a served one. Raises UsageError."""
    needed = {name: one.table for one in servings for name in one.keys.values()}
    for name in (EVENT, *needed):
        if name not in entities.columns:
            todo = f"add it; they have {', '.join(entities.columns)}"
            raise _usage("FPM-PIT-002", f"the entities have no column {name!r}", todo)
    for one in servings:
        for name in one.columns.values():
            if name in entities.columns:
                raise _usage(
                    "FPM-PIT-007",
                    f"{name!r} is both an entity column and a feature of {one.table}",
                    "rename the entity column or ask for full feature names",
                )


def window(
    lake: Lake, table: str, columns: Iterable[str], start: datetime | None, end: datetime | None
) -> pl.DataFrame:
    """All versions of the events from `start` to `end`, both inclusive (None: no bound), with their clocks."""
    first = (start - ZONE_SLACK).date() if start else date.min
    last = (end + ZONE_SLACK).date() if end else date.max
    files = [path for _, path in lake.files(table, first, last)]
    inside = [pl.col(EVENT) >= start] if start else []
    inside += [pl.col(EVENT) <= end] if end else []
    return read(table, files, columns).filter(*inside, pl.col(CREATED).is_not_null())


def read(table: str, files: Sequence[Path], columns: Iterable[str]) -> pl.DataFrame:
    """The columns and clocks of partition files, in file order; a column that a file lacks is null there.

    Raises StoreCorrupt where a file's bytes are not those once written.
    """
    names = list(dict.fromkeys([*columns, *CLOCKS]))
    return pl.concat([nothing(table, names), *_mapped(partial(_stored, table, names), files)])


def answers(lake: Lake, entities: pl.DataFrame, wanted: pl.DataFrame, servings: Sequence[Serving]) -> list[Answers]:
    """The stored row of every entity row in every table, by the keys and clocks of the files in reach. Raises Replaced
    where one is exchanged meanwhile.
    """
    return [_answers(lake, entities, wanted, serving) for serving in servings]


def _answers(lake: Lake, entities: pl.DataFrame, wanted: pl.DataFrame, serving: Serving) -> Answers:
    files, names = _reachable(lake, entities, wanted, serving), [*serving.keys, *CLOCKS]
    told = _mapped(partial(_versioned, serving.table, names), files)
    kinds = _kinds(serving.table, serving.keys)
    asked = wanted.with_columns(
        entities[column].cast(kinds[key], strict=False).alias(key) for key, column in serving.keys.items()
    )
    row_N = rows_in_parts(asked, [rows for _, rows in told], list(serving.keys), serving.ttl)
    first_P = np.cumsum([0, *(len(rows) for _, rows in told)])
    parts = [_Part(path, version, int(at)) for path, (version, _), at in zip(files, told, first_P, strict=False)]
    part_N = np.where(row_N == NONE, NONE, np.searchsorted(first_P, row_N, side="right") - 1)
    last_P = np.full(len(parts) + 1, NONE)  # the last place is that of rows without an answer
    np.maximum.at(last_P, part_N, np.arange(len(part_N)))
    return Answers(serving, parts, row_N, part_N, last_P)


def joined(
    entities: pl.DataFrame, day_N: NDArray[np.int32], found: Sequence[Answers], days: int
) -> Iterator[pl.DataFrame]:
    """The entity rows, which are in the order of their days, with their answers, so many days at a time.

    Raises Replaced.
    """
    start_D = [*np.flatnonzero(np.diff(day_N, prepend=np.iinfo(np.int32).min)).tolist(), len(day_N)]
    held: list[dict[int, pl.DataFrame]] = [{} for _ in found]
    for at in range(0, max(1, len(start_D) - 1), days):
        edges = start_D[at : at + days + 1]
        _hold(held, found, edges[0], edges[-1])
        yield pl.concat(
            [
                pl.concat([entities[first:last], *map(partial(_found, first, last), found, held)], how="horizontal")
                for first, last in (pairwise(edges) if len(edges) > 1 else [(0, 0)])
            ]
        )


def _hold(held: Sequence[dict[int, pl.DataFrame]], found: Sequence[Answers], first: int, last: int) -> None:
    """Let go of the parts that no row from `first` on needs, and decode those that the rows up to `last` do."""
    for files, each in zip(held, found, strict=True):
        for number in [number for number in files if each.last_P[number] < first]:
            del files[number]
    wanted = [
        (files, each, number)
        for files, each in zip(held, found, strict=True)
        for number in np.unique(each.part_N[first:last]).tolist()
        if number != NONE and number not in files
    ]
    values = _mapped(lambda one: _values(one[1].serving, one[1].parts[one[2]]), wanted)
    for (files, _, number), rows in zip(wanted, values, strict=True):
        files[number] = rows


def _joined(entities: pl.DataFrame, day_N: NDArray[np.int32], found: Sequence[Answers]) -> list[pl.DataFrame]:
    return list(joined(entities, day_N, found, TOGETHER))


def _found(first: int, last: int, answers: Answers, held: dict[int, pl.DataFrame]) -> pl.DataFrame:
    """The values of the entity rows from `first` to before `last`."""
    row_M, part_M = answers.row_N[first:last], answers.part_N[first:last]
    numbers = [number for number in np.unique(part_M).tolist() if number != NONE]
    if not numbers:
        empty = nothing(answers.serving.table, answers.serving.columns).rename(answers.serving.columns)
        return empty.clear(len(row_M))
    values = pl.concat([held[number] for number in numbers]) if len(numbers) > 1 else held[numbers[0]]
    inside_M, count = np.full(len(row_M), NONE), 0
    for number in numbers:
        here_M = part_M == number
        inside_M[here_M] = row_M[here_M] - answers.parts[number].first + count
        count += len(held[number])
    if _whole(inside_M, len(values)):
        return values
    place = pl.Series(inside_M).replace(NONE, None).cast(pl.UInt32)
    return values.select(pl.all().gather(place))


def _whole(inside_M: Places, rows: int) -> bool:
    return len(inside_M) == rows and bool((inside_M == np.arange(rows)).all())


def _values(serving: Serving, part: _Part) -> pl.DataFrame:
    """A part's columns under their served names. Raises Replaced."""
    version, rows = _versioned(serving.table, list(serving.columns), part.path)
    if version != part.version:
        raise Replaced
    return rows.rename(serving.columns)


def _versioned(table: str, names: Sequence[str], path: Path) -> tuple[tuple[int, int, int], pl.DataFrame]:
    """Columns of a file and which file it was. Raises Replaced where it was replaced or removed meanwhile."""
    try:
        before, rows, after = _version(path), _stored(table, names, path), _version(path)
    except FileNotFoundError as gone:
        raise Replaced from gone
    if after != before:
        raise Replaced
    return before, rows


def _version(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _stored(table: str, names: Sequence[str], path: Path) -> pl.DataFrame:
    """Columns of a file in their declared types, null where it lacks one."""
    rows, kinds = decode(path, names), _kinds(table, names)
    if dict(rows.schema) == kinds:
        return rows
    absent = [pl.lit(None, dtype=kind).alias(name) for name, kind in kinds.items() if name not in rows.schema]
    return rows.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in kinds.items())


def nothing(table: str, names: Iterable[str]) -> pl.DataFrame:
    """No rows of these columns."""
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
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads that last: each new one takes memory of its own, 30 to 50 MB in all (a forked process needs others)."""
    return ThreadPoolExecutor(2 * pl.thread_pool_size(), "fpm-lake")


def _reachable(lake: Lake, entities: pl.DataFrame, wanted: pl.DataFrame, serving: Serving) -> list[Path]:
    """Partitions that can hold an answer: from the first moment less the time to live to the last moment."""
    if wanted.is_empty():
        return []
    earliest, latest = wanted[EVENT].min(), wanted[EVENT].max()
    assert isinstance(earliest, datetime) and isinstance(latest, datetime)
    first = (earliest - serving.ttl - ZONE_SLACK).date() if serving.ttl else date.min
    last = (latest + ZONE_SLACK).date()
    if not TABLES[serving.table].by_vintage:
        return [path for _, path in lake.files(serving.table, first, last)]
    asked = set(entities[serving.keys["vintage"]].unique())
    known = [vintage for vintage in lake.vintages(serving.table) if vintage in asked]
    return [path for vintage in known for _, path in lake.files(serving.table, first, last, vintage)]


def _aware(moments: pl.Series) -> pl.Series:
    """In UTC microseconds. Raises InputRefused where the zone, or the moment itself, is missing."""
    if not isinstance(moments.dtype, pl.Datetime) or moments.dtype.time_zone is None:
        raise InputRefused(
            code="FPM-PIT-003",
            wrong=f"column {moments.name!r} holds {moments.dtype}, not moments with a time zone",
            effect="nothing was read",
            todo="give UTC timestamps; a local hour without its zone is not a moment",
        )
    if moments.null_count():
        raise InputRefused(
            code="FPM-PIT-004",
            wrong=f"column {moments.name!r} lacks {moments.null_count()} of its moments",
            effect="nothing was read",
            todo="drop these rows or fill in their moments",
        )
    return moments.dt.convert_time_zone("UTC").cast(CLOCK)


def _usage(code: str, wrong: str, todo: str) -> UsageError:
    return UsageError(code=code, wrong=wrong, effect="nothing was read", todo=todo)
