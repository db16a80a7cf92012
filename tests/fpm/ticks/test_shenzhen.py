"""Flows of Shenzhen's records, every number checked by hand."""

from typing import Any

import polars as pl

from fpm.ticks.minute_flows import REFERENCES
from fpm.ticks.tape import sid_of
from tests.fpm.ticks.tiny_ticks import SH, SLOT_10_00, SZ, by_slot, frame, minutes, only, order, trade


def shenzhen(**streams: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    tables = {name: frame(name, [{**row, "symbol": SZ} for row in rows]) for name, rows in streams.items()}
    return by_slot(minutes(**tables), SZ)


def test_the_aggressor_is_the_larger_order_number() -> None:
    rows = shenzhen(
        trades=[
            trade("09:25:00", 10.0, 900, 7, 8, 20, side=None),
            trade("10:00:01", 10.0, 100, 31, 30, 32, side="S"),  # the vendor's flag does not count
            trade("10:00:02", 9.9, 200, 30, 33, 34, side=None),
        ]
    )
    assert only(rows[SLOT_10_00], "buy_volume", "sell_volume", "volume") == (100, 200, 300)
    assert only(rows[0], "volume", "buy_volume", "sell_volume") == (900, 0, 0)


def test_cancels_are_trade_records_without_a_price() -> None:
    orders = [
        order("10:00:00", "1", 10.0, 1000, 1, 1, order_type="2"),
        order("10:00:01", "2", 11.0, 500, 2, 2, order_type="2"),
    ]
    records = [
        trade("10:00:03", 0.0, 400, 1, 0, 3, side=None, exec_type="4"),
        trade("10:01:03", 0.0, 500, 0, 2, 4, side=None, exec_type="C"),
        trade("10:02:00", 10.0, 600, 1, 5, 6, side=None),
    ]
    rows = shenzhen(trades=records, orders=orders)
    assert only(rows[SLOT_10_00], "cancel_volume", "cancel_amount", "cancel_count") == (400, 4000.0, 1)
    assert only(rows[SLOT_10_00 + 1], "cancel_volume", "cancel_amount", "cancel_count") == (500, 5500.0, 1)
    assert only(rows[SLOT_10_00], "volume", "trades", "order_volume", "order_count") == (0, 0, 1500, 2)


def test_market_orders_use_the_last_trade_within_the_limits() -> None:
    orders = [
        order("09:30:00", "1", 10.0, 100, 1, 1, order_type="2"),
        order("09:30:01", "2", 10.0, 100, 2, 2, order_type="2"),
        order("10:00:00", "1", 0.0, 100_000, 4, 4, order_type="1"),  # market: 10.00 traded last
        order("10:00:10", "2", 99.0, 1000, 7, 7, order_type="U"),  # a price field that means nothing
        order("09:30:00", "1", 0.0, 1000, 1, 1, order_type="1", symbol="000002.SZ"),
    ]
    records = [
        trade("09:30:01", 10.0, 100, 1, 2, 3, side=None),
        trade("10:00:00", 12.0, 50_000, 4, 2, 5, side=None),
        trade("10:00:00", 12.1, 50_000, 4, 2, 6, side=None),
    ]
    tables = {
        "orders": frame("orders", [{**row, "symbol": SZ} if row["symbol"] == SH else row for row in orders]),
        "trades": frame("trades", [{**row, "symbol": SZ} for row in records]),
    }
    references = (
        pl.DataFrame({"symbol": [SZ, "000002.SZ"]})
        .select(
            sid_of(pl.col("symbol")),
            pre_close=pl.Series([95_000, 80_000]),
            limit_up=pl.Series([110_000, 70_000]),
            limit_down=pl.Series([90_000, 60_000]),
        )
        .cast(REFERENCES)
    )
    flows = minutes(references, **tables)
    rows = by_slot(flows, SZ)
    # 100,000 at 10.00 and 1,000 at 12.10 capped to the limit 11.00
    assert only(rows[SLOT_10_00], "order_volume", "order_amount") == (101_000, 1_011_000.0)
    assert only(rows[SLOT_10_00], "xl_buy_volume", "xl_buy_count") == (100_000, 2)  # exactly 1,000,000
    assert by_slot(flows, "000002.SZ")[1]["order_amount"] == 7000.0  # prior close 8.00 within the limit 7.00
    unpriced = by_slot(minutes(**tables), "000002.SZ")[1]
    assert only(unpriced, "order_volume", "order_count", "order_amount") == (1000, 1, None)


def test_without_orders_cancels_have_no_amount() -> None:
    rows = shenzhen(
        trades=[
            trade("10:00:01", 10.0, 4_000, 31, 30, 32, side=None),
            trade("10:01:01", 10.0, 1_000, 31, 29, 33, side=None),
            trade("10:02:01", 0.0, 100, 31, 0, 34, side=None, exec_type="C"),
        ]
    )
    assert only(rows[SLOT_10_00], "m_buy_volume", "order_volume", "cancel_volume") == (0, None, 0)
    assert only(rows[SLOT_10_00 + 1], "m_buy_volume", "cancel_amount") == (1_000, None)  # 50,000 filled by then
    assert only(rows[SLOT_10_00 + 2], "cancel_volume", "cancel_count", "cancel_amount") == (100, 1, None)


def test_order_numbers_are_unique_only_within_a_channel() -> None:
    other = "000002.SZ"
    big = order("10:00:00", "1", 10.0, 100_000, 1, 1, order_type="2", symbol=SZ, channel=2011)
    small = order("10:00:00", "1", 10.0, 100, 1, 1, order_type="2", symbol=other, channel=2012)
    tape = [
        trade("10:00:01", 10.0, 100, 1, 0 + 9, 11, side="B", symbol=symbol, channel=channel, exec_type="F")
        for symbol, channel in ((SZ, 2011), (other, 2012))
    ]
    tape = [{**row, "buy_order": 12, "sell_order": 9} for row in tape] + [
        trade("10:00:02", 10.0, 100, 1, 0 + 0, 13, side=None, symbol=SZ, channel=2011, exec_type="C"),
        trade("10:00:02", 0.0, 100, 1, 0, 13, side=None, symbol=other, channel=2012, exec_type="C"),
    ]
    flows = minutes(trades=frame("trades", tape), orders=frame("orders", [big, small]))
    assert by_slot(flows, SZ)[SLOT_10_00]["order_amount"] == 1_000_000.0
    assert by_slot(flows, other)[SLOT_10_00]["order_amount"] == 1_000.0
    assert by_slot(flows, other)[SLOT_10_00]["cancel_amount"] == 1_000.0
