"""Corrections: a stored partition keeps every version, new values are added with the moment they became known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.schema import CLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

EVENT, CREATED = CLOCKS


def revise(
    stored: pl.DataFrame | None, incoming: pl.DataFrame, keys: Sequence[str], first_known: datetime, known_at: datetime
) -> pl.DataFrame:
    """All versions of a partition after a delivery. Both frames have keys, values and clocks (`incoming`: no created).

    The first copy counts as known from `first_known`. Rows that differ from what was known at `known_at` (never
    before `first_known`) are appended with that moment; equal rows change nothing. A row or column that the
    delivery leaves out is no statement: its stored value stays. A version known at the very same moment is replaced.
    """
    if stored is None or stored.is_empty():
        return incoming.with_columns(pl.lit(first_known).dt.cast_time_unit("us").alias(CREATED))
    moment = max(known_at, first_known)
    identity = [*keys, EVENT]
    now = stored.filter(pl.col(CREATED) <= moment).sort(*identity, CREATED)
    now = now.unique(identity, keep="last", maintain_order=True).drop(CREATED)
    said = [name for name in incoming.columns if name not in identity]
    silent = [name for name in now.columns if name not in (*identity, *said)]
    whole = incoming.join(now.select(*identity, *silent), on=identity, how="left", maintain_order="left")
    shared = [name for name in whole.columns if name in now.columns]
    fresh = [name for name in said if name not in now.columns]
    changed = whole.join(now, on=shared, how="anti", nulls_equal=True, maintain_order="left")
    if fresh:
        changed = whole.filter(pl.any_horizontal(pl.col(fresh).is_not_null())).vstack(changed).unique(identity)
    if changed.is_empty():
        return stored
    changed = changed.with_columns(pl.lit(moment).dt.cast_time_unit("us").alias(CREATED))
    kept = stored.join(changed, on=[*identity, CREATED], how="anti", maintain_order="left")
    return pl.concat([kept, changed], how="diagonal").sort(*identity, CREATED)
