"""Events of a session -> minute bars with all flow legs of `l2_32`; a minute depends on no later record.

A leg is null where its stream is not delivered, and 0 where the stream is there and nothing happened.
"""

from __future__ import annotations

import polars as pl

from fpm.schema import ORDER_FLOWS, PRICES, SIZE_FLOWS, SIZES, TAKER_FLOWS
from fpm.ticks.events import ORDER, Events, fills_of
from fpm.ticks.tape import UNITS, TickRules

MINUTE = ["sid", "slot"]
SIDE_NAMES = {1: "buy", -1: "sell"}
COLUMNS = ("symbol", "slot", *PRICES, "volume", "amount", "trades", *TAKER_FLOWS, *SIZE_FLOWS, *ORDER_FLOWS)


def minute_rows(events: Events, coverage: pl.DataFrame, slots: int, rules: TickRules) -> pl.DataFrame:
    """One row a symbol of `coverage` and slot: sid, slot, prices (null where nothing traded), and every leg.

    `coverage`: sid, has_orders (order records are delivered), cancels_known (the trade stream has the cancels).
    """
    money = pl.col("price") * pl.col("volume")
    trades = events.trades.with_columns(money.alias("money"))
    grid = coverage.join(pl.DataFrame({"slot": pl.int_range(slots, dtype=pl.Int16, eager=True)}), how="cross")
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
    """Amount, volume and number of trades by the aggressor's side; trades of calls belong to neither."""
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

    An order's value is that of its submissions so far; orders without any use their fills so far.
    """
    by_order = order_values(trades, submissions)
    fills = by_order.filter(pl.col("fill_count") > 0).with_columns(
        _size(pl.col("value"), rules).alias("size"), (pl.col("order") % 2 == 1).alias("is_buy")
    )
    legs = []
    for size in SIZES:
        for side, name in SIDE_NAMES.items():
            own = (pl.col("size") == size) & (pl.col("is_buy") == (side > 0))
            legs += [
                pl.col("fill_volume").filter(own).sum().alias(f"{size}_{name}_volume"),
                pl.col("fill_count").filter(own).sum().alias(f"{size}_{name}_count"),
            ]
    return fills.group_by(MINUTE).agg(legs)


def order_values(trades: pl.DataFrame, submissions: pl.DataFrame) -> pl.DataFrame:
    """By order and minute in which it appears: fill_volume, fill_count, and its `value` as known by then.

    A value sums only submissions of that minute or before: an order's whole day would class its early trades by later
    ones.
    """
    fills = fills_of(trades).select(
        *ORDER,
        "slot",
        pl.col("volume").alias("fill_volume"),
        (pl.col("price") * pl.col("volume")).alias("fill_money"),
    )
    worth = (pl.col("price") * pl.col("volume")).alias("worth")
    valued = submissions.filter(pl.col("price").is_not_null()).select(*ORDER, "slot", worth)
    valued = valued.join(fills.select(ORDER), on=ORDER, how="semi")
    both = pl.concat([fills, valued], how="diagonal_relaxed")
    steps = both.group_by(*ORDER, "slot").agg(
        pl.col("fill_volume").sum(),
        pl.col("fill_volume").count().alias("fill_count"),
        pl.col("fill_money").sum(),
        pl.col("worth").sum(),
        pl.col("worth").count().alias("submissions"),
    )
    steps = steps.sort(*ORDER, "slot")
    first = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in ORDER).fill_null(True)
    so_far = {name: _running_sum(name, first) for name in ("worth", "submissions", "fill_money")}
    value = pl.when(so_far["submissions"] > 0).then(so_far["worth"]).otherwise(so_far["fill_money"])
    return steps.select(*ORDER, "slot", "fill_volume", "fill_count", value.alias("value"))


def _running_sum(name: str, first: pl.Expr) -> pl.Expr:
    """Running sum that restarts where `first` is true: the sum so far less the sum before the group."""
    total = pl.col(name).cum_sum()
    return total - pl.when(first).then(total - pl.col(name)).otherwise(None).forward_fill()


def _size(value: pl.Expr, rules: TickRules) -> pl.Expr:
    limits = {name: round(getattr(rules, name) * UNITS) for name in SIZES}
    size = pl.lit(None, pl.String)
    for name in reversed(SIZES):
        size = pl.when(value >= limits[name]).then(pl.lit(name)).otherwise(size)
    return size


def order_legs(submissions: pl.DataFrame) -> pl.DataFrame:
    """Submissions by the minute in which they become visible; an order counts once, in its first minute.

    The amount of a minute is null where one of its submissions has no price.
    """
    first = submissions.group_by(ORDER).agg(pl.col("slot").min())
    counts = first.group_by(MINUTE).agg(pl.len().alias("order_count"))
    return _sums(submissions, "order").join(counts, on=MINUTE, how="left", maintain_order="left")


def cancel_legs(cancels: pl.DataFrame) -> pl.DataFrame:
    """Cancels by minute; the amount is null where one has no price."""
    counts = cancels.group_by(MINUTE).agg(pl.len().alias("cancel_count"))
    return _sums(cancels, "cancel").join(counts, on=MINUTE, how="left", maintain_order="left")


def _sums(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    worth = pl.col("price") * pl.col("volume")
    whole = pl.when(pl.col("price").is_not_null().all()).then(worth.sum()).otherwise(-1)
    return rows.group_by(MINUTE).agg(whole.alias(f"{name}_amount"), pl.col("volume").sum().alias(f"{name}_volume"))


def _masked(grid: pl.DataFrame) -> pl.DataFrame:
    """Prices and amounts in currency; 0 where nothing happened, null where the delivery cannot know."""
    flows = [name for name in COLUMNS if name not in ("symbol", "slot", *PRICES)]
    is_known = {
        **{name: pl.lit(True) for name in flows},
        **{name: pl.col("has_orders") for name in ORDER_FLOWS},
        **{f"cancel_{unit}": pl.col("has_orders") | pl.col("cancels_known") for unit in ("volume", "count")},
    }
    money = [name for name in grid.columns if name in PRICES or name.endswith("amount")]
    grid = grid.with_columns(_in_currency(grid[name]) for name in money)
    legs = [
        pl.when(is_known[name] & (pl.col(name).fill_null(0) >= 0))
        .then(pl.col(name).cast(pl.Float64).fill_null(0.0))
        .otherwise(None)
        .alias(name)
        for name in flows
    ]
    return grid.select("sid", "slot", *PRICES, *legs).sort(MINUTE)


def _in_currency(column: pl.Series) -> pl.Series:
    """`column` over `UNITS`, divided by numpy.

    polars multiplies by the reciprocal of a constant instead: 10.2 becomes 10.200000000000001.
    """
    return pl.Series(column.name, column.cast(pl.Float64).to_numpy() / UNITS, nan_to_null=True)
