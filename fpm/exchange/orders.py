"""Orders entered and orders taken back in a synthetic session.

Letters in array names: S symbols, T vendor rows of a session.

What rests in the book is drawn free of the styles: its volume, when it is entered, at which price, and which part of
it will be taken back. A style only chooses when that part is taken back, so no total of the day can show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fpm.exchange.days import TICKS, Day
from fpm.exchange.prices import CALLS, CONTINUOUS, ROWS, VOLUME_C, Quotes
from fpm.exchange.spreads import allocate, spread_within
from fpm.exchange.styles import STYLES, Tape, expressed

RESTING = 2.0  # orders that do not trade at once, as a multiple of the traded volume: one part is taken, one stays
RESTING_BEFORE = 0.25  # share of them entered before the open
CANCELLED = 0.3  # share of them taken back
CANCELLED_BEFORE = 0.35  # share of what is taken back that was entered before the open
LAST_DOUBTED = 211  # row of 14:31: orders entered from then on stay, so that late cancels find something to cancel
ORDERS_PER_TRADE = 0.8


@dataclass(frozen=True)
class Remainders:
    """What large takers' orders leave in the book: shares by row, and a bound on their sum that knows no style."""

    rest_ST: np.ndarray
    allowance_S: np.ndarray


def order_flows(
    day: Day,
    quotes: Quotes,
    flows: dict[str, np.ndarray],
    left: Remainders,
    tape: Tape,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Orders entered and cancelled: every share traded was ordered, beside it orders that rest; some are taken back.

    An order counts with its limit price: takers' at what they paid, resting ones at a whole tick near the market.
    No cancel in the closing call (Shanghai and Shenzhen trading rules 2023, 3.4).
    """
    volume_ST = flows["volume"]
    symbols = len(volume_ST)
    noise_NST = rng.normal(0.0, 1.0, (3, symbols, ROWS))
    sizes_NS = np.exp(rng.normal(0.0, 0.1, (3, symbols)))
    resting_S = np.rint(RESTING * day.volume_S * sizes_NS[0]).astype(np.int64) + left.allowance_S
    before_S = np.rint(RESTING_BEFORE * RESTING * day.volume_S * sizes_NS[0]).astype(np.int64)
    free_ST = np.zeros_like(volume_ST)
    free_ST[:, CALLS[0]] = before_S
    free_ST[:, CALLS[1]] = volume_ST[:, CALLS[1]]  # in a call every share has two orders that waited for it
    weight_ST = u_shaped(0.3 * noise_NST[0]) * quotes.traded_ST
    usual_ST = free_ST + allocate(np.maximum(resting_S - free_ST.sum(axis=1), 0), weight_ST)
    free_S = np.maximum(resting_S - (free_ST + left.rest_ST).sum(axis=1), 0)
    passive_ST = left.rest_ST + free_ST + allocate(free_S, weight_ST)
    price_ST = resting_price(day, quotes, noise_NST[2])
    cancelled_S = np.rint(CANCELLED * RESTING * day.volume_S * sizes_NS[1]).astype(np.int64)
    pool_ST = doubted(cancelled_S, passive_ST - left.rest_ST, weight_ST)
    burst_S = expressed(day.style_SK[:, 2], rng)
    burst_ST = np.exp(STYLES["cancel_bursts"](burst_S, Tape(tape.clock_T, tape.surprise_ST, noise_NST[1])))
    cancel_ST = taken_back(pool_ST, u_shaped(0.0) * burst_ST * quotes.traded_ST)
    kept_ST = passive_ST - pool_ST
    kept_price_ST = at_value(((usual_ST - pool_ST) * price_ST).sum(axis=1), kept_ST, price_ST)
    resting_value_ST = price_ST * pool_ST + kept_price_ST * kept_ST
    orders_S = ORDERS_PER_TRADE * sizes_NS[2] * flows["trades"].sum(axis=1)
    return {
        "order_amount": np.rint(flows["amount"] * TICKS + resting_value_ST) / TICKS,
        "order_volume": volume_ST + passive_ST,
        "order_count": order_counts(orders_S * (1.0 + RESTING), volume_ST + passive_ST),
        "cancel_amount": first_in_first_out(pool_ST, price_ST, cancel_ST) / TICKS,
        "cancel_volume": cancel_ST,
        "cancel_count": order_counts(orders_S * CANCELLED * RESTING, cancel_ST),
    }


def u_shaped(noise_ST: np.ndarray | float) -> np.ndarray:
    """Weights over the continuous rows, 0 elsewhere; the time of day and noise of their own, nothing of the volume."""
    weight_ST = np.zeros((1, ROWS)) if np.isscalar(noise_ST) else np.zeros(np.shape(noise_ST))
    weight_ST[:, CONTINUOUS] = VOLUME_C
    return np.asarray(weight_ST * np.exp(noise_ST))


def resting_price(day: Day, quotes: Quotes, noise_ST: np.ndarray) -> np.ndarray:
    """Limit price in ticks at which each row's resting orders are entered; before the open at the reference price."""
    price_ST = np.rint(quotes.mean_ST * (1.0 + 0.001 * noise_ST.clip(-3.0, 3.0))).astype(np.int64)
    price_ST[:, CALLS[0]] = day.pre_close_S
    up_S = np.where(day.limit_up_S > 0, day.limit_up_S, np.iinfo(np.int64).max)
    return price_ST.clip(np.maximum(day.limit_down_S, 1)[:, None], up_S[:, None])


def at_value(value_S: np.ndarray, volume_ST: np.ndarray, price_ST: np.ndarray) -> np.ndarray:
    """Whole ticks near the given prices at which the continuous rows make the volume worth `value_S`, to a row's worth.

    Where large orders leave their rest follows the styles; what all resting orders are worth must not.
    """
    inner_ST = np.zeros_like(volume_ST)
    inner_ST[:, CONTINUOUS] = volume_ST[:, CONTINUOUS]
    whole_S1 = np.maximum(inner_ST.sum(axis=1, keepdims=True), 1)
    miss_S1 = value_S[:, None] - (volume_ST * price_ST).sum(axis=1, keepdims=True)
    ticks_S1, rest_S1 = np.divmod(miss_S1, whole_S1)
    shift_ST = (ticks_S1 + (np.cumsum(inner_ST, axis=1) <= rest_S1)) * (inner_ST > 0)
    return np.asarray(np.maximum(price_ST + shift_ST, 1))


def doubted(cancelled_S: np.ndarray, passive_ST: np.ndarray, weight_ST: np.ndarray) -> np.ndarray:
    """The shares, by row of entry, that will be taken back: some from before the open, none entered late."""
    doubted_ST = np.zeros_like(passive_ST)
    doubted_ST[:, CALLS[0]] = np.minimum(np.rint(CANCELLED_BEFORE * cancelled_S), passive_ST[:, CALLS[0]])
    early_ST = weight_ST.copy()
    early_ST[:, LAST_DOUBTED:] = 0.0
    room_ST = passive_ST * (early_ST > 0.0)
    return np.asarray(doubted_ST + spread_within(cancelled_S - doubted_ST[:, CALLS[0]], early_ST, room_ST))


def taken_back(pool_ST: np.ndarray, weight_ST: np.ndarray) -> np.ndarray:
    """Cancels by row, in proportion to the weights but never before the order was entered, (S, T) int64."""
    wanted_ST = np.cumsum(allocate(pool_ST.sum(axis=1), weight_ST), axis=1)
    return np.diff(np.minimum(wanted_ST, np.cumsum(pool_ST, axis=1)), axis=1, prepend=0)


def first_in_first_out(pool_ST: np.ndarray, price_ST: np.ndarray, cancel_ST: np.ndarray) -> np.ndarray:
    """Value of each row's cancels where the oldest of the doubted orders goes first, in cents, (S, T) int64."""
    entered_ST, gone_ST = np.cumsum(pool_ST, axis=1), np.cumsum(cancel_ST, axis=1)
    value_ST = np.cumsum(pool_ST * price_ST, axis=1)
    apart_S1 = np.arange(len(pool_ST))[:, None] * (entered_ST.max(initial=0) + 1)
    at_ST = np.searchsorted((entered_ST + apart_S1).ravel(), (gone_ST + apart_S1).ravel()).reshape(gone_ST.shape)
    at_ST = np.minimum(at_ST - ROWS * np.arange(len(pool_ST))[:, None], ROWS - 1)
    reached_ST, whole_ST, its_ST = (
        np.take_along_axis(x_ST, at_ST, axis=1) for x_ST in (entered_ST, value_ST, price_ST)
    )
    return np.diff(whole_ST - (reached_ST - gone_ST) * its_ST, axis=1, prepend=0)


def order_counts(total_S: np.ndarray, quantity_ST: np.ndarray) -> np.ndarray:
    """Orders: at least one where there is a share, never more than shares, (S, T)."""
    least_ST = np.minimum(quantity_ST, 1)
    extra_S = np.rint(total_S).astype(np.int64) - least_ST.sum(axis=1)
    return np.asarray(least_ST + spread_within(extra_S, quantity_ST**0.9, quantity_ST - least_ST))
