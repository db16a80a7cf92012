"""The names that one session's scores put first and last."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class OuterName:
    """A name at one end of a session's scores. `percentile`: see `outer_names`; `size`: in the unit it came in."""

    symbol: str
    score: float
    percentile: float
    spread: float | None
    industry: str | None
    size: float | None


def outer_names(rows: pl.DataFrame, count: int) -> tuple[list[OuterName], list[OuterName]]:
    """The `count` highest scores, highest first, and the `count` lowest, lowest first; no name is in both.

    `rows`: symbol, score, spread, industry, size of one session. Percentile: (average rank - 1/2) / number of scores, a
    share of 1; ties share theirs (Hyndman and Fan 1996, definition 5). Equal scores are in the order of their symbols.
    """
    scored = rows.filter(pl.col("score").is_finite()).with_columns(
        percentile=(pl.col("score").rank("average") - 0.5) / pl.col("score").count()
    )
    length = min(count, len(scored) // 2)
    fields = ("symbol", "score", "percentile", "spread", "industry", "size")
    ends = (scored.sort("score", "symbol", descending=[highest, False]).head(length) for highest in (True, False))
    longs, shorts = ([OuterName(*row) for row in end.select(fields).rows()] for end in ends)
    return longs, shorts
