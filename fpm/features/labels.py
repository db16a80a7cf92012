"""Labels: the forward returns that evaluate scores. Training joins them by key; they are never features.

The label of session t is close(t+1+horizon) / close(t+1) - 1 on adjusted closes: a score of t is known after the close
of t, so a close of the next session is the first at which one can trade on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from datetime import date


def labels(daily: pl.DataFrame, session: date, ends: tuple[date, date]) -> pl.DataFrame:
    """Return symbol and label (float64, a return) for the symbols of `session`, sorted by symbol.

    `daily`: daily bars with their `session`. `ends`: the sessions at whose closes the return begins and ends, by the
    calendar 1 and 1 + horizon after `session`; what lies between them does not matter. A symbol without a close at
    one of them (suspended, delisted earlier, no adjustment factor, nothing delivered) is left out. A symbol that is
    delisted later has labels up to the last session with both ends.

    >>> from datetime import date
    >>> sessions = [date(2024, 1, day) for day in (2, 3, 4)]
    >>> columns = {"symbol": "A", "close": [10.0, 20.0, 21.0], "adj_factor": 1.0, "volume": 1.0, "suspended": False}
    >>> labels(pl.DataFrame({"session": sessions, **columns}), sessions[0], (sessions[1], sessions[2])).rows()
    [('A', 0.050000000000000044)]
    """
    start, end = (_adjusted_close(daily, day, name) for day, name in zip(ends, ("start", "end"), strict=True))
    present = daily.filter(pl.col("session") == session).select("symbol")
    joined = present.join(start, on="symbol").join(end, on="symbol")
    return joined.select("symbol", label=pl.col("end") / pl.col("start") - 1).sort("symbol")


def _adjusted_close(daily: pl.DataFrame, session: date, name: str) -> pl.DataFrame:
    """Return the adjusted closes of the symbols that traded in a session."""
    traded = ~pl.col("suspended").fill_null(False) & (pl.col("volume") > 0)
    adjusted = pl.col("close") * pl.col("adj_factor")
    return (
        daily.filter((pl.col("session") == session) & traded)
        .select("symbol", adjusted.alias(name))
        .filter(pl.col(name).is_finite() & (pl.col(name) > 0))
    )
