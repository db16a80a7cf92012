"""The synthetic exchange within a session: the day's volume over the minutes, and all its flows.

Letters in array names: S symbols, T vendor rows of a session (opening call, 239 minutes, closing call), C the
continuous rows, K styles.

Prices come first. A style then moves volume between minutes. In a trending session that
alone would change the session's amount, so a daily table would reveal the style. Volume therefore also leans along the
price's movement beside its trend, just enough to keep the amount that the session would have without styles.
"""

from __future__ import annotations

import numpy as np

from fpm.exchange.days import TICKS, Day
from fpm.exchange.flows import Spreads, buy_share, size_flows, taker_flows, trade_counts
from fpm.exchange.orders import order_flows
from fpm.exchange.prices import CALLS, CLOCK_T, CONTINUOUS, ROWS, VOLUME_C, smooth, surprise
from fpm.exchange.quotes import Quotes, session_quotes
from fpm.exchange.spreads import keep_mean, spread_within
from fpm.exchange.styles import STYLES, TiltInputs

OPENING_VOLUME, CLOSING_VOLUME = 0.015, 0.02
VOLUME_NOISE, SLOW_NOISE, SLOW_WIDTH = 0.35, 0.15, 30  # log sd of minute noise and of slow noise; minutes of its mean
SURPRISE_VOLUME = 0.2  # log volume per unit of surprise, at every style
LEAST_SHARES = 2  # in a minute with trades, so that a bar can have two prices


def minute_flows(day: Day, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return all columns of a session's minute bars, (S, T) each, also for symbols that did not trade.

    Prices and amounts are in currency, volumes in shares, counts whole; names are those of `schema.OPTIONAL_FLOWS`.
    """
    quotes = session_quotes(day, rng)
    inputs = TiltInputs(CLOCK_T, surprise(quotes.step_ST), rng.normal(0.0, 1.0, quotes.step_ST.shape))
    spreads = volume_spreads(day, quotes, inputs, rng)
    least_ST = LEAST_SHARES * quotes.traded_ST
    room_ST = quotes.traded_ST * day.volume_S[:, None]
    volume_ST = least_ST + spread_within(day.volume_S - least_ST.sum(axis=1), spreads.tilted_ST, room_ST)
    flows: dict[str, np.ndarray] = {
        "volume": volume_ST,
        "amount": np.rint(quotes.mean_ST * volume_ST) / TICKS,
        "trades": trade_counts(day, volume_ST, rng),
    }
    flows |= taker_flows(flows, buy_share(day, quotes, spreads, inputs, rng))
    legs, remainders = size_flows(day, quotes, flows, inputs, rng)
    flows |= legs | order_flows(day, quotes, flows, remainders, inputs, rng)
    return {name: ticks_ST / TICKS for name, ticks_ST in quotes.bars.items()} | flows


def planted_tilt(day: Day, inputs: TiltInputs) -> np.ndarray:
    """Return the tilt of volume by the two planted styles that act on it, (S, T)."""
    timing_ST, together_ST = (
        STYLES[name](day.style_SK[:, k], inputs) for k, name in enumerate(("volume_timing", "co_movement"))
    )
    return np.asarray(timing_ST + together_ST)


def volume_spreads(day: Day, quotes: Quotes, inputs: TiltInputs, rng: np.random.Generator) -> Spreads:
    """Return the day's volume over its rows without and with the styles.

    Both have a U-shape, noise, and more volume where prices move; the two volume styles keep the amount.
    """
    symbols = len(day.volume_S)
    noise_ST = VOLUME_NOISE * inputs.noise_ST + SLOW_NOISE * smooth(rng.normal(0.0, 1.0, (symbols, ROWS)), SLOW_WIDTH)
    call_SC = np.exp(rng.normal(0.0, 0.2, (symbols, 2))) * (OPENING_VOLUME, CLOSING_VOLUME)
    weight_SC = (np.exp(noise_ST + SURPRISE_VOLUME * inputs.surprise_ST) * quotes.traded_ST)[:, CONTINUOUS] * VOLUME_C
    tilt_ST = planted_tilt(day, inputs) if day.tilts is None else day.tilts.volume
    plain_SC = weight_SC / weight_SC.sum(axis=1, keepdims=True)
    price_SC, usual_SC = quotes.mean_ST[:, CONTINUOUS], quotes.usual_ST[:, CONTINUOUS]
    tilted_SC = keep_mean(plain_SC, tilt_ST[:, CONTINUOUS], price_SC, inputs, usual_SC)
    plain_ST, tilted_ST = np.zeros((2, symbols, ROWS))
    for spread_ST, spread_SC in ((plain_ST, plain_SC), (tilted_ST, tilted_SC)):
        spread_ST[:, list(CALLS)] = call_SC
        spread_ST[:, CONTINUOUS] = spread_SC * (1.0 - call_SC.sum(axis=1, keepdims=True))
    return Spreads(plain_ST, tilted_ST)
