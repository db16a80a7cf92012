"""Minute flows of tiny tapes, each number checked by hand; against a slow reference; and nothing known too early."""

from datetime import date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.schema import FEATURES, ORDER_FLOWS
from fpm.ticks import flows as tick_flows
from fpm.ticks.minute_flows import REFERENCES, Minutes, observed, set_aside, to_bars
from fpm.ticks.tape import TickRules, sid_of
from tests.fpm.ticks.slow_minute_flows import slow_flows
from tests.fpm.ticks.tiny_ticks import CN, SH, SZ, at, by_slot, frame, merged, minutes, order, trade

SLOT_10_00 = 31  # the minute 10:00:00 to 10:01:00
LATE_ADD = (  # an order that takes 5,000 shares a moment before the minute ends and rests with 95,000 after it
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


def only(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


# --- Shanghai ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("one_stream", [False, True])
def test_shanghai_rebuilds_the_order_and_classes_it_by_what_was_known(one_stream: bool) -> None:
    trades, orders = LATE_ADD
    streams = {"ticks": merged(trades, orders)} if one_stream else {}
    made = minutes(**(streams or {"trades": frame("trades", trades), "orders": frame("orders", orders)}))
    rows = by_slot(made, SH)
    taken = rows[SLOT_10_00]
    assert only(taken, "buy_volume", "buy_amount", "buy_count") == (5000, 50_520.0, 2)
    # 50,520 of 1,011,920 were visible by 10:01: medium, although the whole order is extra-large
    assert only(taken, "m_buy_volume", "m_buy_count", "xl_buy_volume", "l_buy_volume") == (5000, 2, 0, 0)
    assert only(taken, "order_volume", "order_amount", "order_count") == (5000, 50_520.0, 1)
    assert only(rows[SLOT_10_00 + 1], "order_volume", "order_amount", "order_count") == (95_000, 961_400.0, 0)
    assert sum(row["order_volume"] for row in rows.values()) == 3000 + 2000 + 100_000  # the original quantities
    assert sum(row["order_count"] for row in rows.values()) == 3


def test_an_add_in_the_same_minute_makes_the_original_value_known() -> None:
    trades, orders = LATE_ADD
    orders = [*orders[:2], {**orders[2], "time": at("10:00:59.995")}]
    row = by_slot(minutes(trades=frame("trades", trades), orders=frame("orders", orders)), SH)[SLOT_10_00]
    assert only(row, "xl_buy_volume", "xl_buy_count", "m_buy_volume") == (5000, 2, 0)
    assert only(row, "order_volume", "order_amount", "order_count") == (100_000, 1_011_920.0, 1)


def test_an_order_matched_whole_has_no_record_and_is_its_fills() -> None:
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
    made = minutes(trades=frame("trades", [trade("10:00:00", price, volume, 2, 1, 1, side="B")]))
    row = by_slot(made, SH)[SLOT_10_00]
    assert {name: row[f"{name}_buy_volume"] for name in ("xl", "l", "m")} == {
        name: volume if name == size else 0 for name in ("xl", "l", "m")
    }


def test_shanghai_cancels_are_order_records_worth_their_own_or_their_orders_price() -> None:
    orders = [
        order("09:20:00", "B", 10.00, 1000, 1, 1),
        order("09:22:00", "B", 10.00, 400, 1, 2, order_type="D"),
        order("10:00:00", "S", 11.00, 700, 2, 3),
        order("10:00:30", "S", 0.0, 700, 2, 4, order_type="D"),
    ]
    traded = [trade("10:05:00", 10.5, 100, 1, 3, 9, side="S")]
    rows = by_slot(minutes(trades=frame("trades", traded), orders=frame("orders", orders)), SH)
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


def test_before_its_closing_call_shanghai_traded_on_to_the_close() -> None:
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


# --- Shenzhen ---------------------------------------------------------------------------------------------------
def shenzhen(**streams: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    tables = {name: frame(name, [{**row, "symbol": SZ} for row in rows]) for name, rows in streams.items()}
    return by_slot(minutes(**tables), SZ)


def test_shenzhen_aggressor_is_the_larger_order_number() -> None:
    rows = shenzhen(
        trades=[
            trade("09:25:00", 10.0, 900, 7, 8, 20, side=None),
            trade("10:00:01", 10.0, 100, 31, 30, 32, side="S"),  # the vendor's flag is not asked
            trade("10:00:02", 9.9, 200, 30, 33, 34, side=None),
        ]
    )
    assert only(rows[SLOT_10_00], "buy_volume", "sell_volume", "volume") == (100, 200, 300)
    assert only(rows[0], "volume", "buy_volume", "sell_volume") == (900, 0, 0)


def test_shenzhen_cancels_are_trade_records_without_a_price() -> None:
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


def test_shenzhen_market_orders_are_worth_the_last_trade_within_the_limits() -> None:
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
    known = (
        pl.DataFrame({"symbol": [SZ, "000002.SZ"]})
        .select(
            sid_of(pl.col("symbol")),
            pre_close=pl.Series([95_000, 80_000]),
            limit_up=pl.Series([110_000, 70_000]),
            limit_down=pl.Series([90_000, 60_000]),
        )
        .cast(REFERENCES)
    )
    made = minutes(known, **tables)
    rows = by_slot(made, SZ)
    # 100,000 at 10.00 and 1,000 at 12.10 capped to the limit 11.00
    assert only(rows[SLOT_10_00], "order_volume", "order_amount") == (101_000, 1_011_000.0)
    assert only(rows[SLOT_10_00], "xl_buy_volume", "xl_buy_count") == (100_000, 2)  # exactly 1,000,000
    assert by_slot(made, "000002.SZ")[1]["order_amount"] == 7000.0  # prior close 8.00 within the limit 7.00
    unpriced = by_slot(minutes(**tables), "000002.SZ")[1]
    assert only(unpriced, "order_volume", "order_count", "order_amount") == (1000, 1, None)


def test_shenzhen_without_orders_tells_cancels_but_not_their_amount() -> None:
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
    made = minutes(trades=frame("trades", tape), orders=frame("orders", [big, small]))
    assert by_slot(made, SZ)[SLOT_10_00]["order_amount"] == 1_000_000.0
    assert by_slot(made, other)[SLOT_10_00]["order_amount"] == 1_000.0
    assert by_slot(made, other)[SLOT_10_00]["cancel_amount"] == 1_000.0


# --- both -------------------------------------------------------------------------------------------------------
def test_order_is_by_sequence_not_by_time() -> None:
    tape = [
        trade("10:00:05", 10.3, 100, 1, 2, 3, side="B"),
        trade("10:00:01", 10.2, 100, 1, 2, 9, side="B"),
        trade("10:00:09", 10.1, 100, 1, 2, 1, side="B"),
    ]
    row = by_slot(minutes(trades=frame("trades", tape)), SH)[SLOT_10_00]
    assert only(row, "open", "high", "low", "close") == (10.1, 10.3, 10.1, 10.2)


def test_a_minute_without_a_trade_has_no_price_and_no_flow() -> None:
    rows = by_slot(minutes(trades=frame("trades", [trade("10:00:00", 10.0, 100, 2, 1, 1, side="B")])), SH)
    assert len(rows) == len(CN.slots)
    assert only(rows[100], "open", "close", "volume", "buy_volume", "order_volume") == (None, None, 0, 0, None)


def test_all_of_l2_32_are_there_with_orders_and_the_order_legs_are_missing_without() -> None:
    trades, orders = LATE_ADD
    legs = set(FEATURES["l2_32"]) - {"price_pos", "trade_count", "avg_trade_amount"} | {"trades"}
    whole = to_bars(minutes(trades=frame("trades", trades), orders=frame("orders", orders)).rows)
    alone = to_bars(minutes(trades=frame("trades", trades)).rows)
    assert legs <= set(whole.columns)
    flows = sorted(legs - {"high", "low", "close"})
    assert whole.select(flows).null_count().sum_horizontal().item() == 0
    assert {name for name in flows if alone[name].null_count() == alone.height} == set(ORDER_FLOWS)
    assert {name for name in flows if alone[name].null_count()} == set(ORDER_FLOWS)


# --- against the slow reference ---------------------------------------------------------------------------------
SECONDS = [
    9 * 3600 + 20 * 60,
    9 * 3600 + 25 * 60,
    9 * 3600 + 30 * 60,
    9 * 3600 + 31 * 60,
    9 * 3600 + 31 * 60 + 59,
    14 * 3600 + 56 * 60 + 59,
    14 * 3600 + 57 * 60,
    15 * 3600,
]


@st.composite
def tapes(draw: st.DrawFn) -> tuple[str, bool, list[dict[str, Any]]]:
    """An exchange, whether its records share one sequence, and records that need not make sense together."""
    exchange = draw(st.sampled_from(["SH", "SZ"]))
    one_sequence = exchange == "SZ" or draw(st.booleans())
    kinds = ["trade", "trade", "add", "cancel" if exchange == "SZ" else "delete"]
    count = draw(st.integers(1, 14))
    rows = []
    for seq in draw(st.permutations(range(1, count + 1))):
        kind, side = draw(st.sampled_from(kinds)), draw(st.sampled_from([1, -1]))
        second = draw(st.sampled_from([each for each in SECONDS if kind != "trade" or each >= SECONDS[1]]))
        numbers = draw(st.permutations([1, 2, 3, 4]))[:2]
        if kind == "trade":
            buy, sell = numbers
            side = (1 if buy > sell else -1) if exchange == "SZ" else draw(st.sampled_from([1, -1, 0]))
        else:
            buy, sell = (numbers[0], 0) if side > 0 else (0, numbers[0])
        price = draw(st.sampled_from([1000, 1001, 2500]))
        if kind == "cancel" or (kind != "trade" and draw(st.integers(0, 3)) == 0):
            price = 0
        volume = draw(st.sampled_from([100, 2000, 5000, 40_000, 100_000]))
        rows.append(
            dict(kind=kind, ms=second * 1000, seq=seq, price=price, volume=volume, side=side, buy=buy, sell=sell)
        )
    return exchange, one_sequence, rows


def vendor(exchange: str, one_sequence: bool, rows: list[dict[str, Any]]) -> dict[str, pl.DataFrame]:
    """The reference's records as a vendor's tables."""
    trades, orders = [], []
    for row in rows:
        clock = f"{row['ms'] // 3_600_000:02}:{row['ms'] // 60_000 % 60:02}:{row['ms'] // 1000 % 60:02}"
        common = dict(symbol=SZ if exchange == "SZ" else SH)
        if row["kind"] in ("trade", "cancel"):
            flag = {1: "B", -1: "S", 0: "N"}[row["side"]]
            more = dict(side=flag, exec_type="T" if row["kind"] == "trade" else "C", **common)
            trades.append(trade(clock, row["price"] / 100, row["volume"], row["buy"], row["sell"], row["seq"], **more))
        else:
            kind = {"add": "A" if exchange == "SH" else "2", "delete": "D"}[row["kind"]]
            side = "B" if row["side"] > 0 else "S"
            number = row["buy"] or row["sell"]
            args = (clock, side, row["price"] / 100, row["volume"], number, row["seq"])
            orders.append(order(*args, order_type=kind, **common))
    if exchange == "SH" and one_sequence:
        return {"ticks": merged(trades, orders)}
    return {name: frame(name, rows) for name, rows in (("trades", trades), ("orders", orders)) if rows}


@settings(max_examples=150, deadline=None)
@given(tapes())
def test_flows_equal_a_slow_loop_over_orders(tape: tuple[str, bool, list[dict[str, Any]]]) -> None:
    exchange, one_sequence, rows = tape
    made = minutes(**vendor(exchange, one_sequence, rows))
    got = by_slot(made, SZ if exchange == "SZ" else SH)
    expected = slow_flows(rows, exchange, one_sequence)
    ordered = any(row["kind"] in ("add", "delete") for row in rows)
    for slot, columns in got.items():
        for name, value in columns.items():
            if name == "symbol":
                continue
            told = exchange == "SZ" and name in ("cancel_volume", "cancel_count")
            if name in ORDER_FLOWS and not ordered and not told:
                assert value is None, (slot, name)
                continue
            want = expected.get(slot, {}).get(name, None if name in ("open", "high", "low", "close") else 0)
            if want is not None and (name in ("open", "high", "low", "close") or name.endswith("amount")):
                want = want / 100
            assert value == want, (slot, name, value, want)


# --- nothing known too early --------------------------------------------------------------------------------------
def changed_by_the_future(trades: list[dict[str, Any]], orders: list[dict[str, Any]], clock: str, slot: int) -> bool:
    """Whether rows up to `slot`, whose minute ends at `clock`, depend on records after it."""

    def rows(made: Minutes) -> pl.DataFrame:
        return made.rows.filter(pl.col("slot") <= slot)

    early = [[row for row in part if row["time"] < at(clock)] for part in (trades, orders)]
    whole = minutes(trades=frame("trades", trades), orders=frame("orders", orders))
    cut = minutes(trades=frame("trades", early[0]), orders=frame("orders", early[1]))
    return not rows(whole).equals(rows(cut))


def test_nothing_after_a_minute_changes_it_and_a_planted_look_ahead_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not changed_by_the_future(*LATE_ADD, "10:01:00", SLOT_10_00)

    def whole_day(trades: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
        told = honest(trades, submissions)
        return told.with_columns(pl.col("known").max().over("sid", "order"))

    honest = tick_flows.known_values
    monkeypatch.setattr(tick_flows, "known_values", whole_day)  # the bug: an order's class by all of its day
    assert changed_by_the_future(*LATE_ADD, "10:01:00", SLOT_10_00)


@settings(max_examples=60, deadline=None)
@given(tapes(), st.sampled_from([1, 2, 237]))
def test_no_row_depends_on_records_after_its_minute(tape: tuple[str, bool, list[dict[str, Any]]], slot: int) -> None:
    """Records come in time order here: those after the minute are then also later in sequence."""
    exchange, one_sequence, rows = tape
    rows = [{**row, "seq": seq} for seq, row in enumerate(sorted(rows, key=lambda row: row["ms"]), start=1)]
    end = CN.slots[slot] * 60_000
    early = [row for row in rows if row["ms"] < end]
    if not any(row["kind"] in ("add", "delete") for row in early) or not early:
        return
    whole, cut = (minutes(**vendor(exchange, one_sequence, part)).rows for part in (rows, early))
    assert whole.filter(pl.col("slot") <= slot).equals(cut.filter(pl.col("slot") <= slot))


# --- a whole session ------------------------------------------------------------------------------------------------
def test_minutes_the_feed_did_not_cover_are_no_zeros() -> None:
    made = minutes(
        trades=frame("trades", [trade("10:00:00", 10.0, 100, 2, 1, 1), trade("10:30:30", 10.0, 100, 2, 1, 2)])
    )
    kept = observed(made.rows, made.symbols, CN)["slot"]
    assert (kept.min(), kept.max()) == (31, 60)  # 10:01 to 10:30
    full = minutes(
        trades=frame("trades", [trade("09:25:00", 10.0, 100, 2, 1, 1), trade("15:00:00", 10.0, 100, 2, 1, 2)])
    )
    assert observed(full.rows, full.symbols, CN).height == len(CN.slots)


def test_symbol_sessions_that_do_not_hold_are_set_aside_by_name() -> None:
    symbols = pl.DataFrame(
        {"sid": [2, 4, 6, 8, 1], "furthest": [0, 61_000, 0, 0, 0], "trades": [5, 5, 5, 5, 0], "after_trades": [0] * 5}
    )
    places = pl.DataFrame({"sid": [2, 4, 6, 8], "exchange": [False] * 4, "space": [0] * 4, "channel": [1, 1, 2, 1]})
    gaps = pl.DataFrame(
        {
            "exchange": [False, False],
            "space": [0, 0],
            "channel": [1, 2],
            "records": [1000, 9980],
            "expected": [1001, 10_000],
            "share": [0.000999, 0.002],
        }
    )
    judged = pl.DataFrame(
        {
            "sid": [2, 4, 6, 8, 1],
            "verdict": ["equal", "equal", "untold", "differs", "untold"],
            "reason": ["", "", "", "volume 5, the exchange's 6", ""],
        }
    )
    aside = {row["sid"]: row for row in set_aside(symbols, places, gaps, judged, TickRules()).to_dicts()}
    assert {sid: row["reason_code"] for sid, row in aside.items()} == {
        4: "FPM-IN-138",
        6: "FPM-IN-138",
        8: "FPM-IN-142",
        1: "FPM-IN-119",
    }
    assert "20 sequence numbers" in aside[6]["reason"] and aside[8]["reason"] == "volume 5, the exchange's 6"
