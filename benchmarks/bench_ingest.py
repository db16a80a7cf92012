"""Ingest of one session of a whole market, with every check, against decoding and writing the same rows.

Run `python benchmarks/bench_ingest.py [--symbols 5300] [--repeats 3]`. Floor: Polars reads the vendor's Parquet file
and writes its columns sorted, in one process. Processor seconds of this process and of its children, in turns, the
least of several runs. The daily table comes with the minutes, so that both sources are compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import measure
import numpy as np
import polars as pl

from fpm.schema import PRICES
from fpm.sessions import market, moment
from fpm.store.ledger.stores import open_stores
from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings
from producers import bars

DAY, NOW = date(2024, 3, 8), datetime(2026, 6, 1, tzinfo=UTC)
LIMIT = 6.0  # times the floor


def deliver(folder: Path, symbols: int, seed: int = 7) -> Path:
    """One session of A-share minutes, opening call and all, and its daily table; raw prices in cents."""
    cn, rng = market("cn"), np.random.default_rng(seed)
    names = [f"{600000 + number:06d}.SH" for number in range(symbols)]
    labels = sorted(set(cn.slots))  # the last minute and the closing call share theirs
    minutes = [moment(cn, DAY, minute).astimezone(cn.zone).replace(tzinfo=None) for minute in labels]
    shape = (symbols, len(minutes))
    walk = 10 * np.exp(np.cumsum(rng.normal(0, 5e-4, shape), axis=1))
    price = {name: np.round(walk * (1 + rng.normal(0, 2e-4, shape)), 2) for name in ("open", "close")}
    price["high"] = np.maximum(price["open"], price["close"]) + 0.01
    price["low"] = np.minimum(price["open"], price["close"]) - 0.01
    for part in price.values():  # a call has one price
        part[:, [0, -1]] = np.round(walk[:, [0, -1]], 2)
    lots = rng.integers(1, 900, shape)
    closing = [slot for slot, minute in enumerate(labels) if minute in cn.calls and slot not in (0, shape[1] - 1)]
    lots[:, closing] = 0
    volume = lots * 100.0
    rows = pl.DataFrame(
        {
            "symbol": np.repeat(names, shape[1]),
            "datetime": minutes * symbols,
            **{name: price[name].ravel() for name in PRICES},
            "volume": volume.ravel(),
            "amount": (volume * np.round((price["high"] + price["low"]) / 2, 2)).ravel(),
        }
    )
    folder.mkdir(parents=True)
    (folder / "minute_bars").mkdir()
    rows.write_parquet(folder / "minute_bars" / f"{DAY}.parquet")
    traded = rows.filter(pl.col("volume") > 0)
    daily = traded.group_by("symbol", maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume", "amount").sum(),
        pre_close=pl.col("open").first(),
    )
    daily.with_columns(session=pl.lit(DAY)).write_parquet(folder / "daily_bars.parquet")
    return folder


def floor(folder: Path, out: Path) -> None:
    """Decode the minutes and write them in canonical order."""
    rows = pl.read_parquet(folder / "minute_bars" / f"{DAY}.parquet").sort("symbol", "datetime")
    rows.write_parquet(out, compression="zstd")


def processor_seconds(call: Callable[[], object]) -> float:
    """Of this process and its children, those that still run too: one decodes the files."""
    before = spent()
    call()
    return spent() - before


def spent() -> float:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    stats = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children]
    return sum(os.times()[:4]) + sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def ingested(folder: Path, home: Path) -> float:
    """Processor seconds of one ingest into a home of its own; the database's start is not counted."""
    settings = Settings(home=home, market="cn", preset="tiny")
    stores = open_stores(settings)
    try:
        spent = processor_seconds(
            lambda: bars.ingest([folder], bars.Arrival(NOW, NOW), stores, lambda *_: None).require_content()
        )
        stored = stores.read("minute_bars", DAY).height
        assert stored == pl.read_parquet(folder / "minute_bars" / f"{DAY}.parquet").height, stored
        return spent
    finally:
        stores.ledger.close()
        stop_server(settings)


def main() -> None:
    """Print both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = deliver(root / "delivery", arguments.symbols)
        least, own = float("inf"), float("inf")
        for repeat in range(arguments.repeats):
            least = min(least, processor_seconds(lambda: floor(folder, root / "floor.parquet")))
            own = min(own, ingested(folder, root / f"home-{repeat}"))
            shutil.rmtree(root / f"home-{repeat}")
        rows = [("decode and write", least, 1.0), ("fpm ingest, every check", own, own / least)]
        measure.show(f"one session, {arguments.symbols:,} symbols (goal {LIMIT} x)", ("", "CPU s", "ratio"), rows)


if __name__ == "__main__":
    main()
