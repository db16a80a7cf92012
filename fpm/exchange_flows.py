"""Flows of a synthetic session beside price and volume: trades, taker sides, order sizes, orders, cancels.

Letters in array names: S symbols, T vendor rows of a session.

Every session total is drawn free of the styles and then spread over the rows within what each row can hold, to
the last share: a style can move a flow through the day, never change its total.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fpm.exchange_days import TICKS, Day
from fpm.exchange_prices import CALLS, ROWS, Quotes, trade_value
from fpm.exchange_styles import STYLES, Tape

# Of a side's volume and of its trades: the legs by the value of the taker's order; the rest is small orders.
SIZE_SHARES = {"xl": (0.12, 0.06), "l": (0.20, 0.14), "m": (0.25, 0.22)}
RESTING = 1.5  # orders that do not trade at once, as a multiple of the traded volume
RESTING_BEFORE = 0.25  # share of them entered before the open
CANCELLED = 0.35  # share of them taken back
ORDERS_PER_TRADE = 0.8


def allocate(total_S: np.ndarray, weight_ST: np.ndarray) -> np.ndarray:
    """Integers over the rows in proportion to the weights, adding up to the total (0 without weights), (S, T)."""
    cumulative_ST = np.cumsum(weight_ST, axis=1)
    share_ST = cumulative_ST / np.maximum(cumulative_ST[:, -1:], 1e-300)
    reached_ST = np.floor(share_ST * total_S[:, None] + 1e-6).astype(np.int64)
    return np.diff(reached_ST, axis=1, prepend=0)


def spread_within(total_S: np.ndarray, weight_ST: np.ndarray, room_ST: np.ndarray) -> np.ndarray:
    """`allocate`, but no row above its room: what does not fit goes where room is left, (S, T) int64.

    Adds up to the total, or to all the room where that is less.
    """
    fitting_ST = np.minimum(allocate(np.maximum(total_S, 0), weight_ST), room_ST)
    left_ST = room_ST - fitting_ST
    missing_S = np.minimum(np.maximum(total_S, 0) - fitting_ST.sum(axis=1), left_ST.sum(axis=1))
    return np.asarray(fitting_ST + np.minimum(allocate(missing_S, left_ST), left_ST))


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


def buy_share(day: Day, quotes: Quotes, plain_ST: np.ndarray, rng: np.random.Generator) -> BuyShare:
    """Buyers take more in rising minutes; the session's share is that of the volume without styles."""
    symbols = len(plain_ST)
    open_ST = quotes.traded_ST.copy()
    open_ST[:, list(CALLS)] = False
    lean_S1 = 0.04 * rng.normal(0.0, 1.0, (symbols, 1))
    noise_ST = 0.08 * rng.normal(0.0, 1.0, plain_ST.shape)
    share_ST = (0.5 + lean_S1 + 0.2 * np.tanh(quotes.step_ST) + noise_ST).clip(0.02, 0.98)
    weight_ST = plain_ST * open_ST
    return BuyShare(
        row_ST=share_ST,
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


def size_flows(day: Day, flows: dict[str, np.ndarray], tape: Tape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Extra-large, large and medium legs of each side, by the value of the taker's order; the rest is small.

    More is extra-large where more is traded. Every leg leaves a trade, and a share for every trade, to the rest.
    """
    value_S = day.volume_S * day.pre_close_S / TICKS
    bigness_S = np.exp(0.25 * np.log(value_S / 2e8).clip(-2.0, 2.0))
    timing_ST = np.exp(STYLES["large_order_timing"](day.style_SK[:, 3], tape))
    legs: dict[str, np.ndarray] = {}
    for side in ("buy", "sell"):
        volume_ST, count_ST = flows[f"{side}_volume"], flows[f"{side}_count"]
        totals = volume_ST.sum(axis=1), count_ST.sum(axis=1)
        for size, (of_volume, of_count) in SIZE_SHARES.items():
            share_S = np.exp(rng.normal(0.0, 0.1, len(value_S))) * (bigness_S if size == "xl" else 1.0)
            weight_ST = flows[f"{side}_volume"] * np.exp(0.35 * rng.normal(0.0, 1.0, volume_ST.shape))
            weight_ST = weight_ST * timing_ST if (side, size) == ("buy", "xl") else weight_ST
            wanted_S = np.rint(of_count * share_S * totals[1]).astype(np.int64)
            trades_ST = spread_within(wanted_S, weight_ST, np.maximum(count_ST - 1, 0))
            count_ST = count_ST - trades_ST
            wanted_S = np.rint(of_volume * share_S * totals[0]).astype(np.int64) - trades_ST.sum(axis=1)
            room_ST = (volume_ST - trades_ST - count_ST) * (trades_ST > 0)
            leg_ST = trades_ST + spread_within(wanted_S, weight_ST * (trades_ST > 0), room_ST)
            volume_ST = volume_ST - leg_ST
            legs[f"{size}_{side}_volume"], legs[f"{size}_{side}_count"] = leg_ST, trades_ST
    return legs


def order_flows(day: Day, flows: dict[str, np.ndarray], tape: Tape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Orders entered and cancelled: every share traded was ordered, beside it orders that rest; some are taken back.

    No cancel in the closing call (Shanghai and Shenzhen trading rules 2023, 3.4).
    """
    volume_ST = flows["volume"]
    symbols = len(volume_ST)
    noise_NST = rng.normal(0.0, 1.0, (4, symbols, ROWS))
    sizes_NS = np.exp(rng.normal(0.0, 0.1, (3, symbols)))
    resting_S = RESTING * day.volume_S * sizes_NS[0]
    before_S = np.rint(RESTING_BEFORE * resting_S).astype(np.int64)
    order_ST = volume_ST + allocate(np.rint(resting_S - before_S), volume_ST * np.exp(0.25 * noise_NST[0]))
    order_ST[:, CALLS[0]] += before_S
    own_tape = Tape(tape.clock_T, tape.surprise_ST, noise_NST[1])
    burst_ST = volume_ST * np.exp(STYLES["cancel_bursts"](day.style_SK[:, 2], own_tape))
    burst_ST[:, CALLS[1]] = 0.0
    cancel_ST = allocate(np.rint(CANCELLED * resting_S * sizes_NS[1]), burst_ST)
    price_ST = flows["amount"] / np.maximum(volume_ST, 1)
    orders_S = ORDERS_PER_TRADE * sizes_NS[2] * flows["trades"].sum(axis=1)
    legs: dict[str, np.ndarray] = {}
    quantities = {"order": (order_ST, 1.0 + RESTING), "cancel": (cancel_ST, CANCELLED * RESTING)}
    for (kind, (quantity_ST, multiple)), off_ST in zip(quantities.items(), noise_NST[2:], strict=True):
        price_off_ST = price_ST * (1.0 + 0.001 * off_ST.clip(-3.0, 3.0))
        legs[f"{kind}_amount"] = np.rint(price_off_ST * quantity_ST * TICKS) / TICKS
        legs[f"{kind}_volume"] = quantity_ST
        legs[f"{kind}_count"] = order_counts(orders_S * multiple, quantity_ST)
    return legs


def order_counts(total_S: np.ndarray, quantity_ST: np.ndarray) -> np.ndarray:
    """Orders: at least one where there is a share, never more than shares, (S, T)."""
    least_ST = np.minimum(quantity_ST, 1)
    extra_S = np.rint(total_S).astype(np.int64) - least_ST.sum(axis=1)
    return np.asarray(least_ST + spread_within(extra_S, quantity_ST**0.9, quantity_ST - least_ST))
