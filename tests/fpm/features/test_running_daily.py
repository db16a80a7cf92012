"""The day so far, by hand-checked numbers."""

import polars as pl

from fpm.features.running_daily import running_daily
from fpm.sessions import market

BEFORE = pl.DataFrame(
    {
        "symbol": ["A", "B", "C"],
        "close": [10.0, 20.0, 30.0],
        "pre_close": [9.0, 20.0, 30.0],
        "limit_up": [9.9, 22.0, 33.0],
        "limit_down": [8.1, 18.0, 27.0],
        "adj_factor": [2.0, 1.0, 1.0],
        "float_shares": [1000.0, 1000.0, None],
        "industry": ["x", "y", "z"],
    }
)
BARS = pl.DataFrame(
    {
        "symbol": ["A", "A", "B", "C", "N"],
        "slot": pl.Series([1, 2, 1, 1, 1], dtype=pl.Int16),
        "open": [10.1, 10.4, 10.0, 30.0, 5.0],
        "high": [10.5, 10.6, 10.2, 30.0, 5.0],
        "low": [10.0, 10.3, 9.9, 30.0, 5.0],
        "close": [10.4, 10.5, 10.1, 30.0, 5.0],
        "volume": [100.0, 50.0, 10.0, 0.0, 1.0],
        "amount": [1030.0, 523.0, 101.0, 0.0, 5.0],
    }
)


def test_the_day_so_far_and_what_the_evening_before_knew() -> None:
    rows = {row["symbol"]: row for row in running_daily(BARS, market("cn"), BEFORE).iter_rows(named=True)}
    a = rows["A"]
    assert (a["open"], a["high"], a["low"], a["close"]) == (10.1, 10.6, 10.0, 10.5)
    assert (a["volume"], a["amount"], a["turnover"], a["pre_close"]) == (150.0, 1553.0, 0.15, 10.0)
    assert (a["adj_factor"], a["industry"], a["suspended"]) == (2.0, "x", False)
    assert (round(a["limit_up"], 9), round(a["limit_down"], 9)) == (11.0, 9.0)  # as far from 10 as 9.9 and 8.1 from 9


def test_a_halt_has_its_previous_close_and_a_new_name_no_past() -> None:
    rows = {row["symbol"]: row for row in running_daily(BARS, market("cn"), BEFORE).iter_rows(named=True)}
    assert rows["C"]["suspended"] and rows["C"]["close"] == 30.0 and rows["C"]["turnover"] is None
    assert rows["N"]["pre_close"] is None and rows["N"]["adj_factor"] == 1.0 and rows["N"]["limit_up"] is None


def test_a_symbol_that_opens_outside_its_limits_has_no_row() -> None:
    """B opens at half of its close: its shares were split, and the evening before did not know."""
    assert running_daily(BARS, market("cn"), BEFORE)["symbol"].to_list() == ["A", "C", "N"]


def test_a_home_without_a_vendors_daily_table() -> None:
    bare = BEFORE.select("symbol", "close", "pre_close", pl.lit(1.0).alias("adj_factor"))
    rows = running_daily(BARS, market("cn"), bare)
    assert rows["symbol"].to_list() == ["A", "B", "C", "N"] and rows["limit_up"].null_count() == 4
