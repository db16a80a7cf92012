"""Ingest of Level-2 ticks: peak memory as a day grows, and time against only reading the same files.

Run `python benchmarks/bench_ticks.py [--rows 2000000 8000000] [--symbols 500] [--keep FOLDER]`; a whole day of both
exchanges is `--rows 400000000 --symbols 5300` (25 GB of disk, an hour). Records are generated in order of time, all
symbols mixed, without a matching engine: Shanghai as one merged stream, Shenzhen as trades and orders, numbered without
gaps, with the totals of their trades. Floor: decode every needed column of every file. Ours: the whole ingest, every
size in its own process: types, checks, storage by symbol, flows, reconciliation, publication into a lake.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import measure
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fpm.store.ledger.stores import open_stores
from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings
from fpm.ticks.files import batches, find, open_file
from producers.bars import Arrival
from producers.ticks import ingest

SESSION, CHUNK = date(2024, 1, 3), 2_000_000
OPEN, CLOSE = 9 * 3600 + 30 * 60, 14 * 3600 + 57 * 60
CHANNELS = 8
SHARES = {"trade": 0.35, "add": 0.45, "cancel": 0.20}


# --- a day of ticks -----------------------------------------------------------------------------------------------
def generate(folder: Path, rows: int, symbols: int) -> None:
    """Write `rows` records of a session: half Shanghai's merged stream, half Shenzhen, and the totals."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for exchange, first in (("SH", 600_000), ("SZ", 1)):
        names = np.array([f"{first + i:06d}.{exchange}" for i in range(symbols // 2)])
        writers: dict[str, pq.ParquetWriter] = {}
        sums = np.zeros((3, len(names)))
        for chunk in chunks(rng, rows // 2, names):
            for stream, table in as_delivered(exchange, names, chunk).items():
                if stream not in writers:
                    writers[stream] = pq.ParquetWriter(folder / f"{stream}-{exchange}.parquet", table.schema)
                writers[stream].write_table(table)
            traded, who = chunk["kind"] == 0, chunk["symbol"]
            money = np.rint(chunk["price"] * 100) * chunk["volume"]
            for number, value in enumerate((chunk["volume"], money, np.ones_like(money))):
                sums[number] += np.bincount(who, np.where(traded, value, 0), len(names))
        for writer in writers.values():
            writer.close()
        counted = {"symbol": names, "session": [SESSION] * len(names), "volume": sums[0].astype(np.int64)}
        table = pa.table({**counted, "amount": sums[1] / 100, "trades": sums[2].astype(np.int64)})
        pq.write_table(table, folder / f"totals-{exchange}.parquet")


def chunks(rng: np.random.Generator, rows: int, names: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Yield the columns of `CHUNK` records at a time; busy symbols have a hundred times the records of quiet ones."""
    weight = np.exp(rng.normal(0, 1, len(names)))
    price = np.round(np.exp(rng.normal(2.5, 0.8, len(names))) + 1, 2)
    channel = rng.integers(1, CHANNELS + 1, len(names))
    last = np.zeros(CHANNELS + 1, np.int64)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        who = rng.choice(len(names), count, p=weight / weight.sum())
        where, seq = channel[who], np.empty(count, np.int64)
        for number in range(1, CHANNELS + 1):
            mine = np.flatnonzero(where == number)
            seq[mine] = last[number] + 1 + np.arange(len(mine))
            last[number] += len(mine)
        share = (start + np.arange(count)) / rows
        span = OPEN + share * (CLOSE - OPEN - 1.5 * 3600)
        seconds = np.where(span >= 11.5 * 3600, span + 1.5 * 3600, span)
        back = rng.integers(1, 50_000, count)
        yield {
            "symbol": who,
            "channel": where,
            "seq": seq,
            "older": np.maximum(seq - back, 1),
            "seconds": seconds,
            "kind": rng.choice(3, count, p=list(SHARES.values())),
            "buys": rng.random(count) < 0.5,
            "price": np.round(price[who] * (1 + rng.normal(0, 0.003, count)), 2),
            "volume": 100 * np.ceil(rng.lognormal(1, 1, count)).astype(np.int64),
        }


def as_delivered(exchange: str, names: np.ndarray, columns: dict[str, np.ndarray]) -> dict[str, pa.Table]:
    """Return one chunk in the exchange's own streams."""
    midnight = np.datetime64(SESSION, "ms")
    stamp = midnight + (columns["seconds"] * 1000).astype("timedelta64[ms]")
    number = np.where(columns["kind"] == 1, columns["seq"], columns["older"])
    common = {
        "symbol": pa.DictionaryArray.from_arrays(columns["symbol"].astype(np.int32), names),
        "time": stamp,
        "price": columns["price"],
        "volume": columns["volume"],
        "seq": columns["seq"],
        "channel": columns["channel"],
    }
    buy, sell = (
        np.where(columns["buys"], columns["seq"], columns["older"]),
        np.where(columns["buys"], columns["older"], columns["seq"]),
    )
    alone_buy, alone_sell = np.where(columns["buys"], number, 0), np.where(columns["buys"], 0, number)
    traded, added = columns["kind"] == 0, columns["kind"] == 1
    if exchange == "SH":
        kind = np.array(["T", "A", "D"])[columns["kind"]]
        numbers = {"buy_order": np.where(traded, buy, alone_buy), "sell_order": np.where(traded, sell, alone_sell)}
        side = np.where(columns["buys"], "B", "S")
        return {"ticks": pa.table({**common, "record_type": kind, "side": side, **numbers})}
    trades = pa.table(
        {
            **common,
            "price": np.where(traded, columns["price"], 0.0),
            "exec_type": np.where(traded, "F", "4"),
            "buy_order": np.where(traded, buy, alone_buy),
            "sell_order": np.where(traded, sell, alone_sell),
        }
    ).filter(pa.array(~added))
    kind, side = np.where(columns["older"] % 10 == 0, "1", "2"), np.where(columns["buys"], "1", "2")
    orders = pa.table({**common, "order_type": kind, "side": side, "order_no": columns["seq"]}).filter(pa.array(added))
    return {"trades": trades, "orders": orders}


# --- measurements -----------------------------------------------------------------------------------------------
def take(folder: Path) -> dict[str, object]:
    """Ingest into a new home in this process; returns seconds, peak and megabytes before."""
    with tempfile.TemporaryDirectory(prefix="bench-ticks-home-") as home:
        settings = Settings(home=Path(home), market="cn", preset="demo")
        try:
            stores = open_stores(settings)
            before = measure.resident("VmRSS")
            start = time.perf_counter()
            now = datetime(2024, 6, 1, tzinfo=UTC)
            report = ingest([folder], Arrival(now, now), stores, lambda *_: None)
            spent = time.perf_counter() - start
            stores.ledger.close()
        finally:
            stop_server(settings)
    summary = report.to_dict()
    good = summary["ticks"]["reconciled"] == {"equal": summary["symbols"]} and not summary["quarantined"]
    if not good:
        raise RuntimeError(json.dumps(summary, default=str))
    return {"seconds": spent, "peak": measure.resident(), "before": before, "bars": summary["rows_out"]}


def floor(folder: Path) -> dict[str, object]:
    """Decode every batch of every file and discard it."""
    start = time.perf_counter()
    rows = sum(batch.height for path in find([folder])[0] for batch in batches(open_file(path)))
    return {"seconds": time.perf_counter() - start, "peak": measure.resident(), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000_000, 8_000_000])
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="folder of the generated ticks")
    parser.add_argument("--only", choices=("take", "floor"), help="inner: one measurement of --keep")
    options = parser.parse_args()
    if options.only:
        print(json.dumps({"take": take, "floor": floor}[options.only](options.keep)))
        return
    table = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="bench-ticks-", dir=options.keep) as scratch:
            folder = Path(scratch) / "day"
            generate(folder, rows, options.symbols)
            base, ours = (measure.in_process(__file__, "--only", name, "--keep", folder) for name in ("floor", "take"))
            size = sum(file.stat().st_size for file in folder.iterdir()) / measure.MEGABYTE
            ratio = ours["seconds"] / base["seconds"]
            rate = rows / ours["seconds"] / 1e6
            table.append(
                [f"{rows:,}", size, base["seconds"], ours["seconds"], ratio, rate, ours["before"], ours["peak"]]
            )
    heads = ["records", "files MB", "decode s (floor)", "ingest s", "x floor", "M records/s", "MB before", "peak MB"]
    measure.show(f"ticks of one session, {options.symbols} symbols", heads, table)


if __name__ == "__main__":
    main()
