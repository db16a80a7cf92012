"""Level-2 ticks -> minute flows: one session of some symbols at a time, and which symbol-sessions may not enter.

The result is ordinary `minute_bars` rows with every flow leg of `l2_32`; everything downstream stays as it is.
Memory follows the records of the symbols handed in at once, never the day's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.ticks import shanghai as ticks_shanghai
from fpm.ticks import shenzhen as ticks_shenzhen
from fpm.ticks.events import Events, unknown_orders
from fpm.ticks.flows import COLUMNS, minute_rows
from fpm.ticks.sequence import backwards, numbered, ordered
from fpm.ticks.tape import (
    AFTER_HOURS,
    EXCHANGES,
    MERGED,
    ORDERS,
    SHENZHEN,
    STREAMS,
    TRADE,
    TickRules,
    in_call,
    milliseconds,
    of_exchange,
    sid_of,
    symbol_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.sessions import Market

EVENTS = dict(zip(EXCHANGES, (ticks_shanghai.events, ticks_shenzhen.events), strict=True))
REFERENCES = {"sid": pl.Int32, "pre_close": pl.Int64, "limit_up": pl.Int64, "limit_down": pl.Int64}


@dataclass(frozen=True)
class Minutes:
    """Minute rows of some symbols of one session, and what their records showed.

    `rows`: sid and the columns of `tick_flows.COLUMNS` but symbol. `symbols`: one row a sid (see `_facts`).
    `places`: sid and the sequences its records lie in. `sequences`: see `tick_sequence.numbered`.
    `faults`: file, row, reason_code, reason. `records` = used + after hours + faults + deduplicated.
    """

    rows: pl.DataFrame
    symbols: pl.DataFrame
    places: pl.DataFrame
    sequences: pl.DataFrame
    faults: pl.DataFrame
    deduplicated: int
    after_hours: int


def minute_flows(
    tape: pl.DataFrame, session: date, market: Market, references: pl.DataFrame, rules: TickRules
) -> Minutes:
    """Minute rows of every symbol in `tape` (columns of `TAPE`, one session, any order, whole symbols).

    `references`: see `REFERENCES`; unknown values null. Every symbol gets all slots of the grid.
    """
    exact = ordered(tape.with_columns(pl.col("price", "volume").cast(pl.Int64)))
    within = exact.tape.filter(pl.col("slot") != AFTER_HOURS)
    facts, rows = [], []
    for exchange in EXCHANGES:
        own = within.filter(of_exchange(exchange))
        if own.is_empty():
            continue
        events = EVENTS[exchange](own, in_call(session), references)
        facts.append(_facts(own, events, rules))
        rows.append(minute_rows(events, _seen(facts[-1], exchange), len(market.slots), rules))
    kept = exact.tape
    symbols = _with_sums(pl.concat(facts), kept) if facts else pl.DataFrame()
    return Minutes(
        pl.concat(rows) if rows else pl.DataFrame(),
        symbols,
        kept.select("sid", of_exchange(SHENZHEN).alias("exchange"), "space", "channel").unique(),
        numbered(kept),
        exact.faults,
        exact.deduplicated,
        kept.height - within.height,
    )


def _seen(facts: pl.DataFrame, exchange: str) -> pl.DataFrame:
    """Which streams speak of each symbol: Shenzhen's trades tell cancels too."""
    return facts.select("sid", "has_orders", cancels_known=pl.lit(exchange == SHENZHEN))


def _facts(tape: pl.DataFrame, events: Events, rules: TickRules) -> pl.DataFrame:
    """sid, records, first and last (milliseconds), has_orders, merged, backwards, furthest, unknown (trades whose
    order nothing was heard of), unvalued (orders and cancels nothing values); both 0 where no orders were delivered.
    """
    stream = pl.col("stream")
    told = tape.group_by("sid").agg(
        pl.len().alias("records"),
        pl.col("time").min().alias("first"),
        pl.col("time").max().alias("last"),
        ((stream != STREAMS.index("trades")) & (pl.col("kind") != TRADE)).any().alias("has_orders"),
        (stream == STREAMS.index(MERGED)).any().alias("merged"),
    )
    unvalued = pl.concat([part.select("sid", "price") for part in (events.submissions, events.cancels)])
    lacking = unvalued.filter(pl.col("price").is_null()).group_by("sid").agg(pl.len().alias("unvalued"))
    joined = told
    for part in (backwards(tape, rules), unknown_orders(events.trades, events.submissions), lacking):
        joined = joined.join(part, on="sid", how="left")
    told_of = [
        pl.when("has_orders").then(pl.col(name).fill_null(0)).otherwise(0).cast(pl.UInt32).alias(name)
        for name in ("unknown", "unvalued")
    ]
    return joined.with_columns(told_of).sort("sid")


def _with_sums(facts: pl.DataFrame, tape: pl.DataFrame) -> pl.DataFrame:
    """volume, amount (1/10,000) and trades of each symbol, and the same after hours."""
    money, after = pl.col("price") * pl.col("volume"), pl.col("slot") == AFTER_HOURS
    parts = {"volume": pl.col("volume"), "amount": money, "trades": pl.lit(1, pl.Int64)}
    sums = [
        pl.when(when).then(value).otherwise(0).sum().cast(pl.Int64).alias(f"{prefix}{name}")
        for prefix, when in (("", ~after), ("after_", after))
        for name, value in parts.items()
    ]
    traded = tape.filter(pl.col("kind") == TRADE).group_by("sid").agg(sums)
    names = [f"{prefix}{name}" for prefix in ("", "after_") for name in parts]
    return facts.join(traded, on="sid", how="left").with_columns(pl.col(names).fill_null(0))


# --- a whole session ------------------------------------------------------------------------------------------------
def observed(rows: pl.DataFrame, symbols: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Minutes that the delivery covers: an exchange's records that begin late or stop early leave the rest unseen.

    `symbols`: facts of every symbol of the session. A minute nobody traded in is a fact only while the feed ran.
    """
    spans = symbols.group_by(of_exchange(SHENZHEN).alias("exchange")).agg(pl.col("first").min(), pl.col("last").max())
    ends = pl.DataFrame(
        {"slot": pl.int_range(len(market.slots), dtype=pl.Int16, eager=True), "end": [m * 60_000 for m in market.slots]}
    )
    placed = (
        rows.with_columns(of_exchange(SHENZHEN).alias("exchange"))
        .join(spans, on="exchange", how="left", maintain_order="left")
        .join(ends, on="slot", how="left", maintain_order="left")
    )
    early = (pl.col("first") >= milliseconds(9, 31)) & (pl.col("end") <= pl.col("first"))
    late = (pl.col("last") < milliseconds(15, 0)) & (pl.col("end") > pl.col("last"))
    return placed.filter(~early & ~late).drop("exchange", "first", "last", "end")


def set_aside(
    symbols: pl.DataFrame, places: pl.DataFrame, gaps: pl.DataFrame, judged: pl.DataFrame, rules: TickRules
) -> pl.DataFrame:
    """sid, reason_code, reason: symbol-sessions that may not enter, each with the first reason that applies.

    138: the sequence begins again, or misses more than `gaps` of its channel's numbers. 142: the trades are not the
    exchange's totals. 119: orders, but no trades of that exchange at all.
    """
    shares = (
        places.join(gaps, on=["exchange", "space", "channel"], how="left")
        .group_by("sid")
        .agg(
            pl.col("share").max(),
            (pl.col("expected") - pl.col("records")).max().alias("missing"),
        )
    )
    exchange = of_exchange(SHENZHEN)
    joined = symbols.join(shares, on="sid", how="left").join(judged, on="sid", how="left")
    joined = joined.with_columns((pl.col("trades") + pl.col("after_trades")).sum().over(exchange).alias("all_trades"))
    asked = [
        (
            "FPM-IN-138",
            pl.col("furthest") > rules.reset * 1000,
            pl.format("the clock runs back {} s along the sequence: it begins again", pl.col("furthest") // 1000),
        ),
        (
            "FPM-IN-138",
            pl.col("share") > rules.gaps,
            pl.format(
                "{} sequence numbers of its channel are missing ({} %)", "missing", pl.col("share").round(5) * 100
            ),
        ),
        ("FPM-IN-119", pl.col("all_trades") == 0, pl.lit("orders without any trade of the exchange")),
        ("FPM-IN-142", pl.col("verdict") == "differs", pl.col("reason")),
    ]
    code, reason = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for its_code, condition, its_reason in reversed(asked):
        bad = condition.fill_null(False)
        code, reason = (
            pl.when(bad).then(pl.lit(its_code)).otherwise(code),
            pl.when(bad).then(its_reason).otherwise(reason),
        )
    told = joined.select("sid", code.alias("reason_code"), reason.alias("reason"))
    return told.filter(pl.col("reason_code").is_not_null()).sort("sid")


def to_bars(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `minute_flows` as the lake's `minute_bars`: symbols spelt out, sorted by symbol and slot."""
    return rows.with_columns(symbol_of(pl.col("sid"))).select(COLUMNS).sort("symbol", "slot")


def references(daily: pl.DataFrame, units: int) -> pl.DataFrame:
    """`REFERENCES` from daily rows (symbol, and pre_close, limit_up, limit_down where known) in currency."""
    names = [name for name in REFERENCES if name != "sid"]
    have = daily.filter(pl.col("symbol").str.slice(7).is_in(EXCHANGES))
    prices = [
        (pl.col(name) * units).round().cast(pl.Int64) if name in daily.columns else pl.lit(None, pl.Int64).alias(name)
        for name in names
    ]
    return have.select(sid_of(pl.col("symbol")), *prices)


def streams_of(symbols: pl.DataFrame, exchange: str) -> frozenset[str]:
    """The streams that told of an exchange's symbols in a session."""
    own = symbols.filter(of_exchange(exchange))
    found: Mapping[str, bool] = {ORDERS: bool(own["has_orders"].any()), MERGED: bool(own["merged"].any())}
    return frozenset({"trades", *(name for name, there in found.items() if there)})
