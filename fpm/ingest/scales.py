"""Prices that look scaled: by 100, 1,000 or 10,000 beside the close before, for most symbols of a session.

Cents beside amounts in cents agree with each other, so nothing in the file shows them. One symbol of many may have a
reverse split of a hundred for one; most symbols of a session never have.
"""

from __future__ import annotations

import polars as pl

from fpm.row_order import by_runs, in_order

CODE, WRONG = "FPM-IN-146", "looks scaled beside the close before"
EXPONENTS = (2.0, 3.0, 4.0)
WIDTH = 0.15  # of the decimal logarithm: a first price within 1.4 times of the scaled close before
MOST = 0.5  # share of the symbols that have a close before
KEYS = ("session", "symbol")


def scaled_sessions(bars: pl.DataFrame, closes: pl.DataFrame) -> pl.DataFrame:
    """session, symbol, scale, before, first of the symbol-sessions whose prices are `scale` times too large (or small).

    `bars` has session, symbol, slot, open, close, volume; `closes`: symbol, close: the last close before all of them. A
    symbol without one is judged from its second session on. A scale stays until a session comes back from it.
    """
    columns = bars.select(*KEYS, "slot", "open", "close", "volume")
    traded = columns.filter((pl.col("volume") > 0) & (pl.col("open") > 0) & (pl.col("close") > 0))
    prices = (pl.col("open").first().alias("first"), pl.col("close").last().alias("last"))
    days = (
        by_runs(in_order(traded, (*KEYS, "slot")), KEYS, *prices)
        .with_columns(pl.col("symbol").cast(pl.String))
        .join(closes.select("symbol", pl.col("close").alias("stored")), on="symbol", how="left", maintain_order="left")
    )
    before = pl.coalesce(pl.col("last").shift().over("symbol", order_by="session"), "stored")
    days = days.with_columns(before.alias("before"))
    exponent = (pl.col("first") / pl.col("before")).log10()
    nearest = exponent.round()
    jump = pl.when(nearest.abs().is_in(EXPONENTS) & ((exponent - nearest).abs() < WIDTH)).then(nearest).otherwise(0.0)
    scale = jump.fill_null(0.0).cum_sum().over("symbol", order_by="session")
    days = days.with_columns(scale.alias("exponent"), pl.col("before").is_not_null().alias("comparable"))
    scaled = pl.col("exponent") != 0
    usual = (scaled.sum() > MOST * pl.col("comparable").sum()).over("session")
    factors = days.filter(scaled & usual)
    return factors.select(*KEYS, pl.lit(10.0).pow(pl.col("exponent")).alias("scale"), "before", "first").sort(KEYS)


def scale_faults(scaled: pl.DataFrame) -> pl.DataFrame:
    """session, symbol, reason_code, reason of the symbol-sessions that look scaled (`scaled_sessions`)."""
    words = f"{WRONG}, by {{}}: the first price is {{}}, that close {{}}"
    reason = pl.format(words, pl.col("scale"), pl.col("first"), pl.col("before"))
    return scaled.select(*KEYS, pl.lit(CODE).alias("reason_code"), reason.alias("reason"))
