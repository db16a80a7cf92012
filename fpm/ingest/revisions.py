"""Corrections: a stored partition keeps every version; new values carry the moment they became known."""

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

    The first copy counts as known from `first_known`. Rows that differ from the versions known at `known_at` (or at
    `first_known`, if later) are appended with that moment; equal rows change nothing. Where the delivery lacks a row
    or column, the stored value stays. A version known at the very same moment is replaced.
    """
    if stored is None or stored.is_empty():
        return incoming.with_columns(pl.lit(first_known).dt.cast_time_unit("us").alias(CREATED))
    moment = max(known_at, first_known)
    identity = [*keys, EVENT]
    versions = stored.filter(pl.col(CREATED) <= moment).sort(*identity, CREATED)
    current = versions.unique(identity, keep="last", maintain_order=True).drop(CREATED)
    values = [name for name in incoming.columns if name not in identity]
    absent = [name for name in current.columns if name not in (*identity, *values)]
    whole = incoming.join(current.select(*identity, *absent), on=identity, how="left", maintain_order="left")
    shared = [name for name in whole.columns if name in current.columns]
    fresh = [name for name in values if name not in current.columns]
    changed = whole.join(current, on=shared, how="anti", nulls_equal=True, maintain_order="left")
    if fresh:
        changed = whole.filter(pl.any_horizontal(pl.col(fresh).is_not_null())).vstack(changed).unique(identity)
    if changed.is_empty():
        return stored
    changed = changed.with_columns(pl.lit(moment).dt.cast_time_unit("us").alias(CREATED))
    others = stored.join(changed, on=[*identity, CREATED], how="anti", maintain_order="left")
    return pl.concat([others, changed], how="diagonal").sort(*identity, CREATED)
