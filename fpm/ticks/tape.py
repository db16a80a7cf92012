"""The tape: Level-2 records of both exchanges under one set of columns, and the rules of their exchanges.

One row a record. `price` is in 1/10,000 of the currency and `volume` in shares, both whole numbers, so every sum is
exact whatever the order of adding. `time` is in milliseconds of the exchange's day.

Sources: docs/ticks.md; Shanghai and Shenzhen trading rules 2023, chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from fpm.exchange_facts import shipped

if TYPE_CHECKING:
    from fpm.markets import Market

TRADES, ORDERS, MERGED = "trades", "orders", "ticks"
STREAMS = (TRADES, ORDERS, MERGED)
TRADE, CANCEL, ADD, DELETE, STATUS = range(5)  # CANCEL: Shenzhen's, in the trade stream; DELETE: Shanghai's, of orders
SHANGHAI, SHENZHEN = "SH", "SZ"
EXCHANGES = (SHANGHAI, SHENZHEN)
UNITS = 10_000  # of the price in one unit of currency
CHANNELS = 1 << 15  # channel numbers are below
NUMBERS = 1 << 46  # order numbers are below; a channel, a number and a side then fit in 64 bits
AFTER_HOURS = -1  # slot of fixed-price trading after the close, which belongs to no minute
FIXED_PRICE_BOARDS = ("688", "689", "300", "301", "302")  # STAR (2019) and ChiNext (2020): 15:05 to 15:30

TAPE = {
    "sid": pl.Int32,
    "stream": pl.UInt8,
    "channel": pl.Int32,
    "seq": pl.Int64,
    "time": pl.Int32,
    "slot": pl.Int16,
    "kind": pl.UInt8,
    "side": pl.Int8,
    "price": pl.Int32,
    "volume": pl.Int32,
    "buy": pl.Int64,
    "sell": pl.Int64,
    "file": pl.UInt16,
    "row": pl.UInt32,
}
VALUES = ("kind", "side", "time", "price", "volume", "buy", "sell")  # compared in records of one number

# Shanghai publishes order records from the first date on, and one merged stream from the second.
SH_ORDERS_BEGIN, SH_MERGED_BEGINS = date(2021, 6, 1), date(2023, 12, 4)

SH_CLOSING_CALL = shipped()["cn"].closing_call_since["SH"]  # Shanghai closes by a call since this day


@dataclass(frozen=True)
class TickRules:
    """Limits of the flows. `xl`, `l`, `m`: an order is of that size from this value on, in currency.

    `gaps`: symbol-sessions are set aside where a larger share of their channel's numbers is missing.
    `contiguous`: a channel with a smaller share of its numbers is an excerpt (some of its symbols), so that a missing
    number shows nothing. `late`: seconds that a record may follow the end of a stretch of trading: the sample's closing
    call prints up to 15:00:01.06. `edge`: seconds before a minute's end that the feed's last record may lie, for the
    minute to be whole. `backwards`: records that run back by more seconds in sequence order are counted;
    `reset`: by more than these, the sequence begins again. `bad`: share of a file's rows, beyond the first `few`, that
    may be bad; `spoilt`: the same of a symbol-session's records. `most_rows`: records
    of one symbol-session; each takes 340 bytes while its minutes are made.
    """

    xl: float = 1_000_000.0
    l: float = 200_000.0  # noqa: E741  the feature's own prefix
    m: float = 50_000.0
    gaps: float = 0.001
    contiguous: float = 0.5
    late: int = 60
    edge: int = 1
    backwards: int = 3
    reset: int = 60
    bad: float = 0.005
    few: int = 1000
    spoilt: float = 0.01
    most_rows: int = 10_000_000


def sid_of(symbol: pl.Expr) -> pl.Expr:
    """`600519.SH` -> an integer that sorts as the symbol does; `symbol_of` is the inverse."""
    code = symbol.str.slice(0, 6).cast(pl.Int32)
    return (code * 2 + symbol.str.ends_with(SHENZHEN).cast(pl.Int32)).alias("sid")


def symbol_of(sid: pl.Expr) -> pl.Expr:
    """The inverse of `sid_of`."""
    exchange = pl.when(sid % 2 == 1).then(pl.lit(f".{SHENZHEN}")).otherwise(pl.lit(f".{SHANGHAI}"))
    return ((sid // 2).cast(pl.String).str.zfill(6) + exchange).alias("symbol")


def of_exchange(exchange: str) -> pl.Expr:
    """Rows of one exchange."""
    return pl.col("sid") % 2 == int(exchange == SHENZHEN)


def linked() -> pl.Expr:
    """Whether orders and trades share one numbering: Shenzhen always, Shanghai in its merged stream."""
    return of_exchange(SHENZHEN) | (pl.col("stream") == STREAMS.index(MERGED))


def milliseconds(hour: int, minute: int) -> int:
    """Milliseconds of the day at a time of it."""
    return (hour * 60 + minute) * 60_000


def slot_of(market: Market, rules: TickRules) -> pl.Expr:
    """Stored slot of a record by `time`, `kind`, `symbol`, `session`: null outside the hours, `AFTER_HOURS` after them.

    A record at 10:00:00.000 belongs to the bar that ends 10:01. The call's trades print from 09:25 on; orders of
    09:15 to 09:25 belong to the call, later ones to the first minute.
    """
    last, late = len(market.slots) - 1, rules.late * 1000
    at = {name: milliseconds(*clock) for name, clock in _CLOCK.items()}
    now, trade = pl.col("time"), pl.col("kind") == TRADE
    minute = (now // 60_000).cast(pl.Int16)
    old_close = pl.col("symbol").str.ends_with(SHANGHAI) & (pl.col("session") < SH_CLOSING_CALL)
    board = pl.col("symbol").str.slice(0, 3).is_in(FIXED_PRICE_BOARDS)
    return (
        pl.when(trade & (now >= at["call"]) & (now < at["morning"]))
        .then(0)
        .when(~trade & (now >= at["entry"]) & (now < at["call"]))
        .then(0)
        .when(~trade & (now >= at["call"]) & (now < at["morning"]))
        .then(1)
        .when((now >= at["morning"]) & (now < at["lunch"]))
        .then(minute - 569)
        .when((now >= at["lunch"]) & (now < at["lunch"] + late))
        .then(120)
        .when((now >= at["afternoon"]) & (now < at["close"]))
        .then(minute - 659)
        .when((now >= at["close"]) & (now < at["close"] + late))
        .then(pl.when(old_close).then(last - 1).otherwise(last))
        .when(board & (now >= at["fixed"]) & (now < at["end"] + late))
        .then(AFTER_HOURS)
        .otherwise(None)
        .cast(pl.Int16)
    )


_CLOCK = {
    "entry": (9, 15),
    "call": (9, 25),
    "morning": (9, 30),
    "lunch": (11, 30),
    "afternoon": (13, 0),
    "closing_call": (14, 57),
    "close": (15, 0),
    "fixed": (15, 5),
    "end": (15, 30),
}


def in_call(session: date) -> pl.Expr:
    """Whether a record belongs to a call auction, where there is no aggressor."""
    closing = pl.col("time") >= milliseconds(*_CLOCK["closing_call"])
    if session < SH_CLOSING_CALL:
        closing = closing & of_exchange(SHENZHEN)
    return (pl.col("time") < milliseconds(*_CLOCK["morning"])) | closing


def regime(exchange: str, session: date, streams: frozenset[str]) -> str:
    """The streams at hand of a session, in words, and those that the exchange publishes but the delivery lacks."""
    if exchange == SHENZHEN:
        return "SZ trades and orders" if ORDERS in streams else "SZ trades, orders not delivered"
    if MERGED in streams:
        return "SH merged stream" + ("" if session >= SH_MERGED_BEGINS else ", merged by the vendor")
    if ORDERS in streams:
        return "SH trades and orders" + ("" if session < SH_MERGED_BEGINS else ", split by the vendor")
    reason = "not published yet" if session < SH_ORDERS_BEGIN else "not delivered"
    return f"SH trades, orders {reason}"
