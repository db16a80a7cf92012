"""Reconciliation: the sums of the trades against the exchange's own totals, to the share, the cent and the trade.

Totals come from a vendor's table of them, or from snapshots that reach the close (`snapshots`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.symbols import with_symbols
from fpm.ticks.files import TickFile, batches
from fpm.ticks.snapshots import CENT, COUNTERS, TOTALS
from fpm.ticks.tape import EXCHANGES, UNITS, sid_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from fpm.markets import Market


def totals(files: Iterable[TickFile], market: Market) -> pl.DataFrame:
    """`TOTALS`: one row a symbol-session, from all files of totals. Two files that disagree give both rows."""
    parts = [_typed(pl.concat(list(batches(file))), market) for file in files]
    return pl.concat([*parts, pl.DataFrame(schema=TOTALS)]).unique().sort("session", "sid")


def _typed(rows: pl.DataFrame, market: Market) -> pl.DataFrame:
    rows = with_symbols(rows, market)
    ours = rows.filter(pl.col("symbol").str.slice(7).is_in(EXCHANGES)).with_columns(sid_of(pl.col("symbol")))
    amount = (pl.col("amount").cast(pl.Float64) * 100).round().cast(pl.Int64) * CENT
    return ours.with_columns(amount.alias("amount")).select(pl.col(name).cast(kind) for name, kind in TOTALS.items())


def reconcile(sums: pl.DataFrame, exchange: pl.DataFrame, session: date) -> pl.DataFrame:
    """sid, verdict (`equal`, `differs`, `untold`: without totals), reason.

    `sums`: sid, volume, amount, trades, and the same with `after_`: trades after the close, which some totals
    contain. `exchange`: `totals`. Amounts are compared to the cent; tolerance is zero.
    """
    own = exchange.filter(pl.col("session") == session).drop("session")
    joined = sums.join(own, on="sid", how="left", suffix="_total")
    cents = {name: CENT if name == "amount" else 1 for name in COUNTERS}

    def equal(with_after: pl.Expr) -> pl.Expr:
        return pl.all_horizontal(
            ((pl.col(name) + with_after * pl.col(f"after_{name}") + cents[name] // 2) // cents[name])
            == pl.col(f"{name}_total") // cents[name]
            for name in COUNTERS
        )

    has_totals = pl.col("volume_total").is_not_null()
    same = equal(pl.lit(0)) | equal(pl.lit(1))
    verdict = pl.when(~has_totals).then(pl.lit("untold")).when(same).then(pl.lit("equal")).otherwise(pl.lit("differs"))
    reason = pl.concat_str([_comparison(name) for name in COUNTERS], separator=", ")
    verdicts = joined.with_columns(verdict.alias("verdict"), reason.alias("reason"))
    order = pl.col("verdict").replace_strict({"differs": 0, "equal": 1, "untold": 2}, return_dtype=pl.Int8)
    return (
        verdicts.sort("sid", order).unique("sid", keep="first", maintain_order=True).select("sid", "verdict", "reason")
    )


def _comparison(name: str) -> pl.Expr:
    scale = UNITS if name == "amount" else 1
    ours, theirs = (pl.col(column).cast(pl.Float64) / scale for column in (name, f"{name}_total"))
    return pl.format(f"{name} {{}}, the exchange's {{}}", ours, theirs.fill_null(float("nan")))
