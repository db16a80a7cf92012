"""Long frames as dense panels: sessions T down, symbols N across, NaN where there is no value."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
EPOCH = date(1970, 1, 1)  # day 0 of a column of dates


def pivot(frame: pl.DataFrame, column: str, sessions: Sequence[date], symbols: Sequence[str]) -> Floats:
    """Dense (T, N) array of `column`; NaN where a session-symbol has no finite value. Rows off the axes are ignored."""
    return pivots(frame, [column], sessions, symbols)[column]


def pivots(
    frame: pl.DataFrame, columns: Sequence[str], sessions: Sequence[date], symbols: Sequence[str]
) -> dict[str, Floats]:
    """Column -> `pivot` of it, for several columns of one frame."""
    places = cells(frame, sessions, symbols)
    return {column: panel(frame[column], places, (len(sessions), len(symbols))) for column in columns}


def cells(frame: pl.DataFrame, sessions: Sequence[date], symbols: Sequence[str]) -> Integers:
    """Flat position (R,) of each row of (session, symbol) in a panel of these axes; -1 for a row that is off them."""
    place_of = {(session - EPOCH).days: place for place, session in enumerate(sessions)}
    day_R = frame["session"].to_physical().to_numpy()
    begin = np.flatnonzero(np.diff(day_R, prepend=-1 if len(day_R) == 0 else day_R[0] - 1))
    row_R = np.repeat(
        np.array([place_of.get(day, -1) for day in day_R[begin].tolist()], dtype=np.int64),
        np.diff(begin, append=len(day_R)),
    )
    column = frame["symbol"].cast(pl.Enum(symbols), strict=False).to_physical().cast(pl.Int64).fill_null(-1)
    column_R = column.to_numpy()
    return np.where((row_R >= 0) & (column_R >= 0), row_R * len(symbols) + column_R, -1)


def panel(values: pl.Series, cell_R: Integers, shape: tuple[int, int]) -> Floats:
    """`values` (R,) at the positions `cells` of an otherwise empty panel of this shape; NaN for what is not finite."""
    panel_TN = np.full(shape, np.nan)
    value_R = values.cast(pl.Float64).to_numpy()
    if len(cell_R) and cell_R.min() < 0:
        value_R, cell_R = value_R[cell_R >= 0], cell_R[cell_R >= 0]
    panel_TN.ravel()[cell_R] = np.where(np.isinf(value_R), np.nan, value_R) if np.isinf(value_R).any() else value_R
    return panel_TN


def axes(*frames: pl.DataFrame) -> tuple[list[date], list[str]]:
    """Sorted sessions of the first frame and sorted symbols of all frames: the axes of comparable panels."""
    symbols = sorted(set().union(*(frame["symbol"].unique().to_list() for frame in frames)))
    return sorted(frames[0]["session"].unique().to_list()), symbols


def mean(values: Floats) -> float | None:
    """Mean of the finite values; None where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def weekly_grid(sessions: Sequence[date]) -> NDArray[np.intp]:
    """Positions of the last session of each ISO week, in order."""
    weeks = [session.isocalendar()[:2] for session in sessions]
    return np.array([i for i, week in enumerate(weeks) if i + 1 == len(weeks) or weeks[i + 1] != week], dtype=np.intp)
