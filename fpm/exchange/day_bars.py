"""A session's daily bars without its minutes: enough for portfolios, and years of them in seconds.

Letters in array names: S symbols.
"""

from __future__ import annotations

import numpy as np

from fpm.exchange.days import TICKS, Day
from fpm.exchange.prices import OPENING_VARIANCE, within_limits

REACH = 0.5  # of a session's deviation: how far high and low lie beyond open and close, on average 0.8 of it
LOCKED_VOLUME = 0.05  # share of a session's volume that still trades where it is spent at a limit


def day_flows(day: Day, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Open, high, low, close (currency), volume (shares) and amount (currency) of a session in one row, (S, 1) each.

    The close is the day's demand within its limits, as at the end of a path of minutes; the opening price is drawn from
    a random walk that ends there, with the opening call's share of the variance. Of the sessions that close at a limit
    half never leave it, with a fraction of their volume: who wants to trade waits behind the queue.
    """
    noise_4S = rng.normal(0.0, 1.0, (4, len(day.demand_S)))
    bridge = np.sqrt(OPENING_VARIANCE * (1.0 - OPENING_VARIANCE))
    gap_S = OPENING_VARIANCE * day.demand_S + bridge * day.sigma_S * noise_4S[0]
    open_S, close_S = (_ticks(day, day.pre_close_S * np.exp(move_S)) for move_S in (gap_S, day.demand_S))
    reach_2S = np.abs(noise_4S[1:3]) * REACH * day.sigma_S * day.pre_close_S
    high_S = _ticks(day, np.maximum(open_S, close_S) + reach_2S[0])
    low_S = _ticks(day, np.minimum(open_S, close_S) - reach_2S[1])
    locked_S = _at_a_limit(day, close_S) & (noise_4S[3] > 0)
    open_S, high_S, low_S = (np.where(locked_S, close_S, price_S) for price_S in (open_S, high_S, low_S))
    volume_S = np.where(locked_S, np.ceil(LOCKED_VOLUME * day.volume_S), day.volume_S)
    middle_S = 0.5 * (open_S + close_S) + 0.15 * (high_S - low_S) * noise_4S[3]
    prices = {"open": open_S, "high": high_S, "low": low_S, "close": close_S}
    flows = {name: price_S / TICKS for name, price_S in prices.items()}
    flows["volume"] = volume_S.astype(np.float64)
    flows["amount"] = volume_S * middle_S.clip(low_S, high_S) / TICKS
    return {name: value_S[:, None] for name, value_S in flows.items()}


def _at_a_limit(day: Day, price_S: np.ndarray) -> np.ndarray:
    """Whether a price is a limit in force, (S,)."""
    return np.asarray((price_S > 0) & ((price_S == day.limit_up_S) | (price_S == day.limit_down_S)))


def _ticks(day: Day, price_S: np.ndarray) -> np.ndarray:
    """Whole ticks within the limits in force, (S,)."""
    return within_limits(day, np.rint(price_S).astype(np.int64)[:, None])[:, 0]
