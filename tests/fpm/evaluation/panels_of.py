"""Long frames from small dense arrays, for tests of evaluation, portfolio and backtest."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray


def weekdays(first: date, count: int) -> list[date]:
    """`count` weekdays from `first` on."""
    days = (first + timedelta(days=offset) for offset in range(2 * count + 7))
    return [day for day in days if day.weekday() < 5][:count]


def symbols_of(count: int) -> list[str]:
    return [f"60{number:04d}.SH" for number in range(count)]


def long(values_TN: NDArray[np.float64], column: str, sessions: Sequence[date]) -> pl.DataFrame:
    """session, symbol, `column`; NaN as null."""
    symbols = symbols_of(values_TN.shape[1])
    return pl.DataFrame(
        {
            "session": [session for session in sessions for _ in symbols],
            "symbol": symbols * len(sessions),
            column: values_TN.ravel(),
        }
    ).with_columns(pl.col(column).fill_nan(None))
