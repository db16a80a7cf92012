"""Readings of a lottery's styles: on sessions that nothing was fitted on, unbiased, each of its own style."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fpm.exchange.ideals import ideals
from fpm.exchange.lottery import STRENGTH
from fpm.exchange.lottery_ideals import CHANNELS, LotteryIdeals, ideal_reader, slope
from fpm.exchange.simulate import ExchangeConfig, simulate
from fpm.exchange.tables import SessionTables

CONFIG = ExchangeConfig(symbols=150, sessions=6, spoiled_every=0, seed=77, styles=3)


@pytest.fixture(scope="module")
def reader() -> LotteryIdeals:
    made = ideal_reader(CONFIG)
    assert isinstance(made, LotteryIdeals)
    return made


@pytest.fixture(scope="module")
def history() -> list[SessionTables]:
    return list(simulate(CONFIG))


def test_every_style_is_read_well_and_without_bias(reader: LotteryIdeals, history: list[SessionTables]) -> None:
    estimates = pl.concat([reader(tables.minute_bars) for tables in history])
    planted = pl.concat([tables.styles.sort("symbol") for tables in history])
    for name in reader.lottery.names:
        assert np.corrcoef(estimates[name], planted[name])[0, 1] > 0.85, name
        assert np.polyfit(estimates[name], planted[name], 1)[0] == pytest.approx(1.0, abs=0.1), name


def test_row_order_does_not_matter_and_a_few_absent_minutes_matter_little(
    reader: LotteryIdeals, history: list[SessionTables]
) -> None:
    bars = history[0].minute_bars
    whole = reader(bars)
    assert reader(bars.sample(fraction=1.0, shuffle=True, seed=1)).equals(whole)
    holed = reader(bars.filter(pl.int_range(pl.len()).hash(3) % 20 != 0))
    for name in reader.lottery.names:
        assert np.corrcoef(whole[name], holed[name])[0, 1] > 0.85, name


def test_the_planted_styles_keep_their_own_reader() -> None:
    assert ideal_reader(ExchangeConfig()) is ideals
    assert set(CHANNELS) == set(STRENGTH)


def test_slope_is_numpys() -> None:
    rng = np.random.default_rng(1)
    value_SC, along_C, beside_SC = rng.normal(size=(4, 30)), rng.normal(size=30), rng.normal(size=(4, 30))
    known_SC = rng.random((4, 30)) < 0.8
    measured = slope(value_SC, along_C, known_SC, beside_SC[:, None])
    for s in range(4):
        design = np.column_stack([along_C, np.ones(30), beside_SC[s]])[known_SC[s]]
        assert measured[s] == pytest.approx(np.linalg.lstsq(design, value_SC[s][known_SC[s]])[0][0], abs=1e-6)
