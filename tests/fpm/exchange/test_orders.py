"""Orders and cancels of the synthetic exchange against a queue of single shares."""

from __future__ import annotations

from collections import deque

import numpy as np

from fpm.exchange.orders import cancels, first_in_first_out, prices_at_value
from fpm.exchange.prices import CONTINUOUS, ROWS


def cancellable_pool(symbols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares entered by row, their price in ticks, and the weights of bursts of cancels."""
    rng = np.random.default_rng(8)
    pool_ST = rng.integers(0, 500, (symbols, ROWS)) * (np.arange(ROWS) < 211)
    price_ST = rng.integers(900, 1_100, (symbols, ROWS))
    weight_ST = np.exp(2.0 * rng.normal(0.0, 1.0, (symbols, ROWS)))
    weight_ST[:, CONTINUOUS.stop :] = 0.0
    return pool_ST, price_ST, weight_ST


def test_cancels_follow_their_orders_and_leave_none_of_the_pool() -> None:
    pool_ST, _, weight_ST = cancellable_pool(20)
    cancel_ST = cancels(pool_ST, weight_ST)
    assert (cancel_ST >= 0).all() and (np.cumsum(cancel_ST, axis=1) <= np.cumsum(pool_ST, axis=1)).all()
    assert np.array_equal(cancel_ST.sum(axis=1), pool_ST.sum(axis=1))


def test_cancels_have_the_value_of_the_oldest_orders() -> None:
    pool_ST, price_ST, weight_ST = cancellable_pool(4)
    cancel_ST = cancels(pool_ST, weight_ST)
    value_ST = first_in_first_out(pool_ST, price_ST, cancel_ST)
    for s in range(4):
        queue: deque[int] = deque()
        for t in range(ROWS):
            queue.extend([int(price_ST[s, t])] * int(pool_ST[s, t]))
            assert sum(queue.popleft() for _ in range(cancel_ST[s, t])) == value_ST[s, t]


def test_resting_orders_move_by_whole_ticks_to_a_given_value() -> None:
    rng = np.random.default_rng(2)
    volume_ST, price_ST = rng.integers(1, 900, (30, ROWS)), rng.integers(900, 1_100, (30, ROWS))
    plain_S = (volume_ST * price_ST).sum(axis=1)
    target_S = np.rint(plain_S * np.linspace(0.995, 1.005, 30)).astype(np.int64)
    moved_ST = prices_at_value(target_S, volume_ST, price_ST)
    assert moved_ST.dtype.kind == "i" and (np.ptp((moved_ST - price_ST)[:, CONTINUOUS], axis=1) <= 1).all()
    assert np.abs((volume_ST * moved_ST).sum(axis=1) - target_S).max() <= volume_ST.max()
