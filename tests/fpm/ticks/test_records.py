"""Bad Level-2 records have one code and reason each; spellings and flags of both exchanges have one meaning."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ticks.tape import ADD, CANCEL, DELETE, TRADE
from tests.fpm.ticks.tiny_ticks import SZ, at, frame, merged, order, read, trade

GOOD = trade("10:00:00", 10.0, 100, 2, 1, 7, side="B")


def reason(stream: str, row: dict[str, Any]) -> tuple[str, str]:
    """Code and reason of the one bad row among two good ones."""
    good = GOOD if stream == "trades" else order("10:00:00", "B", 10.0, 100, 2, 7)
    batch = read(stream, frame(stream, [good, row, good]))
    assert batch.tape.height == 2
    assert batch.faults["row"].to_list() == [1]
    return batch.faults["reason_code"][0], batch.faults["reason"][0]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"side": "X"}, "FPM-IN-140", "unknown flag"),
        ({"side": None}, "FPM-IN-140", "unknown flag"),
        ({"exec_type": "4"}, "FPM-IN-140", "unknown flag"),  # Shanghai has no cancels among its trades
        ({"exec_type": "?"}, "FPM-IN-140", "unknown flag"),
        ({"volume": -100}, "FPM-IN-022", "volume -100"),
        ({"price": -1.0}, "FPM-IN-022", "price -10000"),
        ({"price": 0.0}, "FPM-IN-023", "price 0"),
        ({"volume": 0}, "FPM-IN-023", "volume 0"),
        ({"price": None}, "FPM-IN-024", "price empty"),
        ({"price": float("nan")}, "FPM-IN-024", "price empty"),
        ({"price": float("inf")}, "FPM-IN-024", ""),
        ({"price": 10.00005}, "FPM-IN-009", ""),
        ({"price": 1_822_300.0}, "FPM-IN-146", ""),
        ({"seq": None}, "FPM-IN-138", "no sequence number"),
        ({"seq": -1}, "FPM-IN-138", "no sequence number"),
        ({"channel": 40_000}, "FPM-IN-138", "no channel"),
        ({"buy_order": 0}, "FPM-IN-141", "buy order 0"),
        ({"sell_order": 1 << 50}, "FPM-IN-141", ""),
        ({"time": at("12:00:00")}, "FPM-IN-029", "outside the hours"),
        ({"time": at("11:31:00")}, "FPM-IN-029", "outside the hours"),
        ({"time": at("09:20:00")}, "FPM-IN-029", "outside the hours"),  # no trade before the call
        ({"time": at("15:10:00")}, "FPM-IN-029", "outside the hours"),  # not a board with fixed-price trading
        ({"time": at("10:00:00", date(2023, 2, 4))}, "FPM-IN-135", "no session"),
        ({"time": None}, "FPM-IN-029", "no time"),
        ({"symbol": "../etc"}, "FPM-IN-031", ""),
        ({"symbol": None}, "FPM-IN-031", "no symbol"),
        ({"symbol": "430047.BJ"}, "FPM-IN-149", "BJ"),
    ],
)
def test_a_bad_trade_has_its_code(change: dict[str, Any], code: str, words: str) -> None:
    own_code, own_reason = reason("trades", {**GOOD, **change})
    assert own_code == code
    assert words in own_reason


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"order_type": "X"}, "FPM-IN-140"),
        ({"order_type": "T"}, "FPM-IN-140"),
        ({"side": "N"}, "FPM-IN-140"),
        ({"order_no": 0}, "FPM-IN-141"),
        ({"volume": 0}, "FPM-IN-023"),
        ({"price": -0.01}, "FPM-IN-022"),
        ({"time": at("09:14:59")}, "FPM-IN-029"),
        ({"symbol": SZ, "order_type": "D"}, "FPM-IN-140"),
    ],
)
def test_a_bad_order_has_its_code(change: dict[str, Any], code: str) -> None:
    assert reason("orders", {**order("10:00:00", "B", 10.0, 100, 2, 7), **change})[0] == code


def test_a_cancel_of_shenzhen_names_exactly_one_order() -> None:
    cancel = {**GOOD, "symbol": SZ, "exec_type": "4", "price": 0.0}
    for buy, sell in ((0, 0), (3, 4)):
        assert reason("trades", {**cancel, "buy_order": buy, "sell_order": sell})[0] == "FPM-IN-141"


def test_flags_of_both_exchanges_in_words_and_numbers() -> None:
    trades = [
        {**GOOD, "side": "S"},
        {**GOOD, "side": "-1"},
        {**GOOD, "side": " N "},
        {**GOOD, "symbol": SZ, "side": None, "exec_type": "F"},
        {**GOOD, "symbol": SZ, "side": None, "exec_type": "C", "sell_order": 0, "price": 0.0},
    ]
    tape = read("trades", frame("trades", trades)).tape
    assert tape["kind"].to_list() == [TRADE, TRADE, TRADE, TRADE, CANCEL]
    assert tape["side"].to_list() == [-1, -1, 0, 1, 1]
    orders = [
        order("10:00:00", "1", 10.0, 100, 2, 7, symbol=SZ, order_type="2"),
        order("10:00:00", "2", 10.0, 100, 3, 8, symbol=SZ, order_type="1"),
        order("10:00:00", "S", 10.0, 100, 4, 9, order_type="D"),
    ]
    order_tape = read("orders", frame("orders", orders)).tape
    assert order_tape["kind"].to_list() == [ADD, ADD, DELETE]
    assert order_tape["price"].to_list() == [100_000, 0, 100_000]  # a market order's price field means nothing
    assert order_tape.select("buy", "sell").rows() == [(2, 0), (0, 3), (0, 4)]
    whole_number = frame("trades", [GOOD]).with_columns(pl.lit(1).alias("side"))
    assert read("trades", whole_number).tape["side"][0] == 1


def test_records_of_trading_status_are_only_counted() -> None:
    rows = merged([GOOD], [order("09:30:00", "", 0.0, 0, 0, 1, order_type="S"), order("09:31:00", "B", 9.9, 100, 1, 2)])
    batch = read("ticks", rows)
    assert (batch.tape.height, batch.status, batch.faults.height) == (2, 1, 0)


def test_float32_prices_are_the_printed_ones() -> None:
    rows = frame("trades", [{**GOOD, "price": price} for price in (1801.01, 9.87, 1.234, 1858.98999)])
    tape = read("trades", rows.with_columns(pl.col("price").cast(pl.Float32))).tape
    assert tape["price"].to_list() == [18_010_100, 98_700, 12_340, 18_589_900]


def test_fixed_price_trades_after_the_close_belong_to_no_minute() -> None:
    late = {**GOOD, "symbol": "688001.SH", "time": at("15:10:00")}
    assert read("trades", frame("trades", [late])).tape["slot"].to_list() == [-1]


def test_a_day_in_the_files_name_binds_its_rows() -> None:
    batch = read("trades", frame("trades", [GOOD]), name="trades-2023-02-02")
    assert batch.faults["reason_code"].to_list() == ["FPM-IN-027"]


@pytest.mark.parametrize(
    ("stream", "rows", "code"),
    [
        ("trades", frame("trades", [GOOD]).drop("side"), "FPM-IN-006"),
        ("trades", frame("trades", [{**GOOD, "symbol": SZ}]).drop("exec_type"), "FPM-IN-006"),
        ("orders", frame("orders", [order("10:00:00", "B", 10.0, 1, 1, 1)]).drop("order_type"), "FPM-IN-006"),
        ("ticks", merged([GOOD, {**GOOD, "symbol": SZ}], []), "FPM-IN-147"),
        ("trades", frame("trades", [{**GOOD, "time": at("10:00:00", date(2030, 1, 2))}]), "FPM-IN-028"),
    ],
)
def test_a_fault_of_the_whole_file_refuses_it(stream: str, rows: pl.DataFrame, code: str) -> None:
    with pytest.raises(InputRefused) as error:
        read(stream, rows)
    assert error.value.code == code


def test_times_with_a_zone_become_exchange_local() -> None:
    utc = pl.Series("time", [datetime(2023, 2, 1, 2, 0, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC"))
    tape = read("trades", frame("trades", [GOOD]).with_columns(utc)).tape
    assert tape["time"].to_list() == [36_000_000]  # 10:00
