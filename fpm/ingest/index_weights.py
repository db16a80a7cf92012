"""Weights of an index's snapshots: percent or shares of one, and whether they are whole."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

SNAPSHOT = ("index", "session")
WIDTH = 0.01  # relative; vendors round weights, and a name without a code may be missing
NO_WEIGHT = pl.col("weight").is_null() | pl.col("weight").is_infinite() | (pl.col("weight") < 0)


@dataclass(frozen=True)
class WeightUnits:
    """Rows with weights in shares of one, and what was converted, in words."""

    rows: pl.DataFrame
    conversions: tuple[str, ...] = ()


def in_shares_of_one(rows: pl.DataFrame) -> WeightUnits:
    """Rows (index, session, weight) in shares of one: percent where every snapshot sums to 100.

    >>> rows = pl.DataFrame({"index": ["X", "X"], "session": [1, 1], "weight": [60.0, 40.0]})
    >>> in_shares_of_one(rows).rows["weight"].to_list()
    [0.6, 0.4]
    """
    sums = _sums(rows.filter(~NO_WEIGHT))["sum"]
    if sums.is_empty() or not ((sums - 100).abs() <= 100 * WIDTH).all():
        return WeightUnits(rows)
    return WeightUnits(rows.with_columns(pl.col("weight") / 100), ("weights in percent: converted to shares of 1",))


def odd_snapshots(rows: pl.DataFrame) -> pl.DataFrame:
    """index, session, sum of the snapshots whose weights do not sum to one."""
    return _sums(rows).filter((pl.col("sum") - 1).abs() > WIDTH)


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by(SNAPSHOT).agg(pl.col("weight").sum().alias("sum"))


def with_former_members(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """`rows` (index, symbol, weight) and, with weight 0, the stored members of these indices that they lack.

    A snapshot is whole: a name that a corrected one leaves out is no member.
    """
    former = (
        stored.select("index", "symbol")
        .join(rows, on="index", how="semi")
        .join(rows, on=["index", "symbol"], how="anti")
    )
    return pl.concat([rows, former.with_columns(weight=pl.lit(0.0)).select(rows.columns)])
