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
    position = {session: index for index, session in enumerate(sessions)}
    place = {symbol: index for index, symbol in enumerate(symbols)}
    kept = frame.filter(pl.col("session").is_in(list(position)) & pl.col("symbol").is_in(list(place)))
    values_TN = np.full((len(position), len(place)), np.nan)
    rows = [position[session] for session in kept["session"].to_list()]
    columns = [place[symbol] for symbol in kept["symbol"].to_list()]
    values_TN[rows, columns] = kept[column].cast(pl.Float64).to_numpy()
    values_TN[~np.isfinite(values_TN)] = np.nan
    return values_TN


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
