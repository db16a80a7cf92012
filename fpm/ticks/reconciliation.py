"""Reconciliation: the sums of the trades against the exchange's own totals, to the share, the cent and the trade.

Totals come from a vendor's table of them, or from the counters of snapshots that reach the close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.symbols import with_symbols
from fpm.ticks.files import SNAPSHOTS, TickFile, batches
from fpm.ticks.tape import EXCHANGES, UNITS, milliseconds, sid_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from fpm.markets import Market

COUNTERS = ("volume", "amount", "trades")
CENT = UNITS // 100
TOTALS = {"session": pl.Date, "sid": pl.Int32, "volume": pl.Int64, "amount": pl.Int64, "trades": pl.Int64}


def totals(files: Iterable[TickFile], market: Market) -> pl.DataFrame:
    """session, sid, volume (shares), amount (1/10,000), trades: one row a symbol-session, from all `files`.

    Snapshots count only where the symbol's last one is of 15:00 or later: earlier counters are no totals. Counters only
    grow, so the largest is the last. Two files that disagree give both rows.
    """
    parts = [_of_snapshots(file, market) if file.stream == SNAPSHOTS else _of_table(file, market) for file in files]
    return pl.concat([*parts, pl.DataFrame(schema=TOTALS)]).unique().sort("session", "sid")


def _of_snapshots(file: TickFile, market: Market) -> pl.DataFrame:
    highest = pl.DataFrame()
    for batch in batches(file):
        day = pl.col("time").dt.date().alias("session")
        columns = [f"cum_{name}" for name in COUNTERS]
        part = pl.concat([highest, batch.select("symbol", day, "time", *columns)], how="diagonal_relaxed")
        highest = part.group_by("symbol", "session").agg(pl.col("time").max(), pl.col(columns).max())
    at_close = pl.col("time").dt.hour().cast(pl.Int32) * 3_600_000 >= milliseconds(15, 0)
    final = highest.filter(at_close).rename({f"cum_{name}": name for name in COUNTERS})
    return _typed(final, market)


def _of_table(file: TickFile, market: Market) -> pl.DataFrame:
    return _typed(pl.concat(list(batches(file))), market)


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
