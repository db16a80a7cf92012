"""Level-2 ticks of one symbol's synthetic session: orders, trades and cancels that its minute flows are the sums of.

Letters in array names: T vendor rows of a session, G legs of a row (side and size class), O orders, N trades, P pieces
of cancelled volume.

The minute generator says how much of what happens in which minute; here it is made of whole orders at whole ticks. Not
every sum can be made so (two trades have at most two prices), so with ticks the minute bars are what the ticks add up
to: equal to those without in closes, volume, trades, sides and large orders; a little different in highs, lows and
amounts, and in how many orders and cancels there are; small orders that are worth it count as medium.

A trade's passive order waits at the trade's price; the book as a whole is not simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fpm.exchange.days import TICKS
from fpm.exchange.flows import CLEAR, SIZE_CLASSES, UNBOUNDED
from fpm.exchange.prices import CALLS, MINUTES, ROWS, SILENT

Flows = dict[str, np.ndarray]
SMALL = 50_000.0  # currency: an order below is of no size class
LEGS = [(side, size) for side in ("buy", "sell") for size in (*SIZE_CLASSES, "s")]
MINUTE = 60_000  # milliseconds
ENTRY, TRADING, CANCELLING = (0, 19_000), (20_000, 57_000), (58_000, 59_900)  # of a minute, milliseconds
BEFORE_OPEN = (555 * MINUTE, 565 * MINUTE - 1)  # 09:15 to 09:25


@dataclass(frozen=True)
class Tape:
    """One symbol's session, every array in no particular order; `order` and the like are places among the orders.

    Orders: row and time (milliseconds of the day) of entry, side 1 or -1, limit in ticks, shares, whether it took on
    arrival. Trades: row, place within the row, time, ticks, shares, the two orders, taker 1, -1 or 0. Cancels: row,
    time, order; an order is taken back whole.
    """

    order_row: np.ndarray
    order_time: np.ndarray
    order_side: np.ndarray
    order_price: np.ndarray
    order_volume: np.ndarray
    order_took: np.ndarray
    trade_row: np.ndarray
    trade_place: np.ndarray
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
    """Orders of one kind, one array a property; see `Tape`."""

    row: np.ndarray
    side: np.ndarray
    price: np.ndarray
    volume: np.ndarray


@dataclass(frozen=True)
class Takings:
    """Trades outside the calls in order of time, and the takers' orders, (N,) and (O,); `order` is a trade's."""

    row: np.ndarray
    place: np.ndarray
    price: np.ndarray
    volume: np.ndarray
    order: np.ndarray
    takers: Orders
    rest_T: np.ndarray


def parts_of(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Every total cut into so many nearly equal whole parts, one after the other."""
    which = np.repeat(np.arange(len(total)), count)
    place = places(count)
    return np.asarray(total[which] // count[which] + (place < total[which] % count[which]))


def places(count: np.ndarray) -> np.ndarray:
    """0, 1, .. within each group of the given sizes."""
    starts = np.cumsum(count) - count
    return np.asarray(np.arange(count.sum()) - np.repeat(starts, count))


def tape_of(flows: Flows, rng: np.random.Generator) -> Tape:
    """Ticks of one symbol that traded; `flows` are its columns of the minute generator, (T,) each."""
    taken = takings(flows, rng)
    entered = supply(flows, taken)
    passive_row = waiting_since(taken, entered)
    passive = Orders(passive_row, -taken.takers.side[taken.order], taken.price, taken.volume)
    used_T = np.bincount(passive_row, taken.volume, ROWS).astype(np.int64)
    spare_T = np.maximum(entered - used_T, 0)
    cancelled, cancel_row, cancelled_T = cancelled_orders(flows, spare_T, rng)
    counts_T = np.bincount(np.concatenate([each.row for each in (taken.takers, passive, cancelled)]), minlength=ROWS)
    staying = staying_orders(flows, spare_T - cancelled_T, counts_T, rng)
    auctions, calls = call_orders(flows, rng)
    kinds = (taken.takers, passive, cancelled, staying, auctions)
    starts = np.cumsum([0, *(len(each.row) for each in kinds)])
    whole = Orders(*(np.concatenate([getattr(each, name) for each in kinds]) for name in vars(auctions)))
    took = np.arange(len(whole.row)) < starts[1]
    trade_time = trading_time(taken)
    order_time = entry_time(whole.row, rng)
    first = np.unique(taken.order, return_index=True)[1]
    order_time[: starts[1]] = trade_time[first]
    taker = taken.takers.side[taken.order]
    waiting = starts[1] + np.arange(len(taken.row))
    call_row, call_price, call_volume = calls
    call_buy = starts[4] + 2 * np.arange(len(call_row))
    none = np.zeros(len(call_row), np.int64)
    call_time = np.where(call_row == CALLS[0], 565 * MINUTE, 900 * MINUTE)
    cancel_order = starts[2] + np.arange(len(cancel_row))
    return Tape(
        order_row=whole.row,
        order_time=order_time,
        order_side=whole.side,
        order_price=whole.price,
        order_volume=whole.volume,
        order_took=took,
        trade_row=np.concatenate([taken.row, call_row]),
        trade_place=np.concatenate([taken.place, np.arange(len(call_row))]),
        trade_time=np.concatenate([trade_time, call_time]),
        trade_price=np.concatenate([taken.price, call_price]),
        trade_volume=np.concatenate([taken.volume, call_volume]),
        trade_buy=np.concatenate([np.where(taker > 0, taken.order, waiting), call_buy]),
        trade_sell=np.concatenate([np.where(taker > 0, waiting, taken.order), call_buy + 1]),
        trade_taker=np.concatenate([taker, none]),
        cancel_row=cancel_row,
        cancel_time=in_minute(cancel_row, rng.random(len(cancel_row)), CANCELLING),
        cancel_order=cancel_order,
    )


# --- takers -----------------------------------------------------------------------------------------------------


def takings(flows: Flows, rng: np.random.Generator) -> Takings:
    """Every leg of every minute as takers' orders of its size class and their trades; an order's trades follow on."""
    volume_GT, trades_GT = legs_of(flows)
    low_T, high_T = (np.rint(flows[name] * TICKS).astype(np.int64) for name in ("low", "high"))
    most_G1 = np.array([[_bounds(size)[1]] for _, size in LEGS])
    each_GT = -(-volume_GT // np.maximum(trades_GT, 1))
    together_GT = np.maximum(most_G1 / CLEAR * TICKS / np.maximum(each_GT * high_T, 1), 1).astype(np.int64)
    orders_GT = -(-trades_GT // together_GT)
    leg = np.repeat(np.arange(orders_GT.size), orders_GT.ravel())  # of every order
    fills = parts_of(trades_GT.ravel(), orders_GT.ravel())  # trades of every order
    volume = parts_of(volume_GT.ravel(), trades_GT.ravel())  # of every trade, leg by leg
    begin = np.cumsum(fills) - fills
    shuffled = np.lexsort((rng.random(len(leg)), leg % ROWS))
    leg, fills, begin = leg[shuffled], fills[shuffled], begin[shuffled]
    order = np.repeat(np.arange(len(leg)), fills)
    volume = volume[begin[order] + places(fills)]
    row = (leg % ROWS)[order]
    place = places(np.bincount(row, minlength=ROWS))
    price = prices(flows, row, place, volume, rng)
    side = np.where(leg // ROWS < len(LEGS) // 2, 1, -1)
    first = np.cumsum(fills) - fills
    limit = np.where(side > 0, np.maximum.reduceat(price, first), np.minimum.reduceat(price, first))
    filled = np.add.reduceat(volume, first)
    least_G = np.array([_bounds(size)[0] for _, size in LEGS])
    least = np.ceil(CLEAR * least_G[leg // ROWS] * TICKS / low_T[leg % ROWS]).astype(np.int64)
    whole = np.maximum(filled, least)
    rest_T = np.bincount(leg % ROWS, whole - filled, ROWS).astype(np.int64)
    return Takings(row, place, price, volume, order, Orders(leg % ROWS, side, limit, whole), rest_T)


def _bounds(size: str) -> tuple[float, float]:
    if size == "s":
        return 0.0, SMALL
    of = SIZE_CLASSES[size]
    return of.least, min(of.most, UNBOUNDED)


def legs_of(flows: Flows) -> tuple[np.ndarray, np.ndarray]:
    """Volume and trades of every side and size class, small orders being the rest, (G, T)."""
    found: list[list[np.ndarray]] = [[], []]
    for unit, parts in zip(("volume", "count"), found, strict=True):
        for side in ("buy", "sell"):
            named = [flows[f"{size}_{side}_{unit}"] for size in SIZE_CLASSES]
            parts += [*named, flows[f"{side}_{unit}"] - np.add.reduce(named)]
    return np.array(found[0], np.int64), np.array(found[1], np.int64)


def prices(
    flows: Flows, row: np.ndarray, place: np.ndarray, volume: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Ticks of every trade: the row's open first, its close last, high and low between, the rest about the mean."""
    first_T, high_T, low_T, last_T = (
        np.rint(flows[name] * TICKS).astype(np.int64) for name in ("open", "high", "low", "close")
    )
    count = np.bincount(row, minlength=ROWS)[row]
    turned = (rng.random(ROWS) < 0.5)[row]
    one, other = np.where(turned, 1, 2), np.where(turned, 2, 1)
    fixed = np.select(
        [place == count - 1, place == 0, (place == one) & (count >= 4), (place == other) & (count >= 4)],
        [last_T[row], first_T[row], high_T[row], low_T[row]],
        -1,
    )
    free = fixed < 0
    spent_T = np.bincount(row[~free], (fixed * volume)[~free], ROWS)
    left_T = np.bincount(row[free], volume[free], ROWS)
    mean_T = (np.rint(flows["amount"] * TICKS) - spent_T) / np.maximum(left_T, 1)
    dither = (place * 0.618034 + rng.random(ROWS)[row]) % 1.0
    about = np.floor(mean_T[row] + dither).astype(np.int64).clip(low_T[row], high_T[row])
    return np.asarray(np.where(free, about, fixed))


# --- orders that wait -------------------------------------------------------------------------------------------


def supply(flows: Flows, taken: Takings) -> np.ndarray:
    """Shares that should come to wait in the book by row, beside what takers leave there, (T,)."""
    resting_T = flows["order_volume"] - flows["volume"] - taken.rest_T
    resting_T[list(CALLS)[1]] = 0
    resting_T[CALLS[0]] -= flows["volume"][CALLS[0]]
    return np.asarray(np.maximum(resting_T, 0).astype(np.int64))


def waiting_since(taken: Takings, entered_T: np.ndarray) -> np.ndarray:
    """Row in which each trade's passive order was entered: the oldest shares are taken first, none before it came."""
    reached = np.searchsorted(np.cumsum(entered_T), np.cumsum(taken.volume))
    return np.asarray(np.minimum(reached, taken.row))


def resting_ticks(flows: Flows) -> np.ndarray:
    """Ticks at which a row's resting orders are entered on average, within its prices so far, (T,)."""
    resting_T = flows["order_volume"] - flows["volume"]
    value_T = np.rint((flows["order_amount"] - flows["amount"]) * TICKS)
    close_T = np.rint(flows["close"] * TICKS)
    mean_T = np.where(resting_T > 0, np.rint(value_T / np.maximum(resting_T, 1)), close_T)
    return np.asarray(mean_T.astype(np.int64))


def cancelled_orders(
    flows: Flows, spare_T: np.ndarray, rng: np.random.Generator
) -> tuple[Orders, np.ndarray, np.ndarray]:
    """Orders that are taken back whole, the row in which they are, and their shares by row of entry, (T,)."""
    entered_T = np.cumsum(spare_T)
    gone_T = np.minimum(np.cumsum(flows["cancel_volume"]), entered_T)
    cuts = np.unique(np.concatenate([entered_T[entered_T <= gone_T[-1]], gone_T, [0]]))
    volume_P = np.diff(cuts)
    entry_P, row_P = np.searchsorted(entered_T, cuts[1:]), np.searchsorted(gone_T, cuts[1:])
    wanted_T = flows["cancel_count"] / np.maximum(flows["cancel_volume"], 1)
    count_P = np.rint(wanted_T[row_P] * volume_P).astype(np.int64).clip(1, volume_P)
    entry = np.repeat(entry_P, count_P)
    side = rng.choice(np.array([1, -1]), len(entry))
    orders = Orders(entry, side, resting_ticks(flows)[entry], parts_of(volume_P, count_P))
    return orders, np.repeat(row_P, count_P), np.bincount(entry_P, volume_P, ROWS).astype(np.int64)


def staying_orders(flows: Flows, left_T: np.ndarray, there_T: np.ndarray, rng: np.random.Generator) -> Orders:
    """Orders that nobody takes and nobody takes back: what is left of a row's shares and of its number of orders."""
    count_T = (flows["order_count"] - there_T).clip(1, np.maximum(left_T, 1)) * (left_T > 0)
    row = np.repeat(np.arange(ROWS), count_T)
    side = rng.choice(np.array([1, -1]), len(row))
    return Orders(row, side, resting_ticks(flows)[row], parts_of(left_T, count_T))


def call_orders(flows: Flows, rng: np.random.Generator) -> tuple[Orders, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Both orders of every trade of the two calls, buy and sell in turn; and the trades' row, ticks, shares.

    Those of the closing call come while it collects: in the two minutes in which nothing trades.
    """
    row_C = np.array(CALLS)
    count_C, volume_C = flows["trades"][row_C].astype(np.int64), flows["volume"][row_C].astype(np.int64)
    row, volume = np.repeat(row_C, count_C), parts_of(volume_C, count_C)
    price = np.rint(flows["close"][row] * TICKS).astype(np.int64)
    collecting = rng.choice(np.arange(SILENT.start, SILENT.stop), 2 * len(row))
    entry = np.where(np.repeat(row, 2) == CALLS[0], CALLS[0], collecting)
    side = np.tile([1, -1], len(row))
    return Orders(entry, side, np.repeat(price, 2), np.repeat(volume, 2)), (row, price, volume)


# --- times ------------------------------------------------------------------------------------------------------


def in_minute(row: np.ndarray, part: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """Milliseconds of the day within a part of the row's minute; a minute is named by its END."""
    start = (np.array(MINUTES)[row] - 1) * MINUTE
    return np.asarray(start + span[0] + np.floor(part * (span[1] - span[0]))).astype(np.int64)


def entry_time(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """When waiting orders come: early in their minute, before its trades; or before the open."""
    part = rng.random(len(row))
    early = BEFORE_OPEN[0] + np.floor(part * (BEFORE_OPEN[1] - BEFORE_OPEN[0])).astype(np.int64)
    return np.where(row == CALLS[0], early, in_minute(row, part, ENTRY))


def trading_time(taken: Takings) -> np.ndarray:
    """Trades follow one another evenly through the middle of their minute."""
    count = np.bincount(taken.row, minlength=ROWS)[taken.row]
    return in_minute(taken.row, taken.place / np.maximum(count, 1), TRADING)
