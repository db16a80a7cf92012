"""The best single-session estimates of the styles: near their stated correlation, above naive estimates."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fpm.exchange.ideals import ideals, posterior_mean
from fpm.exchange.prices import CLOCK_T, CONTINUOUS, ROWS
from fpm.exchange.simulate import ExchangeConfig, simulate
from fpm.exchange.styles import STYLES
from fpm.exchange.tables import SessionTables

CONFIG = ExchangeConfig(symbols=300, sessions=8, spoiled_every=0, seed=3)
WORTH = {"volume_timing": 0.943, "co_movement": 0.989, "cancel_bursts": 0.959, "large_order_direction": 0.977}


@pytest.fixture(scope="module")
def history() -> list[SessionTables]:
    return list(simulate(CONFIG))


def naive(bars: pl.DataFrame) -> np.ndarray:
    """Return naive estimates, (S, K).

    Mean volume time; correlation of volume with |return|; coefficient of variation of cancels; mean time of large
    sellers minus that of large buyers.
    """
    rows = {
        name: bars[name].to_numpy().reshape(-1, ROWS)[:, CONTINUOUS].astype(float)
        for name in ("volume", "close", "open", "cancel_volume", "l_buy_volume", "l_sell_volume")
    }
    clock = CLOCK_T[CONTINUOUS]
    times = {name: rows[name] @ clock / np.maximum(rows[name].sum(axis=1), 1) for name in rows if "volume" in name}
    moves = np.abs(np.log(rows["close"] / rows["open"]))
    together = [np.corrcoef(a, b)[0, 1] for a, b in zip(rows["volume"], moves, strict=True)]
    bursts = rows["cancel_volume"].std(axis=1) / rows["cancel_volume"].mean(axis=1)
    return np.column_stack([times["volume"], together, bursts, times["l_sell_volume"] - times["l_buy_volume"]])


def test_each_ideal_has_its_stated_correlation_and_beats_the_naive_one(history: list[SessionTables]) -> None:
    estimates = pl.concat([ideals(tables.minute_bars) for tables in history]).select(list(STYLES)).to_numpy()
    plain = np.vstack([naive(tables.minute_bars) for tables in history])
    planted = np.vstack([tables.styles.sort("symbol").select(list(STYLES)).to_numpy() for tables in history])
    for k, name in enumerate(STYLES):
        ideal = np.corrcoef(estimates[:, k], planted[:, k])[0, 1]
        assert abs(ideal - WORTH[name]) < 0.015, (name, ideal)
        assert ideal > np.corrcoef(plain[:, k], planted[:, k])[0, 1] + 0.01, name
        assert np.polyfit(estimates[:, k], planted[:, k], 1)[0] == pytest.approx(
            1.0, abs=0.1
        )  # unbiased, not only ordered


def test_an_ideal_estimates_its_own_style_and_no_other(history: list[SessionTables]) -> None:
    estimates = pl.concat([ideals(tables.minute_bars) for tables in history]).select(list(STYLES)).to_numpy()
    planted = np.vstack([tables.styles.sort("symbol").select(list(STYLES)).to_numpy() for tables in history])
    across = np.corrcoef(estimates.T, planted.T)[: len(STYLES), len(STYLES) :]
    assert np.abs(across - np.diag(np.diag(across))).max() < 0.12


def test_row_order_does_not_matter_and_a_few_absent_minutes_matter_little(history: list[SessionTables]) -> None:
    bars = history[0].minute_bars
    whole = ideals(bars)
    assert ideals(bars.sample(fraction=1.0, shuffle=True, seed=1)).equals(whole)
    holed = ideals(bars.filter(pl.int_range(pl.len()).hash(3) % 20 != 0))
    assert whole["symbol"].equals(holed["symbol"]) and whole["symbol"].is_sorted()
    for name in STYLES:
        assert np.corrcoef(whole[name], holed[name])[0, 1] > 0.95, name


def test_the_mean_under_a_uniform_prior_by_hand() -> None:
    """A small error keeps the estimate, one beyond the bound gives the bound, a huge error the prior's mean."""
    value = posterior_mean(np.array([0.5, 9.0, 1.0]), np.array([0.03, 0.05, 1e6]))
    assert value == pytest.approx([0.5, np.sqrt(3.0), 0.0], abs=0.03)
