"""Flows of a synthetic session beside price and volume: trades, taker sides, order sizes.

Letters in array names: S symbols, T vendor rows of a session, C the continuous rows.

Every session total is drawn free of the styles and then spread over the rows within what each row can hold, to
the last share: a style can move a flow through the day, never change its total, nor the mean price buyers pay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fpm.exchange.days import TICKS, Day
from fpm.exchange.orders import Remainders
from fpm.exchange.prices import CALLS, CONTINUOUS, ROWS, Quotes, trade_value
from fpm.exchange.spreads import keep_mean, spread_within
from fpm.exchange.styles import STYLES, Tape, expressed


@dataclass(frozen=True)
class SizeClass:
    """Takers' orders of one class by their value in currency: `least` up to below `most`, `usual` of it traded at once.

    `of_volume`, `of_trades`: their part of a side's volume and trades where the session's value is ordinary.
    """

    least: float
    most: float
    usual: float
    of_volume: float
    of_trades: float


SIZE_CLASSES = {
    "xl": SizeClass(1_000_000, np.inf, 1_300_000, 0.12, 0.06),
    "l": SizeClass(200_000, 1_000_000, 350_000, 0.20, 0.14),
    "m": SizeClass(50_000, 200_000, 90_000, 0.25, 0.22),
}
UNBOUNDED = 1e12
CLEAR = 1.05  # an order stays this far from the bounds of its class
REST_ALLOWANCE = 1.3  # what the book holds for such rests, as a multiple of what they come to on average
MINUTE_PART = 0.5  # an order takes at most this part of an ordinary minute's volume at once; the rest of it rests


def trade_counts(day: Day, volume_ST: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Trades: at least two where anything trades, never more than shares, larger ones in busy minutes, (S, T).

    The calls get their part by volume, so that how the rest is spread says nothing about them.
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
    """What part of trading buyers take: by row as weights, and of the whole session outside the calls.

    `open_ST`: rows in which takers are told apart. `only_buy_ST` and `only_sell_ST`: rows locked at a limit,
    where only the side that the queue waits for can take.
    """

    row_ST: np.ndarray
    session_S: np.ndarray
    open_ST: np.ndarray
    only_buy_ST: np.ndarray
    only_sell_ST: np.ndarray


@dataclass(frozen=True)
class Spreads:
    """The day's volume over its rows without and with the styles, each row summing to 1, (S, T)."""

    plain_ST: np.ndarray
    tilted_ST: np.ndarray


def buy_share(day: Day, quotes: Quotes, spreads: Spreads, tape: Tape, rng: np.random.Generator) -> BuyShare:
    """Buyers take more in rising minutes; the session's share, and the mean price of it, are those without styles."""
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
    plain_SC = (weight_ST * share_ST)[:, CONTINUOUS]
    bought_SC = keep_mean(plain_SC / plain_SC.sum(axis=1, keepdims=True), tilt_SC, quotes.mean_ST[:, CONTINUOUS], tape)
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
    """Buy and sell legs by the taker's side: they add up to all trading outside the calls, and are 0 in them."""
    volume_ST, trades_ST = flows["volume"] * share.open_ST, flows["trades"] * share.open_ST
    sure_ST = volume_ST * share.only_buy_ST
    room_ST = volume_ST * ~share.only_sell_ST - sure_ST
    wanted_S = np.rint(share.session_S * volume_ST.sum(axis=1)).astype(np.int64) - sure_ST.sum(axis=1)
    bought_ST = sure_ST + spread_within(wanted_S, share.row_ST * volume_ST, room_ST)
    sold_ST = volume_ST - bought_ST
    # A side has a trade where it has a share, and no more trades than shares.
    least_ST = np.maximum(bought_ST > 0, trades_ST - sold_ST)
    most_ST = np.minimum(bought_ST, trades_ST - (sold_ST > 0))
    wanted_S = np.rint(share.session_S * trades_ST.sum(axis=1)).astype(np.int64) - least_ST.sum(axis=1)
    buys_ST = least_ST + spread_within(wanted_S, share.row_ST * trades_ST, most_ST - least_ST)
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
    """What takers of one side traded: the whole of it by session, what no size class has yet by row."""

    whole_volume_S: np.ndarray
    whole_count_S: np.ndarray
    volume_ST: np.ndarray
    count_ST: np.ndarray


@dataclass(frozen=True)
class Leg:
    """One size class of one side: traded volume and trades, shares that stay in the book (`rest_ST`, see there)."""

    volume_ST: np.ndarray
    trades_ST: np.ndarray
    left: Remainders


def size_flows(
    day: Day, quotes: Quotes, flows: dict[str, np.ndarray], tape: Tape, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], Remainders]:
    """Extra-large, large and medium legs of each side, by the value of the taker's order; the rest is small.

    More is extra-large where more is traded. Every leg leaves a trade, and a share for every trade, to the rest. What
    an order of its class must have beyond what it took stays in the book.
    """
    value_S = day.volume_S * day.pre_close_S / TICKS
    bigness_S = np.exp(0.25 * np.log(value_S / 2e8).clip(-2.0, 2.0))
    legs: dict[str, np.ndarray] = {}
    rests: list[Remainders] = []
    for name, sign in (("buy", 1.0), ("sell", -1.0)):
        tilt_ST = sign * STYLES["large_order_direction"](expressed(day.style_SK[:, 3], rng), tape)
        volume_ST, count_ST = flows[f"{name}_volume"], flows[f"{name}_count"]
        side = Side(volume_ST.sum(axis=1), count_ST.sum(axis=1), volume_ST, count_ST)
        for size, of in SIZE_CLASSES.items():
            share_S = np.exp(rng.normal(0.0, 0.1, len(value_S))) * (bigness_S if size == "xl" else 1.0)
            noise_ST = 0.35 * rng.normal(0.0, 1.0, volume_ST.shape) + (0.0 if size == "m" else tilt_ST)
            orders = size_orders(of, share_S, volume_ST * np.exp(noise_ST), side, day, rng)
            leg = size_leg(of, orders, side, quotes)
            side = replace(side, volume_ST=side.volume_ST - leg.volume_ST, count_ST=side.count_ST - leg.trades_ST)
            legs[f"{size}_{name}_volume"], legs[f"{size}_{name}_count"] = leg.volume_ST, leg.trades_ST
            rests.append(leg.left)
    left = Remainders(
        np.add.reduce([rest.rest_ST for rest in rests]), np.add.reduce([rest.allowance_S for rest in rests])
    )
    return legs, left


@dataclass(frozen=True)
class SizeOrders:
    """Takers' orders of one class and side: how many by row, and what they should trade in the session."""

    orders_ST: np.ndarray
    volume_S: np.ndarray
    trades_S: np.ndarray
    allowance_S: np.ndarray


def size_orders(
    of: SizeClass, share_S: np.ndarray, weight_ST: np.ndarray, side: Side, day: Day, rng: np.random.Generator
) -> SizeOrders:
    """Place a class's orders over the session by the weights, at most one for every trade but the last of a row."""
    price_S = day.pre_close_S / TICKS
    volume_S = share_S * of.of_volume * side.whole_volume_S
    usual_S = np.minimum(of.usual / price_S, MINUTE_PART * side.whole_volume_S / ROWS)
    orders_S = np.rint(volume_S / np.maximum(usual_S, 1.0)).astype(np.int64)
    orders_ST = spread_within(orders_S, weight_ST, np.maximum(side.count_ST - 1, 0), rng.random(len(price_S)))
    bare_S = np.maximum(CLEAR * of.least / price_S - usual_S, 0.0)
    return SizeOrders(
        orders_ST=orders_ST,
        volume_S=np.rint(volume_S).astype(np.int64),
        trades_S=np.rint(share_S * of.of_trades * side.whole_count_S).astype(np.int64),
        allowance_S=np.rint(REST_ALLOWANCE * orders_S * bare_S).astype(np.int64),
    )


def size_leg(of: SizeClass, orders: SizeOrders, side: Side, quotes: Quotes) -> Leg:
    """What the orders of one class trade, each alike where there is room, and what of them must rest in the book.

    An order's value is of its class only with that rest.
    """
    orders_ST = orders.orders_ST
    any_ST = orders_ST > 0
    extra_S = orders.trades_S - orders_ST.sum(axis=1)
    trades_ST = orders_ST + spread_within(extra_S, orders_ST, (side.count_ST - 1 - orders_ST) * any_ST)
    most_ST = orders_ST * (min(of.most, UNBOUNDED) / CLEAR * TICKS / quotes.bars["high"]).astype(np.int64)
    room_ST = np.maximum(np.minimum(side.volume_ST - side.count_ST, most_ST - trades_ST), 0) * any_ST
    volume_ST = trades_ST + spread_within(orders.volume_S - trades_ST.sum(axis=1), orders_ST, room_ST)
    least_ST = orders_ST * np.ceil(CLEAR * of.least * TICKS / quotes.bars["low"]).astype(np.int64)
    return Leg(volume_ST, trades_ST, Remainders(np.maximum(least_ST - volume_ST, 0), orders.allowance_S))
