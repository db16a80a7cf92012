"""Labels: the return a score of session t is judged by. Joined by key in training, never a feature.

close(t+1+horizon) / close(t+1) - 1 on adjusted closes: the score is known after the close of t, so the first price it
can be acted on at is the next session's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import TryLater

if TYPE_CHECKING:
    from datetime import date

HORIZON = 5


def labels(daily: pl.DataFrame, session: date, horizon: int = HORIZON) -> pl.DataFrame:
    """Symbol and label (float64, a return) for the symbols of `session`, sorted.

    `daily`: daily bars with their `session`, of `session` and at least the horizon + 1 sessions after it. A symbol that
    has no close at either end (suspended, delisted before it, no adjustment factor) is left out; a symbol to be
    delisted later has labels to the last session whose both ends it reached.

    Raises TryLater while the sessions after `session` are not there yet.
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
    """Adjusted closes of the symbols that traded in a session."""
    traded = ~pl.col("suspended").fill_null(False) & (pl.col("volume") > 0)
    adjusted = pl.col("close") * pl.col("adj_factor")
    return (
        daily.filter((pl.col("session") == session) & traded)
        .select("symbol", adjusted.alias(name))
        .filter(pl.col(name).is_finite() & (pl.col(name) > 0))
    )
