"""Classic factors against hand-checked numbers and plain Python; changes that must not matter to any factor."""

from __future__ import annotations

from datetime import timedelta
from math import nan

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.features.daily_factors import daily_factors
from fpm.schema import CLASSIC, DAILY_FACTORS, PRICES
from tests.fpm.features.slow_daily_factors import slow_factors
from tests.small_market import FIRST, small_market

SESSIONS = 70
LAST = FIRST + timedelta(days=SESSIONS - 1)
DAILY = small_market(SESSIONS, seed=5)["daily_bars"]


def growing_days(count: int) -> pl.DataFrame:
    """One symbol growing 1 % a day: open and low are the previous close, high the close, volume 100, 200, 100, …"""
    closes = [100 * 1.01**i for i in range(count)]
    return pl.DataFrame(
        {
            "session": [LAST - timedelta(days=count - 1 - i) for i in range(count)],
            "symbol": "A",
            "open": [100 / 1.01, *closes[:-1]][:count],
            "high": closes,
            "low": [100 / 1.01, *closes[:-1]][:count],
            "close": closes,
            "volume": [100.0 * (1 + i % 2) for i in range(count)],
            "amount": [1e6] * count,
            "adj_factor": 1.0,
            "suspended": False,
            "float_shares": 1000.0,
            "turnover": None,
        }
    )


def one(daily: pl.DataFrame) -> dict[str, float]:
    """The classic factors of the only symbol; Alpha158 has tests of its own."""
    return daily_factors(daily, LAST).select("symbol", *CLASSIC).row(0, named=True)


def test_factors_of_steady_growth_by_hand() -> None:
    factors = one(growing_days(61))  # the last session has volume 100
    expected = {
        **{f"return_{n}": 1.01**n - 1 for n in (1, 5, 20, 60)},
        "volatility_20": 0.0,
        "downside_volatility_20": 0.0,
        "max_return_20": 0.01,
        "range_20": 1 - 1 / 1.01,
        "close_position_20": 1.0,
        "turnover_1": 0.1,
        "turnover_20": 0.15,
        "turnover_ratio_5_20": 0.14 / 0.15,
        "volume_ratio_5_20": 140 / 150,
        "volume_shock_1": 100 / 150 - 1,
        "illiquidity_20": 0.01 / 1e6 * 1e6,
        "gap_1": 0.0,
        "intraday_return_1": 0.01,
        "log_size": np.log(1000 * 100 * 1.01**60),
    }
    for name, value in expected.items():
        assert factors[name] == pytest.approx(value, rel=1e-6, abs=1e-7), name


@pytest.mark.parametrize("back", [0, 3, 40, 60])
def test_every_factor_equals_the_slow_one(back: int) -> None:
    """40 sessions before the last there are 29, 60 before it 9: short histories are null in both."""
    session = LAST - timedelta(days=back)
    table = daily_factors(DAILY, session)
    days = [FIRST + timedelta(days=i) for i in range(SESSIONS - back)][-61:]
    assert table.columns == ["symbol", *DAILY_FACTORS]
    for row in table.iter_rows(named=True):
        rows = {day["session"]: day for day in DAILY.filter(pl.col("symbol") == row["symbol"]).to_dicts()}
        slow = slow_factors([rows.get(day) for day in days])
        for name in CLASSIC:
            value = nan if row[name] is None else row[name]
            assert value == pytest.approx(slow.get(name, nan), rel=2e-6, abs=1e-7, nan_ok=True), (row["symbol"], name)


def test_types_order_and_length() -> None:
    table = daily_factors(DAILY.sample(fraction=1, shuffle=True, seed=1), LAST)
    assert table.equals(daily_factors(DAILY, LAST), null_equal=True)
    assert table["symbol"].to_list() == list("ABCDE")
    assert set(table.drop("symbol").dtypes) == {pl.Float32}


def test_a_short_history_is_null() -> None:
    names = {
        count: {name for name, value in one(growing_days(count)).items() if value is not None}
        for count in (1, 6, 20, 21)
    }
    assert names[1] == {"symbol", "turnover_1", "intraday_return_1", "log_size"}
    assert names[6] == names[1] | {"return_1", "return_5", "gap_1"}
    assert "return_20" not in names[20] and "turnover_20" in names[20]
    assert {"return_20", "volatility_20", "volume_shock_1"} <= names[21]


def test_a_suspended_session_has_history_but_nothing_of_its_own() -> None:
    daily = growing_days(61).with_columns(
        suspended=pl.col("session") == LAST,
        volume=pl.when(pl.col("session") == LAST).then(0.0).otherwise("volume"),
    )
    factors = one(daily)
    for name in ("return_1", "return_60", "turnover_1", "volume_shock_1", "gap_1", "intraday_return_1"):
        assert factors[name] is None, name
    assert factors["max_return_20"] == pytest.approx(0.01, rel=1e-6)
    assert factors["log_size"] == pytest.approx(np.log(1000 * 100 * 1.01**59), rel=1e-6)


def test_a_move_over_a_suspension_belongs_to_the_session_of_resumption() -> None:
    pause = [LAST - timedelta(days=i) for i in (1, 2, 3)]
    daily = growing_days(61).with_columns(
        suspended=pl.col("session").is_in(pause),
        volume=pl.when(pl.col("session").is_in(pause)).then(0.0).otherwise("volume"),
    )
    factors = one(daily)
    assert factors["return_1"] == pytest.approx(1.01**4 - 1, rel=1e-5)
    assert factors["max_return_20"] == pytest.approx(1.01**4 - 1, rel=1e-5)


def test_a_factor_without_its_input_is_null() -> None:
    factors = one(growing_days(61).drop("float_shares", "turnover").with_columns(amount=pl.lit(None, dtype=pl.Float64)))
    missing = {name for name, value in factors.items() if value is None}
    assert missing >= {"log_size", "turnover_1", "turnover_20", "turnover_ratio_5_20", "illiquidity_20"}
    assert one(growing_days(61).with_columns(turnover=pl.lit(0.5)))["turnover_1"] == 0.5


def test_a_constant_price_has_no_correlation_and_no_skewness() -> None:
    factors = one(growing_days(61).with_columns(pl.lit(0.1).alias(name) for name in PRICES))
    assert factors["price_volume_correlation_20"] is None and factors["skewness_20"] is None
    assert factors["close_position_20"] == 0.5 and factors["volatility_20"] == 0


def test_no_adjustment_factor_leaves_the_factors_null() -> None:
    factors = one(growing_days(61).with_columns(adj_factor=pl.lit(None, dtype=pl.Float64)))
    assert {value for name, value in factors.items() if name != "symbol"} == {None}


@given(exponent=st.integers(-4, 4), session=st.integers(5, SESSIONS - 2))
@settings(max_examples=10, deadline=None)
def test_a_split_leaves_no_trace(exponent: int, session: int) -> None:
    """From one session on: prices divided by a factor, shares, volumes and adj_factor multiplied."""
    factor = pl.when(pl.col("session") >= FIRST + timedelta(days=session)).then(2.0**exponent).otherwise(1.0)
    shares = pl.col("volume", "float_shares", "adj_factor") * factor
    split = DAILY.with_columns(pl.col(PRICES) / factor, shares)
    assert daily_factors(split, LAST).equals(daily_factors(DAILY, LAST), null_equal=True)


def test_other_symbols_have_no_effect() -> None:
    alone = daily_factors(DAILY.filter(pl.col("symbol") == "B"), LAST)
    assert alone.equals(daily_factors(DAILY, LAST).filter(pl.col("symbol") == "B"), null_equal=True)


def test_no_rows_of_the_session_give_an_empty_table() -> None:
    table = daily_factors(DAILY, LAST + timedelta(days=1))
    assert table.height == 0 and table.columns == ["symbol", *DAILY_FACTORS]
