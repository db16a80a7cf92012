"""The daily rows of a session that still trades, from its minutes so far and the session before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.features.bars import derive_daily

if TYPE_CHECKING:
    from fpm.markets import Market

CARRIED = ("industry", "total_shares", "float_shares", "list_date", "delist_date")
LIMITS = ("limit_up", "limit_down")
TICK = 1e-3  # of a limit: exchanges round it


def running_daily(bars: pl.DataFrame, market: Market, before: pl.DataFrame) -> pl.DataFrame:
    """Return the daily rows of a session so far, sorted by symbol.

    `bars`: of ONE session, up to a minute; `before`: the daily rows of the session before it. What only a vendor's
    daily table says is carried over: adjustment factor, shares, industry; limits keep their distance from the previous
    close. That is wrong where shares change overnight: a symbol that opens outside these limits has no row, and a
    dividend within them counts as a return until the night.
    """
    earlier = before.with_columns(pl.lit(None).alias(name) for name in ("float_shares",) if name not in before.columns)
    so_far = derive_daily(bars, market, earlier.select("symbol", "close", "float_shares")).drop("adj_factor")
    facts = [name for name in ("adj_factor", *CARRIED) if name in before.columns]
    limits = [(pl.col(name) / pl.col("pre_close")).alias(name) for name in LIMITS if name in before.columns]
    joined = so_far.join(before.select("symbol", *facts, *limits), on="symbol", how="left", maintain_order="left")
    absent = [pl.lit(None, pl.Float64).alias(name) for name in ("adj_factor", *LIMITS) if name not in joined.columns]
    daily = joined.with_columns(absent).with_columns(
        pl.col("adj_factor").fill_null(1.0), *(pl.col(name) * pl.col("pre_close") for name in LIMITS)
    )
    above, below = pl.col("limit_up") * (1 + TICK), pl.col("limit_down") * (1 - TICK)
    return daily.filter(~((pl.col("open") > above) | (pl.col("open") < below)).fill_null(value=False))
