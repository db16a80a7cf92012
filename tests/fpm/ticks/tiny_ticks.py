"""Tiny Level-2 tapes for tests: vendor rows by hand, and their minute rows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl

from fpm import sessions
from fpm.ticks.files import TickFile
from fpm.ticks.minute_flows import REFERENCES, Minutes, minute_flows, to_bars
from fpm.ticks.records import Records, records
from fpm.ticks.tape import TickRules

CN = sessions.market("cn")
DAY = date(2023, 2, 1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NO_REFERENCES = pl.DataFrame(schema=REFERENCES)
SH, SZ = "600000.SH", "000001.SZ"

COLUMNS = {
    "trades": ("symbol", "time", "price", "volume", "side", "exec_type", "buy_order", "sell_order", "seq", "channel"),
    "orders": ("symbol", "time", "price", "volume", "order_type", "side", "order_no", "seq", "channel"),
    "ticks": ("symbol", "time", "price", "volume", "record_type", "side", "buy_order", "sell_order", "seq", "channel"),
}
KINDS = {"price": pl.Float64, "volume": pl.Int64, "seq": pl.Int64, "channel": pl.Int64}


def at(clock: str, day: date = DAY) -> datetime:
    """`10:00:59.990` of a session."""
    return datetime.combine(day, time.fromisoformat(clock))


def trade(clock: str, price: float, volume: int, buy: int, sell: int, seq: int, **more: Any) -> dict[str, Any]:
    """A trade (or a cancel) of Shanghai by default, with an unknown aggressor."""
    row = {"symbol": SH, "time": at(clock), "price": price, "volume": volume, "side": "N", "exec_type": "T"}
    return {**row, "channel": 1, "seq": seq, "buy_order": buy, "sell_order": sell, **more}


def order(clock: str, side: str, price: float, volume: int, number: int, seq: int, **more: Any) -> dict[str, Any]:
    """An order record: an add of Shanghai by default."""
    row = {"symbol": SH, "time": at(clock), "price": price, "volume": volume, "order_type": "A", "channel": 1}
    return {**row, "seq": seq, "side": side, "order_no": number, **more}


def frame(stream: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a vendor's table."""
    cells = {name: [row.get(name) for row in rows] for name in COLUMNS[stream]}
    return pl.DataFrame(cells, schema_overrides={k: v for k, v in KINDS.items() if k in cells}).with_columns(
        pl.col("time").cast(pl.Datetime("ms"))
    )


def merged(trades: Sequence[Mapping[str, Any]], orders: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The same records as Shanghai's merged stream."""
    rows = [{**row, "record_type": "T"} for row in trades]
    for row in orders:
        is_buy = row["side"] == "B"
        numbers = {"buy_order": row["order_no"] if is_buy else 0, "sell_order": 0 if is_buy else row["order_no"]}
        rows.append({**row, **numbers, "record_type": row["order_type"]})
    return frame("ticks", rows)


def read(stream: str, rows: pl.DataFrame, number: int = 0, name: str = "") -> Records:
    """A vendor's table as one batch of a file of that stream."""
    names = {column: column for column in rows.columns}
    file = TickFile(Path(f"{name or stream}.parquet"), stream, rows.height, names, ())
    return records(rows.with_row_index("row"), file, number, CN, NOW)


def minutes(references: pl.DataFrame = NO_REFERENCES, **streams: pl.DataFrame) -> Minutes:
    """Minute rows of the one session in these tables."""
    parts = [read(stream, rows, number) for number, (stream, rows) in enumerate(streams.items()) if rows.height]
    assert not sum(part.faults.height for part in parts), [part.faults.rows() for part in parts]
    tape = pl.concat([part.tape for part in parts])
    (session,) = tape["session"].unique().to_list()
    return minute_flows(tape.drop("session"), session, CN, references, TickRules())


def by_slot(minute_rows: Minutes, symbol: str) -> dict[int, dict[str, Any]]:
    """slot -> column -> value of one symbol."""
    rows = to_bars(minute_rows.rows).filter(pl.col("symbol") == symbol).to_dicts()
    return {row.pop("slot"): row for row in rows}


def only(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    """The cells of these columns."""
    return tuple(row[name] for name in names)


SLOT_10_00 = 31  # the minute 10:00:00 to 10:01:00
LATE_ADD = (  # trades and orders: an order fills 5,000 shares just before the minute ends; 95,000 rest after it
    [
        trade("10:00:59.990", 10.10, 3000, 5, 4, 10, side="B"),
        trade("10:00:59.990", 10.11, 2000, 5, 3, 11, side="B"),
    ],
    [
        order("09:40:00", "S", 10.10, 3000, 4, 1),
        order("09:41:00", "S", 10.11, 2000, 3, 2),
        order("10:01:00", "B", 10.12, 95_000, 5, 12),
    ],
)
