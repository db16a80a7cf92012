"""Spreading totals over a session: no unit is lost, no row exceeds its room, the mean price stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.exchange.prices import CLOCK_T, CONTINUOUS, ROWS, VOLUME_C
from fpm.exchange.spreads import allocate, keep_mean, spread_within
from fpm.exchange.styles import TiltInputs


@given(
    total=st.integers(0, 10_000),
    rows=st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(0, 900)), min_size=1, max_size=30),
)
def test_spreading_keeps_the_total_within_the_room(total: int, rows: list[tuple[float, int]]) -> None:
    weight_ST, room_ST = np.array([[w for w, _ in rows]]), np.array([[r for _, r in rows]])
    spread_ST = spread_within(np.array([total]), weight_ST, room_ST)
    assert spread_ST.sum() == min(total, room_ST.sum())
    assert (spread_ST >= 0).all() and (spread_ST <= room_ST).all()


def test_a_drawn_offset_gives_every_row_its_exact_part_on_average() -> None:
    weight_ST = np.tile([0.1, 0.7, 0.2], (30_000, 1))
    offset_S = np.random.default_rng(1).random(30_000)
    placed_ST = allocate(np.full(30_000, 2), weight_ST, offset_S)
    assert (placed_ST.sum(axis=1) == 2).all()
    assert np.allclose(placed_ST.mean(axis=0), [0.2, 1.4, 0.4], atol=0.02)


@pytest.mark.parametrize(("trend", "correlation"), [(0.0, 0.8), (0.5, 0.3), (1.0, -1.0)])
def test_the_mean_price_stays_and_the_tilt_too_where_the_price_leaves_room(trend: float, correlation: float) -> None:
    """A straight trend (1.0) leaves only the trend itself to lean on, so the session gives its tilt up."""
    rng = np.random.default_rng(5)
    walk_SC = np.cumsum(rng.normal(0.0, 3.0, (50, len(VOLUME_C))), axis=1)
    price_SC = 2_000.0 + trend * 150.0 * CLOCK_T[CONTINUOUS] + (1.0 - trend) * walk_SC
    plain_SC = np.tile(VOLUME_C, (50, 1))
    inputs = TiltInputs(CLOCK_T, rng.normal(0.0, 1.0, (50, ROWS)), np.zeros((50, ROWS)))
    tilt_SC = np.linspace(-1.0, 1.0, 50)[:, None] * CLOCK_T[CONTINUOUS]
    tilted_SC = keep_mean(plain_SC, tilt_SC, price_SC, inputs, price_SC)
    assert np.allclose(tilted_SC.sum(axis=1), 1.0)
    assert np.abs(((tilted_SC - plain_SC) * price_SC).sum(axis=1)).max() < 0.05  # ticks
    moved_S = ((tilted_SC - plain_SC) * CLOCK_T[CONTINUOUS]).sum(axis=1)
    assert np.corrcoef(moved_S, np.linspace(-1.0, 1.0, 50))[0, 1] > correlation
