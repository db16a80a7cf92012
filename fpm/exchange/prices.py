"""Prices of a synthetic session: a random walk in ticks with U-shaped variance, within limits.

The planted styles leave prices alone. Those of a lottery may bend them, as `bends` says.

Letters in array names: S symbols, T vendor rows of a session (opening call, 239 minutes, closing call), C the
continuous rows, P prices of a bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fpm.exchange.days import Day

# Rows of an A-share vendor, as minutes of the day: 09:25, 09:31-11:30, 13:01-14:59 and one 15:00 row.
MINUTES = (565, *range(571, 691), *range(781, 900), 900)
ROWS = len(MINUTES)
CONTINUOUS = slice(1, 238)  # nothing trades at 14:58 and 14:59 (rows 238, 239): the closing call collects orders
SILENT = slice(238, 240)
CALLS = (0, ROWS - 1)
OPENING_VARIANCE, CLOSING_VARIANCE = 0.20, 0.005


def u_shape(high: float, floor: float) -> np.ndarray:
    """Return weights that are high after the open, flat at midday and rise into the close; sum 1, (C,)."""
    x_C = np.linspace(0.0, 1.0, CONTINUOUS.stop - CONTINUOUS.start)
    weight_C = floor + high * np.exp(-x_C / 0.08) + 0.35 * high * np.exp(-(1.0 - x_C) / 0.06)
    return np.asarray(weight_C / weight_C.sum())


VOLUME_C = u_shape(1.8, 0.7)
VARIANCE_C = u_shape(2.5, 0.7)


def _variance() -> np.ndarray:
    """Return each row's share of a session's variance, (T,)."""
    variance_T = np.zeros(ROWS)
    variance_T[list(CALLS)] = OPENING_VARIANCE, CLOSING_VARIANCE
    variance_T[CONTINUOUS] = (1.0 - OPENING_VARIANCE - CLOSING_VARIANCE) * VARIANCE_C
    return variance_T


VARIANCE_T = _variance()


def _clock() -> np.ndarray:
    """Return every row's centred volume time: -1 .. 1 over the continuous rows, weighted mean 0, (T,)."""
    clock_T = np.zeros(ROWS)
    clock_T[CONTINUOUS] = 2.0 * (np.cumsum(VOLUME_C) - 0.5 * VOLUME_C) - 1.0
    return clock_T


CLOCK_T = _clock()


def price_path(day: Day, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's log price against the reference, ending at the day's demand, and the standardised steps.

    The path is a random walk with U-shaped variance and with calm and lively stretches, conditioned on its end.
    """
    symbols = len(day.demand_S)
    lively_ST = np.exp(0.35 * smooth(rng.normal(0.0, 1.0, (symbols, ROWS)), 20))
    step_ST = rng.normal(0.0, 1.0, (symbols, ROWS)) * lively_ST
    walk_ST = np.cumsum(step_ST * np.sqrt(VARIANCE_T) * day.sigma_S[:, None], axis=1)
    miss_S1 = day.demand_S[:, None] - walk_ST[:, -1:]
    return walk_ST + miss_S1 * np.cumsum(VARIANCE_T), step_ST


def smooth(noise_ST: np.ndarray, width: int) -> np.ndarray:
    """Return a trailing moving average of white noise, of unit variance once the window is full."""
    total_ST = np.cumsum(noise_ST, axis=1)
    total_ST[:, width:] = total_ST[:, width:] - total_ST[:, :-width].copy()
    return np.asarray(total_ST / np.sqrt(width))


def surprise(step_ST: np.ndarray) -> np.ndarray:
    """Return |return| relative to its usual size at that time of day: roughly centred, unit variance, bounded."""
    return np.asarray(((np.abs(step_ST) - 0.85) / 0.7).clip(-1.3, 4.0))


def price_bars(
    day: Day, path_ST: np.ndarray, traded_ST: np.ndarray, noise_PST: np.ndarray, spread_ST: np.ndarray | float = 0.0
) -> dict[str, np.ndarray]:
    """Return open, high, low, close in ticks, (S, T) each; `spread_ST`: log size of the reach beyond open and close.

    A row without a trade repeats the last close; a call has one price.
    """
    path_price_ST = within_limits(day, np.rint(day.pre_close_S[:, None] * np.exp(path_ST)).astype(np.int64))
    last_ST = np.maximum.accumulate(np.where(traded_ST, np.arange(ROWS), 0), axis=1)
    close_ST = np.take_along_axis(path_price_ST, last_ST, axis=1)
    two_sided_ST = traded_ST.copy()
    two_sided_ST[:, list(CALLS)] = False
    before_ST = np.roll(close_ST, 1, axis=1) + np.rint(0.6 * noise_PST[0]).astype(np.int64)
    open_ST = np.where(two_sided_ST, within_limits(day, before_ST), close_ST)
    reach_ST = two_sided_ST * (0.4 * day.pre_close_S * day.sigma_S / np.sqrt(ROWS))[:, None]
    wide_ST = reach_ST * np.exp(spread_ST)
    up_ST, down_ST = (np.floor(np.abs(noise_PST[i]) * wide_ST).astype(np.int64) for i in (1, 2))
    high_ST = within_limits(day, np.maximum(open_ST, close_ST) + up_ST)
    low_ST = within_limits(day, np.minimum(open_ST, close_ST) - down_ST)
    return {"open": open_ST, "high": high_ST, "low": low_ST, "close": close_ST}


def within_limits(day: Day, ticks_ST: np.ndarray) -> np.ndarray:
    """Clip prices to the limits in force, and to one tick from below."""
    up_S = np.where(day.limit_up_S > 0, day.limit_up_S, np.iinfo(np.int64).max)
    return ticks_ST.clip(np.maximum(day.limit_down_S, 1)[:, None], up_S[:, None])


def trade_value(day_value_S: np.ndarray) -> np.ndarray:
    """Return the mean value of one trade in currency; it grows with the day's value."""
    return np.asarray(20_000.0 * np.sqrt(day_value_S / 1e8).clip(0.5, 3.0))
