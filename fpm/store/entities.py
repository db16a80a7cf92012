"""Entity frames as people have them: Polars, pandas, Arrow, or a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import pandas as pd
import polars as pl
import pyarrow as pa

from fpm.errors import UsageError

Entities: TypeAlias = pl.DataFrame | pd.DataFrame | pa.Table | Path | str


def entity_rows(given: Entities | None) -> pl.DataFrame:
    """The rows of an entity frame; a text is the path of a Parquet file. Raises UsageError for anything else, such as
    the SQL that Feast allows: the lake has no query engine, and a range of dates names no entities."""
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


def _refused(wrong: str) -> UsageError:
    todo = "give a frame (Polars, pandas, Arrow) or a .parquet file, no SQL or date range"
    return UsageError("FPM-PIT-001", wrong, "nothing was read", todo)
