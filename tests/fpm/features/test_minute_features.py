"""Minute features against hand-checked answers and plain Python; changes that must not matter."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import timedelta
from math import nan
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.errors import StoreCorrupt
from fpm.features.bars import grid
from fpm.features.minute_features import (
    PRESETS,
    FeatureConstants,
    Profile,
    from_frame,
    minute_features,
    raw_features,
    standardise,
    to_frame,
)
from fpm.schema import FEATURES, OPTIONAL_FLOWS, PRICES
from tests.fpm.features.slow_minute_features import slow_features
from tests.small_market import FIRST, PROFILES, SLOTS, SMALL, small_market

ANSWERS = Path(__file__).parents[2] / "answers"
NAMES = tuple(FEATURES)
DAY = {"pre_close": 9.8, "limit_up": 10.8, "limit_down": 8.8}
MEDIANS = [1000.0, 1000.0, 1000.0, 1000.0, 10000.0, 10000.0, nan, 350.0]


def answers(name: str) -> dict[str, list[float]]:
    with (ANSWERS / f"{name}.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    return {column: [float(row[column] or "nan") for row in rows] for column in rows[0]}


def tiny_bars(**changes: float) -> pl.DataFrame:
    """The hand-made session of one symbol: no trade at slots 0 and 3. `changes` multiply columns."""
    bars = pl.DataFrame(answers("minute_bars")).with_columns(pl.col("slot").cast(pl.Int16), symbol=pl.lit("A"))
    return bars.with_columns(pl.col(name) * factor for name, factor in changes.items())


def tiny_raw(name: str, bars: pl.DataFrame, **day: float) -> np.ndarray:
    daily = pl.DataFrame({"symbol": ["A"], **{key: [value] for key, value in (DAY | day).items()}})
    raw_STF = raw_features(grid(bars, SMALL, "8"), daily, np.array([MEDIANS]), PROFILES[name])
    return np.asarray(raw_STF[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_feature_of_the_hand_made_session(name: str) -> None:
    expected = answers(f"minute_features_{name}")
    raw_TF = tiny_raw(name, tiny_bars())
    assert list(expected) == ["slot", *FEATURES[name]]
    for i, feature in enumerate(FEATURES[name]):
        np.testing.assert_allclose(raw_TF[:, i], expected[feature], rtol=1e-9, atol=1e-11, err_msg=feature)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_every_feature_of_random_sessions(name: str, seed: int) -> None:
    market = small_market(4, seed)
    bars, daily = (market[table].filter(pl.col("session") == FIRST) for table in ("minute_bars", "daily_bars"))
    dense = grid(bars, SMALL, "8")
    median_ST = np.random.default_rng(seed).uniform(0, 2e4, (len(dense.symbols), SLOTS))
    raw_STF = raw_features(dense, daily, median_ST, PROFILES[name])
    for i, symbol in enumerate(dense.symbols):
        slots = dict.fromkeys(range(SLOTS)) | {
            row["slot"]: row for row in bars.filter((pl.col("symbol") == symbol) & (pl.col("volume") > 0)).to_dicts()
        }
        day = daily.row(by_predicate=pl.col("symbol") == symbol, named=True)
        slow = slow_features([slots[t] for t in range(SLOTS)], day, median_ST[i].tolist(), name)
        expected_TF = np.array([[minute[feature] for feature in FEATURES[name]] for minute in slow])
        np.testing.assert_allclose(raw_STF[i], expected_TF, rtol=1e-9, atol=1e-7)


def test_bulk_classification_forgets_changes_beyond_its_window() -> None:
    """Sixty minutes, the first 25 wild and the others calm: the last minutes' sigma sees only calm ones."""
    rng, count = np.random.default_rng(4), 60
    market = replace(SMALL, slots=tuple(range(count)), views={"8": tuple(range(count))})
    close = np.round(50 + np.cumsum(rng.normal(0, np.where(np.arange(count) < 25, 1.0, 0.02))), 3)
    columns = dict.fromkeys(PRICES, close) | {"volume": np.full(count, 10.0), "trades": np.full(count, 2.0)}
    bars = pl.DataFrame({"symbol": "A", "slot": np.arange(count, dtype=np.int16), **columns, "amount": 10 * close})
    daily = pl.DataFrame({"symbol": ["A"], "pre_close": [50.0]})
    raw_STF = raw_features(grid(bars, market, "8"), daily, np.zeros((1, count)), PROFILES["bar_32"])
    day = {"pre_close": 50.0, "limit_up": nan, "limit_down": nan}
    slow = slow_features(bars.to_dicts(), day, [0.0] * count, "bar_32")
    expected_TF = np.array([[minute[feature] for feature in FEATURES["bar_32"]] for minute in slow])
    np.testing.assert_allclose(raw_STF[0], expected_TF, rtol=1e-9, atol=1e-9)


def test_the_answers_agree() -> None:
    """The committed answers equal the slow features of the hand-made session."""
    columns = answers("minute_bars")
    rows = {int(t): {name: columns[name][i] for name in columns} for i, t in enumerate(columns["slot"])}
    for name in NAMES:
        expected = answers(f"minute_features_{name}")
        for t, minute in enumerate(slow_features([rows.get(t) for t in range(SLOTS)], DAY, MEDIANS, name)):
            for feature in FEATURES[name]:
                assert minute[feature] == pytest.approx(expected[feature][t], rel=1e-9, nan_ok=True)


@given(exponent=st.integers(-8, 8))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_price_has_no_effect(exponent: int) -> None:
    """A split or another currency: prices and amounts scaled by a power of two, so that floats stay exact."""
    factor = 2.0**exponent
    for name in NAMES:
        raw_TF = tiny_raw(name, tiny_bars())
        bars = tiny_bars(**dict.fromkeys(PRICES, factor), volume=1 / factor)
        scaled_TF = tiny_raw(name, bars, **{key: value * factor for key, value in DAY.items()})
        others = [i for i, feature in enumerate(FEATURES[name]) if "volume" not in feature]
        np.testing.assert_array_equal(scaled_TF[:, others], raw_TF[:, others])


@given(factor=st.floats(1e-3, 1e3))
@settings(max_examples=15, deadline=None)
def test_the_unit_of_volume_scales_only_volumes(factor: float) -> None:
    volumes = {flow: factor for flow in ("volume", *OPTIONAL_FLOWS) if flow.endswith("volume")}
    for name in NAMES:
        raw_TF, scaled_TF = tiny_raw(name, tiny_bars()), tiny_raw(name, tiny_bars(**volumes))
        for i, feature in enumerate(FEATURES[name]):
            if feature in ("vwap", "session_vwap"):  # an amount over a volume: only consistent units make a price
                continue
            times = factor if feature.endswith("volume") else 1.0
            np.testing.assert_allclose(scaled_TF[:, i], raw_TF[:, i] * times, rtol=1e-9, atol=1e-7)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_has_no_effect(seed: int) -> None:
    market = small_market(1)
    bars, daily = market["minute_bars"], market["daily_bars"]
    median_ST = np.full((bars["symbol"].n_unique(), SLOTS), 1e3)
    for profile in PROFILES.values():
        shuffled = grid(bars.sample(fraction=1, shuffle=True, seed=seed), SMALL, "8")
        mixed = daily.sample(fraction=1, shuffle=True, seed=seed)
        raw_STF = raw_features(grid(bars, SMALL, "8"), daily, median_ST, profile)
        np.testing.assert_array_equal(raw_features(shuffled, mixed, median_ST, profile), raw_STF)


@pytest.mark.parametrize(
    ("lacking", "unavailable"),
    [
        ("trades", {"trade_count", "avg_trade_amount", "buy_count", "sell_count"}),
        ("amount", {name for name in FEATURES["bar_32"] if "amount" in name} | {"vwap", "session_vwap"}),
    ],
)
def test_a_missing_column_is_unavailable_and_never_0(lacking: str, unavailable: set[str]) -> None:
    raw_TF = tiny_raw("bar_32", tiny_bars().drop(lacking))
    vwaps = {"vwap": [0, 3], "session_vwap": [0]}  # without a trade a vwap is the last close
    for i, feature in enumerate(FEATURES["bar_32"]):
        expected = (
            [t not in vwaps.get(feature, []) for t in range(SLOTS)] if feature in unavailable else [False] * SLOTS
        )
        missing = np.isnan(np.delete(raw_TF[:, i], 6)) if feature == "surge_amount" else np.isnan(raw_TF[:, i])
        assert missing.tolist() == expected[: len(missing)], feature


def test_missing_taker_legs_are_the_remainder_or_classified() -> None:
    bars = tiny_bars().drop("sell_amount", "sell_volume", "buy_count", "sell_count")
    real, bulk = tiny_raw("bar_flow_32", bars), tiny_raw("bar_32", bars)
    at = {feature: i for i, feature in enumerate(FEATURES["bar_32"])}
    np.testing.assert_allclose(real[4, at["sell_amount"]], 30600 - real[4, at["buy_amount"]])
    np.testing.assert_array_equal(real[:, at["buy_count"]], bulk[:, at["buy_count"]])


def test_price_pos_without_limits_is_unavailable() -> None:
    for day in ({"limit_up": nan}, {"limit_down": nan}, {"limit_up": 8.8}):
        assert np.isnan(tiny_raw("l2_32", tiny_bars(), **day)[:, 3]).all()


def test_before_the_first_trade_without_a_prior_close_prices_are_unavailable() -> None:
    raw_TF = tiny_raw("bar_32", tiny_bars(), pre_close=nan)
    assert np.isnan(raw_TF[0, :8]).all() and not np.isnan(raw_TF[1:, :8]).any()
    assert raw_TF[0, 8] == 0


def test_a_minute_without_observation_is_unavailable_and_does_not_affect_others() -> None:
    """In a market whose vendors deliver every minute, an absent row says nothing about trading."""
    market = replace(SMALL, exchange=replace(SMALL.exchange, every_minute=True))
    daily = pl.DataFrame({"symbol": ["A"], **{key: [value] for key, value in DAY.items()}})
    dense = grid(tiny_bars(), market, "8")
    raw_TF = raw_features(dense, daily, np.array([MEDIANS]), PROFILES["bar_32"])[0]
    assert np.isnan(raw_TF[[0, 3]]).all()
    expected = tiny_raw("bar_32", tiny_bars())
    prices_and_totals = slice(0, 12)
    np.testing.assert_array_equal(
        raw_TF[[1, 2, 4, 5, 6, 7], prices_and_totals], expected[[1, 2, 4, 5, 6, 7], prices_and_totals]
    )


def test_standardise_divides_flows_by_a_minute_of_the_scale_and_clips() -> None:
    profile = Profile("bar_32", "8", FeatureConstants(clip=5.0))
    raw_STF = np.ones((2, SLOTS, 32))
    raw_STF[0, 0, :] = 100.0
    scales_SF = np.full((2, 32), np.nan)
    scales_SF[0, 8:] = 4.0
    x_STF = standardise(raw_STF, scales_SF, profile)
    assert x_STF.dtype == np.float32
    np.testing.assert_array_equal(x_STF[0, 1], np.array([1.0] * 8 + [SLOTS / 4] * 24, np.float32))
    np.testing.assert_array_equal(x_STF[0, 0], np.full(32, 5.0, np.float32))
    assert np.isnan(x_STF[1]).all()


def test_the_long_table_and_back() -> None:
    profile = PROFILES["bar_32"]
    x_STF = np.random.default_rng(0).normal(size=(3, SLOTS, 32)).astype(np.float32)
    x_STF[1, 2, 5] = np.nan
    frame = to_frame(["A", "B", "C"], x_STF, profile)
    assert frame.columns == ["symbol", "slot", "profile", *profile.features]
    assert frame.schema["slot"] == pl.Int16 and frame.schema["open"] == pl.Float32
    assert frame.filter(pl.col("symbol") == "B")["session_vwap"].null_count() == 1
    removed = frame.with_columns(pl.lit(None, pl.String).alias("profile"), pl.lit("D").alias("symbol"))
    mixed = pl.concat([frame, removed]).sample(fraction=1, shuffle=True, seed=1)
    symbols, back_STF = from_frame(mixed, profile)
    assert symbols == ("A", "B", "C")
    np.testing.assert_array_equal(back_STF, x_STF)


def test_an_empty_table_and_back() -> None:
    profile = PROFILES["l2_32"]
    frame = to_frame([], np.empty((0, SLOTS, 32), np.float32), profile)
    symbols, x_STF = from_frame(frame, profile)
    assert frame.height == 0 and symbols == () and x_STF.shape[0] == 0 and x_STF.shape[2] == 32


def test_a_table_of_another_profile_or_with_holes_is_refused() -> None:
    profile = PROFILES["bar_32"]
    frame = to_frame(["A", "B"], np.zeros((2, SLOTS, 32), np.float32), profile)
    with pytest.raises(StoreCorrupt, match="FPM-MF-001"):
        from_frame(frame[1:], profile)
    with pytest.raises(StoreCorrupt, match="FPM-MF-001"):
        from_frame(frame, PROFILES["bar_flow_32"])


def test_halted_symbols_and_symbols_without_a_scale_have_no_rows() -> None:
    market = small_market(4)
    bars = market["minute_bars"].filter(pl.col("session") == FIRST + timedelta(days=3))
    dense = grid(bars, SMALL, "8", "ABCD")
    x_STF = np.zeros((4, SLOTS, 32), np.float32)
    x_STF[3] = np.nan
    table = minute_features(dense, x_STF, PROFILES["bar_32"])
    assert table["symbol"].unique().sort().to_list() == ["A", "B"]  # C is halted, D has no scale
    assert table.height == 2 * SLOTS


def test_profiles_of_other_constants_views_or_lists_have_other_hashes() -> None:
    profile = Profile("bar_32", "240", PRESETS["default"])
    others = [
        replace(profile, name="bar_flow_32"),
        replace(profile, view="241"),
        replace(profile, constants=replace(profile.constants, clip=10.0)),
    ]
    assert len({other.hash for other in (profile, *others)}) == 4
    assert profile.hash == Profile("bar_32", "240").hash and len(profile.hash) == 12
    for name in NAMES:
        assert len(Profile(name, "240").prices) + len(Profile(name, "240").flows) == 32
