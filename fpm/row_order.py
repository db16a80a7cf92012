"""Rows in the order of their keys: whether they are, and a group for every run of equal keys.

Tables mostly come sorted: a look costs a quarter of a sort, and runs are grouped at half the price of a hash table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN = "run of equal keys"


def ascending(rows: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether every row's keys are above those of the row before, so that no two are equal; False where one is null."""
    return _all_rows(rows, keys, equal=False)


def in_order(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """`rows` sorted by `keys`: the same frame where it is sorted already."""
    return rows if _all_rows(rows, keys, equal=True) else rows.sort(*keys)


def by_runs(rows: pl.DataFrame, keys: Sequence[str], *aggregates: pl.Expr) -> pl.DataFrame:
    """`keys` and `aggregates` of each run of rows with equal keys, in order; of sorted rows a run is a group."""
    changes = pl.any_horizontal(pl.col(key).ne_missing(pl.col(key).shift()) for key in keys)
    runs = rows.with_columns(changes.cum_sum().set_sorted().alias(RUN))
    return runs.group_by(RUN, maintain_order=True).agg(pl.col(keys).first(), *aggregates).drop(RUN)


def has_no_null(rows: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether every row has every key."""
    return not any(rows[key].null_count() for key in keys)


def above_before(keys: Sequence[str], *, equal: bool = False) -> pl.Expr:
    """Of every row but the first, whether its keys are above those of the row before; `equal`: or the same."""
    above = pl.lit(equal)
    for key in reversed(keys):
        own, before = pl.col(key), pl.col(key).shift()
        above = (own > before) | ((own == before) & above)
    return above.slice(1)


def _all_rows(rows: pl.DataFrame, keys: Sequence[str], *, equal: bool) -> bool:
    return has_no_null(rows, keys) and bool(rows.select(above_before(keys, equal=equal).all()).item())
