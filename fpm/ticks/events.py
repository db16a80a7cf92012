"""Records as events: trades with their aggressor, what was ordered and when, and what was taken back.

A *submission* is a part of an order as it becomes visible: Shenzhen shows every order whole when it arrives; Shanghai
shows an order's fills as an aggressor first, and its remainder, if any, when it begins to rest. Cumulating an order's
submissions up to a minute gives its original value as far as it was known then, and never more.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fpm.ticks.tape import CHANNELS, TRADE, linked

ORDER = ["sid", "order"]  # who ordered what; see `order_key`


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

    An order record's own; of a trade, its aggressor's.
    """
    bought = pl.col("side") > 0
    number = pl.when(bought).then("buy").otherwise("sell")
    return packed(number, bought)


def packed(number: pl.Expr, bought: pl.Expr) -> pl.Expr:
    """`order_key` of a number and side given."""
    return ((number * CHANNELS + pl.col("link")) * 2 + bought.cast(pl.Int64)).cast(pl.Int64).alias("order")


def trades_of(tape: pl.DataFrame, call: pl.Expr) -> pl.DataFrame:
    """Trades with `taker`: the side the exchange names (or the larger order number), nobody in a call."""
    taker = pl.when(call).then(0).otherwise(pl.col("side")).cast(pl.Int8).alias("taker")
    return tape.filter(pl.col("kind") == TRADE).select(
        "sid", link(), "channel", "seq", "time", "slot", "price", "volume", taker, "buy", "sell"
    )


def fills_of(trades: pl.DataFrame) -> pl.DataFrame:
    """What aggressors took: a trade seen as a part of its aggressor's order."""
    taken = trades.filter(pl.col("taker") != 0).rename({"taker": "side"})
    return taken.select("sid", order_key(), "side", "seq", "time", "slot", "price", "volume")


def orders_of(tape: pl.DataFrame, kind: int) -> pl.DataFrame:
    """Order records (or cancels) of one kind by the order they speak of; price 0 becomes null: it has none."""
    price = pl.when(pl.col("price") > 0).then(pl.col("price")).otherwise(None).alias("price")
    own = tape.filter(pl.col("kind") == kind).with_columns(link())
    return own.select("sid", "link", order_key(), "side", "seq", "time", "slot", price, "volume")


def valued(rows: pl.DataFrame, tape: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Prices of rows that have none: the symbol's last trade before, within the limits; before any, the prior close.

    `references`: sid, pre_close, limit_up, limit_down in 1/10,000, null where unknown. Where nothing is known the
    price stays null. Before: by sequence where streams share one, else by time, trades of the same moment left out.
    """
    if not rows["price"].null_count():
        return rows
    numbered = rows.with_row_index("place")
    lacking = numbered.filter(pl.col("price").is_null())
    at = pl.when(pl.lit(bool(tape.select(linked().all()).item()))).then("seq").otherwise("time").cast(pl.Int64)
    trades = tape.filter(pl.col("kind") == TRADE).select("sid", link(), at.alias("at"), pl.col("price").alias("last"))
    asked = lacking.with_columns(at.alias("at")).sort("at")
    seen = asked.join_asof(
        trades.sort("at", maintain_order=True),
        on="at",
        by=["sid", "link"],
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    ).join(references, on="sid", how="left", maintain_order="left")
    price = pl.coalesce("last", "pre_close")
    capped = pl.when(price.is_not_null()).then(
        pl.max_horizontal(pl.min_horizontal(price, pl.col("limit_up")), pl.col("limit_down"))
    )
    filled = seen.with_columns(capped.alias("price")).select(numbered.columns)
    whole = pl.concat([numbered.filter(pl.col("price").is_not_null()), filled])
    return whole.sort("place").drop("place")


def priced_cancels(cancels: pl.DataFrame, adds: pl.DataFrame) -> pl.DataFrame:
    """A cancel is worth its own price, or that of the order it takes back, where the order came before it."""
    entered = adds.group_by(ORDER).agg(pl.col("price", "seq", "slot").first().name.prefix("entered_"))
    joined = cancels.join(entered, on=ORDER, how="left", maintain_order="left")
    before = (pl.col("entered_seq") < pl.col("seq")) & (pl.col("entered_slot") <= pl.col("slot"))
    price = pl.coalesce("price", pl.when(before).then(pl.col("entered_price")))
    return joined.with_columns(price.alias("price")).select(cancels.columns)


def unknown_orders(trades: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
    """sid, unknown: trades that name an order nothing was heard of. Only for symbols whose orders were delivered."""
    seen = submissions.select(ORDER)
    sides = [
        trades.select("sid", "channel", "seq", packed(pl.col(name), pl.lit(name == "buy"))) for name in ("buy", "sell")
    ]
    lost = pl.concat(sides).join(seen, on=ORDER, how="anti").unique(["sid", "channel", "seq"])
    return lost.group_by("sid").agg(pl.len().alias("unknown"))
