"""How many sessions of a real panel are judged not whole, and which planted cuts are missed.

`python benchmarks/session_holes.py FOLDER MARKET [--stamp start]`: bars (symbol, datetime, volume) as the vendor has
them, each session beside the five whole ones before it. Planted into every whole session: its last ten minutes (or last
bar), its first, ten in the middle, and the last ten of half the symbols.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl

from fpm.ingest.session_holes import HISTORY, Presence, hole, presence, words
from fpm.markets import Market
from fpm.sessions import market


def panel(folder: Path, of: Market, stamp: str) -> pl.DataFrame:
    files = [path for path in sorted(folder.glob("*.parquet")) if "bars" in path.stem and "daily" not in path.stem]
    rows = pl.concat([pl.read_parquet(path, columns=["symbol", "datetime", "volume"]) for path in files])
    minute = pl.col("datetime").dt.hour().cast(pl.Int64) * 60 + pl.col("datetime").dt.minute()
    slots = {end - (of.bar_minutes if stamp == "start" else 0): slot for slot, end in enumerate(of.slots)}
    return rows.select(
        "symbol",
        "volume",
        pl.col("datetime").dt.date().alias("session"),
        minute.replace_strict(slots, default=None, return_dtype=pl.Int16).alias("slot"),
    ).drop_nulls("slot")


def cut(whole: Presence, first: int, last: int, symbols: slice = slice(None)) -> Presence:
    delivered_SN, traded_SN = whole.delivered_SN.copy(), whole.traded_SN.copy()
    delivered_SN[symbols, first : last + 1] = traded_SN[symbols, first : last + 1] = False
    return Presence(whole.symbols, delivered_SN, traded_SN, whole.open_N)


def planted(whole: Presence, of: Market) -> dict[str, Presence]:
    calls_N = np.array([minute in of.calls for minute in of.slots])
    used, few = np.flatnonzero(whole.open_N & ~calls_N), max(1, 10 // of.bar_minutes)
    end, middle = len(of.slots) - 1, len(used) // 2
    return {
        "end": cut(whole, used[-few], end),
        "beginning": cut(whole, 0, used[few - 1]),
        "middle": cut(whole, used[middle], used[middle + few - 1]),
        "half": cut(whole, used[-few], end, slice(0, len(whole.symbols) // 2)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("market")
    parser.add_argument("--stamp", choices=("start", "end"), default="end")
    arguments = parser.parse_args()
    of = market(arguments.market)
    sessions = panel(arguments.folder, of, arguments.stamp).partition_by("session", as_dict=True)
    before: list[Presence] = []
    missed: dict[str, int] = {}
    found, seconds = 0, 0.0
    for (session,), rows in sorted(sessions.items()):
        started = time.process_time()
        today = presence(rows, of, session)
        judged = hole(today, before, of)
        seconds += time.process_time() - started
        if judged is not None:
            found += 1
            print(f"{session}: {words(judged, of, session)}")
            continue
        for name, other in planted(today, of).items():
            missed[name] = missed.get(name, 0) + (hole(other, before, of) is None)
        before = [*before, today][-HISTORY:]
    print(f"{len(sessions)} sessions, {found} not whole, planted cuts missed {missed}, {seconds:.2f} s of CPU")


if __name__ == "__main__":
    main()
