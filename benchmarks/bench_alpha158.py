"""Alpha158 of a whole market: one new session, and twenty at once.

Run `python benchmarks/bench_alpha158.py [--symbols 5300] [--sessions 20]`. The floor: polars' own rolling mean,
standard deviation, two quantiles, maximum and minimum of the close over the five windows, which are 30 of the 158
factors, on the same bars. Both need the 60 sessions before a single session.
"""

from __future__ import annotations

import argparse
from datetime import date, timedelta
from functools import partial

import measure
import numpy as np
import polars as pl

from fpm.features.alpha158 import alpha158
from fpm.features.daily_factors import HISTORY
from fpm.features.daily_panel import daily_panel
from fpm.schema import ALPHA158_WINDOWS

FIRST = date(2024, 1, 1)


def bars(symbols: int, sessions: int) -> pl.DataFrame:
    """Random walks, sorted by symbol and session."""
    random, shape = np.random.default_rng(158), (symbols, sessions)
    close = 10 * np.exp(np.cumsum(0.02 * random.standard_normal(shape), axis=1))
    opened, reach = close * np.exp(0.01 * random.standard_normal(shape)), np.exp(0.01 * random.random(shape))
    volume = np.exp(13 + 0.5 * random.standard_normal(shape))
    values = {
        "open": opened,
        "high": np.maximum(opened, close) * reach,
        "low": np.minimum(opened, close) / reach,
        "close": close,
        "volume": volume,
        "amount": volume * close,
        "turnover": volume / 1e9,
        "float_shares": np.full(shape, 1e9),
        "adj_factor": np.ones(shape),
    }
    days = [FIRST + timedelta(days=t) for t in range(sessions)]
    keys = pl.DataFrame({"symbol": np.repeat([f"{600000 + s}.SH" for s in range(symbols)], sessions)})
    keys = keys.with_columns(session=pl.Series(days * symbols), suspended=pl.lit(False))
    return keys.hstack(pl.DataFrame({name: x_ST.ravel() for name, x_ST in values.items()}))


def ours(daily: pl.DataFrame, sessions: int) -> None:
    days, symbols = daily["session"].unique().sort().to_list(), daily["symbol"].unique().sort().to_list()
    alpha158(daily_panel(daily, days, symbols), sessions)


def rolled(daily: pl.DataFrame) -> None:
    close, columns = pl.col("close"), []
    for d in ALPHA158_WINDOWS:
        own = {
            "mean": close.rolling_mean(d),
            "std": close.rolling_std(d),
            "max": close.rolling_max(d),
            "min": close.rolling_min(d),
            "upper": close.rolling_quantile(0.8, "linear", window_size=d),
            "lower": close.rolling_quantile(0.2, "linear", window_size=d),
        }
        columns += [column.over("symbol").alias(f"{name}{d}") for name, column in own.items()]
    daily.select(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--sessions", type=int, default=20, help="at once")
    options = parser.parse_args()
    rows = []
    for sessions in (1, options.sessions):
        daily = bars(options.symbols, HISTORY + sessions)
        spent = measure.interleaved({"ours": partial(ours, daily, sessions), "floor": partial(rolled, daily)})
        rows.append([sessions, spent["ours"], spent["ours"] / sessions, spent["floor"], spent["ours"] / spent["floor"]])
    heads = ["sessions", "158 factors s", "s a session", "30 by polars s", "ratio"]
    measure.show(f"Alpha158 of {options.symbols:,} symbols", heads, rows)


if __name__ == "__main__":
    main()
