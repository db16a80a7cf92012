"""Styles of a lottery: drawn by a seed alone, worth something, and without a trace in any daily column."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import spearmanr

from fpm.exchange.lottery import MOST_CHANNELS, MOST_STYLES, STRENGTH, Lottery, drawn
from fpm.exchange.prices import CALLS, CONTINUOUS, SILENT, VARIANCE_C, VOLUME_C
from fpm.exchange.simulate import (
    LEAST_RANK_IC,
    REFERENCE,
    ExchangeConfig,
    lottery_of,
    oracle_rank_ic,
    simulate,
    write,
)
from fpm.schema import OPTIONAL_FLOWS, PRICES
from tests.fpm.exchange.test_styles import MOST_EXPLAINED, daily_columns, explained, sessions_of

SMALL = ExchangeConfig(symbols=40, sessions=3, spoiled_every=0, seed=5, styles=3)
KEPT = {"volume": 0.0, "amount": 2e-5, "trades": 0.0}  # relative change of a total that styles may cause


def silent(lottery: Lottery) -> Lottery:
    """The same styles and drivers, which leave the minutes alone."""
    styles = (replace(each, patterns={name: 0 * row for name, row in each.patterns.items()}) for each in lottery.styles)
    return replace(lottery, styles=tuple(styles))


def test_a_seed_means_the_same_styles_in_every_exchange() -> None:
    one, same, other = (list(simulate(replace(SMALL, styles=seed))) for seed in (3, 3, 4))
    wider = next(iter(simulate(replace(SMALL, symbols=60))))
    for left, right in zip(one, same, strict=True):
        assert_frame_equal(left.minute_bars, right.minute_bars)
        assert_frame_equal(left.styles, right.styles)
    assert one[0].styles.columns == wider.styles.columns != other[0].styles.columns


def test_seeds_draw_one_to_six_styles_of_every_channel() -> None:
    draws = [drawn(seed, 0) for seed in range(60)]
    assert {len(each.styles) for each in draws} == set(range(1, MOST_STYLES + 1))
    styles = [style for each in draws for style in each.styles]
    assert {name for style in styles for name in style.patterns} == set(STRENGTH)
    assert {len(style.patterns) for style in styles} == set(range(1, MOST_CHANNELS + 1))
    assert {np.sign(style.weight) for style in styles} == {-1.0, 1.0}
    assert len({each.names for each in draws}) > 50


def test_patterns_are_smooth_and_move_a_flow_without_adding_to_it() -> None:
    for name, row_T in [pair for seed in range(20) for each in drawn(seed, 0).styles for pair in each.patterns.items()]:
        own_C, weight_C = row_T[CONTINUOUS], VARIANCE_C if name == "path" else VOLUME_C
        size = np.sqrt(weight_C @ own_C**2)
        assert STRENGTH[name][0] <= size <= STRENGTH[name][1]
        assert not row_T[[*CALLS, *range(238, 240)]].any() and slice(238, 240) == SILENT
        assert np.abs(np.diff(own_C)).max() < 0.5 * size, "the first minutes go through the volume clock fastest"
        assert name == "path" or abs(weight_C @ own_C) < 1e-12


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_values_have_their_persistence_and_unit_variance(seed: int) -> None:
    lottery = drawn(seed, 0)
    today, tomorrow = (lottery.values(9, index, 20_000) for index in (0, 1))
    assert np.allclose(today.std(axis=0), 1.0, atol=0.04) and np.abs(today).max() <= 3.5
    assert np.allclose(today.mean(axis=0), 0.0, atol=0.03)
    follows_K = [np.corrcoef(today[:, k], tomorrow[:, k])[0, 1] for k in range(len(lottery.styles))]
    assert np.allclose(follows_K, lottery.persistence_K, atol=0.05)
    assert lottery.driver(today).std() == pytest.approx(1.0, abs=0.1)
    ahead_S = lottery.ahead(today, np.array([1.0, 0.5]))
    assert np.polyfit(ahead_S, 0.5 * lottery.driver(tomorrow), 1)[0] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_oracle_of_an_accepted_draw_is_worth_it(seed: int) -> None:
    """By scipy, from the tables alone."""
    history = list(simulate(REFERENCE, lottery_of(seed)))
    price = {
        t: dict(zip(each.daily_bars["symbol"], adjusted(each.daily_bars), strict=True))
        for t, each in enumerate(history)
    }
    values = []
    for t, tables in enumerate(history[:-6]):
        rows = [
            row
            for row in tables.oracle.rows(named=True)
            if row["symbol"] in price[t + 6] and row["symbol"] in price[t + 1]
        ]
        moves = [price[t + 6][row["symbol"]] / price[t + 1][row["symbol"]] for row in rows]
        values.append(spearmanr([row["intraday"] for row in rows], moves)[0])
    assert np.mean(values) >= LEAST_RANK_IC
    assert oracle_rank_ic(lottery_of(seed)) == pytest.approx(np.mean(values), abs=0.005)


def adjusted(daily: pl.DataFrame) -> list[float]:
    return (daily["close"] * daily["adj_factor"]).to_list()


def test_weak_styles_are_below_the_threshold_and_a_market_without_signal_has_none() -> None:
    lottery = lottery_of(3)
    assert oracle_rank_ic(replace(lottery, impact=0.03)) < LEAST_RANK_IC
    assert abs(oracle_rank_ic(lottery, replace(REFERENCE, signal=False))) < 3 / np.sqrt(149 * 114 / 5)


@pytest.mark.parametrize("seed", [2, 5])
def test_what_the_styles_do_leaves_the_daily_table_as_it_is(seed: int) -> None:
    """Prices, volume and counts to the last digit, values to the price's tolerance: with and without the tilts."""
    lottery = lottery_of(seed)
    plain, bent = (list(simulate(SMALL, each)) for each in (silent(lottery), lottery))
    for without, own in zip(plain, bent, strict=True):
        assert without.styles.equals(own.styles) and without.oracle.equals(own.oracle)
        keys = ("symbol", *PRICES, "pre_close", "volume", "limit_up", "limit_down", "suspended")
        assert without.daily_bars.select(keys).equals(own.daily_bars.select(keys))
        totals = [
            each.minute_bars.drop("minute").group_by("symbol", maintain_order=True).sum() for each in (without, own)
        ]
        for name, bound in KEPT.items():
            change = (totals[1][name] / totals[0][name] - 1).abs()
            assert change.quantile(0.95) <= bound, name
        assert not without.minute_bars.equals(own.minute_bars)


@pytest.mark.parametrize("seed", [2])
def test_all_daily_columns_and_their_products_explain_less_than_a_hundredth_of_a_style(seed: int) -> None:
    rows = sessions_of(ExchangeConfig(symbols=110, sessions=130, spoiled_every=0, seed=11, styles=seed))
    columns, names = daily_columns(rows), lottery_of(seed).names
    shares = dict(zip(names, explained(columns, rows.select(names).to_numpy()), strict=True))
    assert max(shares.values()) < MOST_EXPLAINED, shares


def test_a_lottery_has_ticks_and_days_as_the_planted_styles_have() -> None:
    ticks = next(iter(simulate(replace(SMALL, symbols=3, sessions=1, ticks=True)))).ticks
    assert ticks is not None and all(len(records) for records in vars(ticks).values())
    days = list(simulate(replace(SMALL, daily=True)))
    assert all(len(each.oracle) and not len(each.minute_bars) for each in days)


def test_only_an_exchange_with_a_lottery_names_it(tmp_path: Path) -> None:
    """A folder written before lotteries existed is still the same exchange."""
    small = replace(SMALL, symbols=3, sessions=1)
    for name, config in (("planted", replace(small, styles=None)), ("drawn", small)):
        write(config, tmp_path / name)
        assert ('"styles": 3' in (tmp_path / name / "exchange.json").read_text().split('"impact"')[-1]) == (
            name == "drawn"
        )


def test_flows_stay_within_one_another() -> None:
    bars = pl.concat(each.minute_bars for each in simulate(SMALL))
    assert (bars["buy_volume"] + bars["sell_volume"] <= bars["volume"]).all()
    assert (bars["low"] <= bars["high"]).all() and (bars["high"] >= bars["close"]).all()
    assert (
        (bars["amount"] >= bars["low"] * bars["volume"] - 0.01)
        & (bars["amount"] <= bars["high"] * bars["volume"] + 0.01)
    ).all()
    assert min(bars[name].min() for name in OPTIONAL_FLOWS) >= 0  # type: ignore[type-var]
