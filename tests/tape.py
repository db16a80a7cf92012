"""Vendor bars for tests: a small seeded random walk in ticks, as a vendor of each market would write it."""

from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl

SYMBOLS = {"cn": ("600000.SH", "600519.SH", "000001.SZ"), "us": ("AAPL", "IBM", "GE"), "nse": ("TCS", "INFY", "SBIN")}
LABELS = {  # minute of the day in a bar's stamp, by END
    "cn": (565, *range(571, 691), *range(781, 901)),
    "us": tuple(range(570, 961)),
    "nse": tuple(range(556, 931)),
}
CALLS = {"cn": (565, 900), "us": (570,), "nse": ()}
SILENT = {"cn": (898, 899)}  # the closing call collects, nothing trades
FIRST = date(2026, 1, 5)  # a Monday, a session of all three markets


def tape(market: str, session: date = FIRST, symbols: tuple[str, ...] = (), seed: int = 0) -> pl.DataFrame:
    """Columns symbol, minute (naive, local, END), open, high, low, close, volume, amount; all minutes present."""
    rng = np.random.default_rng([seed, session.toordinal()])
    frames = [_symbol(market, session, symbol, rng) for symbol in symbols or SYMBOLS[market]]
    return pl.concat(frames)


def _symbol(market: str, session: date, symbol: str, rng: np.random.Generator) -> pl.DataFrame:
    labels = np.array(LABELS[market])
    calls = np.isin(labels, CALLS[market])
    silent = np.isin(labels, SILENT.get(market, ()))
    wide = 1.0 + 3.0 * np.exp(-(labels - labels[0]) / 20.0)  # the first minutes move most
    step = np.rint(rng.normal(0.0, 2.0, len(labels)) * wide) * ~silent * ~calls
    close = 5000 + np.cumsum(step)
    opening = np.concatenate([close[:1], close[:-1]])
    reach = np.rint(np.abs(rng.normal(0.0, 2.0, len(labels))) * wide + wide) * ~silent * ~calls
    high, low = np.maximum(opening, close) + reach, np.minimum(opening, close) - reach
    volume = rng.integers(1, 50, len(labels)) * 100 * ~silent
    midnight = datetime.combine(session, time.min)
    return pl.DataFrame(
        {
            "symbol": symbol,
            "minute": [midnight + timedelta(minutes=int(label)) for label in labels],
            "open": opening / 100,
            "high": high / 100,
            "low": low / 100,
            "close": close / 100,
            "volume": volume.astype(np.float64),
            "amount": volume * np.rint((opening + close) / 2) / 100,
        }
    )


def write(frame: pl.DataFrame, path: Path) -> Path:
    """Write `frame` as Parquet or CSV, by the path's suffix; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")
    else:
        frame.write_parquet(path)
    return path


def moved(frame: pl.DataFrame, minutes: int) -> pl.DataFrame:
    """`frame` with every stamp `minutes` later."""
    return frame.with_columns(pl.col("minute") + timedelta(minutes=minutes))


def by_start(market: str) -> pl.DataFrame:
    """The same bars stamped by START: the Chinese opening call keeps 09:25, the US cross is absent."""
    frame, clock = tape(market), pl.col("minute").dt.time()
    call = clock == {"cn": pl.time(9, 25), "us": pl.time(9, 30), "nse": pl.time(9, 0)}[market]
    opening = frame.filter(call) if market == "cn" else frame.clear()
    return pl.concat([opening, moved(frame.filter(~call), -1)]).sort("symbol", "minute")
