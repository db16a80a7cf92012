"""Totals, scales and slot medians against numbers computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from fpm.features.bars import grid
from fpm.features.minute_features import FeatureConstants, Profile, raw_features
from fpm.features.session_totals import scales, session_totals, slot_median, unit
from tests.small_market import FIRST, PROFILES, SLOTS, SMALL, small_market

CONSTANTS = FeatureConstants(history=2, window=4, minimum=2, median_minimum=2)
PROFILE = Profile("bar_32", "8", CONSTANTS)
AT = {feature: i for i, feature in enumerate(PROFILE.features)}


def totals(rows: Sequence[tuple[int, str, float, float | None, float | None]]) -> pl.DataFrame:
    """Rows (day, symbol, adj_factor, amount, volume) as the table; every other flow is 100."""
    frame = pl.DataFrame(
        [(FIRST + timedelta(days=row[0]), *row[1:]) for row in rows],
        schema={
            "session": pl.Date,
            "symbol": pl.String,
            "adj_factor": pl.Float64,
            "amount": pl.Float64,
            "volume": pl.Float64,
        },
        orient="row",
    )
    rest = [pl.lit(100.0).alias(flow) for flow in PROFILE.flows if flow not in ("amount", "volume")]
    return frame.with_columns(*rest, profile=pl.lit("bar_32"))


def test_totals_are_sums_of_the_flows_of_symbols_that_traded() -> None:
    market = small_market(4)
    bars, daily = (market[name].filter(pl.col("session") == FIRST + timedelta(days=3)) for name in market)
    dense = grid(bars, SMALL, "8", "ABCD")  # C is halted
    raw_STF = raw_features(dense, daily, np.full((4, SLOTS), 1.0), PROFILES["bar_32"])
    table = session_totals(raw_STF, dense, daily.filter(pl.col("symbol") != "D"), PROFILES["bar_32"])
    assert table["symbol"].to_list() == ["A", "B"]  # D has no daily row, so no adjustment factor
    expected = bars.group_by("symbol").agg(pl.col("amount").sum()).sort("symbol")
    np.testing.assert_allclose(table["amount"], expected.filter(pl.col("symbol").is_in(["A", "B"]))["amount"])
    assert table.columns == ["symbol", "profile", "adj_factor", *PROFILE.flows]


def test_a_total_of_too_few_observed_minutes_is_null() -> None:
    dense = grid(small_market(1)["minute_bars"].filter(pl.col("symbol") == "A"), SMALL, "8")
    raw_STF = np.ones((1, SLOTS, 32))
    raw_STF[0, :3, AT["amount"]] = np.nan
    raw_STF[0, :5, AT["volume"]] = np.nan
    daily = pl.DataFrame({"symbol": ["A"], "adj_factor": [1.0]})
    row = session_totals(raw_STF, dense, daily, PROFILE).row(0, named=True)
    assert (row["amount"], row["volume"], row["trade_count"]) == (5.0, None, 8.0)


def test_the_scale_is_the_mean_of_the_last_available_totals() -> None:
    rows = [
        (0, "A", 1.0, 9.0, 900.0),
        (1, "A", 1.0, 300.0, 10.0),
        (2, "A", 1.0, None, 20.0),
        (3, "A", 1.0, 500.0, 60.0),
    ]
    scales_SF = scales(totals(rows), ["A"], np.array([1.0]), PROFILE)
    assert scales_SF[0, AT["amount"]] == 400.0  # days 1 and 3: day 2 has none, day 0 is beyond the history of two
    assert scales_SF[0, AT["volume"]] == 40.0
    assert np.isnan(scales_SF[0, : len(PROFILE.prices)]).all()


def test_sessions_before_the_window_have_no_effect() -> None:
    old = [(0, "A", 1.0, 1e9, 1e9), (1, "A", 1.0, 4.0, 4.0)]
    filler = [(day, "B", 1.0, 1.0, 1.0) for day in (2, 3, 4)]
    assert np.isnan(scales(totals(old + filler), ["A"], np.array([1.0]), PROFILE)).all()


def test_volumes_are_converted_to_todays_shares_and_amounts_are_not() -> None:
    """2 for 1 on day 1 (factor 1 to 2): 100 shares then are 200 now."""
    rows = [(0, "A", 1.0, 1000.0, 100.0), (1, "A", 2.0, 1000.0, 200.0)]
    scales_SF = scales(totals(rows), ["A"], np.array([2.0]), PROFILE)
    assert scales_SF[0, AT["volume"]] == 200.0
    assert scales_SF[0, AT["amount"]] == 1000.0
    assert scales_SF[0, AT["up_volume"]] == 150.0  # 100 shares on day 0, 100 on day 1


def test_the_scale_is_bounded_by_its_unit_and_the_floor() -> None:
    rows = [(day, "A", 1.0, 1e6, 1e-3) for day in (0, 1)]
    scales_SF = scales(totals(rows), ["A"], np.array([1.0]), PROFILE)
    assert scales_SF[0, AT["up_amount"]] == 0.01 * 1e6  # its own mean is 100
    assert scales_SF[0, AT["volume"]] == 1.0
    assert scales_SF[0, AT["avg_trade_amount"]] == 100.0  # not a part of the amount


@pytest.mark.parametrize("adjust", [float("nan"), 0.0])
def test_too_little_history_or_no_factor_leaves_the_symbol_out(adjust: float) -> None:
    rows = [(0, "A", 1.0, 1.0, 1.0), (0, "B", 1.0, 1.0, 1.0), (1, "B", 1.0, 1.0, 1.0)]
    scales_SF = scales(totals(rows), ["A", "B", "C"], np.array([1.0, adjust, 1.0]), PROFILE)
    assert np.isnan(scales_SF).all()


def test_totals_of_another_profile_do_not_count() -> None:
    rows = totals([(0, "A", 1.0, 1.0, 1.0), (1, "A", 1.0, 1.0, 1.0)])
    assert np.isfinite(scales(rows, ["A"], np.ones(1), PROFILE)).any()
    other = rows.with_columns(profile=pl.lit("bar_flow_32"))
    assert np.isnan(scales(other, ["A"], np.ones(1), PROFILE)).all()
    assert np.isnan(scales(rows.clear().select("session"), ["A"], np.ones(1), PROFILE)).all()


def test_the_slot_median_counts_minutes_without_a_trade_as_0() -> None:
    """Amounts at slot 0: 5, none, 7; A is halted on day 3; at slot 1 only 8 on day 0."""
    rows = [
        (0, "A", 0, 1.0, 5.0),
        (0, "A", 1, 1.0, 8.0),
        (1, "A", 1, 0.0, 3.0),
        (1, "A", 2, 1.0, 1.0),
        (2, "A", 0, 1.0, 7.0),
    ]
    earlier = pl.DataFrame(
        [(FIRST + timedelta(days=row[0]), *row[1:]) for row in rows],
        schema={"session": pl.Date, "symbol": pl.String, "slot": pl.Int16, "volume": pl.Float64, "amount": pl.Float64},
        orient="row",
    )
    days = earlier.partition_by("session", maintain_order=True)
    median_ST = slot_median(days, ["A", "Z"], SMALL, PROFILE)
    np.testing.assert_array_equal(median_ST[0], [5.0] + [0.0] * (SLOTS - 1))
    assert np.isnan(median_ST[1]).all()
    assert np.isnan(slot_median(days[:1], ["A"], SMALL, PROFILE)).all()
    unknown = earlier.with_columns(pl.lit(None, dtype=pl.Float64).alias("amount"))
    assert np.isnan(slot_median(unknown.partition_by("session"), ["A"], SMALL, PROFILE)).all()


def test_every_flow_has_a_unit() -> None:
    for profile in PROFILES.values():
        assert {unit(flow) for flow in profile.flows} == {"amount", "volume", "trade_count", "avg_trade_amount"}
