"""The dense grid and the derived daily bars, against numbers computed by hand."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from fpm.features.bars import derive_daily, grid
from fpm.sessions import market

CN, US = market("cn"), market("us")
NAN = float("nan")


def bars(rows: list[tuple[str, int, float, float, float, float, float, float]]) -> pl.DataFrame:
    names = ["symbol", "slot", "open", "high", "low", "close", "volume", "amount"]
    return pl.DataFrame(rows, schema=names, orient="row").cast({"slot": pl.Int16})


ROWS = bars(
    [
        ("A", 0, 10.0, 10.0, 10.0, 10.0, 100.0, 1000.0),  # 09:25 call
        ("A", 1, 10.1, 10.5, 10.0, 10.3, 200.0, 2040.0),  # 09:31
        ("A", 2, 10.3, 10.4, 10.2, 10.2, 300.0, 3090.0),
        ("A", 5, 10.2, 10.2, 10.2, 10.2, 0.0, 0.0),  # a row without a trade
        ("A", 241, 11.0, 11.0, 11.0, 11.0, 400.0, 4400.0),  # 15:00 call
    ]
)


def test_calls_are_merged_into_the_first_and_last_minute() -> None:
    dense = grid(ROWS, CN, "240")
    first = {name: dense.columns[name][0, 0] for name in ("open", "high", "low", "close", "volume", "amount")}
    assert first == {"open": 10.0, "high": 10.5, "low": 10.0, "close": 10.3, "volume": 300.0, "amount": 3040.0}
    assert dense.columns["close"][0, 239] == 11.0
    assert dense.columns["volume"][0, 239] == 400.0


@pytest.mark.parametrize(
    ("view", "size", "first_volume", "last_volume"),
    [("237", 237, 200.0, NAN), ("240", 240, 300.0, 400.0), ("241", 241, 100.0, 400.0), ("242", 242, 100.0, 400.0)],
)
def test_views_of_one_session(view: str, size: int, first_volume: float, last_volume: float) -> None:
    volume_ST = grid(ROWS, CN, view).columns["volume"]
    assert volume_ST.shape == (1, size)
    np.testing.assert_equal(volume_ST[0, [0, -1]], [first_volume, last_volume])


def test_a_minute_without_a_trade_carries_the_last_close_and_a_missing_one_is_nan() -> None:
    dense = grid(ROWS, CN, "240")
    np.testing.assert_equal(dense.columns["open"][0, :6], [10.0, 10.3, NAN, NAN, 10.2, NAN])
    np.testing.assert_equal(dense.columns["volume"][0, :6], [300.0, 300.0, NAN, NAN, 0.0, NAN])
    assert dense.traded_ST[0, :6].tolist() == [True, True, False, False, False, False]


def test_if_vendors_leave_minutes_out_an_absent_row_is_a_minute_without_a_trade() -> None:
    rows = bars([("A", 3, 7.0, 8.0, 6.0, 7.5, 10.0, 75.0), ("A", 5, 7.5, 7.6, 7.4, 7.4, 20.0, 150.0)])
    dense = grid(rows, US, "390")
    np.testing.assert_equal(dense.columns["close"][0, :6], [NAN, NAN, 7.5, 7.5, 7.4, 7.4])
    np.testing.assert_equal(dense.columns["high"][0, :6], [NAN, NAN, 8.0, 7.5, 7.6, 7.4])
    np.testing.assert_equal(dense.columns["volume"][0, :6], [0.0, 0.0, 10.0, 0.0, 20.0, 0.0])


def test_column_without_a_value_is_unavailable_and_zero_is_not() -> None:
    rows = ROWS.with_columns(pl.lit(None, pl.Float64).alias("trades"), pl.lit(0.0).alias("buy_volume"))
    dense = grid(rows, CN, "240")
    assert np.isnan(dense.columns["trades"]).all()
    assert np.isnan(dense.columns["sell_volume"]).all()
    assert dense.columns["buy_volume"][0, 0] == 0.0


def test_symbols_select_and_order_the_rows() -> None:
    dense = grid(pl.concat([ROWS, ROWS.with_columns(pl.lit("B").alias("symbol"))]), CN, "240", ["C", "B"])
    assert dense.symbols == ("C", "B")
    assert np.isnan(dense.columns["volume"][0]).all()
    assert dense.columns["volume"][1, 0] == 300.0


def test_row_order_has_no_effect() -> None:
    sorted_, shuffled = grid(ROWS, CN, "240"), grid(ROWS.reverse(), CN, "240")
    for name, values_ST in sorted_.columns.items():
        assert values_ST.tobytes() == shuffled.columns[name].tobytes()


def test_after_a_half_day_everything_is_missing() -> None:
    rows = bars([("A", 1, 7.0, 7.0, 7.0, 7.0, 10.0, 70.0)]).with_columns(pl.lit(date(2025, 11, 28)).alias("session"))
    volume_ST = grid(rows, US, "390").columns["volume"]  # the day after Thanksgiving ends at 13:00, 210 minutes in
    assert volume_ST[0, 209] == 0.0
    assert np.isnan(volume_ST[0, 210:]).all()


@pytest.mark.parametrize("cut", [1, 2, 3, 100])
def test_minutes_before_a_cut_do_not_change(cut: int) -> None:
    rng = np.random.default_rng(1)
    rows = bars([("A", slot, 5.0, 6.0, 4.0, rng.uniform(4, 6), float(rng.integers(0, 3)), 1.0) for slot in range(242)])
    whole, truncated = grid(rows, CN, "242"), grid(rows.filter(pl.col("slot") < cut), CN, "242")
    for name in ("open", "close", "volume"):
        assert whole.columns[name][:, :cut].tobytes() == truncated.columns[name][:, :cut].tobytes()


def test_daily_bars_from_minutes() -> None:
    halted = bars([("B", slot, 3.0, 3.0, 3.0, 3.0, 0.0, 0.0) for slot in range(242)])
    previous = pl.DataFrame({"symbol": ["A", "B"], "close": [9.9, 3.1], "float_shares": [10_000.0, None]})
    daily = derive_daily(pl.concat([ROWS, halted]), CN, previous).select(
        "symbol", "open", "high", "low", "close", "pre_close", "volume", "amount", "turnover", "suspended"
    )
    assert daily.rows() == [
        ("A", 10.0, 11.0, 10.0, 11.0, 9.9, 1000.0, 10530.0, 0.1, False),
        ("B", 3.1, 3.1, 3.1, 3.1, 3.1, 0.0, 0.0, None, True),
    ]
