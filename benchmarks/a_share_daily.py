"""Daily bars for the quarter-hour A-share bars: raw prices of the bars, factors from the vendor's daily closes.

    python benchmarks/a_share_daily.py DATA OUT    # OUT/daily_bars.parquet, OUT/minute_bars/bars_15min.parquet

The factor of a session is the vendor's forward-adjusted close over the bars' raw close, relative to the symbol's first
session. No later dividend changes this ratio of two sessions, so it uses nothing from the future. A symbol without a
trade in a session is suspended at its last close.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import polars as pl


def daily_bars(bars: pl.DataFrame, adjusted: pl.DataFrame) -> pl.DataFrame:
    """Return one row per symbol and session.

    `bars`: symbol, datetime, prices, volume, amount; `adjusted`: symbol, date, close.
    """
    traded = pl.col("volume") > 0
    price = {name: pl.col(name).cast(pl.Float64).round(4).filter(traded) for name in ("open", "high", "low", "close")}
    days = bars.sort("symbol", "datetime").group_by("symbol", session=pl.col("datetime").dt.date(), maintain_order=True)
    raw = days.agg(
        price["open"].first().alias("open"),
        price["high"].max().alias("high"),
        price["low"].min().alias("low"),
        price["close"].last().alias("close"),
        pl.col("volume", "amount").cast(pl.Float64).sum(),
        (~traded).all().alias("suspended"),
    )
    closes = adjusted.select("symbol", session=pl.col("date").dt.date(), adjusted=pl.col("close").cast(pl.Float64))
    joined = raw.join(closes, on=["symbol", "session"], how="left", maintain_order="left")
    factor = pl.when(~pl.col("suspended")).then(pl.col("adjusted") / pl.col("close")).forward_fill().over("symbol")
    filled = joined.with_columns(factor.alias("factor"), pl.col("close").forward_fill().over("symbol"))
    before = (pl.col("close") * pl.col("factor")).shift(1).over("symbol") / pl.col("factor")
    return filled.select(
        "symbol",
        "session",
        *(pl.coalesce(name, "close").alias(name) for name in ("open", "high", "low")),
        "close",
        before.alias("pre_close"),
        "volume",
        "amount",
        "suspended",
        (pl.col("factor") / pl.col("factor").drop_nulls().first().over("symbol")).alias("adj_factor"),
    ).drop_nulls("close")


def main(source: Path, out: Path) -> None:
    bars = source / "bars_15min.parquet"
    (out / "minute_bars").mkdir(parents=True, exist_ok=True)
    copy = out / "minute_bars" / bars.name
    copy.unlink(missing_ok=True)
    shutil.copyfile(bars, copy)  # a link out of a delivery is refused
    adjusted = pl.read_parquet(source / "daily_forward_adjusted.parquet")
    daily_bars(pl.read_parquet(bars), adjusted).write_parquet(out / "daily_bars.parquet")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
