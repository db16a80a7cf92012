"""How often a score's interval held the place that its return took: over all, by size, industry, month, score group."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fpm.evaluation.conformal import ConformalConfig

SIZES = ("small", "medium", "large")
ROUNDING = 1e-9  # of a place beside a bound that is one


@dataclass(frozen=True)
class Promise:
    """Of the intervals of one part: what they state, how many held, their mean width, sessions and intervals."""

    part: str
    stated: float
    observed: float
    width: float
    sessions: int
    intervals: int


def outcomes(intervals: pl.DataFrame, scores: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """One row for each interval whose label is known: session, symbol, stream, level, width, covered, tenth.

    `intervals`: session, symbol, stream, lower, upper, level; `scores` has the streams' scores, `labels` the labels. A
    place is that of the label among all scored symbols of the session with one; `tenth`: the score's group.
    """
    keys = ["session", "stream"]
    scored = scores.select(*keys, "symbol", "score").filter(pl.col("score").is_finite())
    groups = ConformalConfig().groups
    tenth = (_place("score").over(keys) * groups).floor().clip(0, groups - 1).cast(pl.Int32)
    scored = scored.with_columns(tenth=tenth)
    labelled = scored.join(labels.filter(pl.col("label").is_finite()), on=["session", "symbol"], how="inner")
    labelled = labelled.with_columns(place=_place("label").over(keys))
    rows = labelled.join(intervals.drop_nulls(["lower", "upper"]), on=[*keys, "symbol"], how="inner")
    inside = pl.col("place").is_between(pl.col("lower") - ROUNDING, pl.col("upper") + ROUNDING)
    rows = rows.with_columns(covered=inside, width=pl.col("upper") - pl.col("lower"))
    return rows.select(*keys, "symbol", "level", "width", "covered", "tenth")


def by_part(rows: pl.DataFrame, around: pl.DataFrame) -> list[Promise]:
    """How often one stream's `outcomes` held: all, thirds of size, industries, months, tenths of the score.

    `around`: session, symbol, size, industry; null where unknown. Thirds are taken within each session.
    """
    joined = rows.join(around, on=["session", "symbol"], how="left")
    third = (_place("size").over("session") * len(SIZES)).floor().clip(0, len(SIZES) - 1)
    size = third.replace_strict(dict(enumerate(SIZES)), default=None, return_dtype=pl.String)
    parts = {
        "all": pl.lit("all"),
        "size": "size: " + size,
        "industry": "industry: " + pl.col("industry"),
        "month": "month: " + pl.col("session").dt.strftime("%Y-%m"),
        "score": pl.format("score tenth: {}", (pl.col("tenth") + 1).cast(pl.String).str.zfill(2)),
    }
    return [own for part in parts.values() for own in _of(joined.with_columns(part=part).drop_nulls("part"))]


def _of(rows: pl.DataFrame) -> list[Promise]:
    sums = rows.group_by("part").agg(
        stated=pl.col("level").mean(),
        observed=pl.col("covered").mean(),
        width=pl.col("width").mean(),
        sessions=pl.col("session").n_unique(),
        intervals=pl.len(),
    )
    return [Promise(**row) for row in sums.sort("part").to_dicts()]


def _place(column: str) -> pl.Expr:
    """Average rank from 0 to 1; 0.5 where there is one value, null where there is none."""
    count = pl.col(column).count()
    place = (pl.col(column).rank("average") - 1) / (count - 1).clip(1)
    return pl.when(count > 1).then(place).otherwise(pl.when(pl.col(column).is_not_null()).then(0.5))
