"""For tests of the ticks ingest: the ingest of a delivery, and a small whole session of one stock."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from fpm.ingest.ingest_report import IngestReport
from fpm.store.ledger.stores import Stores
from producers import ticks
from producers.bars import Arrival
from tests.fpm.ticks.tiny_ticks import frame, order, trade

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ingest(paths: list[Path], stores: Stores) -> IngestReport:
    """Ingest these paths; the report balances and nothing stays in staging."""
    report = ticks.ingest(paths, Arrival(NOW, NOW), stores, lambda done, total, item: None)
    assert report.rows_in == report.rows_out + sum(report.quarantined.values())
    records = report.ticks.get("records", {"in": 0})
    assert records["in"] == sum(value for name, value in records.items() if name != "in")
    assert not [path for path in stores.lake.staging.rglob("*") if path.is_file()]
    return report


def bars(stores: Stores, session: date, symbol: str) -> pl.DataFrame:
    return stores.read("minute_bars", session).filter(pl.col("symbol") == symbol).sort("slot")


def deliver(folder: Path, **tables: pl.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    return folder


def session_ticks(session: date, seed: int) -> dict[str, pl.DataFrame]:
    """A small whole session of one stock: an order, a taker and a cancel every half minute, and both calls."""
    rng, seconds = np.random.default_rng(seed), [*range(34_200, 41_400, 30), *range(46_800, 53_820, 30)]
    trades = [trade("09:25:00", 10.0, 1000, 1, 2, 3), trade("15:00:00", 10.1, 900, 4, 5, 100_001)]
    orders = [order("09:20:00", "B", 10.0, 1000, 1, 1), order("09:20:00", "S", 10.0, 1000, 2, 2)]
    orders += [order("14:58:00", "B", 10.1, 900, 4, 99_999), order("14:59:00", "S", 10.1, 900, 5, 100_000)]
    for i, second in enumerate(seconds):
        clock, seq = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}", 10 + 10 * i
        price, lots = round(10 + float(rng.normal(0, 0.05)), 2), int(rng.choice([10, 60, 300, 1200]))
        rests, takes = ("S", "B") if rng.random() < 0.5 else ("B", "S")
        numbers = (seq + 2, seq) if takes == "B" else (seq, seq + 2)
        orders.append(order(clock, rests, price, lots * 100 + 100, seq, seq))
        trades.append(trade(clock, price, lots * 100, *numbers, seq + 2, side=takes))
        orders.append(order(clock, rests, price, 100, seq, seq + 3, order_type="D"))
    moved = pl.col("time").dt.time().alias("clock")
    tables = {"trades": frame("trades", trades), "orders": frame("orders", orders)}
    return {
        name: table.with_columns(pl.lit(session).dt.combine(moved).cast(pl.Datetime("ms")).alias("time"))
        for name, table in tables.items()
    }
