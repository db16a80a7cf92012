"""The synthetic exchange within a session: how the day's volume lies over the minutes, and all flows of it.

Letters in array names: S symbols, T vendor rows of a session (opening call, 239 minutes, closing call), C the
continuous rows, K styles.

Prices are drawn first and know nothing of the styles. A style then moves volume between minutes, and where prices
trend that alone would move the session's amount: a daily table would give the style away. So volume also leans
along what the price did beside its trend, just enough to keep the amount at what it would be without styles.
"""

from __future__ import annotations

import numpy as np

from fpm.exchange_days import TICKS, Day
from fpm.exchange_flows import buy_share, order_flows, size_flows, spread_within, taker_flows, trade_counts
from fpm.exchange_prices import CALLS, CLOCK_T, CONTINUOUS, ROWS, VOLUME_C, Quotes, session_quotes, smooth, surprise
from fpm.exchange_styles import STYLES, Tape

OPENING_VOLUME, CLOSING_VOLUME = 0.015, 0.02
LEAST_SHARES = 2  # of a minute that trades, so that a bar may have two prices
SEARCH_STEPS = 6


def minute_flows(day: Day, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """All columns of a session's minute bars, (S, T) each, for every symbol whether it traded or not.

    Prices and amounts in currency, volumes in shares, counts whole; names of `schema.OPTIONAL_FLOWS`.
    """
    quotes = session_quotes(day, rng)
    tape = Tape(CLOCK_T, surprise(quotes.step_ST), rng.normal(0.0, 1.0, quotes.step_ST.shape))
    plain_ST, tilted_ST = volume_spreads(day, quotes, tape, rng)
    least_ST = LEAST_SHARES * quotes.traded_ST
    room_ST = quotes.traded_ST * day.volume_S[:, None]
    volume_ST = least_ST + spread_within(day.volume_S - least_ST.sum(axis=1), tilted_ST, room_ST)
    flows: dict[str, np.ndarray] = {
        "volume": volume_ST,
        "amount": np.rint(quotes.mean_ST * volume_ST) / TICKS,
        "trades": trade_counts(day, volume_ST, rng),
    }
    flows |= taker_flows(flows, buy_share(day, quotes, plain_ST, rng))
    flows |= size_flows(day, flows, tape, rng)
    flows |= order_flows(day, flows, tape, rng)
    return {name: ticks_ST / TICKS for name, ticks_ST in quotes.bars.items()} | flows


def volume_spreads(day: Day, quotes: Quotes, tape: Tape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The day's volume over its rows without and with the styles, (S, T) each, every row of them summing to 1.

    U-shape, noise, and volume where prices move; then the two volume styles, amount kept.
    """
    symbols = len(day.volume_S)
    noise_ST = 0.35 * tape.noise_ST + 0.15 * smooth(rng.normal(0.0, 1.0, (symbols, ROWS)), 30)
    call_SC = np.exp(rng.normal(0.0, 0.2, (symbols, 2))) * (OPENING_VOLUME, CLOSING_VOLUME)
    weight_SC = (np.exp(noise_ST + 0.2 * tape.surprise_ST) * quotes.traded_ST)[:, CONTINUOUS] * VOLUME_C
    tilt_ST = STYLES["volume_timing"](day.style_SK[:, 0], tape) + STYLES["co_movement"](day.style_SK[:, 1], tape)
    plain_SC = weight_SC / weight_SC.sum(axis=1, keepdims=True)
    tilted_SC = keep_mean(plain_SC, tilt_ST[:, CONTINUOUS], quotes.mean_ST[:, CONTINUOUS], tape)
    plain_ST, tilted_ST = np.zeros((2, symbols, ROWS))
    for spread_ST, spread_SC in ((plain_ST, plain_SC), (tilted_ST, tilted_SC)):
        spread_ST[:, list(CALLS)] = call_SC
        spread_ST[:, CONTINUOUS] = spread_SC * (1.0 - call_SC.sum(axis=1, keepdims=True))
    return plain_ST, tilted_ST


def keep_mean(plain_SC: np.ndarray, tilt_SC: np.ndarray, price_SC: np.ndarray, tape: Tape) -> np.ndarray:
    """Tilt the weights but keep their mean price, by a further tilt along the price where that is not the styles'.

    The further tilt is the price minus its regressions on the clock and on the surprises, so it leaves what the
    styles are seen by alone. Newton's method, a bounded step at a time: a price without a detour has no solution.
    """
    wanted_S1 = (plain_SC * price_SC).sum(axis=1, keepdims=True)
    aside_SC = price_SC - wanted_S1
    for along_SC in (np.broadcast_to(tape.clock_T[CONTINUOUS], aside_SC.shape), tape.surprise_ST[:, CONTINUOUS]):
        along_SC = along_SC - (plain_SC * along_SC).sum(axis=1, keepdims=True)
        slope_S1 = (plain_SC * along_SC * aside_SC).sum(axis=1, keepdims=True)
        aside_SC = aside_SC - along_SC * slope_S1 / np.square(along_SC * np.sqrt(plain_SC)).sum(axis=1, keepdims=True)
    aside_SC = aside_SC / (np.sqrt((plain_SC * np.square(aside_SC)).sum(axis=1, keepdims=True)) + 1e-9)
    lean_S1 = np.zeros_like(wanted_S1)
    for _ in range(SEARCH_STEPS):
        weight_SC = plain_SC * np.exp(tilt_SC + lean_S1 * aside_SC)
        weight_SC /= weight_SC.sum(axis=1, keepdims=True)
        miss_S1 = (weight_SC * price_SC).sum(axis=1, keepdims=True) - wanted_S1
        slope_S1 = (weight_SC * aside_SC * price_SC).sum(axis=1, keepdims=True)
        slope_S1 -= (weight_SC * aside_SC).sum(axis=1, keepdims=True) * (wanted_S1 + miss_S1)
        lean_S1 = (lean_S1 - (miss_S1 / slope_S1.clip(1e-6)).clip(-0.5, 0.5)).clip(-1.5, 1.5)
    weight_SC = plain_SC * np.exp(tilt_SC + lean_S1 * aside_SC)
    return np.asarray(weight_SC / weight_SC.sum(axis=1, keepdims=True))
