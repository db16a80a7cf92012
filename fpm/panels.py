"""Long frames laid out as dense panels: sessions T down, symbols N across, NaN where there is no value."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pivot(frame: pl.DataFrame, column: str, sessions: Sequence[date], symbols: Sequence[str]) -> Floats:
    """Dense (T, N) array of `column`; NaN where a session-symbol has no finite value. Other rows are left out."""
    kept = frame.filter(pl.col("session").is_in(list(sessions)) & pl.col("symbol").is_in(list(symbols)))
    values_TN = np.full((len(sessions), len(symbols)), np.nan)
    if kept.is_empty():
        return values_TN
    rows, columns = _places(kept["session"], sessions), _places(kept["symbol"], symbols)
    values_TN[rows, columns] = kept[column].cast(pl.Float64).to_numpy()
    values_TN[~np.isfinite(values_TN)] = np.nan
    return values_TN


def _places(values: pl.Series, axis: Sequence[object]) -> NDArray[np.int64]:
    """Position of every value on its axis."""
    return values.replace_strict(list(axis), list(range(len(axis))), return_dtype=pl.Int64).to_numpy()


def axes(*frames: pl.DataFrame) -> tuple[list[date], list[str]]:
    """Sorted sessions of the first frame and sorted symbols of all: the axes on which panels are compared."""
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
