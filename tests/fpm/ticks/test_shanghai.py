"""Flows of Shanghai's records, every number checked by hand."""

from datetime import date, datetime

import pytest

from tests.fpm.ticks.tiny_ticks import LATE_ADD, SH, SLOT_10_00, at, by_slot, frame, merged, minutes, only, order, trade


@pytest.mark.parametrize("one_stream", [False, True])
def test_an_order_is_rebuilt_and_classed_by_its_value_so_far(one_stream: bool) -> None:
    trades, orders = LATE_ADD
    streams = {"ticks": merged(trades, orders)} if one_stream else {}
    streams = streams or {"trades": frame("trades", trades), "orders": frame("orders", orders)}
    rows = by_slot(minutes(**streams), SH)
    last_minute = rows[SLOT_10_00]
    assert only(last_minute, "buy_volume", "buy_amount", "buy_count") == (5000, 50_520.0, 2)
    # 50,520 of 1,011,920 were visible by 10:01: medium, although the whole order is extra-large
    assert only(last_minute, "m_buy_volume", "m_buy_count", "xl_buy_volume", "l_buy_volume") == (5000, 2, 0, 0)
    assert only(last_minute, "order_volume", "order_amount", "order_count") == (5000, 50_520.0, 1)
    assert only(rows[SLOT_10_00 + 1], "order_volume", "order_amount", "order_count") == (95_000, 961_400.0, 0)
    assert sum(row["order_volume"] for row in rows.values()) == 3000 + 2000 + 100_000  # the original quantities
    assert sum(row["order_count"] for row in rows.values()) == 3


def test_an_add_in_the_same_minute_makes_the_original_value_known() -> None:
    trades, orders = LATE_ADD
    orders = [*orders[:2], {**orders[2], "time": at("10:00:59.995")}]
    row = by_slot(minutes(trades=frame("trades", trades), orders=frame("orders", orders)), SH)[SLOT_10_00]
    assert only(row, "xl_buy_volume", "xl_buy_count", "m_buy_volume") == (5000, 2, 0)
    assert only(row, "order_volume", "order_amount", "order_count") == (100_000, 1_011_920.0, 1)


def test_an_order_matched_whole_is_the_sum_of_its_fills() -> None:
    rested = [order("09:40:00", "B", 20.00, 12_500, 1, 1)]
    sold = [trade("13:30:10", 20.00, 10_000, 1, 9, 5, side="S"), trade("13:31:10", 20.00, 2_500, 1, 10, 6, side="S")]
    rows = by_slot(minutes(trades=frame("trades", sold), orders=frame("orders", rested)), SH)
    assert only(rows[151], "l_sell_volume", "l_sell_count", "m_sell_volume") == (10_000, 1, 0)  # exactly 200,000
    assert only(rows[152], "m_sell_volume", "m_sell_count", "l_sell_volume") == (2_500, 1, 0)  # exactly 50,000
    assert only(rows[151], "order_volume", "order_amount", "order_count") == (10_000, 200_000.0, 1)
    assert only(rows[11], "order_volume", "order_count") == (12_500, 1)


@pytest.mark.parametrize(
    ("price", "volume", "size"),
    [(10.0, 100_000, "xl"), (9.9999, 100_000, "l"), (10.0, 20_000, "l"), (9.9999, 20_000, "m"), (9.9999, 5_000, None)],
)
def test_borders_of_the_size_classes(price: float, volume: int, size: str | None) -> None:
    trades = frame("trades", [trade("10:00:00", price, volume, 2, 1, 1, side="B")])
    row = by_slot(minutes(trades=trades), SH)[SLOT_10_00]
    assert {name: row[f"{name}_buy_volume"] for name in ("xl", "l", "m")} == {
        name: volume if name == size else 0 for name in ("xl", "l", "m")
    }


def test_cancels_are_order_records_with_their_own_or_their_orders_price() -> None:
    orders = [
        order("09:20:00", "B", 10.00, 1000, 1, 1),
        order("09:22:00", "B", 10.00, 400, 1, 2, order_type="D"),
        order("10:00:00", "S", 11.00, 700, 2, 3),
        order("10:00:30", "S", 0.0, 700, 2, 4, order_type="D"),
    ]
    trades = [trade("10:05:00", 10.5, 100, 1, 3, 9, side="S")]
    rows = by_slot(minutes(trades=frame("trades", trades), orders=frame("orders", orders)), SH)
    assert only(rows[0], "cancel_volume", "cancel_amount", "cancel_count") == (400, 4000.0, 1)
    assert only(rows[SLOT_10_00], "cancel_volume", "cancel_amount", "cancel_count") == (700, 7700.0, 1)
    assert only(rows[0], "order_volume", "order_count") == (1000, 1)


def test_calls_have_no_aggressor_whatever_the_flag() -> None:
    prints = [
        trade("09:25:00.940", 10.00, 100, 1, 2, 1, side="B"),
        trade("15:00:01.060", 10.20, 300, 3, 4, 2, side="N"),
        trade("10:00:00.000", 10.10, 200, 5, 6, 3, side="N"),
    ]
    rows = by_slot(minutes(trades=frame("trades", prints)), SH)
    for slot, volume in ((0, 100), (241, 300), (SLOT_10_00, 200)):
        assert only(rows[slot], "volume", "trades", "buy_volume", "sell_volume", "buy_count") == (volume, 1, 0, 0, 0)


def test_before_it_had_a_closing_call_shanghai_traded_to_the_close() -> None:
    day = date(2018, 8, 17)  # a Friday, the last session of that rule
    late = [trade("14:58:00", 10.0, 100, 2, 1, 1, side="B"), trade("15:00:00.500", 10.0, 50, 4, 3, 2, side="B")]
    late = [{**row, "time": datetime.combine(day, row["time"].time())} for row in late]
    rows = by_slot(minutes(trades=frame("trades", late)), SH)
    assert only(rows[239], "buy_volume") == (100,)
    assert only(rows[240], "volume", "buy_volume") == (50, 50)
    assert rows[241]["volume"] == 0


def test_orders_between_the_call_and_the_open_are_the_first_minutes() -> None:
    orders = [order("09:24:59.999", "B", 10.0, 100, 1, 1), order("09:25:00.000", "B", 10.0, 300, 2, 2)]
    rows = by_slot(
        minutes(trades=frame("trades", [trade("10:00:00", 10.0, 100, 2, 9, 5)]), orders=frame("orders", orders)), SH
    )
    assert (rows[0]["order_volume"], rows[1]["order_volume"]) == (100, 300)
