"""Point-in-time frames from the lake: entity rows in, the same rows with what was known beside them out.

Only the session folders that the entity rows can reach are opened, only the columns asked for are read. Every entity
row is kept, in its order; nulls stand where nothing was known. Vintage folders are those the rows name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset as pa_dataset

from fpm.errors import InputRefused, StoreCorrupt, UsageError
from fpm.schema import CLOCKS, TABLES
from fpm.store.lake import CLOCK, TYPES, Lake
from fpm.two_clocks import CREATED, EVENT, KNOWN_AT, rows_as_of

# A session's moments lie within a day of its date in every time zone (crypto closes at 24:00 UTC of the session).
ZONE_SLACK = timedelta(days=1)
# Page checksums are written by the lake; Arrow verifies them, Polars' reader does not.
VERIFIED = pa_dataset.ParquetFileFormat(
    default_fragment_scan_options=pa_dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
)


@dataclass(frozen=True)
class Serving:
    """What one table contributes: `keys` stored name -> entity column, `columns` stored name -> served name."""

    table: str
    keys: dict[str, str]
    columns: dict[str, str]
    ttl: timedelta | None


def frame(lake: Lake, entities: pl.DataFrame, servings: Sequence[Serving], *, tied: bool = False) -> pl.DataFrame:
    """The entity rows with every table's columns beside them, row for row.

    `entities`: `event_timestamp` (aware), the join keys, optionally `known_at` (aware; default: event_timestamp).
    `tied`: additionally nothing known after the row's own event_timestamp.
    Raises UsageError for missing or clashing columns, InputRefused for naive or missing moments, StoreCorrupt.
    """
    check(entities, servings)
    wanted = clocks(entities, tied=tied)
    return pl.concat([entities, *(_served(lake, entities, wanted, one) for one in servings)], how="horizontal")


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
                    "FPM-PIT-007", f"{name!r} is both an entity column and a feature of {one.table}",
                    "rename the entity column or ask for full feature names",
                )  # fmt: skip


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
    declared = {name: TYPES[kind] for name, kind in TABLES[table].columns.items()} | dict.fromkeys(CLOCKS, CLOCK)
    names = dict.fromkeys([*columns, *CLOCKS])
    empty = pl.DataFrame(schema={name: declared.get(name, TYPES["float32"]) for name in names})
    if not files:
        return empty
    schema = empty.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    try:
        stored = pa_dataset.dataset([str(path) for path in files], schema=schema, format=VERIFIED).to_table()
    except (pa.ArrowException, OSError) as wrong:
        raise StoreCorrupt(
            "FPM-LAKE-110", f"{table} cannot be read: {wrong}", "nothing was returned",
            "restore the file from a backup, or delete it and run its job again",
        ) from wrong  # fmt: skip
    return pl.DataFrame(pl.from_arrow(stored))


def _served(lake: Lake, entities: pl.DataFrame, wanted: pl.DataFrame, serving: Serving) -> pl.DataFrame:
    """One table's columns for every entity row."""
    files = _reachable(lake, entities, wanted, serving)
    stored = read(serving.table, files, [*serving.keys, *serving.columns])
    asked = wanted.with_columns(
        entities[column].cast(stored.schema[key], strict=False).alias(key) for key, column in serving.keys.items()
    )
    answers = rows_as_of(asked, stored.select(*serving.keys, *CLOCKS), list(serving.keys), serving.ttl)
    return stored.select(pl.col(name).gather(answers).alias(shown) for name, shown in serving.columns.items())


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
            "FPM-PIT-003", f"column {moments.name!r} holds {moments.dtype}, not moments with a time zone",
            "nothing was read", "give UTC timestamps; a local hour without its zone is not a moment",
        )  # fmt: skip
    if moments.null_count():
        raise InputRefused(
            "FPM-PIT-004", f"column {moments.name!r} lacks {moments.null_count()} of its moments", "nothing was read",
            "drop these rows or fill in their moments",
        )  # fmt: skip
    return moments.dt.convert_time_zone("UTC").cast(CLOCK)


def _usage(code: str, wrong: str, todo: str) -> UsageError:
    return UsageError(code, wrong, "nothing was read", todo)
