"""Long frames from small dense arrays, for the tests of evaluation, portfolio and report.

Shapes: T sessions, N symbols.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

MONDAY = date(2025, 6, 2)


def weekdays(first: date, count: int) -> list[date]:
    """`count` weekdays from `first` on."""
    days = (first + timedelta(days=offset) for offset in range(2 * count + 7))
    return [day for day in days if day.weekday() < 5][:count]


def symbol_names(count: int) -> list[str]:
    return [f"60{number:04d}.SH" for number in range(count)]


def long(values_TN: NDArray[np.float64], column: str, sessions: Sequence[date]) -> pl.DataFrame:
    """session, symbol, `column`; NaN as null."""
    symbols = symbol_names(values_TN.shape[1])
    return pl.DataFrame(
        {
            "session": [session for session in sessions for _ in symbols],
            "symbol": symbols * len(sessions),
            column: values_TN.ravel(),
        }
    ).with_columns(pl.col(column).fill_nan(None))


def factor(sessions: int, symbols: int, strength: float = 0.0, seed: int = 1):
    """(scores, labels, days): normal scores, labels that follow them with `strength`."""
    generator = np.random.default_rng(seed)
    score_TN = generator.normal(size=(sessions, symbols))
    label_TN = 0.02 * (strength * score_TN + generator.normal(size=(sessions, symbols)))
    return score_TN, label_TN, weekdays(MONDAY, sessions)
