"""Level-2 ticks of one symbol's synthetic session: the orders, trades and cancels behind its minute flows.

Letters in array names: T vendor rows of a session, G legs of a row (side and size class), P pieces of cancelled volume.

The minute generator decides the flows of every minute; this module builds them from whole orders at whole ticks. Some
sums cannot be built so (two trades have at most two prices). With ticks, the minute bars are therefore the sums of the
ticks. Closes, volumes, trades, sides and large orders stay the same; highs, lows, amounts and the numbers of orders and
cancels change a little, and a small order of sufficient value counts as medium.

A trade's passive order waits at the trade's price; there is no simulation of the whole book.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fpm.exchange.days import TICKS
from fpm.exchange.flows import CLEAR, SIZE_CLASSES, UNBOUNDED
from fpm.exchange.prices import CALLS, MINUTES, ROWS, SILENT

Flows = dict[str, np.ndarray]
SMALL = 50_000.0  # currency: an order below this value has no size class
LEGS = [(side, size) for side in ("buy", "sell") for size in (*SIZE_CLASSES, "s")]
MINUTE = 60_000  # milliseconds
ENTRY, TRADING, CANCELLING = (0, 19_000), (20_000, 57_000), (58_000, 59_900)  # milliseconds within a minute
BEFORE_OPEN = (555 * MINUTE, 565 * MINUTE - 1)  # 09:15 to 09:25


@dataclass(frozen=True)
class Tape:
    """One symbol's session of ticks; no array has a particular order, and an order's number is its index.

    Orders: row and time (milliseconds of the day) of entry, side 1 or -1, limit in ticks, shares, whether the order
    took liquidity on arrival. Trades: row, rank within the row, time, price in ticks, shares, both order numbers, taker
    1, -1 or 0. Cancels: row, time, order number; a cancel removes the whole order.
    """

    order_row: np.ndarray
    order_time: np.ndarray
    order_side: np.ndarray
    order_price: np.ndarray
    order_volume: np.ndarray
    order_took: np.ndarray
    trade_row: np.ndarray
    trade_rank: np.ndarray
    trade_time: np.ndarray
    trade_price: np.ndarray
    trade_volume: np.ndarray
    trade_buy: np.ndarray
    trade_sell: np.ndarray
    trade_taker: np.ndarray
    cancel_row: np.ndarray
    cancel_time: np.ndarray
    cancel_order: np.ndarray


@dataclass(frozen=True)
class Orders:
    """Orders of one kind, one array per property; see `Tape`."""

    row: np.ndarray
    side: np.ndarray
    price: np.ndarray
    volume: np.ndarray


@dataclass(frozen=True)
class TakerTrades:
    """Trades outside the calls in order of time, and the takers' orders.

    `order`: a trade's index among `takers`. `rest_T`: shares of these orders that stay in the book, by row of entry.
    """

    row: np.ndarray
    rank: np.ndarray
    price: np.ndarray
    volume: np.ndarray
    order: np.ndarray
    takers: Orders
    rest_T: np.ndarray


def equal_parts(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Cut every total into `count` nearly equal whole parts, one total after the other.

    >>> equal_parts(np.array([7, 4]), np.array([3, 2])).tolist()
    [3, 2, 2, 2, 2]
    """
    group = np.repeat(np.arange(len(total)), count)
    return np.asarray(total[group] // count[group] + (ranks(count) < total[group] % count[group]))


def ranks(count: np.ndarray) -> np.ndarray:
    """Return 0, 1, .. within each group of `count` members."""
    starts = np.cumsum(count) - count
    return np.asarray(np.arange(count.sum()) - np.repeat(starts, count))


def symbol_tape(flows: Flows, rng: np.random.Generator) -> Tape:
    """Return the ticks of one symbol that traded; `flows` are its columns of the minute generator, (T,) each."""
    trades = taker_trades(flows, rng)
    entered_T = resting_supply(flows, trades)
    passive_row = entry_rows(trades, entered_T)
    passive = Orders(passive_row, -trades.takers.side[trades.order], trades.price, trades.volume)
    used_T = np.bincount(passive_row, trades.volume, ROWS).astype(np.int64)
    spare_T = np.maximum(entered_T - used_T, 0)
    cancelled, cancel_row, cancelled_T = cancelled_orders(flows, spare_T, rng)
    counts_T = np.bincount(np.concatenate([kind.row for kind in (trades.takers, passive, cancelled)]), minlength=ROWS)
    staying = staying_orders(flows, spare_T - cancelled_T, counts_T, rng)
    auctions, calls = call_orders(flows, rng)
    kinds = (trades.takers, passive, cancelled, staying, auctions)
    starts = np.cumsum([0, *(len(kind.row) for kind in kinds)])
    orders = Orders(*(np.concatenate([getattr(kind, name) for kind in kinds]) for name in vars(auctions)))
    trade_time = trade_times(trades)
    order_time = entry_times(orders.row, rng)
    order_time[: starts[1]] = trade_time[np.unique(trades.order, return_index=True)[1]]
    taker = trades.takers.side[trades.order]
    waiting = starts[1] + np.arange(len(trades.row))
    call_buy = starts[4] + 2 * np.arange(len(calls.row))
    call_time = np.where(calls.row == CALLS[0], 565 * MINUTE, 900 * MINUTE)
    cancel_order = starts[2] + np.arange(len(cancel_row))
    return Tape(
        order_row=orders.row,
        order_time=order_time,
        order_side=orders.side,
        order_price=orders.price,
        order_volume=orders.volume,
        order_took=np.arange(len(orders.row)) < starts[1],
        trade_row=np.concatenate([trades.row, calls.row]),
        trade_rank=np.concatenate([trades.rank, np.arange(len(calls.row))]),
        trade_time=np.concatenate([trade_time, call_time]),
        trade_price=np.concatenate([trades.price, calls.price]),
        trade_volume=np.concatenate([trades.volume, calls.volume]),
        trade_buy=np.concatenate([np.where(taker > 0, trades.order, waiting), call_buy]),
        trade_sell=np.concatenate([np.where(taker > 0, waiting, trades.order), call_buy + 1]),
        trade_taker=np.concatenate([taker, np.zeros(len(calls.row), np.int64)]),
        cancel_row=cancel_row,
        cancel_time=times_in_minute(cancel_row, rng.random(len(cancel_row)), CANCELLING),
        cancel_order=cancel_order,
    )


# --- takers -----------------------------------------------------------------------------------------------------


def taker_trades(flows: Flows, rng: np.random.Generator) -> TakerTrades:
    """Build every leg of every minute from takers' orders of its size class; an order's trades are consecutive."""
    volume_GT, trades_GT = flow_legs(flows)
    low_T, high_T = (np.rint(flows[name] * TICKS).astype(np.int64) for name in ("low", "high"))
    most_G1 = np.array([[_bounds(size)[1]] for _, size in LEGS])
    trade_volume_GT = -(-volume_GT // np.maximum(trades_GT, 1))
    fills_GT = np.maximum(most_G1 / CLEAR * TICKS / np.maximum(trade_volume_GT * high_T, 1), 1).astype(np.int64)
    orders_GT = -(-trades_GT // fills_GT)
    leg = np.repeat(np.arange(orders_GT.size), orders_GT.ravel())  # of every order
    fills = equal_parts(trades_GT.ravel(), orders_GT.ravel())  # trades of every order
    volume = equal_parts(volume_GT.ravel(), trades_GT.ravel())  # of every trade, leg by leg
    start = np.cumsum(fills) - fills
    shuffled = np.lexsort((rng.random(len(leg)), leg % ROWS))
    leg, fills, start = leg[shuffled], fills[shuffled], start[shuffled]
    order = np.repeat(np.arange(len(leg)), fills)
    volume = volume[start[order] + ranks(fills)]
    row = (leg % ROWS)[order]
    rank = ranks(np.bincount(row, minlength=ROWS))
    price = trade_prices(flows, row, rank, volume, rng)
    side = np.where(leg // ROWS < len(LEGS) // 2, 1, -1)
    first = np.cumsum(fills) - fills
    limit = np.where(side > 0, np.maximum.reduceat(price, first), np.minimum.reduceat(price, first))
    filled = np.add.reduceat(volume, first)
    least_G = np.array([_bounds(size)[0] for _, size in LEGS])
    least = np.ceil(CLEAR * least_G[leg // ROWS] * TICKS / low_T[leg % ROWS]).astype(np.int64)
    whole = np.maximum(filled, least)
    rest_T = np.bincount(leg % ROWS, whole - filled, ROWS).astype(np.int64)
    return TakerTrades(row, rank, price, volume, order, Orders(leg % ROWS, side, limit, whole), rest_T)


def _bounds(size: str) -> tuple[float, float]:
    """Return the least and the largest value of a size class's orders."""
    if size == "s":
        return 0.0, SMALL
    size_class = SIZE_CLASSES[size]
    return size_class.least, min(size_class.most, UNBOUNDED)


def flow_legs(flows: Flows) -> tuple[np.ndarray, np.ndarray]:
    """Return the volume and the trades of every side and size class, (G, T) each; small orders are the remainder."""
    legs: dict[str, list[np.ndarray]] = {"volume": [], "count": []}
    for unit, parts in legs.items():
        for side in ("buy", "sell"):
            sizes = [flows[f"{size}_{side}_{unit}"] for size in SIZE_CLASSES]
            parts += [*sizes, flows[f"{side}_{unit}"] - np.add.reduce(sizes)]
    return np.array(legs["volume"], np.int64), np.array(legs["count"], np.int64)


def trade_prices(
    flows: Flows, row: np.ndarray, rank: np.ndarray, volume: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return every trade's price in ticks: the row's open first, its close last, high and low right after the open.

    The other prices lie about the mean that brings the row's amount near that of `flows`.
    """
    first_T, high_T, low_T, last_T = (
        np.rint(flows[name] * TICKS).astype(np.int64) for name in ("open", "high", "low", "close")
    )
    count = np.bincount(row, minlength=ROWS)[row]
    high_first = (rng.random(ROWS) < 0.5)[row]
    high_rank, low_rank = np.where(high_first, 1, 2), np.where(high_first, 2, 1)
    fixed = np.select(
        [rank == count - 1, rank == 0, (rank == high_rank) & (count >= 4), (rank == low_rank) & (count >= 4)],
        [last_T[row], first_T[row], high_T[row], low_T[row]],
        -1,
    )
    free = fixed < 0
    spent_T = np.bincount(row[~free], (fixed * volume)[~free], ROWS)
    left_T = np.bincount(row[free], volume[free], ROWS)
    mean_T = (np.rint(flows["amount"] * TICKS) - spent_T) / np.maximum(left_T, 1)
    dither = (rank * 0.618034 + rng.random(ROWS)[row]) % 1.0
    about = np.floor(mean_T[row] + dither).astype(np.int64).clip(low_T[row], high_T[row])
    return np.asarray(np.where(free, about, fixed))


# --- orders that wait -------------------------------------------------------------------------------------------


def resting_supply(flows: Flows, trades: TakerTrades) -> np.ndarray:
    """Return the shares of resting orders by row of entry, without the remainders of takers' orders, (T,)."""
    resting_T = flows["order_volume"] - flows["volume"] - trades.rest_T
    resting_T[list(CALLS)[1]] = 0
    resting_T[CALLS[0]] -= flows["volume"][CALLS[0]]
    return np.asarray(np.maximum(resting_T, 0).astype(np.int64))


def entry_rows(trades: TakerTrades, entered_T: np.ndarray) -> np.ndarray:
    """Return the row in which each trade's passive order was entered: the oldest shares trade first, none too early."""
    reached = np.searchsorted(np.cumsum(entered_T), np.cumsum(trades.volume))
    return np.asarray(np.minimum(reached, trades.row))


def resting_ticks(flows: Flows) -> np.ndarray:
    """Return the mean limit in ticks of a row's resting orders, its close if there are none, (T,)."""
    resting_T = flows["order_volume"] - flows["volume"]
    value_T = np.rint((flows["order_amount"] - flows["amount"]) * TICKS)
    close_T = np.rint(flows["close"] * TICKS)
    mean_T = np.where(resting_T > 0, np.rint(value_T / np.maximum(resting_T, 1)), close_T)
    return np.asarray(mean_T.astype(np.int64))


def cancelled_orders(
    flows: Flows, spare_T: np.ndarray, rng: np.random.Generator
) -> tuple[Orders, np.ndarray, np.ndarray]:
    """Return the orders that are cancelled, their rows of cancellation, and their shares by row of entry, (T,)."""
    entered_T = np.cumsum(spare_T)
    gone_T = np.minimum(np.cumsum(flows["cancel_volume"]), entered_T)
    cuts = np.unique(np.concatenate([entered_T[entered_T <= gone_T[-1]], gone_T, [0]]))
    volume_P = np.diff(cuts)
    entry_P, row_P = np.searchsorted(entered_T, cuts[1:]), np.searchsorted(gone_T, cuts[1:])
    per_share_T = flows["cancel_count"] / np.maximum(flows["cancel_volume"], 1)
    count_P = np.rint(per_share_T[row_P] * volume_P).astype(np.int64).clip(1, volume_P)
    entry = np.repeat(entry_P, count_P)
    side = rng.choice(np.array([1, -1]), len(entry))
    orders = Orders(entry, side, resting_ticks(flows)[entry], equal_parts(volume_P, count_P))
    return orders, np.repeat(row_P, count_P), np.bincount(entry_P, volume_P, ROWS).astype(np.int64)


def staying_orders(flows: Flows, left_T: np.ndarray, counts_T: np.ndarray, rng: np.random.Generator) -> Orders:
    """Return the orders that neither trade nor are cancelled.

    They use up the remaining shares `left_T` of a row and its number of orders beyond `counts_T`.
    """
    count_T = (flows["order_count"] - counts_T).clip(1, np.maximum(left_T, 1)) * (left_T > 0)
    row = np.repeat(np.arange(ROWS), count_T)
    side = rng.choice(np.array([1, -1]), len(row))
    return Orders(row, side, resting_ticks(flows)[row], equal_parts(left_T, count_T))


@dataclass(frozen=True)
class CallTrades:
    """Trades of the two calls: row, price in ticks, shares."""

    row: np.ndarray
    price: np.ndarray
    volume: np.ndarray


def call_orders(flows: Flows, rng: np.random.Generator) -> tuple[Orders, CallTrades]:
    """Return both orders of every trade of the two calls, buy and sell in turn, and these trades.

    Orders of the closing call enter in the two minutes without trades in which the call collects them.
    """
    row_C = np.array(CALLS)
    count_C, volume_C = flows["trades"][row_C].astype(np.int64), flows["volume"][row_C].astype(np.int64)
    row, volume = np.repeat(row_C, count_C), equal_parts(volume_C, count_C)
    price = np.rint(flows["close"][row] * TICKS).astype(np.int64)
    collecting = rng.choice(np.arange(SILENT.start, SILENT.stop), 2 * len(row))
    entry = np.where(np.repeat(row, 2) == CALLS[0], CALLS[0], collecting)
    side = np.tile([1, -1], len(row))
    return Orders(entry, side, np.repeat(price, 2), np.repeat(volume, 2)), CallTrades(row, price, volume)


# --- times ------------------------------------------------------------------------------------------------------


def times_in_minute(row: np.ndarray, part: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """Return milliseconds of the day: `part` (0 to 1) of a span within the row's minute, which is named by its END."""
    start = (np.array(MINUTES)[row] - 1) * MINUTE
    return np.asarray(start + span[0] + np.floor(part * (span[1] - span[0]))).astype(np.int64)


def entry_times(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return entry times of waiting orders: early in their minute, before its trades; in row 0 before the open."""
    part = rng.random(len(row))
    early = BEFORE_OPEN[0] + np.floor(part * (BEFORE_OPEN[1] - BEFORE_OPEN[0])).astype(np.int64)
    return np.where(row == CALLS[0], early, times_in_minute(row, part, ENTRY))


def trade_times(trades: TakerTrades) -> np.ndarray:
    """Return times that spread the trades evenly through the middle of their minute."""
    count = np.bincount(trades.row, minlength=ROWS)[trades.row]
    return times_in_minute(trades.row, trades.rank / np.maximum(count, 1), TRADING)
