"""Qlib's own Alpha158 of `alpha158_bars()`, written to `qlib_alpha158.parquet` beside this file.

Run in an environment of its own: `pip install pyqlib==0.9.7 polars`, then `python tests/fpm/features/qlib_answers.py`.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

ANSWERS = Path(__file__).with_name("qlib_alpha158.parquet")
SESSIONS, SYMBOLS = 90, ("AAA", "BBB", "CCC", "DDD", "EEE")
FIRST = date(2024, 1, 1)
LISTED_LATE, SUSPENDED, STILL = "BBB", "CCC", "DDD"
DAYS = (0, 1, 4, 9, 30, 59, 60, 74, 75, 76, 89)  # numbers of the sessions in the file


def alpha158_bars() -> pl.DataFrame:
    """Daily bars with 32-bit numbers: a listing after 40 sessions, gaps of 1 and 12 sessions, a constant price."""
    rng = np.random.default_rng(158)
    frames = []
    for number, symbol in enumerate(SYMBOLS):
        close = 8 * (number + 1) * np.exp(np.cumsum(rng.normal(0, 0.025, SESSIONS)))
        opened = close * np.exp(rng.normal(0, 0.01, SESSIONS))
        close = close if symbol != STILL else np.full(SESSIONS, 12.5)
        opened = opened if symbol != STILL else np.full(SESSIONS, 12.5)
        high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.01, SESSIONS)) * (symbol != STILL))
        low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.01, SESSIONS)) * (symbol != STILL))
        volume = np.round(np.exp(rng.normal(13, 0.6, SESSIONS)))
        frame = pl.DataFrame(
            {
                "session": [FIRST + timedelta(days=day) for day in range(SESSIONS)],
                "symbol": symbol,
                "open": opened,
                "high": high,
                "low": low,
                "close": close,
                "volume": volume,
                "vwap": (high + low + 2 * close) / 4,
                "suspended": False,
            }
        )
        frames.append(frame[40:] if symbol == LISTED_LATE else frame)
    bars = pl.concat(frames).with_columns(pl.col("open", "high", "low", "close", "volume", "vwap").cast(pl.Float32))
    gap = [FIRST + timedelta(days=day) for day in (28, *range(63, 75))]
    out = (pl.col("symbol") == SUSPENDED) & pl.col("session").is_in(gap)
    return bars.with_columns(suspended=out)


def qlib_answers() -> pl.DataFrame:
    """Session, symbol and Qlib's 158 factors of the sessions in DAYS."""
    import qlib
    from qlib.contrib.data.loader import Alpha158DL
    from qlib.data import D

    with TemporaryDirectory() as folder:
        write(Path(folder))
        qlib.init(provider_uri=folder, region="cn", kernels=1)
        fields, names = Alpha158DL.get_feature_config()
        factors = D.features([symbol.lower() for symbol in SYMBOLS], fields)
    factors.columns = [name.lower() for name in names]
    frame = pl.from_pandas(factors.reset_index()).rename({"datetime": "session", "instrument": "symbol"})
    days = [FIRST + timedelta(days=day) for day in DAYS]
    return frame.with_columns(pl.col("session").cast(pl.Date), pl.col("symbol").str.to_uppercase()).filter(
        pl.col("session").is_in(days)
    )


def write(folder: Path) -> None:
    """Write the bars in Qlib's format: one little-endian float32 file per field, first its position in the calendar."""
    bars = alpha158_bars()
    days = bars["session"].unique().sort().to_list()
    for part in ("calendars", "instruments"):
        (folder / part).mkdir()
    (folder / "calendars/day.txt").write_text("\n".join(map(str, days)))
    spans = bars.group_by("symbol", maintain_order=True).agg(pl.col("session").min(), end=pl.col("session").max())
    (folder / "instruments/all.txt").write_text("\n".join(f"{s.lower()}\t{a}\t{b}" for s, a, b in spans.iter_rows()))
    for (symbol,), frame in bars.partition_by("symbol", as_dict=True).items():
        target = folder / "features" / str(symbol).lower()
        target.mkdir(parents=True)
        for field in ("open", "high", "low", "close", "volume", "vwap"):
            gone = pl.when(pl.col("suspended")).then(float("nan")).otherwise(pl.col(field))
            values = frame.select(gone).to_series().to_numpy()
            np.concatenate([[days.index(frame["session"][0])], values]).astype("<f4").tofile(
                target / f"{field}.day.bin"
            )


if __name__ == "__main__":
    qlib_answers().write_parquet(ANSWERS, compression="zstd", compression_level=19)
