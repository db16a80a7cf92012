"""Flows of a synthetic session beside price and volume: trades, taker sides, order sizes.

Letters in array names: S symbols, T vendor rows of a session, C the continuous rows.

No session total depends on the styles. Each is spread over the rows to the last share, within what a row can hold, so a
style can move a flow through the day but change neither its total nor the mean price that buyers pay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fpm.exchange.days import TICKS, Day
from fpm.exchange.orders import Remainders
from fpm.exchange.prices import CALLS, CONTINUOUS, ROWS, trade_value
from fpm.exchange.spreads import keep_mean, spread_within
from fpm.exchange.styles import STYLES, TiltInputs, expressed

if TYPE_CHECKING:
    from fpm.exchange.quotes import Quotes


@dataclass(frozen=True)
class SizeClass:
    """Takers' orders of one class by their value in currency: at least `least`, below `most`.

    `usual`: value that an order trades at once. `volume_share`, `trade_share`: the class's share of a side's volume and
    of its trades in a session of ordinary value.
    """

    least: float
    most: float
    usual: float
    volume_share: float
    trade_share: float


SIZE_CLASSES = {
    "xl": SizeClass(1_000_000, np.inf, 1_300_000, 0.12, 0.06),
    "l": SizeClass(200_000, 1_000_000, 350_000, 0.20, 0.14),
    "m": SizeClass(50_000, 200_000, 90_000, 0.25, 0.22),
}
UNBOUNDED = 1e12
CLEAR = 1.05  # factor by which an order keeps away from the bounds of its class
REST_ALLOWANCE = 1.3  # volume that the book reserves for remainders, as a multiple of their mean
MINUTE_PART = 0.5  # largest part of an ordinary minute's volume that an order takes at once; the remainder rests


def trade_counts(day: Day, volume_ST: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return numbers of trades: at least two in a row that trades, never more than shares, (S, T).

    Trades are larger in busy minutes. The calls get trades in proportion to volume, so the spread over the other rows
    does not affect them.
    """
    value_S = day.volume_S * day.pre_close_S / TICKS
    size_S = trade_value(value_S) * np.exp(rng.normal(0.0, 0.1, len(value_S)))
    least_ST = np.minimum(volume_ST, 2)
    extra_S = np.rint(value_S / size_S).astype(np.int64) - least_ST.sum(axis=1)
    busy_ST = volume_ST**0.9
    busy_ST[:, list(CALLS)] = 0.0
    call_ST = np.where(busy_ST > 0.0, 0.0, volume_ST / day.volume_S[:, None])
    busy_ST *= ((1.0 - call_ST.sum(axis=1)) / busy_ST.sum(axis=1))[:, None]
    return np.asarray(least_ST + spread_within(extra_S, call_ST + busy_ST, volume_ST - least_ST))


@dataclass(frozen=True)
class BuyShare:
    """The buyers' share of trading: weights by row, and the share of the session outside the calls.

    `open_ST`: rows in which takers have a side. `only_buy_ST` and `only_sell_ST`: rows locked at a limit, where only
    the side that the queue waits for can take.
    """

    row_ST: np.ndarray
    session_S: np.ndarray
    open_ST: np.ndarray
    only_buy_ST: np.ndarray
    only_sell_ST: np.ndarray


@dataclass(frozen=True)
class Spreads:
    """The day's volume over its rows without and with the styles, (S, T) each; a symbol's row sums to 1."""

    plain_ST: np.ndarray
    tilted_ST: np.ndarray


def buy_share(day: Day, quotes: Quotes, spreads: Spreads, inputs: TiltInputs, rng: np.random.Generator) -> BuyShare:
    """Return the buyers' share, which is larger in rising minutes.

    The session's share and the buyers' mean price are those that the session would have without styles.
    """
    plain_ST = spreads.plain_ST
    symbols = len(plain_ST)
    open_ST = quotes.traded_ST.copy()
    open_ST[:, list(CALLS)] = False
    lean_S1 = 0.04 * rng.normal(0.0, 1.0, (symbols, 1))
    noise_ST = 0.08 * rng.normal(0.0, 1.0, plain_ST.shape)
    share_ST = (0.5 + lean_S1 + 0.2 * np.tanh(quotes.step_ST) + noise_ST).clip(0.02, 0.98)
    weight_ST = plain_ST * open_ST
    tilted_SC = spreads.tilted_ST[:, CONTINUOUS]
    tilt_SC = np.log(np.maximum(tilted_SC, 1e-300) / np.maximum(weight_ST[:, CONTINUOUS], 1e-300))
    if day.tilts is not None:
        tilt_SC += (day.tilts.side + day.tilts.signed * np.tanh(quotes.step_ST))[:, CONTINUOUS]
    plain_SC = (weight_ST * share_ST)[:, CONTINUOUS]
    plain_SC /= plain_SC.sum(axis=1, keepdims=True)
    price_SC, usual_SC = quotes.mean_ST[:, CONTINUOUS], quotes.usual_ST[:, CONTINUOUS]
    bought_SC = keep_mean(plain_SC, tilt_SC, price_SC, inputs, usual_SC)
    row_ST = share_ST.copy()
    row_ST[:, CONTINUOUS] = bought_SC / np.maximum(tilted_SC, 1e-300) * (tilted_SC > 0.0)
    return BuyShare(
        row_ST=row_ST,
        session_S=(weight_ST * share_ST).sum(axis=1) / weight_ST.sum(axis=1),
        open_ST=open_ST,
        only_buy_ST=open_ST & (quotes.bars["high"] == day.limit_down_S[:, None]),
        only_sell_ST=open_ST & (quotes.bars["low"] == day.limit_up_S[:, None]),
    )


def taker_flows(flows: dict[str, np.ndarray], share: BuyShare) -> dict[str, np.ndarray]:
    """Return buy and sell legs by the taker's side: all trading outside the calls, and 0 in the calls.

    A row locked at a limit has takers of one side only.
    """
    volume_ST, trades_ST = flows["volume"] * share.open_ST, flows["trades"] * share.open_ST
    sure_ST = volume_ST * share.only_buy_ST
    room_ST = volume_ST * ~share.only_sell_ST - sure_ST
    target_S = np.rint(share.session_S * volume_ST.sum(axis=1)).astype(np.int64) - sure_ST.sum(axis=1)
    bought_ST = sure_ST + spread_within(target_S, share.row_ST * volume_ST, room_ST)
    sold_ST = volume_ST - bought_ST
    # A side with shares has at least one trade, and never more trades than shares.
    least_ST = np.maximum(bought_ST > 0, trades_ST - sold_ST)
    most_ST = np.minimum(bought_ST, trades_ST - (sold_ST > 0))
    target_S = np.rint(share.session_S * trades_ST.sum(axis=1)).astype(np.int64) - least_ST.sum(axis=1)
    buys_ST = least_ST + spread_within(target_S, share.row_ST * trades_ST, most_ST - least_ST)
    cents_ST = np.rint(flows["amount"] * TICKS) * share.open_ST
    bought_cents_ST = np.rint(cents_ST * (bought_ST / np.maximum(volume_ST, 1)))
    return {
        "buy_amount": bought_cents_ST / TICKS,
        "buy_volume": bought_ST,
        "buy_count": buys_ST,
        "sell_amount": (cents_ST - bought_cents_ST) / TICKS,
        "sell_volume": sold_ST,
        "sell_count": trades_ST - buys_ST,
    }


@dataclass(frozen=True)
class Side:
    """Trading by the takers of one side: session totals, and by row the part that no size class has taken yet."""

    whole_volume_S: np.ndarray
    whole_count_S: np.ndarray
    volume_ST: np.ndarray
    count_ST: np.ndarray


@dataclass(frozen=True)
class Leg:
    """One size class of one side: traded volume, trades, and the shares that its orders leave in the book."""

    volume_ST: np.ndarray
    trades_ST: np.ndarray
    remainders: Remainders


def size_flows(
    day: Day, quotes: Quotes, flows: dict[str, np.ndarray], inputs: TiltInputs, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], Remainders]:
    """Return extra-large, large and medium legs of each side, and the shares that their orders leave in the book.

    The class is that of the taker's order by value; all other orders are small. The extra-large share grows with the
    session's value. Every leg leaves at least one trade, and one share per trade, to smaller orders. If an order took
    less than its class requires, the remainder rests in the book.
    """
    value_S = day.volume_S * day.pre_close_S / TICKS
    bigness_S = np.exp(0.25 * np.log(value_S / 2e8).clip(-2.0, 2.0))
    legs: dict[str, np.ndarray] = {}
    remainders: list[Remainders] = []
    for name, sign in (("buy", 1.0), ("sell", -1.0)):
        tilt_ST = sign * (planted_direction(day, inputs, rng) if day.tilts is None else day.tilts.size)
        volume_ST, count_ST = flows[f"{name}_volume"], flows[f"{name}_count"]
        side = Side(volume_ST.sum(axis=1), count_ST.sum(axis=1), volume_ST, count_ST)
        for size, size_class in SIZE_CLASSES.items():
            share_S = np.exp(rng.normal(0.0, 0.1, len(value_S))) * (bigness_S if size == "xl" else 1.0)
            noise_ST = 0.35 * rng.normal(0.0, 1.0, volume_ST.shape) + (0.0 if size == "m" else tilt_ST)
            orders = size_orders(size_class, share_S, volume_ST * np.exp(noise_ST), side, day, rng)
            leg = size_leg(size_class, orders, side, quotes)
            side = replace(side, volume_ST=side.volume_ST - leg.volume_ST, count_ST=side.count_ST - leg.trades_ST)
            legs[f"{size}_{name}_volume"], legs[f"{size}_{name}_count"] = leg.volume_ST, leg.trades_ST
            remainders.append(leg.remainders)
    rest_ST = np.add.reduce([part.rest_ST for part in remainders])
    return legs, Remainders(rest_ST, np.add.reduce([part.allowance_S for part in remainders]))


def planted_direction(day: Day, inputs: TiltInputs, rng: np.random.Generator) -> np.ndarray:
    """Return the large buyers' tilt by the planted style as one side shows it, (S, T)."""
    return STYLES["large_order_direction"](expressed(day.style_SK[:, 3], rng), inputs)


@dataclass(frozen=True)
class SizeOrders:
    """Takers' orders of one class and side: their number by row, and their session targets of volume and trades."""

    orders_ST: np.ndarray
    volume_S: np.ndarray
    trades_S: np.ndarray
    allowance_S: np.ndarray


def size_orders(
    size_class: SizeClass, share_S: np.ndarray, weight_ST: np.ndarray, side: Side, day: Day, rng: np.random.Generator
) -> SizeOrders:
    """Spread a class's orders over the session by the weights, fewer in a row than the side's trades there."""
    price_S = day.pre_close_S / TICKS
    volume_S = share_S * size_class.volume_share * side.whole_volume_S
    usual_S = np.minimum(size_class.usual / price_S, MINUTE_PART * side.whole_volume_S / ROWS)
    orders_S = np.rint(volume_S / np.maximum(usual_S, 1.0)).astype(np.int64)
    orders_ST = spread_within(orders_S, weight_ST, np.maximum(side.count_ST - 1, 0), rng.random(len(price_S)))
    bare_S = np.maximum(CLEAR * size_class.least / price_S - usual_S, 0.0)
    return SizeOrders(
        orders_ST=orders_ST,
        volume_S=np.rint(volume_S).astype(np.int64),
        trades_S=np.rint(share_S * size_class.trade_share * side.whole_count_S).astype(np.int64),
        allowance_S=np.rint(REST_ALLOWANCE * orders_S * bare_S).astype(np.int64),
    )


def size_leg(size_class: SizeClass, orders: SizeOrders, side: Side, quotes: Quotes) -> Leg:
    """Return the trading of one class's orders, equal shares of each where room allows, and their remainders.

    Only with its remainder does an order reach the least value of its class.
    """
    orders_ST = orders.orders_ST
    any_ST = orders_ST > 0
    extra_S = orders.trades_S - orders_ST.sum(axis=1)
    trades_ST = orders_ST + spread_within(extra_S, orders_ST, (side.count_ST - 1 - orders_ST) * any_ST)
    most_ST = orders_ST * (min(size_class.most, UNBOUNDED) / CLEAR * TICKS / quotes.bars["high"]).astype(np.int64)
    room_ST = np.maximum(np.minimum(side.volume_ST - side.count_ST, most_ST - trades_ST), 0) * any_ST
    volume_ST = trades_ST + spread_within(orders.volume_S - trades_ST.sum(axis=1), orders_ST, room_ST)
    least_ST = orders_ST * np.ceil(CLEAR * size_class.least * TICKS / quotes.bars["low"]).astype(np.int64)
    return Leg(volume_ST, trades_ST, Remainders(np.maximum(least_ST - volume_ST, 0), orders.allowance_S))
