"""Level-2 ticks -> minute flows: one session of some symbols at a time, and the symbol-sessions that may not enter.

The result is ordinary `minute_bars` rows with every flow leg of `l2_32`; later stages stay as they are. Memory follows
the records of one call's symbols, never the whole day's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.quarantine import Check, first_faults
from fpm.ticks import shanghai, shenzhen
from fpm.ticks.events import Events, unknown_orders
from fpm.ticks.flows import COLUMNS, minute_rows
from fpm.ticks.sequence import backwards, ordered, spans
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

    from fpm.markets import Market

EVENTS = dict(zip(EXCHANGES, (shanghai.events, shenzhen.events), strict=True))
REFERENCES = {"sid": pl.Int32, "pre_close": pl.Int64, "limit_up": pl.Int64, "limit_down": pl.Int64}


@dataclass(frozen=True)
class Minutes:
    """Minute rows of some symbols of one session, and facts about their records.

    `rows`: sid and the columns of `flows.COLUMNS` but symbol. `symbols`: one row a sid (see `_facts`).
    `symbol_sequences`: sid and the sequences of its records. `sequences`: see `sequence.spans`.
    `faults`: file, row, reason_code, reason. `records` = used + after hours + faults + deduplicated.
    `counts`: sid, slot, records: its records by minute.
    """

    rows: pl.DataFrame
    symbols: pl.DataFrame
    symbol_sequences: pl.DataFrame
    sequences: pl.DataFrame
    faults: pl.DataFrame
    deduplicated: int
    after_hours: int
    counts: pl.DataFrame


def minute_flows(
    tape: pl.DataFrame, session: date, market: Market, references: pl.DataFrame, rules: TickRules
) -> Minutes:
    """Minute rows of every symbol in `tape` (columns of `TAPE`, one session, any order, whole symbols).

    `references`: columns of `REFERENCES`, null where unknown. Every symbol gets all slots of the grid.
    """
    unique = ordered(tape.with_columns(pl.col("price", "volume").cast(pl.Int64)))
    within = unique.tape.filter(pl.col("slot") != AFTER_HOURS)
    facts, rows = [], []
    for exchange in EXCHANGES:
        own = within.filter(of_exchange(exchange))
        if own.is_empty():
            continue
        events = EVENTS[exchange](own, in_call(session), references)
        facts.append(_facts(own, events, rules))
        rows.append(minute_rows(events, _coverage(facts[-1], exchange), len(market.slots), rules))
    symbols = _with_sums(pl.concat(facts), unique.tape) if facts else pl.DataFrame()
    return Minutes(
        pl.concat(rows) if rows else pl.DataFrame(),
        symbols,
        unique.tape.select("sid", of_exchange(SHENZHEN).alias("exchange"), "space", "channel").unique(),
        spans(unique.tape),
        unique.faults,
        unique.deduplicated,
        unique.tape.height - within.height,
        within.group_by("sid", "slot").agg(pl.len().alias("records")),
    )


def _coverage(facts: pl.DataFrame, exchange: str) -> pl.DataFrame:
    """sid, has_orders, cancels_known: Shenzhen's trade stream has the cancels."""
    return facts.select("sid", "has_orders", cancels_known=pl.lit(exchange == SHENZHEN))


def _facts(tape: pl.DataFrame, events: Events, rules: TickRules) -> pl.DataFrame:
    """sid, records, first and last (milliseconds), has_orders, merged, backwards, furthest, unknown, unvalued.

    `unknown`: trades with an order that has no submission; `unvalued`: orders and cancels without a price. Both are 0
    where no orders are delivered.
    """
    stream = pl.col("stream")
    facts = tape.group_by("sid").agg(
        pl.len().alias("records"),
        pl.col("time").min().alias("first"),
        pl.col("time").max().alias("last"),
        ((stream != STREAMS.index("trades")) & (pl.col("kind") != TRADE)).any().alias("has_orders"),
        (stream == STREAMS.index(MERGED)).any().alias("merged"),
    )
    prices = pl.concat([part.select("sid", "price") for part in (events.submissions, events.cancels)])
    unvalued = prices.filter(pl.col("price").is_null()).group_by("sid").agg(pl.len().alias("unvalued"))
    for part in (backwards(tape, rules), unknown_orders(events.trades, events.submissions), unvalued):
        facts = facts.join(part, on="sid", how="left")
    counts = [
        pl.when("has_orders").then(pl.col(name).fill_null(0)).otherwise(0).cast(pl.UInt32).alias(name)
        for name in ("unknown", "unvalued")
    ]
    return facts.with_columns(counts).sort("sid")


def _with_sums(facts: pl.DataFrame, tape: pl.DataFrame) -> pl.DataFrame:
    """`facts` with volume, amount (1/10,000) and trades of each symbol, and the same after hours."""
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
def observed(
    rows: pl.DataFrame, symbols: pl.DataFrame, unknown: pl.DataFrame, market: Market, rules: TickRules
) -> pl.DataFrame:
    """`rows` (sid, slot) of the minutes that the delivery covers: an exchange's records may begin late or stop early.

    `symbols`: facts of every symbol of the session. `unknown`: see `outages.unknown_minutes`. An empty minute means no
    trade only while the feed ran. A feed that reaches the last second of a minute covers it: the sample's continuous
    session ends with a trade at 14:56:59.
    """
    spans = symbols.group_by(of_exchange(SHENZHEN).alias("exchange")).agg(pl.col("first").min(), pl.col("last").max())
    ends = pl.DataFrame(
        {"slot": pl.int_range(len(market.slots), dtype=pl.Int16, eager=True), "end": [m * 60_000 for m in market.slots]}
    )
    joined = (
        rows.join(unknown, on=["sid", "slot"], how="anti", maintain_order="left")
        .with_columns(of_exchange(SHENZHEN).alias("exchange"))
        .join(spans, on="exchange", how="left", maintain_order="left")
        .join(ends, on="slot", how="left", maintain_order="left")
    )
    early = (pl.col("first") >= milliseconds(9, 31)) & (pl.col("end") <= pl.col("first"))
    late = (pl.col("last") < milliseconds(15, 0)) & (pl.col("end") - rules.edge * 1000 > pl.col("last"))
    return joined.filter(~early & ~late).drop("exchange", "first", "last", "end")


def session_faults(
    symbols: pl.DataFrame,
    symbol_sequences: pl.DataFrame,
    gaps: pl.DataFrame,
    verdicts: pl.DataFrame,
    rules: TickRules,
) -> pl.DataFrame:
    """sid, reason_code, reason: symbol-sessions that may not enter, each with the first reason that applies.

    138: the sequence begins again, or misses more than `gaps` of its channel's numbers. 142: the trades are not the
    exchange's totals. 119: orders, but no trades of that exchange at all.
    """
    shares = (
        symbol_sequences.join(gaps, on=["exchange", "space", "channel"], how="left")
        .group_by("sid")
        .agg(
            pl.col("share").max(),
            (pl.col("expected") - pl.col("records")).max().alias("missing"),
        )
    )
    exchange = of_exchange(SHENZHEN)
    joined = symbols.join(shares, on="sid", how="left").join(verdicts, on="sid", how="left")
    joined = joined.with_columns(
        (pl.col("furthest") // 1000).alias("seconds"),
        (pl.col("share").round(5) * 100).alias("percent"),
        (pl.col("trades") + pl.col("after_trades")).sum().over(exchange).alias("all_trades"),
    )
    checks = [
        Check(
            code="FPM-IN-138",
            condition=pl.col("furthest") > rules.reset * 1000,
            wrong="the clock runs back {seconds} s along the sequence: it begins again",
        ),
        Check(
            code="FPM-IN-138",
            condition=pl.col("share") > rules.gaps,
            wrong="{missing} sequence numbers of its channel are missing ({percent} %)",
        ),
        Check(
            code="FPM-IN-119",
            condition=pl.col("all_trades") == 0,
            wrong="orders without any trade of the exchange",
        ),
        Check(code="FPM-IN-142", condition=pl.col("verdict") == "differs", wrong="{reason}"),
    ]
    return first_faults(joined, checks, keys=("sid",))


def to_bars(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `minute_flows` as the lake's `minute_bars`: with symbols, sorted by symbol and slot."""
    return rows.with_columns(symbol_of(pl.col("sid"))).select(COLUMNS).sort("symbol", "slot")


def references(daily: pl.DataFrame, units: int) -> pl.DataFrame:
    """`REFERENCES` from daily rows (symbol, and pre_close, limit_up, limit_down where known) in currency."""
    names = [name for name in REFERENCES if name != "sid"]
    rows = daily.filter(pl.col("symbol").str.slice(7).is_in(EXCHANGES))
    prices = [
        (pl.col(name) * units).round().cast(pl.Int64) if name in daily.columns else pl.lit(None, pl.Int64).alias(name)
        for name in names
    ]
    return rows.select(sid_of(pl.col("symbol")), *prices)


def streams_of(symbols: pl.DataFrame, exchange: str) -> frozenset[str]:
    """The streams with records of an exchange's symbols in a session."""
    own = symbols.filter(of_exchange(exchange))
    streams: Mapping[str, bool] = {ORDERS: bool(own["has_orders"].any()), MERGED: bool(own["merged"].any())}
    return frozenset({"trades", *(name for name, present in streams.items() if present)})
