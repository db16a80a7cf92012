"""Cells of a column as days, moments, numbers or text; a cell that does not fit refuses the file."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.stamps import beyond_years
from fpm.ingest.time_spellings import Order, days
from fpm.ingest.vendor_files import refusal

if TYPE_CHECKING:
    from fpm.errors import InputRefused
    from fpm.ingest.bar_files import RawFile


def texts(cells: pl.Series) -> pl.Series:
    """Cells as text without blanks around it; null where there is none."""
    text = cells.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def day_cells(raw: RawFile, name: str, order: Order) -> pl.Series:
    """A column as days, null where the file lacks it.

    Raises InputRefused 008 for a column of another type or a cell that is no day.
    """
    if name not in raw.frame.columns:
        return pl.Series(name, [None] * raw.frame.height, pl.Date)
    cells = raw.frame[name]
    text, parsed = cells, None
    if cells.dtype == pl.String:
        text = texts(cells)
        parsed = days(text, order)
    elif cells.dtype in (pl.Date, pl.Datetime, pl.Null):
        parsed = cells.cast(pl.Date)
    if parsed is None or parsed.null_count() > text.null_count() or beyond_years(parsed).any():
        todo = "store days as dates, or as 2024-03-01; leave the cell empty where there is no last day"
        raise _unfit(raw, cells, "what is no day", todo)
    return parsed


def moment_cells(raw: RawFile, name: str) -> pl.Series:
    """A column as UTC moments, null where the file lacks it.

    Raises InputRefused 008 for a cell that is no moment with an offset.
    """
    if name not in raw.frame.columns:
        return pl.Series(name, [None] * raw.frame.height, pl.Datetime("us", "UTC"))
    cells = raw.frame[name]
    if isinstance(cells.dtype, pl.Datetime) and cells.dtype.time_zone and not beyond_years(cells).any():
        return cells.dt.cast_time_unit("us").dt.convert_time_zone("UTC")
    try:
        moments = [None if text is None else datetime.fromisoformat(text) for text in texts(cells)]
    except ValueError:
        moments = None
    if moments is None or any(moment is not None and moment.tzinfo is None for moment in moments):
        raise _unfit(raw, cells, "what is no moment with an offset", "write 2026-01-05T20:00+08:00")
    return pl.Series(name, moments, pl.Datetime("us", "UTC"))


def number_cells(raw: RawFile, name: str) -> pl.Series:
    """A column as float64 with NaN as null, null where the file lacks it.

    Raises InputRefused 008 for a cell that is no number, or text in a Parquet file.
    """
    if name not in raw.frame.columns:
        return pl.Series(name, [None] * raw.frame.height, pl.Float64)
    cells = raw.frame[name]
    text = texts(cells) if cells.dtype == pl.String else cells
    numeric = cells.dtype.is_numeric() or cells.dtype in (pl.Null, pl.String)
    parsed = text.cast(pl.Float64, strict=False) if numeric else None
    if parsed is None or parsed.null_count() > text.null_count():
        raise _unfit(raw, cells, "what is no number", "store numbers as numbers; no silent cast is made")
    return parsed.fill_nan(None)


def _unfit(raw: RawFile, cells: pl.Series, wrong: str, todo: str) -> InputRefused:
    return refusal(
        raw.path, code="FPM-IN-008", wrong=f"column {cells.name} is {cells.dtype} and holds {wrong}", todo=todo
    )
