"""Orders and cancels of the synthetic exchange against a queue kept order by order."""

from __future__ import annotations

from collections import deque

import numpy as np

from fpm.exchange.orders import at_value, first_in_first_out, taken_back
from fpm.exchange.prices import CONTINUOUS, ROWS


def a_pool(symbols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares entered by row, their price in ticks, and weights of a bursty cancelling."""
    rng = np.random.default_rng(8)
    pool_ST = rng.integers(0, 500, (symbols, ROWS)) * (np.arange(ROWS) < 211)
    price_ST = rng.integers(900, 1_100, (symbols, ROWS))
    weight_ST = np.exp(2.0 * rng.normal(0.0, 1.0, (symbols, ROWS)))
    weight_ST[:, CONTINUOUS.stop :] = 0.0
    return pool_ST, price_ST, weight_ST


def test_nothing_is_cancelled_before_it_was_entered_and_all_of_it_is_in_the_end() -> None:
    pool_ST, _, weight_ST = a_pool(20)
    cancel_ST = taken_back(pool_ST, weight_ST)
    assert (cancel_ST >= 0).all() and (np.cumsum(cancel_ST, axis=1) <= np.cumsum(pool_ST, axis=1)).all()
    assert np.array_equal(cancel_ST.sum(axis=1), pool_ST.sum(axis=1))


def test_cancels_are_worth_what_the_oldest_orders_were_entered_at() -> None:
    pool_ST, price_ST, weight_ST = a_pool(4)
    cancel_ST = taken_back(pool_ST, weight_ST)
    found_ST = first_in_first_out(pool_ST, price_ST, cancel_ST)
    for s in range(4):
        queue: deque[int] = deque()
        for t in range(ROWS):
            queue.extend([int(price_ST[s, t])] * int(pool_ST[s, t]))
            assert sum(queue.popleft() for _ in range(cancel_ST[s, t])) == found_ST[s, t]


def test_resting_orders_are_moved_by_whole_ticks_to_a_given_worth() -> None:
    rng = np.random.default_rng(2)
    volume_ST, price_ST = rng.integers(1, 900, (30, ROWS)), rng.integers(900, 1_100, (30, ROWS))
    plain_S = (volume_ST * price_ST).sum(axis=1)
    wanted_S = np.rint(plain_S * np.linspace(0.995, 1.005, 30)).astype(np.int64)
    moved_ST = at_value(wanted_S, volume_ST, price_ST)
    assert moved_ST.dtype.kind == "i" and (np.ptp((moved_ST - price_ST)[:, CONTINUOUS], axis=1) <= 1).all()
    assert np.abs((volume_ST * moved_ST).sum(axis=1) - wanted_S).max() <= volume_ST.max()
