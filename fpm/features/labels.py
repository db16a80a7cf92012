"""Labels: the forward returns that evaluate scores. Training joins them by key; they are never features.

The label of session t is close(t+1+horizon) / close(t+1) - 1 on adjusted closes: a score of t is known after the close
of t, so a close of the next session is the first at which one can trade on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import TryLater

if TYPE_CHECKING:
    from datetime import date

HORIZON = 5


def labels(daily: pl.DataFrame, session: date, horizon: int = HORIZON) -> pl.DataFrame:
    """Return symbol and label (float64, a return) for the symbols of `session`, sorted by symbol.

    `daily`: daily bars with their `session`, of `session` and at least the horizon + 1 sessions after it. A symbol
    without a close at one of the two ends (suspended, delisted earlier, no adjustment factor) is left out. A symbol
    that is delisted later has labels up to the last session with both ends.

    Raises TryLater if the sessions after `session` are not there yet.

    A horizon of one session runs from the first to the second close after `session`:

    >>> from datetime import date
    >>> sessions = [date(2024, 1, day) for day in (2, 3, 4)]
    >>> columns = {"symbol": "A", "close": [10.0, 20.0, 21.0], "adj_factor": 1.0, "volume": 1.0, "suspended": False}
    >>> labels(pl.DataFrame({"session": sessions, **columns}), date(2024, 1, 2), horizon=1).rows()
    [('A', 0.050000000000000044)]
    """
    later = daily.filter(pl.col("session") > session)["session"].unique().sort().to_list()
    if len(later) < horizon + 1:
        raise TryLater(
            code="FPM-LBL-001",
            wrong=f"labels of {session} need {horizon + 1} later sessions, {len(later)} are there",
            effect="nothing was written",
            todo="ingest the later sessions and run again",
        )
    start, end = (_adjusted_close(daily, day, name) for day, name in ((later[0], "start"), (later[horizon], "end")))
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
