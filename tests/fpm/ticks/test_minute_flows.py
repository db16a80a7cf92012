"""Minute flows of both exchanges: rules they share, a slow reference, truncation, and whole sessions."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.schema import FEATURES, ORDER_FLOWS
from fpm.ticks import flows as flows_module
from fpm.ticks.minute_flows import Minutes, observed, session_faults, to_bars
from fpm.ticks.tape import TickRules
from tests.fpm.ticks.slow_minute_flows import slow_flows
from tests.fpm.ticks.tiny_ticks import (
    CN,
    LATE_ADD,
    SH,
    SLOT_10_00,
    SZ,
    at,
    by_slot,
    frame,
    merged,
    minutes,
    only,
    order,
    trade,
)


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
        second = draw(st.sampled_from(SECONDS if kind != "trade" else SECONDS[1:]))
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
            {
                "kind": kind,
                "ms": second * 1000,
                "seq": seq,
                "price": price,
                "volume": volume,
                "side": side,
                "buy": buy,
                "sell": sell,
            }
        )
    return exchange, one_sequence, rows


def vendor(exchange: str, one_sequence: bool, rows: list[dict[str, Any]]) -> dict[str, pl.DataFrame]:
    """The reference's records as a vendor's tables."""
    trades, orders = [], []
    for row in rows:
        clock = f"{row['ms'] // 3_600_000:02}:{row['ms'] // 60_000 % 60:02}:{row['ms'] // 1000 % 60:02}"
        symbol = SZ if exchange == "SZ" else SH
        if row["kind"] in ("trade", "cancel"):
            flag = {1: "B", -1: "S", 0: "N"}[row["side"]]
            more = {"side": flag, "exec_type": "T" if row["kind"] == "trade" else "C", "symbol": symbol}
            trades.append(trade(clock, row["price"] / 100, row["volume"], row["buy"], row["sell"], row["seq"], **more))
        else:
            kind = {"add": "A" if exchange == "SH" else "2", "delete": "D"}[row["kind"]]
            side = "B" if row["side"] > 0 else "S"
            number = row["buy"] or row["sell"]
            args = (clock, side, row["price"] / 100, row["volume"], number, row["seq"])
            orders.append(order(*args, order_type=kind, symbol=symbol))
    if exchange == "SH" and one_sequence:
        return {"ticks": merged(trades, orders)}
    return {name: frame(name, rows) for name, rows in (("trades", trades), ("orders", orders)) if rows}


@settings(max_examples=150, deadline=None)
@given(tapes())
def test_flows_equal_a_slow_loop_over_orders(tape: tuple[str, bool, list[dict[str, Any]]]) -> None:
    exchange, one_sequence, rows = tape
    flows = by_slot(minutes(**vendor(exchange, one_sequence, rows)), SZ if exchange == "SZ" else SH)
    expected = slow_flows(rows, exchange, one_sequence)
    has_orders = any(row["kind"] in ("add", "delete") for row in rows)
    for slot, columns in flows.items():
        for name, value in columns.items():
            if name == "symbol":
                continue
            in_trades = exchange == "SZ" and name in ("cancel_volume", "cancel_count")
            if name in ORDER_FLOWS and not has_orders and not in_trades:
                assert value is None, (slot, name)
                continue
            answer = expected.get(slot, {}).get(name, None if name in ("open", "high", "low", "close") else 0)
            if answer is not None and (name in ("open", "high", "low", "close") or name.endswith("amount")):
                answer = answer / 100
            assert value == answer, (slot, name, value, answer)


# --- no knowledge of the future -----------------------------------------------------------------------------------
def changed_by_the_future(trades: list[dict[str, Any]], orders: list[dict[str, Any]], clock: str, slot: int) -> bool:
    """Whether rows up to `slot`, whose minute ends at `clock`, depend on records after it."""

    def rows(flows: Minutes) -> pl.DataFrame:
        return flows.rows.filter(pl.col("slot") <= slot)

    early = [[row for row in part if row["time"] < at(clock)] for part in (trades, orders)]
    whole = minutes(trades=frame("trades", trades), orders=frame("orders", orders))
    cut = minutes(trades=frame("trades", early[0]), orders=frame("orders", early[1]))
    return not rows(whole).equals(rows(cut))


def test_nothing_after_a_minute_changes_it_and_a_planted_look_ahead_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not changed_by_the_future(*LATE_ADD, "10:01:00", SLOT_10_00)

    def whole_day(trades: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
        values = original(trades, submissions)
        return values.with_columns(pl.col("value").max().over("sid", "order"))

    original = flows_module.order_values
    monkeypatch.setattr(flows_module, "order_values", whole_day)  # the bug: an order's class by all of its day
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


ALL_KNOWN = pl.DataFrame(schema={"sid": pl.Int32, "slot": pl.Int16})


# --- a whole session ------------------------------------------------------------------------------------------------
def test_minutes_that_the_feed_does_not_cover_are_no_zeros() -> None:
    part = minutes(
        trades=frame("trades", [trade("10:00:00", 10.0, 100, 2, 1, 1), trade("10:30:30", 10.0, 100, 2, 1, 2)])
    )
    slots = observed(part.rows, part.symbols, ALL_KNOWN, CN, TickRules())["slot"]
    assert (slots.min(), slots.max()) == (31, 60)  # 10:01 to 10:30
    full = minutes(
        trades=frame("trades", [trade("09:25:00", 10.0, 100, 2, 1, 1), trade("15:00:00", 10.0, 100, 2, 1, 2)])
    )
    assert observed(full.rows, full.symbols, ALL_KNOWN, CN, TickRules()).height == len(CN.slots)


def test_each_faulty_symbol_session_has_its_code() -> None:
    symbols = pl.DataFrame(
        {"sid": [2, 4, 6, 8, 1], "furthest": [0, 61_000, 0, 0, 0], "trades": [5, 5, 5, 5, 0], "after_trades": [0] * 5}
    )
    sequences = pl.DataFrame({"sid": [2, 4, 6, 8], "exchange": [False] * 4, "space": [0] * 4, "channel": [1, 1, 2, 1]})
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
    verdicts = pl.DataFrame(
        {
            "sid": [2, 4, 6, 8, 1],
            "verdict": ["equal", "equal", "untold", "differs", "untold"],
            "reason": ["", "", "", "volume 5, the exchange's 6", ""],
        }
    )
    rows = session_faults(symbols, sequences, gaps, verdicts, TickRules()).to_dicts()
    faults = {row["sid"]: row for row in rows}
    assert {sid: row["reason_code"] for sid, row in faults.items()} == {
        4: "FPM-IN-138",
        6: "FPM-IN-138",
        8: "FPM-IN-142",
        1: "FPM-IN-119",
    }
    assert "20 sequence numbers" in faults[6]["reason"] and faults[8]["reason"] == "volume 5, the exchange's 6"
