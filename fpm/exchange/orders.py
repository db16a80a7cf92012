"""Orders entered and cancelled in a synthetic session.

Letters in array names: S symbols, T vendor rows of a session.

Resting orders do not depend on the styles: not their volume, entry time or price, and not the part that will be
cancelled. A style only decides when that part is cancelled, so no total of the day can show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpm.exchange.days import TICKS, Day
from fpm.exchange.prices import CALLS, CONTINUOUS, ROWS, VOLUME_C
from fpm.exchange.spreads import allocate, spread_within
from fpm.exchange.styles import BURST_SD, STYLES, TiltInputs, expressed

if TYPE_CHECKING:
    from fpm.exchange.quotes import Quotes

RESTING = 2.0  # volume of orders that do not trade at once, as a multiple of the traded volume
RESTING_BEFORE = 0.25  # share of resting volume that is entered before the open
CANCELLED = 0.3  # share of resting volume that is cancelled
CANCELLED_BEFORE = 0.35  # share of cancelled volume that is entered before the open
CANCELLABLE_UNTIL = 211  # row of 14:31: orders entered from then on stay, so late cancels hit earlier ones
ORDERS_PER_TRADE = 0.8


@dataclass(frozen=True)
class Remainders:
    """Shares that large takers' orders leave in the book by row, and a bound on their sum that depends on no style."""

    rest_ST: np.ndarray
    allowance_S: np.ndarray


def order_flows(
    day: Day,
    quotes: Quotes,
    flows: dict[str, np.ndarray],
    remainders: Remainders,
    inputs: TiltInputs,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return the order and cancel columns: orders for every traded share, resting orders, and cancels of some of them.

    An order counts at its limit price: a taker's at the price paid, a resting one at a whole tick near the market.
    The closing call has no cancels (Shanghai and Shenzhen trading rules 2023, 3.4).
    """
    volume_ST = flows["volume"]
    symbols = len(volume_ST)
    noise_NST = rng.normal(0.0, 1.0, (3, symbols, ROWS))
    sizes_NS = np.exp(rng.normal(0.0, 0.1, (3, symbols)))
    resting_S = np.rint(RESTING * day.volume_S * sizes_NS[0]).astype(np.int64) + remainders.allowance_S
    before_S = np.rint(RESTING_BEFORE * RESTING * day.volume_S * sizes_NS[0]).astype(np.int64)
    free_ST = np.zeros_like(volume_ST)
    free_ST[:, CALLS[0]] = before_S
    free_ST[:, CALLS[1]] = volume_ST[:, CALLS[1]]  # in a call both sides of every share waited
    weight_ST = u_shaped(0.3 * noise_NST[0]) * quotes.traded_ST
    usual_ST = free_ST + allocate(np.maximum(resting_S - free_ST.sum(axis=1), 0), weight_ST)
    free_S = np.maximum(resting_S - (free_ST + remainders.rest_ST).sum(axis=1), 0)
    passive_ST = remainders.rest_ST + free_ST + allocate(free_S, weight_ST)
    price_ST, usual_price_ST = (
        resting_price(day, mean_ST, noise_NST[2]) for mean_ST in (quotes.mean_ST, quotes.usual_ST)
    )
    cancelled_S = np.rint(CANCELLED * RESTING * day.volume_S * sizes_NS[1]).astype(np.int64)
    pool_ST = cancellable_shares(cancelled_S, passive_ST - remainders.rest_ST, weight_ST)
    when_ST = cancel_tilt(day, TiltInputs(inputs.clock_T, inputs.surprise_ST, noise_NST[1]), rng)
    cancel_ST = cancels(pool_ST, u_shaped(0.0) * np.exp(when_ST) * quotes.traded_ST)
    staying_ST = passive_ST - pool_ST
    staying_price_ST = prices_at_value(((usual_ST - pool_ST) * usual_price_ST).sum(axis=1), staying_ST, price_ST)
    price_ST = prices_at_value((pool_ST * usual_price_ST).sum(axis=1), pool_ST, price_ST)
    resting_value_ST = price_ST * pool_ST + staying_price_ST * staying_ST
    orders_S = ORDERS_PER_TRADE * sizes_NS[2] * flows["trades"].sum(axis=1)
    return {
        "order_amount": np.rint(flows["amount"] * TICKS + resting_value_ST) / TICKS,
        "order_volume": volume_ST + passive_ST,
        "order_count": order_counts(orders_S * (1.0 + RESTING), volume_ST + passive_ST),
        "cancel_amount": first_in_first_out(pool_ST, price_ST, cancel_ST) / TICKS,
        "cancel_volume": cancel_ST,
        "cancel_count": order_counts(orders_S * CANCELLED * RESTING, cancel_ST),
    }


def cancel_tilt(day: Day, inputs: TiltInputs, rng: np.random.Generator) -> np.ndarray:
    """Return the log weights of cancels over the U-shape: their noise, and what the styles add to it, (S, T)."""
    if day.tilts is not None:
        return np.asarray(BURST_SD * inputs.noise_ST + day.tilts.cancels)
    return STYLES["cancel_bursts"](expressed(day.style_SK[:, 2], rng), inputs)


def u_shaped(noise_ST: np.ndarray | float) -> np.ndarray:
    """Return U-shaped weights times own noise over the continuous rows, 0 elsewhere, independent of the volume, (S, T).

    A number as noise gives one row of weights.
    """
    weight_ST = np.zeros((1, ROWS)) if np.isscalar(noise_ST) else np.zeros(np.shape(noise_ST))
    weight_ST[:, CONTINUOUS] = VOLUME_C
    return np.asarray(weight_ST * np.exp(noise_ST))


def resting_price(day: Day, mean_ST: np.ndarray, noise_ST: np.ndarray) -> np.ndarray:
    """Return the limit price in ticks of each row's resting orders, (S, T); before the open the reference price."""
    price_ST = np.rint(mean_ST * (1.0 + 0.001 * noise_ST.clip(-3.0, 3.0))).astype(np.int64)
    price_ST[:, CALLS[0]] = day.pre_close_S
    up_S = np.where(day.limit_up_S > 0, day.limit_up_S, np.iinfo(np.int64).max)
    return price_ST.clip(np.maximum(day.limit_down_S, 1)[:, None], up_S[:, None])


def prices_at_value(value_S: np.ndarray, volume_ST: np.ndarray, price_ST: np.ndarray) -> np.ndarray:
    """Move the prices of the continuous rows by whole ticks until the volume is worth `value_S`, to one row's volume.

    The rows in which large orders leave a remainder depend on the styles; the value of all resting orders must not.
    """
    inner_ST = np.zeros_like(volume_ST)
    inner_ST[:, CONTINUOUS] = volume_ST[:, CONTINUOUS]
    whole_S1 = np.maximum(inner_ST.sum(axis=1, keepdims=True), 1)
    miss_S1 = value_S[:, None] - (volume_ST * price_ST).sum(axis=1, keepdims=True)
    ticks_S1, rest_S1 = np.divmod(miss_S1, whole_S1)
    shift_ST = (ticks_S1 + (np.cumsum(inner_ST, axis=1) <= rest_S1)) * (inner_ST > 0)
    return np.asarray(np.maximum(price_ST + shift_ST, 1))


def cancellable_shares(cancelled_S: np.ndarray, passive_ST: np.ndarray, weight_ST: np.ndarray) -> np.ndarray:
    """Return the shares that will be cancelled, by row of entry: some from before the open, none from late, (S, T)."""
    pool_ST = np.zeros_like(passive_ST)
    pool_ST[:, CALLS[0]] = np.minimum(np.rint(CANCELLED_BEFORE * cancelled_S), passive_ST[:, CALLS[0]])
    early_ST = weight_ST.copy()
    early_ST[:, CANCELLABLE_UNTIL:] = 0.0
    room_ST = passive_ST * (early_ST > 0.0)
    return np.asarray(pool_ST + spread_within(cancelled_S - pool_ST[:, CALLS[0]], early_ST, room_ST))


def cancels(pool_ST: np.ndarray, weight_ST: np.ndarray) -> np.ndarray:
    """Return cancelled shares by row: proportional to the weights, never before the order's entry, (S, T) int64."""
    target_ST = np.cumsum(allocate(pool_ST.sum(axis=1), weight_ST), axis=1)
    return np.diff(np.minimum(target_ST, np.cumsum(pool_ST, axis=1)), axis=1, prepend=0)


def first_in_first_out(pool_ST: np.ndarray, price_ST: np.ndarray, cancel_ST: np.ndarray) -> np.ndarray:
    """Return the value in cents of each row's cancels if the oldest cancellable orders go first, (S, T) int64."""
    entered_ST, gone_ST = np.cumsum(pool_ST, axis=1), np.cumsum(cancel_ST, axis=1)
    value_ST = np.cumsum(pool_ST * price_ST, axis=1)
    apart_S1 = np.arange(len(pool_ST))[:, None] * (entered_ST.max(initial=0) + 1)
    at_ST = np.searchsorted((entered_ST + apart_S1).ravel(), (gone_ST + apart_S1).ravel()).reshape(gone_ST.shape)
    at_ST = np.minimum(at_ST - ROWS * np.arange(len(pool_ST))[:, None], ROWS - 1)
    entered_there_ST, value_there_ST, price_there_ST = (
        np.take_along_axis(x_ST, at_ST, axis=1) for x_ST in (entered_ST, value_ST, price_ST)
    )
    return np.diff(value_there_ST - (entered_there_ST - gone_ST) * price_there_ST, axis=1, prepend=0)


def order_counts(total_S: np.ndarray, quantity_ST: np.ndarray) -> np.ndarray:
    """Return numbers of orders: at least one where there are shares, never more than shares, (S, T)."""
    least_ST = np.minimum(quantity_ST, 1)
    extra_S = np.rint(total_S).astype(np.int64) - least_ST.sum(axis=1)
    return np.asarray(least_ST + spread_within(extra_S, quantity_ST**0.9, quantity_ST - least_ST))
