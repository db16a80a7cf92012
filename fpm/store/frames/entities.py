"""Entity frames in every form people have them, the checks they must pass, and the question they put to the lake."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import polars as pl
import pyarrow as pa

from fpm.errors import InputRefused, UsageError
from fpm.ingest.decoder import decode
from fpm.ingest.vendor_files import PARQUET, check_regular, kind_of
from fpm.schema import TABLES
from fpm.store.lake.files import CLOCK
from fpm.two_clocks import EVENT, KNOWN_AT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.store.lake.files import Lake

CLOCK_SLACK = timedelta(minutes=5)  # between this machine's clock and the one that wrote `known_at`
FOREVER = datetime(9999, 12, 31, tzinfo=UTC)
Entities: TypeAlias = pl.DataFrame | pd.DataFrame | pa.Table | Path | str


@dataclass(frozen=True)
class Serving:
    """What one table contributes: `keys` stored name -> entity column, `columns` stored name -> served name."""

    table: str
    keys: dict[str, str]
    columns: dict[str, str]
    ttl: timedelta | None


@dataclass(frozen=True)
class Question:
    """Entity rows, their `event_timestamp` and `known_at` as `clocks` gives them, and the tables that serve them."""

    rows: pl.DataFrame
    clocks: pl.DataFrame
    servings: Sequence[Serving]


def entity_rows(entities: Entities | None) -> pl.DataFrame:
    """The rows of an entity frame; a text is the path of a Parquet file.

    Raises UsageError for anything else, such as the SQL or the range of dates that Feast allows: the lake has no query
    engine, and a range of dates names no entities.
    """
    if isinstance(entities, pl.DataFrame):
        return entities
    if isinstance(entities, pd.DataFrame):
        return pl.from_pandas(entities)
    if isinstance(entities, pa.Table):
        return pl.DataFrame(pl.from_arrow(entities))
    if isinstance(entities, Path | str) and kind_of(Path(entities)) == PARQUET:
        return read_entities(Path(entities))
    raise _not_a_frame("the entities are not a frame")


def read_entities(path: Path) -> pl.DataFrame:
    """The rows of an entity file, Parquet or CSV (moments as `2026-01-05T15:00:00+08:00`).

    Raises UsageError where there is no such file, InputRefused where it cannot be read.
    """
    if not path.exists():
        raise _not_a_frame(f"there is no entity file {path}")
    if not kind_of(path):
        raise _not_a_frame(f"{path} is no .parquet or .csv file")
    check_regular(path)
    return decode("fpm.ingest.table_files:entities_of", path, moments=[EVENT, KNOWN_AT])[1]


def check_columns(rows: pl.DataFrame, servings: Sequence[Serving]) -> None:
    """Refuse rows without their moment or a join key, or with a column that a served one would hide.

    Raises UsageError.
    """
    needed = dict.fromkeys(name for serving in servings for name in serving.keys.values())
    for name in (EVENT, *needed):
        if name not in rows.columns:
            raise UsageError(
                code="FPM-PIT-002",
                wrong=f"the entities have no column {name!r}",
                effect="nothing was read",
                todo=f"add it; they have {', '.join(rows.columns)}",
            )
    for serving in servings:
        for name in serving.columns.values():
            if name in rows.columns:
                raise UsageError(
                    code="FPM-PIT-007",
                    wrong=f"{name!r} is both an entity column and a feature of {serving.table}",
                    effect="nothing was read",
                    todo="rename the entity column or ask for full feature names",
                )


def check_known_at(rows: pl.DataFrame, now: datetime) -> None:
    """Refuse rows whose `known_at` is still to come: the same question would have another answer later.

    Rows without that column may have a later event: its `known_at` is then the event itself.
    Raises InputRefused.
    """
    kind = rows.schema.get(KNOWN_AT)
    if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
        return
    later = rows.filter(pl.col(KNOWN_AT) > now + CLOCK_SLACK)
    if len(later):
        latest = later.select(pl.col(KNOWN_AT).max()).item()
        raise InputRefused(
            code="FPM-PIT-015",
            wrong=f"{len(later)} of {len(rows)} rows ask what is known at {latest}, later than now",
            effect="nothing was read",
            todo="give a known_at that has passed",
        )


def check_vintages(lake: Lake, rows: pl.DataFrame, servings: Sequence[Serving]) -> None:
    """Refuse rows that ask one table for several vintages, or for one that the lake does not have.

    Rows without a vintage get nulls. Join keys may be mapped: two columns of one vintage each may stand side by side.
    Raises InputRefused.
    """
    for serving in servings:
        if not TABLES[serving.table].by_vintage:
            continue
        vintages = sorted(rows[serving.keys["vintage"]].drop_nulls().unique().to_list())
        stored = lake.vintages(serving.table)
        if unknown := [vintage for vintage in vintages if vintage not in stored]:
            raise InputRefused(
                code="FPM-PIT-016",
                wrong=f"there is no vintage {unknown[0]!r} of {serving.table}",
                effect="nothing was read",
                todo=f"use one of {', '.join(stored) or 'none yet: train an encoder'}",
            )
        if len(vintages) > 1:
            raise InputRefused(
                code="FPM-PIT-017",
                wrong=f"the rows mix vintages ({', '.join(vintages)}): their vectors lie in different spaces",
                effect="nothing was read",
                todo="ask for one vintage at a time",
            )


def clocks(rows: pl.DataFrame, *, latest: bool = False, tied: bool = False) -> pl.DataFrame:
    """`event_timestamp` and `known_at` of every entity row, UTC microseconds.

    Without a column `known_at` that is the event_timestamp, or the end of time if `latest`. `tied`: nothing is known
    after the row's own event_timestamp.
    Raises InputRefused for moments that are missing or have no zone.
    """
    event = _aware(rows[EVENT])
    if KNOWN_AT in rows.columns:
        known_at = _aware(rows[KNOWN_AT])
    else:
        known_at = pl.repeat(FOREVER, len(rows), dtype=CLOCK, eager=True) if latest else event
    moments = pl.DataFrame({EVENT: event, KNOWN_AT: known_at})
    return moments.with_columns(pl.min_horizontal(EVENT, KNOWN_AT).alias(KNOWN_AT)) if tied else moments


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


def _not_a_frame(wrong: str) -> UsageError:
    return UsageError(
        code="FPM-PIT-001",
        wrong=wrong,
        effect="nothing was read",
        todo="give a frame (Polars, pandas, Arrow) or a .parquet file, no SQL or date range",
    )
