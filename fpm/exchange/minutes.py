"""The synthetic exchange within a session: how the day's volume lies over the minutes, and all flows of it.

Letters in array names: S symbols, T vendor rows of a session (opening call, 239 minutes, closing call), C the
continuous rows, K styles.

Prices are drawn first and know nothing of the styles. A style then moves volume between minutes, and where prices
trend that alone would move the session's amount: a daily table would give the style away. So volume also leans
along what the price did beside its trend, just enough to keep the amount at what it would be without styles.
"""

from __future__ import annotations

import numpy as np

from fpm.exchange.days import TICKS, Day
from fpm.exchange.flows import Spreads, buy_share, size_flows, taker_flows, trade_counts
from fpm.exchange.orders import order_flows
from fpm.exchange.prices import CALLS, CLOCK_T, CONTINUOUS, ROWS, VOLUME_C, Quotes, session_quotes, smooth, surprise
from fpm.exchange.spreads import keep_mean, spread_within
from fpm.exchange.styles import STYLES, Tape

OPENING_VOLUME, CLOSING_VOLUME = 0.015, 0.02
VOLUME_NOISE, SLOW_NOISE, SLOW_WIDTH = 0.35, 0.15, 30  # log sd of a minute's own noise and of one over so many
SURPRISE_VOLUME = 0.2  # log volume for a unit of surprise, whatever the style
LEAST_SHARES = 2  # of a minute that trades, so that a bar may have two prices


def minute_flows(day: Day, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """All columns of a session's minute bars, (S, T) each, for every symbol whether it traded or not.

    Prices and amounts in currency, volumes in shares, counts whole; names of `schema.OPTIONAL_FLOWS`.
    """
    quotes = session_quotes(day, rng)
    tape = Tape(CLOCK_T, surprise(quotes.step_ST), rng.normal(0.0, 1.0, quotes.step_ST.shape))
    spreads = volume_spreads(day, quotes, tape, rng)
    least_ST = LEAST_SHARES * quotes.traded_ST
    room_ST = quotes.traded_ST * day.volume_S[:, None]
    volume_ST = least_ST + spread_within(day.volume_S - least_ST.sum(axis=1), spreads.tilted_ST, room_ST)
    flows: dict[str, np.ndarray] = {
        "volume": volume_ST,
        "amount": np.rint(quotes.mean_ST * volume_ST) / TICKS,
        "trades": trade_counts(day, volume_ST, rng),
    }
    flows |= taker_flows(flows, buy_share(day, quotes, spreads, tape, rng))
    legs, left = size_flows(day, quotes, flows, tape, rng)
    flows |= legs | order_flows(day, quotes, flows, left, tape, rng)
    return {name: ticks_ST / TICKS for name, ticks_ST in quotes.bars.items()} | flows


def volume_spreads(day: Day, quotes: Quotes, tape: Tape, rng: np.random.Generator) -> Spreads:
    """The day's volume over its rows without and with the styles, (S, T) each, every row of them summing to 1.

    U-shape, noise, and volume where prices move; then the two volume styles, amount kept.
    """
    symbols = len(day.volume_S)
    noise_ST = VOLUME_NOISE * tape.noise_ST + SLOW_NOISE * smooth(rng.normal(0.0, 1.0, (symbols, ROWS)), SLOW_WIDTH)
    call_SC = np.exp(rng.normal(0.0, 0.2, (symbols, 2))) * (OPENING_VOLUME, CLOSING_VOLUME)
    weight_SC = (np.exp(noise_ST + SURPRISE_VOLUME * tape.surprise_ST) * quotes.traded_ST)[:, CONTINUOUS] * VOLUME_C
    tilt_ST = STYLES["volume_timing"](day.style_SK[:, 0], tape) + STYLES["co_movement"](day.style_SK[:, 1], tape)
    plain_SC = weight_SC / weight_SC.sum(axis=1, keepdims=True)
    tilted_SC = keep_mean(plain_SC, tilt_ST[:, CONTINUOUS], quotes.mean_ST[:, CONTINUOUS], tape)
    plain_ST, tilted_ST = np.zeros((2, symbols, ROWS))
    for spread_ST, spread_SC in ((plain_ST, plain_SC), (tilted_ST, tilted_SC)):
        spread_ST[:, list(CALLS)] = call_SC
        spread_ST[:, CONTINUOUS] = spread_SC * (1.0 - call_SC.sum(axis=1, keepdims=True))
    return Spreads(plain_ST, tilted_ST)
