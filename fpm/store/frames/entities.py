"""Entity frames as people have them: Polars, pandas, Arrow, or a Parquet file; and what may not be asked with them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import polars as pl
import pyarrow as pa

from fpm.errors import InputRefused, UsageError
from fpm.schema import TABLES
from fpm.two_clocks import KNOWN_AT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.store.frames.point_in_time import Serving
    from fpm.store.lake.files import Lake

CLOCK_SLACK = timedelta(minutes=5)  # between this machine's clock and the one that wrote `known_at`
Entities: TypeAlias = pl.DataFrame | pd.DataFrame | pa.Table | Path | str


def entity_rows(given: Entities | None) -> pl.DataFrame:
    """The rows of an entity frame; a text is the path of a Parquet file. Raises UsageError for anything else, such as
    the SQL that Feast allows: the lake has no query engine, and a range of dates names no entities.
    """
    if isinstance(given, pl.DataFrame):
        return given
    if isinstance(given, pd.DataFrame):
        return pl.from_pandas(given)
    if isinstance(given, pa.Table):
        return pl.DataFrame(pl.from_arrow(given))
    if isinstance(given, Path | str) and str(given).endswith(".parquet"):
        if not Path(given).is_file():
            raise _refused(f"there is no entity file {given}")
        return pl.read_parquet(given)
    raise _refused("the entities are not a frame")


def check_known_at(entities: pl.DataFrame, now: datetime) -> None:
    """Nobody asks what will be known: the same question would be answered otherwise later. Raises InputRefused.

    Without the column, an event is also the moment of knowledge; then an event to come has the newest value.
    """
    kind = entities.schema.get(KNOWN_AT)
    if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
        return
    later = entities.filter(pl.col(KNOWN_AT) > now + CLOCK_SLACK)
    if len(later):
        latest = later.select(pl.col(KNOWN_AT).max()).item()
        raise InputRefused(
            code="FPM-PIT-015",
            wrong=f"{len(later)} of {len(entities)} rows ask what is known at {latest}, later than now",
            effect="nothing was read",
            todo="give a known_at that has passed",
        )


def check_vintages(lake: Lake, entities: pl.DataFrame, servings: Sequence[Serving]) -> None:
    """Of each table kept by vintage the rows ask for one vintage, and it is there. Raises InputRefused.

    Rows without a vintage get nulls. Join keys may be mapped: two columns of one vintage each may stand side by side.
    """
    for one in servings:
        if not TABLES[one.table].by_vintage:
            continue
        asked = sorted(entities[one.keys["vintage"]].drop_nulls().unique().to_list())
        known = lake.vintages(one.table)
        if unknown := [vintage for vintage in asked if vintage not in known]:
            raise InputRefused(
                code="FPM-PIT-016",
                wrong=f"there is no vintage {unknown[0]!r} of {one.table}",
                effect="nothing was read",
                todo=f"use one of {', '.join(known) or 'none yet: train an encoder'}",
            )
        if len(asked) > 1:
            raise InputRefused(
                code="FPM-PIT-017",
                wrong=f"the rows mix vintages ({', '.join(asked)}): their vectors lie in different spaces",
                effect="nothing was read",
                todo="ask for one vintage at a time",
            )


def _refused(wrong: str) -> UsageError:
    todo = "give a frame (Polars, pandas, Arrow) or a .parquet file, no SQL or date range"
    return UsageError(code="FPM-PIT-001", wrong=wrong, effect="nothing was read", todo=todo)
