"""A synthetic session's ticks as both exchanges publish them, and the minute flows that they add up to.

Shenzhen publishes whole orders on arrival, cancels among the trades, and one numbering of orders and trades, by which
records name an order. Shanghai (merged stream since 2023-12-04) publishes the fills of an aggressive order and then an
add of the remainder, if there is one; cancels are records of type D. Sources: docs/ticks.md. The columns are those of
the vendors' tables that `fpm ingest --ticks` reads.

Letters in array names: T vendor rows of a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.exchange.days import TICKS
from fpm.exchange.flows import SIZE_CLASSES
from fpm.exchange.prices import ROWS
from fpm.exchange.ticks import Flows, Tape, symbol_tape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

CHANNELS = 4  # of each exchange; the code decides a symbol's channel
SIDE_NAMES = {1: "buy", -1: "sell"}


@dataclass(frozen=True)
class TickTables:
    """One session's ticks: Shenzhen's trades and orders, Shanghai's merged stream, and the exchanges' own totals."""

    trades: pl.DataFrame
    orders: pl.DataFrame
    ticks: pl.DataFrame
    totals: pl.DataFrame


def with_ticks(session: date, names: list[str], flows: Flows, rng: np.random.Generator) -> tuple[Flows, TickTables]:
    """Return the flows that generated ticks add up to, and these ticks.

    `names`: the symbols in the order of the rows of `flows`, (S, T) each.
    """
    sums = {name: flow_ST.copy() for name, flow_ST in flows.items()}
    tapes = {}
    for s, symbol in enumerate(names):
        own = {name: flow_ST[s] for name, flow_ST in flows.items()}
        tapes[symbol] = symbol_tape(own, rng)
        for name, flow_T in minute_sums(tapes[symbol], own, symbol.endswith(".SH")).items():
            sums[name][s] = flow_T
    return sums, tick_tables(session, tapes)


# --- sums of the ticks ------------------------------------------------------------------------------------------


def minute_sums(tape: Tape, flows: Flows, shanghai: bool) -> Flows:
    """Return the columns of a symbol's minute bars as sums over its ticks, (T,) each.

    Rows without a trade keep the prices of `flows`.
    """
    row, money = tape.trade_row, tape.trade_price * tape.trade_volume
    sums = {"volume": _by_row(row, tape.trade_volume), "amount": _by_row(row, money) / TICKS}
    sums |= {"trades": _by_row(row, np.ones_like(row))} | _prices(tape, flows)
    values = order_values(tape, shanghai)
    taker = np.where(tape.trade_taker > 0, tape.trade_buy, tape.trade_sell)
    for side, name in SIDE_NAMES.items():
        own = tape.trade_taker == side
        sums[f"{name}_amount"] = _by_row(row[own], money[own]) / TICKS
        sums[f"{name}_volume"] = _by_row(row[own], tape.trade_volume[own])
        sums[f"{name}_count"] = _by_row(row[own], np.ones(own.sum(), np.int64))
        for size, size_class in SIZE_CLASSES.items():
            value = values[taker] / TICKS
            sized = own & (value >= size_class.least) & (value < size_class.most)
            sums[f"{size}_{name}_volume"] = _by_row(row[sized], tape.trade_volume[sized])
            sums[f"{size}_{name}_count"] = _by_row(row[sized], np.ones(sized.sum(), np.int64))
    cancelled = tape.cancel_order
    for kind, rows, volume, value in (
        ("order", tape.order_row, tape.order_volume, values),
        ("cancel", tape.cancel_row, tape.order_volume[cancelled], (tape.order_price * tape.order_volume)[cancelled]),
    ):
        sums[f"{kind}_amount"] = _by_row(rows, value) / TICKS
        sums[f"{kind}_volume"] = _by_row(rows, volume)
        sums[f"{kind}_count"] = _by_row(rows, np.ones_like(rows))
    return sums


def order_values(tape: Tape, shanghai: bool) -> np.ndarray:
    """Return each order's value in cents: its shares at the limit; an aggressor's fills in Shanghai at their prices."""
    value = tape.order_price * tape.order_volume
    if not shanghai:
        return np.asarray(value)
    fills, paid = own_fills(tape)
    return np.asarray(np.where(tape.order_took, paid + tape.order_price * (tape.order_volume - fills), value))


def own_fills(tape: Tape) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares and the cents that each order took as an aggressor."""
    took = tape.trade_taker != 0
    taker = np.where(tape.trade_taker > 0, tape.trade_buy, tape.trade_sell)[took]
    shares = np.bincount(taker, tape.trade_volume[took], len(tape.order_row))
    cents = np.bincount(taker, (tape.trade_price * tape.trade_volume)[took], len(tape.order_row))
    return shares.astype(np.int64), cents.astype(np.int64)


def _by_row(row: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return whole sums by row; below 2**53 they are exact in floating point."""
    return np.bincount(row, value, ROWS).astype(np.int64)


def _prices(tape: Tape, flows: Flows) -> Flows:
    """Return open, high, low and close of the rows with trades, and the given prices elsewhere."""
    order = np.lexsort((tape.trade_rank, tape.trade_row))
    row, price = tape.trade_row[order], tape.trade_price[order]
    traded, first = np.unique(row, return_index=True)
    last = np.append(first[1:], len(row)) - 1
    extremes = {
        "open": price[first],
        "high": np.maximum.reduceat(price, first),
        "low": np.minimum.reduceat(price, first),
        "close": price[last],
    }
    prices = {name: flows[name].copy() for name in extremes}
    for name, ticks in extremes.items():
        prices[name][traded] = ticks / TICKS
    return prices


# --- records ----------------------------------------------------------------------------------------------------
RECORD = {
    "symbol": pl.String,
    "kind": pl.String,
    "time": pl.Int64,
    "phase": pl.Int64,
    "rank": pl.Int64,
    "side": pl.Int64,
    "price": pl.Int64,
    "volume": pl.Int64,
    "buy": pl.Int64,
    "sell": pl.Int64,
}


def tick_tables(session: date, tapes: Mapping[str, Tape]) -> TickTables:
    """Return the records of all symbols, numbered from 1 without a gap within each exchange's channels."""
    shenzhen = _with_order_numbers(
        numbered({symbol: tape for symbol, tape in tapes.items() if symbol.endswith(".SZ")}, session)
    )
    shanghai = _with_order_numbers(
        numbered({symbol: tape for symbol, tape in tapes.items() if symbol.endswith(".SH")}, session)
    )
    return TickTables(
        trades=_shenzhen_trades(shenzhen),
        orders=_shenzhen_orders(shenzhen),
        ticks=_shanghai_ticks(shanghai),
        totals=_totals(session, tapes),
    )


def _shenzhen_trades(records: pl.DataFrame) -> pl.DataFrame:
    """Return Shenzhen's trades and cancels (exec_type F and 4)."""
    return records.filter(pl.col("kind") != "A").select(
        "symbol",
        "time",
        "price",
        "volume",
        pl.col("kind").replace_strict({"T": "F", "D": "4"}).alias("exec_type"),
        "buy_order",
        "sell_order",
        "channel",
        "seq",
    )


def _shenzhen_orders(records: pl.DataFrame) -> pl.DataFrame:
    """Return Shenzhen's orders, all limit orders (order_type 2)."""
    buys = pl.col("side") > 0
    return records.filter(pl.col("kind") == "A").select(
        "symbol",
        "time",
        "price",
        "volume",
        pl.when(buys).then(1).otherwise(2).alias("side"),
        pl.lit("2").alias("order_type"),
        pl.when(buys).then("buy_order").otherwise("sell_order").alias("order_no"),
        "channel",
        "seq",
    )


def _shanghai_ticks(records: pl.DataFrame) -> pl.DataFrame:
    """Return Shanghai's merged stream."""
    return records.select(
        "symbol",
        "time",
        pl.col("kind").alias("record_type"),
        pl.col("side").replace_strict({1: "B", -1: "S", 0: "N"}, return_dtype=pl.String).alias("side"),
        "price",
        "volume",
        "buy_order",
        "sell_order",
        "channel",
        "seq",
    )


def _totals(session: date, tapes: Mapping[str, Tape]) -> pl.DataFrame:
    """Return the exchanges' own totals of a session's trades, one row per symbol."""
    rows = [
        {
            "symbol": symbol,
            "volume": int(tape.trade_volume.sum()),
            "trades": len(tape.trade_row),
            "amount": int((tape.trade_price * tape.trade_volume).sum()) / TICKS,
        }
        for symbol, tape in sorted(tapes.items())
    ]
    schema = {"symbol": pl.String, "volume": pl.Int64, "trades": pl.Int64, "amount": pl.Float64}
    return pl.DataFrame(rows, schema=schema).with_columns(session=pl.lit(session))


def numbered(tapes: Mapping[str, Tape], session: date) -> pl.DataFrame:
    """Return the records of one exchange's symbols in order of time, with channel and seq.

    `buy` and `sell` still hold an order's index within its symbol.
    """
    parts = [records(symbol, tape) for symbol, tape in sorted(tapes.items())]
    whole = pl.concat([pl.DataFrame(schema=RECORD), *parts])
    channel = (pl.col("symbol").str.slice(0, 6).cast(pl.Int64) % CHANNELS + 1).alias("channel")
    ordered = whole.with_columns(channel).sort("channel", "time", "symbol", "phase", "rank")
    midnight = pl.lit(session).cast(pl.Datetime("ms"))
    return ordered.with_columns(
        pl.int_range(1, pl.len() + 1).over("channel").alias("seq"),
        (midnight + pl.duration(milliseconds="time")).cast(pl.Datetime("ms")).alias("time"),
        (pl.col("price") / TICKS).alias("price"),
    )


def _with_order_numbers(records: pl.DataFrame) -> pl.DataFrame:
    """Replace order indices by numbers unique within the channel: the seq of the order's first record."""
    mentions = [records.select("symbol", "seq", pl.col(side).alias("order")) for side in ("buy", "sell")]
    first = pl.concat(mentions).filter(pl.col("order") >= 0).group_by("symbol", "order").agg(pl.col("seq").min())
    joined = records
    for side in ("buy", "sell"):
        number = first.rename({"order": side, "seq": f"{side}_order"})
        joined = joined.join(number, on=["symbol", side], how="left", maintain_order="left")
    return joined.with_columns(pl.col("buy_order", "sell_order").fill_null(0))


def records(symbol: str, tape: Tape) -> pl.DataFrame:
    """Return one symbol's records as its exchange publishes them: A adds, T trades, D cancels.

    `phase` and `rank` order records of one millisecond: Shenzhen's order comes before its trades, Shanghai's
    remainder after them.
    """
    trades = _frame(
        symbol,
        "T",
        tape.trade_time,
        np.ones_like(tape.trade_row),
        2 * tape.trade_rank,
        tape.trade_taker,
        tape.trade_price,
        tape.trade_volume,
        tape.trade_buy,
        tape.trade_sell,
    )
    return pl.concat([_adds(symbol, tape), trades, _cancels(symbol, tape)])


def _adds(symbol: str, tape: Tape) -> pl.DataFrame:
    """Return the order records: in Shenzhen every order whole, in Shanghai what an aggressive order leaves."""
    shanghai, orders = symbol.endswith(".SH"), len(tape.order_row)
    fills = own_fills(tape)[0] if shanghai else np.zeros(orders, np.int64)
    order = np.flatnonzero(tape.order_volume > fills)
    last_time, last_rank = np.zeros((2, orders), np.int64)
    for numbers in (tape.trade_buy, tape.trade_sell):
        np.maximum.at(last_rank, numbers, tape.trade_rank)
        np.maximum.at(last_time, numbers, tape.trade_time)
    first_rank = np.full(orders, np.iinfo(np.int64).max)
    taking = tape.trade_taker != 0
    taker = np.where(tape.trade_taker > 0, tape.trade_buy, tape.trade_sell)
    np.minimum.at(first_rank, taker[taking], tape.trade_rank[taking])
    aggressive = tape.order_took[order]
    time = np.where(aggressive & shanghai, last_time[order], tape.order_time[order])
    rank = np.where(aggressive, 2 * (last_rank[order] if shanghai else first_rank[order]) + (1 if shanghai else -1), -2)
    buys = tape.order_side[order] > 0
    return _frame(
        symbol,
        "A",
        time,
        np.ones_like(order),
        rank,
        tape.order_side[order],
        tape.order_price[order],
        (tape.order_volume - fills)[order],
        np.where(buys, order, -1),
        np.where(buys, -1, order),
    )


def _cancels(symbol: str, tape: Tape) -> pl.DataFrame:
    """Return the cancel records; only Shanghai's have a price."""
    order = tape.cancel_order
    buys = tape.order_side[order] > 0
    return _frame(
        symbol,
        "D",
        tape.cancel_time,
        2 * np.ones_like(order),
        order,
        tape.order_side[order],
        tape.order_price[order] if symbol.endswith(".SH") else np.zeros_like(order),
        tape.order_volume[order],
        np.where(buys, order, -1),
        np.where(buys, -1, order),
    )


def _frame(symbol: str, kind: str, *columns: np.ndarray) -> pl.DataFrame:
    """Return records of one kind; `columns` are those of `RECORD` from `time` on."""
    names = list(RECORD)[2:]
    values = {name: np.asarray(column, np.int64) for name, column in zip(names, columns, strict=True)}
    frame = pl.DataFrame(values).with_columns(symbol=pl.lit(symbol), kind=pl.lit(kind))
    return frame.select(list(RECORD)).cast(pl.Schema(RECORD))
