"""Minutes of the synthetic exchange: valid bars, legs that add up, styles that move flows and change no total."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from fpm.exchange.days import Day
from fpm.exchange.minutes import minute_flows
from fpm.exchange.simulate import PRESETS, simulate
from fpm.exchange.styles import STYLES
from fpm.schema import OPTIONAL_FLOWS, PRICES


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    history = simulate(replace(PRESETS["tiny"], spoiled_every=0))
    return pl.concat([tables.minute_bars.with_columns(session=pl.lit(tables.session)) for tables in history])


def minute_of_day(bars: pl.DataFrame) -> np.ndarray:
    return ((bars["minute"] - bars["minute"].dt.truncate("1d")).dt.total_minutes()).to_numpy()


def test_a_symbol_session_has_the_rows_of_an_a_share_vendor(bars: pl.DataFrame) -> None:
    bars = bars.filter(pl.col("session") == bars["session"][0]).drop("session")
    first = minute_of_day(bars.filter(pl.col("symbol") == bars["symbol"][0])).tolist()
    assert first == [565, *range(571, 691), *range(781, 901)]  # 09:25, 09:31-11:30, 13:01-15:00
    assert bars.columns == ["symbol", "minute", *PRICES, "volume", "amount", *OPTIONAL_FLOWS]
    silent = np.isin(minute_of_day(bars), (898, 899))  # no trading between 14:57 and the closing call
    assert bars.filter(pl.Series(silent)).select(pl.col("volume", "amount", *OPTIONAL_FLOWS).sum()).row(0) == (0,) * 27


def test_prices_and_amounts_are_valid(bars: pl.DataFrame) -> None:
    high, low, opened, close = (bars[name].to_numpy() for name in ("high", "low", "open", "close"))
    assert (high >= np.maximum(opened, close)).all() and (low <= np.minimum(opened, close)).all()
    cents = bars.select(pl.col(PRICES) * 100).to_numpy()
    assert np.abs(cents - np.rint(cents)).max() < 1e-9 and cents.min() >= 1
    traded = bars.filter(pl.col("volume") > 0)
    mean_price = traded["amount"] / traded["volume"]
    assert (mean_price >= traded["low"] - 1e-9).all() and (mean_price <= traded["high"] + 1e-9).all()
    still = bars.filter(pl.col("volume") == 0)
    assert (still["high"] == still["low"]).all() and (still["amount"] == 0).all()


def test_legs_add_up(bars: pl.DataFrame) -> None:
    calls = np.isin(minute_of_day(bars), (565, 900))
    for total, unit in (("amount", "amount"), ("volume", "volume"), ("trades", "count")):
        sides = (bars[f"buy_{unit}"] + bars[f"sell_{unit}"]).to_numpy()
        assert np.allclose(sides[~calls], bars[total].to_numpy()[~calls], rtol=0, atol=1e-6)
        assert (sides[calls] == 0).all()
    for side in ("buy", "sell"):
        for unit in ("volume", "count"):
            sizes = sum((bars[f"{size}_{side}_{unit}"] for size in ("xl", "l", "m")), start=bars["volume"] * 0)
            assert (sizes <= bars[f"{side}_{unit}"]).all()
    assert (bars["order_volume"] >= bars["volume"]).all()


def test_counts_are_whole_and_go_with_shares(bars: pl.DataFrame) -> None:
    pairs = [(name, name.replace("_count", "_volume")) for name in OPTIONAL_FLOWS if name.endswith("_count")]
    for count, volume in [*pairs, ("trades", "volume")]:
        assert bars[count].dtype.is_integer() and bars[volume].dtype.is_integer()
        assert ((bars[count] > 0) == (bars[volume] > 0)).all(), count
        assert (bars[count] <= bars[volume]).all() and (bars[count] >= 0).all(), count


def test_cancels_never_exceed_the_orders_that_rest(bars: pl.DataFrame) -> None:
    rest = (pl.col("order_volume") - pl.col("volume") - pl.col("cancel_volume")).cum_sum().over("session", "symbol")
    assert bars.select(rest.min()).item() >= 0


def test_volume_is_u_shaped(bars: pl.DataFrame) -> None:
    shape = bars.group_by(pl.col("minute").dt.time())
    share = shape.agg(pl.col("volume").sum()).sort("minute")["volume"].to_numpy()
    opening, midday, closing = share[1:16].mean(), share[100:140].mean(), share[223:238].mean()
    assert opening > 1.5 * midday and closing > 1.1 * midday


def day_with_style(style: float, symbols: int = 40) -> Day:
    """A session with one style everywhere and returns from -3 % to 3 %, in which volume timing could show."""
    pre_close_S = np.linspace(800, 6_000, symbols).astype(np.int64)
    return Day(
        pre_close_S=pre_close_S,
        limit_up_S=np.rint(pre_close_S * 1.1).astype(np.int64),
        limit_down_S=np.rint(pre_close_S * 0.9).astype(np.int64),
        demand_S=np.linspace(-0.03, 0.03, symbols),
        sigma_S=np.full(symbols, 0.02),
        volume_S=np.linspace(1_000_000, 30_000_000, symbols).astype(np.int64),
        style_SK=np.full((symbols, len(STYLES)), style),
        shock_S=np.zeros(symbols),
        innovation_S=np.zeros(symbols),
        traded_S=np.ones(symbols, bool),
    )


def test_styles_move_flows_within_the_day_and_change_no_total() -> None:
    late, early = (minute_flows(day_with_style(style), np.random.default_rng(3)) for style in (1.5, -1.5))
    for name in PRICES:
        assert np.array_equal(late[name], early[name]), name
    for name in ("volume", "amount", *OPTIONAL_FLOWS):
        total_late, total_early = late[name].sum(axis=1), early[name].sum(axis=1)
        assert np.allclose(total_late, total_early, rtol=1e-4 if name.endswith("amount") else 0), name
        assert not np.array_equal(late[name], early[name]), name
    half_late, half_early = (flows["volume"][:, :120].sum(axis=1) for flows in (late, early))
    assert np.mean(half_early > 1.3 * half_late) > 0.8  # a session that only trends gives up its tilt


def test_large_buyers_come_early_where_large_sellers_come_late() -> None:
    flows = minute_flows(day_with_style(1.5), np.random.default_rng(3))
    first_half = {name: flow[:, :120].sum(axis=1) / np.maximum(flow.sum(axis=1), 1) for name, flow in flows.items()}
    for size in ("xl", "l"):
        assert (first_half[f"{size}_buy_volume"] > first_half["buy_volume"] + 0.1).mean() > 0.9
        assert (first_half[f"{size}_sell_volume"] < first_half["sell_volume"] - 0.1).mean() > 0.9


def test_a_large_order_has_the_value_of_its_class(bars: pl.DataFrame) -> None:
    """A minute with extra-large trades has at least one order of a million, traded or resting."""
    for side in ("buy", "sell"):
        large = bars.filter(pl.col(f"xl_{side}_volume") > 0)
        assert len(large) > 100
        entered = large["order_volume"] - large["volume"] + large[f"xl_{side}_volume"]
        assert (entered * large["high"] >= 1_000_000).all()
