"""Long frames as dense panels: sessions T down, symbols N across, NaN where there is no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

Floats = NDArray[np.float64]


def pivot(frame: pl.DataFrame, column: str, sessions: Sequence[date], symbols: Sequence[str]) -> Floats:
    """Dense (T, N) array of `column`; NaN where a session-symbol has no finite value. Rows off the axes are ignored."""
    return pivots(frame, [column], sessions, symbols)[column]


def pivots(
    frame: pl.DataFrame, columns: Sequence[str], sessions: Sequence[date], symbols: Sequence[str]
) -> dict[str, Floats]:
    """Column -> `pivot` of it, for several columns of one frame."""
    rows = frame.select(
        pl.col("session").replace_strict(list(sessions), range(len(sessions)), default=None, return_dtype=pl.Int64)
        * len(symbols)
        + pl.col("symbol").cast(pl.Enum(symbols), strict=False).to_physical()
    ).to_series()
    on_axes = rows.is_not_null()
    cells = rows.filter(on_axes).to_numpy()
    return {column: _panel(frame[column].filter(on_axes), cells, (len(sessions), len(symbols))) for column in columns}


def _panel(values: pl.Series, cells: NDArray[np.int64], shape: tuple[int, int]) -> Floats:
    """`values` at the flat positions `cells` of an otherwise empty panel."""
    panel_TN = np.full(shape, np.nan)
    panel_TN.ravel()[cells] = values.cast(pl.Float64).to_numpy()
    panel_TN[~np.isfinite(panel_TN)] = np.nan
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
