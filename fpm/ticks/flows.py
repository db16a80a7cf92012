"""Events of a session -> minute bars with all flow legs of section 3, minute by minute, nothing looked up ahead.

A leg is null where the stream it comes from was not delivered; it is 0 where it was and nothing happened.
"""

from __future__ import annotations

import polars as pl

from fpm.schema import ORDER_FLOWS, PRICES, SIZE_FLOWS, SIZES, TAKER_FLOWS
from fpm.ticks.events import ORDER, Events, fills_of
from fpm.ticks.tape import UNITS, TickRules

MINUTE = ["sid", "slot"]
SIDE_NAMES = {1: "buy", -1: "sell"}
COLUMNS = ("symbol", "slot", *PRICES, "volume", "amount", "trades", *TAKER_FLOWS, *SIZE_FLOWS, *ORDER_FLOWS)


def minute_rows(events: Events, seen: pl.DataFrame, slots: int, rules: TickRules) -> pl.DataFrame:
    """One row a symbol of `seen` and slot: sid, slot, prices (null where nothing traded), and every leg.

    `seen`: sid, has_orders (order records were delivered), cancels_known (cancels are told by the trades).
    """
    money = pl.col("price") * pl.col("volume")
    trades = events.trades.with_columns(money.alias("money"))
    grid = seen.join(pl.DataFrame({"slot": pl.int_range(slots, dtype=pl.Int16, eager=True)}), how="cross")
    parts = (
        bars(trades),
        taker_legs(trades),
        size_legs(trades, events.submissions, rules),
        order_legs(events.submissions),
        cancel_legs(events.cancels),
    )
    for part in parts:
        grid = grid.join(part, on=MINUTE, how="left", maintain_order="left")
    return _masked(grid)


def bars(trades: pl.DataFrame) -> pl.DataFrame:
    """Prices and totals by minute. `trades` is in order of sequence: the first is the open, the last the close."""
    return trades.group_by(MINUTE).agg(
        pl.col("price").first().alias("open"),
        pl.col("price").max().alias("high"),
        pl.col("price").min().alias("low"),
        pl.col("price").last().alias("close"),
        pl.col("volume").sum(),
        pl.col("money").sum().alias("amount"),
        pl.len().alias("trades"),
    )


def taker_legs(trades: pl.DataFrame) -> pl.DataFrame:
    """Amount, volume and number of trades by the aggressor's side. Calls are in neither."""
    legs = []
    for side, name in SIDE_NAMES.items():
        own = pl.col("taker") == side
        legs += [
            pl.col("money").filter(own).sum().alias(f"{name}_amount"),
            pl.col("volume").filter(own).sum().alias(f"{name}_volume"),
            own.sum().alias(f"{name}_count"),
        ]
    return trades.group_by(MINUTE).agg(legs)


def size_legs(trades: pl.DataFrame, submissions: pl.DataFrame, rules: TickRules) -> pl.DataFrame:
    """Volume and number of trades by side and by the size of the aggressor's order, as known by the end of the minute.

    The order's value is that of its submissions so far; of an order nothing was heard of, that of its fills so far.
    """
    by_order = known_values(trades, submissions)
    told = by_order.filter(pl.col("taken_count") > 0).with_columns(
        _size(pl.col("known"), rules).alias("size"), (pl.col("order") % 2 == 1).alias("bought")
    )
    legs = []
    for size in SIZES:
        for side, name in SIDE_NAMES.items():
            own = (pl.col("size") == size) & (pl.col("bought") == (side > 0))
            legs += [
                pl.col("taken_volume").filter(own).sum().alias(f"{size}_{name}_volume"),
                pl.col("taken_count").filter(own).sum().alias(f"{size}_{name}_count"),
            ]
    return told.group_by(MINUTE).agg(legs)


def known_values(trades: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
    """Of every order and minute in which it appears: taken_volume, taken_count, and `known`, its value by then.

    A value grows only by what became visible in that minute or before: reading an order's whole day here would class
    its early trades by later ones.
    """
    fills = fills_of(trades).select(
        *ORDER,
        "slot",
        pl.col("volume").alias("taken_volume"),
        (pl.col("price") * pl.col("volume")).alias("taken_money"),
    )
    worth = (pl.col("price") * pl.col("volume")).alias("worth")
    entered = submissions.filter(pl.col("price").is_not_null()).select(*ORDER, "slot", worth)
    entered = entered.join(fills.select(ORDER), on=ORDER, how="semi")
    both = pl.concat([fills, entered], how="diagonal_relaxed")
    steps = both.group_by(*ORDER, "slot").agg(
        pl.col("taken_volume").sum(),
        pl.col("taken_volume").count().alias("taken_count"),
        pl.col("taken_money").sum(),
        pl.col("worth").sum(),
        pl.col("worth").count().alias("heard"),
    )
    steps = steps.sort(*ORDER, "slot")
    first = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in ORDER).fill_null(True)
    so_far = {name: _within(name, first) for name in ("worth", "heard", "taken_money")}
    known = pl.when(so_far["heard"] > 0).then(so_far["worth"]).otherwise(so_far["taken_money"])
    return steps.select(*ORDER, "slot", "taken_volume", "taken_count", known.alias("known"))


def _within(name: str, first: pl.Expr) -> pl.Expr:
    """Running sum that begins again where `first` is true: the sum so far less what it was before the group."""
    total = pl.col(name).cum_sum()
    return total - pl.when(first).then(total - pl.col(name)).otherwise(None).forward_fill()


def _size(value: pl.Expr, rules: TickRules) -> pl.Expr:
    limits = {name: round(getattr(rules, name) * UNITS) for name in SIZES}
    chosen = pl.lit(None, pl.String)
    for name in reversed(SIZES):
        chosen = pl.when(value >= limits[name]).then(pl.lit(name)).otherwise(chosen)
    return chosen


def order_legs(submissions: pl.DataFrame) -> pl.DataFrame:
    """What was ordered, by the minute in which it became visible; an order counts once, in its first minute.

    The amount of a minute with a submission that nothing values is null.
    """
    first = submissions.group_by(ORDER).agg(pl.col("slot").min())
    counts = first.group_by(MINUTE).agg(pl.len().alias("order_count"))
    return _sums(submissions, "order").join(counts, on=MINUTE, how="left", maintain_order="left")


def cancel_legs(cancels: pl.DataFrame) -> pl.DataFrame:
    """What was taken back, by minute; null amount where a cancel has no value."""
    counts = cancels.group_by(MINUTE).agg(pl.len().alias("cancel_count"))
    return _sums(cancels, "cancel").join(counts, on=MINUTE, how="left", maintain_order="left")


def _sums(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    worth = pl.col("price") * pl.col("volume")
    whole = pl.when(pl.col("price").is_not_null().all()).then(worth.sum()).otherwise(-1)
    return rows.group_by(MINUTE).agg(whole.alias(f"{name}_amount"), pl.col("volume").sum().alias(f"{name}_volume"))


def _masked(grid: pl.DataFrame) -> pl.DataFrame:
    """Prices and amounts in currency; 0 where nothing happened, null where nothing could be known."""
    flows = [name for name in COLUMNS if name not in ("symbol", "slot", *PRICES)]
    known = {
        **{name: pl.lit(True) for name in flows},
        **{name: pl.col("has_orders") for name in ORDER_FLOWS},
        **{f"cancel_{unit}": pl.col("has_orders") | pl.col("cancels_known") for unit in ("volume", "count")},
    }
    money = [name for name in grid.columns if name in PRICES or name.endswith("amount")]
    grid = grid.with_columns(_in_currency(grid[name]) for name in money)
    legs = [
        pl.when(known[name] & (pl.col(name).fill_null(0) >= 0))
        .then(pl.col(name).cast(pl.Float64).fill_null(0.0))
        .otherwise(None)
        .alias(name)
        for name in flows
    ]
    return grid.select("sid", "slot", *PRICES, *legs).sort(MINUTE)


def _in_currency(column: pl.Series) -> pl.Series:
    """Divided by numpy: polars divides by a constant as a product with its reciprocal, 10.2 becomes
    10.200000000000001.
    """
    return pl.Series(column.name, column.cast(pl.Float64).to_numpy() / UNITS, nan_to_null=True)
