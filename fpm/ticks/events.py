"""Records as events: trades with their aggressor, submissions of orders, and cancels.

A *submission* is a part of an order as it becomes visible: Shenzhen shows every order whole on arrival; Shanghai first
shows an order's fills as an aggressor, and then its remainder, if any, when it begins to rest. The sum of an order's
submissions up to a minute is its original value as far as it was known then, and never more.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fpm.ticks.tape import CHANNELS, TRADE, linked

ORDER = ["sid", "order"]  # an order of a symbol; see `order_key`


@dataclass(frozen=True)
class Events:
    """One session of some symbols. All prices in 1/10,000, all frames carry sid and slot.

    `trades`: ordered by sequence; price, volume, taker (1, -1, 0), link, buy, sell.
    `submissions`: ORDER; price (null: unvalued), volume. `cancels`: ORDER, side, price or null, volume.
    """

    trades: pl.DataFrame
    submissions: pl.DataFrame
    cancels: pl.DataFrame


def link() -> pl.Expr:
    """The channel where orders and trades share it; 0 where each stream has channels of its own."""
    return pl.when(linked()).then(pl.col("channel")).otherwise(0).cast(pl.Int32).alias("link")


def order_key() -> pl.Expr:
    """An order of a symbol as one integer: its number, its channel (numbers are unique only within one), its side.

    An order record gives its own order, a trade its aggressor's.
    """
    is_buy = pl.col("side") > 0
    number = pl.when(is_buy).then("buy").otherwise("sell")
    return order_key_of(number, is_buy)


def order_key_of(number: pl.Expr, is_buy: pl.Expr) -> pl.Expr:
    """`order_key` of a number and a side."""
    return ((number * CHANNELS + pl.col("link")) * 2 + is_buy.cast(pl.Int64)).cast(pl.Int64).alias("order")


def trades_of(tape: pl.DataFrame, call: pl.Expr) -> pl.DataFrame:
    """Trades with `taker`: the aggressor's side (1, -1), 0 in a call or where the exchange names none."""
    taker = pl.when(call).then(0).otherwise(pl.col("side")).cast(pl.Int8).alias("taker")
    return tape.filter(pl.col("kind") == TRADE).select(
        "sid", link(), "channel", "seq", "time", "slot", "price", "volume", taker, "buy", "sell"
    )


def fills_of(trades: pl.DataFrame) -> pl.DataFrame:
    """Fills of aggressors: each trade as a part of its aggressor's order."""
    fills = trades.filter(pl.col("taker") != 0).rename({"taker": "side"})
    return fills.select("sid", order_key(), "side", "seq", "time", "slot", "price", "volume")


def orders_of(tape: pl.DataFrame, kind: int) -> pl.DataFrame:
    """Order records (or cancels) of one kind, with their order's key; a price of 0 means none and becomes null."""
    price = pl.when(pl.col("price") > 0).then(pl.col("price")).otherwise(None).alias("price")
    own = tape.filter(pl.col("kind") == kind).with_columns(link())
    return own.select("sid", "link", order_key(), "side", "seq", "time", "slot", price, "volume")


def valued(rows: pl.DataFrame, tape: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """`rows` with missing prices filled: the symbol's last trade before, within the limits; else the prior close.

    `references`: sid, pre_close, limit_up, limit_down in 1/10,000, null where unknown. A price without any of these
    stays null. "Before" is by sequence where streams share one, else by time, without trades of the same moment.
    """
    if not rows["price"].null_count():
        return rows
    numbered = rows.with_row_index("position")
    unpriced = numbered.filter(pl.col("price").is_null())
    at = pl.when(pl.lit(bool(tape.select(linked().all()).item()))).then("seq").otherwise("time").cast(pl.Int64)
    trades = tape.filter(pl.col("kind") == TRADE).select("sid", link(), at.alias("at"), pl.col("price").alias("last"))
    joined = (
        unpriced.with_columns(at.alias("at"))
        .sort("at")
        .join_asof(
            trades.sort("at", maintain_order=True),
            on="at",
            by=["sid", "link"],
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .join(references, on="sid", how="left", maintain_order="left")
    )
    price = pl.coalesce("last", "pre_close")
    capped = pl.when(price.is_not_null()).then(
        pl.max_horizontal(pl.min_horizontal(price, pl.col("limit_up")), pl.col("limit_down"))
    )
    filled = joined.with_columns(capped.alias("price")).select(numbered.columns)
    whole = pl.concat([numbered.filter(pl.col("price").is_not_null()), filled])
    return whole.sort("position").drop("position")


def priced_cancels(cancels: pl.DataFrame, adds: pl.DataFrame) -> pl.DataFrame:
    """Cancels with prices: their own, or that of the order they withdraw, where the order came before."""
    entered = adds.group_by(ORDER).agg(pl.col("price", "seq", "slot").first().name.prefix("entered_"))
    joined = cancels.join(entered, on=ORDER, how="left", maintain_order="left")
    before = (pl.col("entered_seq") < pl.col("seq")) & (pl.col("entered_slot") <= pl.col("slot"))
    price = pl.coalesce("price", pl.when(before).then(pl.col("entered_price")))
    return joined.with_columns(price.alias("price")).select(cancels.columns)


def unknown_orders(trades: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
    """sid, unknown: number of trades with an order that has no submission. Meaningful where orders are delivered."""
    orders = submissions.select(ORDER)
    sides = [
        trades.select("sid", "channel", "seq", order_key_of(pl.col(name), pl.lit(name == "buy")))
        for name in ("buy", "sell")
    ]
    unknown = pl.concat(sides).join(orders, on=ORDER, how="anti").unique(["sid", "channel", "seq"])
    return unknown.group_by("sid").agg(pl.len().alias("unknown"))
