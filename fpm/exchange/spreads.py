"""Spread a session total over rows: whole numbers in proportion to weights, within bounds, at a fixed mean price.

Letters in array names: S symbols, T vendor rows of a session, C the continuous rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpm.exchange.prices import CONTINUOUS

if TYPE_CHECKING:
    from fpm.exchange.styles import TiltInputs

SEARCH_STEPS, MOST_STEP, MOST_LEAN = 6, 0.5, 1.5
HALVINGS, MOST_ALONG = 14, 4.0
TOLERANCE = 0.02  # ticks that a mean price may be off


def allocate(total_S: np.ndarray, weight_ST: np.ndarray, offset_S: np.ndarray | float = 1e-6) -> np.ndarray:
    """Return integers in proportion to the weights that add up to the total (0 without weights), (S, T).

    `offset_S`, in (0, 1), shifts where the first unit falls. A uniform random offset makes every row's expectation its
    exact share.
    """
    cumulative_ST = np.cumsum(weight_ST, axis=1)
    share_ST = cumulative_ST / np.maximum(cumulative_ST[:, -1:], 1e-300)
    first_S1 = np.reshape(np.clip(offset_S, 1e-6, 1.0 - 1e-6), (-1, 1))
    reached_ST = (share_ST * total_S[:, None] + first_S1).astype(np.int64)  # never negative, so truncation is floor
    reached_ST[:, 1:] -= reached_ST[:, :-1].copy()
    return np.asarray(reached_ST)


def spread_within(
    total_S: np.ndarray, weight_ST: np.ndarray, room_ST: np.ndarray, offset_S: np.ndarray | float = 1e-6
) -> np.ndarray:
    """Allocate without exceeding any row's room; units that do not fit go where room remains, (S, T) int64.

    The result adds up to the total, or to all the room if that is less.
    """
    total_S = np.maximum(total_S, 0)
    spread_ST = np.minimum(allocate(total_S, weight_ST, offset_S), room_ST)
    missing_S = total_S - spread_ST.sum(axis=1)
    short = np.flatnonzero(missing_S > 0)
    left_ST = room_ST[short] - spread_ST[short]
    more_ST = allocate(np.minimum(missing_S[short], left_ST.sum(axis=1)), left_ST)
    spread_ST[short] += np.minimum(more_ST, left_ST)
    return np.asarray(spread_ST)


def keep_mean(
    plain_SC: np.ndarray, tilt_SC: np.ndarray, price_SC: np.ndarray, inputs: TiltInputs, usual_SC: np.ndarray
) -> np.ndarray:
    """Tilt the weights and add a lean along the price that keeps the mean price unchanged, (S, C).

    `usual_SC`: the prices that the rows would have without styles, whose mean is kept.

    The lean follows the price minus its regressions on the clock and on the surprises, so it does not touch the
    directions in which the styles act. A price with little movement beside its trend needs a lean above `MOST_LEAN`;
    such a session gives up the part of its tilt that moves with the price.
    """
    target_S1 = (plain_SC * usual_SC).sum(axis=1, keepdims=True)
    aside_SC = beside_styles(plain_SC, price_SC - target_S1, inputs)
    lean_S1 = np.zeros_like(target_S1)
    for _ in range(SEARCH_STEPS):
        miss_S1, weight_SC = off_mean(plain_SC, tilt_SC + lean_S1 * aside_SC, price_SC, target_S1)
        slope_S1 = (weight_SC * aside_SC * price_SC).sum(axis=1, keepdims=True)
        slope_S1 -= (weight_SC * aside_SC).sum(axis=1, keepdims=True) * (target_S1 + miss_S1)
        step_S1 = (miss_S1 / slope_S1.clip(1e-6)).clip(-MOST_STEP, MOST_STEP)
        lean_S1 = (lean_S1 - step_S1).clip(-MOST_LEAN, MOST_LEAN)
    miss_S1, weight_SC = off_mean(plain_SC, tilt_SC + lean_S1 * aside_SC, price_SC, target_S1)
    stuck = np.flatnonzero(np.abs(miss_S1[:, 0]) > TOLERANCE)
    weight_SC[stuck] = lean_along_price(plain_SC[stuck], tilt_SC[stuck], price_SC[stuck], target_S1[stuck])
    return weight_SC


def lean_along_price(
    plain_SC: np.ndarray, tilt_SC: np.ndarray, price_SC: np.ndarray, target_S1: np.ndarray
) -> np.ndarray:
    """Keep the mean price by a tilt along the price itself, (S, C).

    The mean price increases with that tilt, so bisection finds the one that keeps it.
    """
    centred_SC = price_SC - target_S1
    along_SC = centred_SC / (np.sqrt((plain_SC * np.square(centred_SC)).sum(axis=1, keepdims=True)) + 1e-9)
    low_S1, high_S1 = np.full_like(target_S1, -MOST_ALONG), np.full_like(target_S1, MOST_ALONG)
    for _ in range(HALVINGS):
        lean_S1 = 0.5 * (low_S1 + high_S1)
        dear_S1 = off_mean(plain_SC, tilt_SC + lean_S1 * along_SC, price_SC, target_S1)[0] > 0.0
        low_S1, high_S1 = np.where(dear_S1, low_S1, lean_S1), np.where(dear_S1, lean_S1, high_S1)
    return off_mean(plain_SC, tilt_SC + low_S1 * along_SC, price_SC, target_S1)[1]


def off_mean(
    plain_SC: np.ndarray, tilt_SC: np.ndarray, price_SC: np.ndarray, target_S1: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tilted weights' mean price minus its target, (S, 1), and these weights, rows summing to 1, (S, C)."""
    weight_SC = plain_SC * np.exp(tilt_SC)
    weight_SC /= weight_SC.sum(axis=1, keepdims=True)
    return (weight_SC * price_SC).sum(axis=1, keepdims=True) - target_S1, weight_SC


def beside_styles(plain_SC: np.ndarray, price_SC: np.ndarray, inputs: TiltInputs) -> np.ndarray:
    """Return the centred price minus its regressions on clock and surprise, unit variance under the weights, (S, C)."""
    aside_SC = price_SC
    for regressor_SC in (
        np.broadcast_to(inputs.clock_T[CONTINUOUS], aside_SC.shape),
        inputs.surprise_ST[:, CONTINUOUS],
    ):
        along_SC = regressor_SC - (plain_SC * regressor_SC).sum(axis=1, keepdims=True)
        slope_S1 = (plain_SC * along_SC * aside_SC).sum(axis=1, keepdims=True)
        aside_SC = aside_SC - along_SC * slope_S1 / np.square(along_SC * np.sqrt(plain_SC)).sum(axis=1, keepdims=True)
    return np.asarray(aside_SC / (np.sqrt((plain_SC * np.square(aside_SC)).sum(axis=1, keepdims=True)) + 1e-9))
