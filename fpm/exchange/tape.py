"""A synthetic session's ticks as both exchanges publish them, and the minute flows they add up to.

Shenzhen: orders whole on arrival, cancels among the trades, orders and trades numbered together, an order named by its
number. Shanghai (the merged stream of 2023-12-04): an aggressive order shows its fills and then, if anything is left,
an add of the remainder; cancels are records of type D. Sources: docs/ticks.md; columns as
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
from fpm.exchange.ticks import Flows, Tape, tape_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

CHANNELS = 4  # of each exchange: symbols by their code
SIDE_NAMES = {1: "buy", -1: "sell"}


@dataclass(frozen=True)
class TickTables:
    """One session's ticks: Shenzhen's trades and orders, Shanghai's merged stream, and the exchanges' own totals."""

    trades: pl.DataFrame
    orders: pl.DataFrame
    ticks: pl.DataFrame
    totals: pl.DataFrame


def with_ticks(session: date, names: list[str], flows: Flows, rng: np.random.Generator) -> tuple[Flows, TickTables]:
    """Ticks of the symbols named (rows of `flows`, (S, T) each, in that order), and the flows they add up to."""
    made = {name: flow_ST.copy() for name, flow_ST in flows.items()}
    tapes = {}
    for s, symbol in enumerate(names):
        own = {name: flow_ST[s] for name, flow_ST in flows.items()}
        tapes[symbol] = tape_of(own, rng)
        for name, flow_T in minute_sums(tapes[symbol], own, symbol.endswith(".SH")).items():
            made[name][s] = flow_T
    return made, tick_tables(session, tapes)


# --- what the ticks add up to -----------------------------------------------------------------------------------


def minute_sums(tape: Tape, flows: Flows, shanghai: bool) -> Flows:
    """The columns of the symbol's minute bars, (T,) each, as sums over its ticks; untraded rows keep their prices."""
    row, money = tape.trade_row, tape.trade_price * tape.trade_volume
    sums = {"volume": _by_row(row, tape.trade_volume), "amount": _by_row(row, money) / TICKS}
    sums |= {"trades": _by_row(row, np.ones_like(row))} | _prices(tape, flows)
    known = order_values(tape, shanghai)
    taker = np.where(tape.trade_taker > 0, tape.trade_buy, tape.trade_sell)
    for side, name in SIDE_NAMES.items():
        own = tape.trade_taker == side
        sums[f"{name}_amount"] = _by_row(row[own], money[own]) / TICKS
        sums[f"{name}_volume"] = _by_row(row[own], tape.trade_volume[own])
        sums[f"{name}_count"] = _by_row(row[own], np.ones(own.sum(), np.int64))
        for size, of in SIZE_CLASSES.items():
            value = known[taker] / TICKS
            sized = own & (value >= of.least) & (value < of.most)
            sums[f"{size}_{name}_volume"] = _by_row(row[sized], tape.trade_volume[sized])
            sums[f"{size}_{name}_count"] = _by_row(row[sized], np.ones(sized.sum(), np.int64))
    gone = tape.cancel_order
    for kind, at, volume, value in (
        ("order", tape.order_row, tape.order_volume, known),
        ("cancel", tape.cancel_row, tape.order_volume[gone], (tape.order_price * tape.order_volume)[gone]),
    ):
        sums[f"{kind}_amount"] = _by_row(at, value) / TICKS
        sums[f"{kind}_volume"] = _by_row(at, volume)
        sums[f"{kind}_count"] = _by_row(at, np.ones_like(at))
    return sums


def order_values(tape: Tape, shanghai: bool) -> np.ndarray:
    """What each order is worth in cents: shares at the limit; in Shanghai an aggressor's fills at their own prices."""
    value = tape.order_price * tape.order_volume
    if not shanghai:
        return np.asarray(value)
    fills, paid = own_fills(tape)
    return np.asarray(np.where(tape.order_took, paid + tape.order_price * (tape.order_volume - fills), value))


def own_fills(tape: Tape) -> tuple[np.ndarray, np.ndarray]:
    """Shares and cents each order took as an aggressor."""
    took = tape.trade_taker != 0
    taker = np.where(tape.trade_taker > 0, tape.trade_buy, tape.trade_sell)[took]
    shares = np.bincount(taker, tape.trade_volume[took], len(tape.order_row))
    cents = np.bincount(taker, (tape.trade_price * tape.trade_volume)[took], len(tape.order_row))
    return shares.astype(np.int64), cents.astype(np.int64)


def _by_row(row: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Whole sums; below 2**53 they are exact in floating point."""
    return np.bincount(row, value, ROWS).astype(np.int64)


def _prices(tape: Tape, flows: Flows) -> Flows:
    order = np.lexsort((tape.trade_place, tape.trade_row))
    row, price = tape.trade_row[order], tape.trade_price[order]
    there, first = np.unique(row, return_index=True)
    last = np.append(first[1:], len(row)) - 1
    found = {
        "open": price[first],
        "high": np.maximum.reduceat(price, first),
        "low": np.minimum.reduceat(price, first),
        "close": price[last],
    }
    prices = {name: flows[name].copy() for name in found}
    for name, ticks in found.items():
        prices[name][there] = ticks / TICKS
    return prices


# --- records ----------------------------------------------------------------------------------------------------
RECORD = {
    "symbol": pl.String,
    "kind": pl.String,
    "time": pl.Int64,
    "phase": pl.Int64,
    "place": pl.Int64,
    "side": pl.Int64,
    "price": pl.Int64,
    "volume": pl.Int64,
    "buy": pl.Int64,
    "sell": pl.Int64,
}


def tick_tables(session: date, tapes: Mapping[str, Tape]) -> TickTables:
    """All records of a session's symbols, numbered from 1 without a gap within each exchange's channels."""
    shenzhen = numbered({symbol: tape for symbol, tape in tapes.items() if symbol.endswith(".SZ")}, session)
    shanghai = numbered({symbol: tape for symbol, tape in tapes.items() if symbol.endswith(".SH")}, session)
    orders, ticks = pl.col("kind") == "A", shanghai
    named = _with_order_numbers(shenzhen)
    own = pl.when(pl.col("side") > 0).then("buy_order").otherwise("sell_order")
    sums = [
        {
            "symbol": symbol,
            "volume": int(tape.trade_volume.sum()),
            "trades": len(tape.trade_row),
            "amount": int((tape.trade_price * tape.trade_volume).sum()) / TICKS,
        }
        for symbol, tape in sorted(tapes.items())
    ]
    schema = {"symbol": pl.String, "volume": pl.Int64, "trades": pl.Int64, "amount": pl.Float64}
    return TickTables(
        trades=named.filter(~orders).select(
            "symbol",
            "time",
            "price",
            "volume",
            pl.col("kind").replace_strict({"T": "F", "D": "4"}).alias("exec_type"),
            "buy_order",
            "sell_order",
            "channel",
            "seq",
        ),
        orders=named.filter(orders).select(
            "symbol",
            "time",
            "price",
            "volume",
            pl.when(pl.col("side") > 0).then(1).otherwise(2).alias("side"),
            pl.lit("2").alias("order_type"),
            own.alias("order_no"),
            "channel",
            "seq",
        ),
        ticks=_with_order_numbers(ticks).select(
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
        ),
        totals=pl.DataFrame(sums, schema=schema).with_columns(session=pl.lit(session)),
    )


def numbered(tapes: Mapping[str, Tape], session: date) -> pl.DataFrame:
    """The records of one exchange's symbols in time, with channel, seq, and orders known as (symbol, place)."""
    parts = [records(symbol, tape) for symbol, tape in sorted(tapes.items())]
    whole = pl.concat([pl.DataFrame(schema=RECORD), *parts])
    channel = (pl.col("symbol").str.slice(0, 6).cast(pl.Int64) % CHANNELS + 1).alias("channel")
    ordered = whole.with_columns(channel).sort("channel", "time", "symbol", "phase", "place")
    midnight = pl.lit(session).cast(pl.Datetime("ms"))
    return ordered.with_columns(
        pl.int_range(1, pl.len() + 1).over("channel").alias("seq"),
        (midnight + pl.duration(milliseconds="time")).cast(pl.Datetime("ms")).alias("time"),
        (pl.col("price") / TICKS).alias("price"),
    )


def _with_order_numbers(records: pl.DataFrame) -> pl.DataFrame:
    """Order places -> numbers unique within the channel: that of the first record that speaks of the order."""
    spoken = [records.select("symbol", "seq", pl.col(side).alias("order")) for side in ("buy", "sell")]
    first = pl.concat(spoken).filter(pl.col("order") >= 0).group_by("symbol", "order").agg(pl.col("seq").min())
    named = records
    for side in ("buy", "sell"):
        number = first.rename({"order": side, "seq": f"{side}_order"})
        named = named.join(number, on=["symbol", side], how="left", maintain_order="left")
    return named.with_columns(pl.col("buy_order", "sell_order").fill_null(0))


def records(symbol: str, tape: Tape) -> pl.DataFrame:
    """One symbol's records as its exchange publishes them: A adds, T trades, D what was taken back.

    `phase` and `place` order records of one millisecond: Shenzhen's order comes before its trades, Shanghai's
    remainder after them.
    """
    shanghai = symbol.endswith(".SH")
    fills = own_fills(tape)[0] if shanghai else np.zeros(len(tape.order_row), np.int64)
    shown = np.flatnonzero(tape.order_volume > fills)
    last = np.zeros(len(tape.order_row), np.int64)
    place = np.zeros(len(tape.order_row), np.int64)
    for orders in (tape.trade_buy, tape.trade_sell):
        np.maximum.at(place, orders, tape.trade_place)
        np.maximum.at(last, orders, tape.trade_time)
    first = np.full(len(tape.order_row), np.iinfo(np.int64).max)
    took = tape.trade_taker != 0
    taker = np.where(tape.trade_taker > 0, tape.trade_buy, tape.trade_sell)
    np.minimum.at(first, taker[took], tape.trade_place[took])
    aggressive = tape.order_took[shown]
    at = np.where(aggressive & shanghai, last[shown], tape.order_time[shown])
    within = np.where(aggressive, 2 * (place[shown] if shanghai else first[shown]) + (1 if shanghai else -1), -2)
    bought = tape.order_side[shown] > 0
    adds = _frame(
        symbol,
        "A",
        at,
        np.ones_like(shown),
        within,
        tape.order_side[shown],
        tape.order_price[shown],
        (tape.order_volume - fills)[shown],
        np.where(bought, shown, -1),
        np.where(bought, -1, shown),
    )
    count = np.ones_like(tape.trade_row)
    trades = _frame(
        symbol,
        "T",
        tape.trade_time,
        count,
        2 * tape.trade_place,
        tape.trade_taker,
        tape.trade_price,
        tape.trade_volume,
        tape.trade_buy,
        tape.trade_sell,
    )
    gone = tape.cancel_order
    bought = tape.order_side[gone] > 0
    price = tape.order_price[gone] if shanghai else np.zeros_like(gone)
    backs = _frame(
        symbol,
        "D",
        tape.cancel_time,
        2 * np.ones_like(gone),
        gone,
        tape.order_side[gone],
        price,
        tape.order_volume[gone],
        np.where(bought, gone, -1),
        np.where(bought, -1, gone),
    )
    return pl.concat([adds, trades, backs])


def _frame(symbol: str, kind: str, *columns: np.ndarray) -> pl.DataFrame:
    names = list(RECORD)[2:]
    values = {name: np.asarray(column, np.int64) for name, column in zip(names, columns, strict=True)}
    frame = pl.DataFrame(values).with_columns(symbol=pl.lit(symbol), kind=pl.lit(kind))
    return frame.select(list(RECORD)).cast(pl.Schema(RECORD))
