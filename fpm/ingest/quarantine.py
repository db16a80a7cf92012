"""Rows that may not enter the lake: which, why, and by which code.

`rows_out + quarantined + deduplicated = rows_in` holds for every file; a row has one reason, the first that applies.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fpm.features.bars import CALLS, required_minutes
from fpm.ingest.bar_files import NUMBERS
from fpm.schema import PRICES
from fpm.sessions import Market, last_slot

SLACK = 1e-6  # relative; prices that differ by less are equal (float32 keeps seven digits)
AMOUNT_SLACK = 0.2  # relative; NSE amounts are sums of last prices and still lie within 1 % of their bars
FAULT_COLUMNS = ("source", "row", "session", "reason_code", "reason")


@dataclass(frozen=True)
class IngestRules:
    """What is tolerated. `max_missing`: share of a session's minutes a symbol may lack before its session goes.

    Vendors of cn, cn15 and crypto deliver a row for every minute, so an absent row is a lost one. Vendors of us and nse
    leave out a minute in which nothing traded: of 7,887 real US symbol-sessions 33 % lack a row, 0.7 % a fifth of
    them, 23 a quarter; only a hole beyond `max_missing` says that the collector failed.
    """

    max_missing: float
    future_minutes: int = 5


RULES = {
    "cn": IngestRules(max_missing=0.05),
    "cn15": IngestRules(max_missing=0.05),
    "us": IngestRules(max_missing=0.25),
    "nse": IngestRules(max_missing=0.25),
    "crypto": IngestRules(max_missing=0.05),
}


def row_faults(bars: pl.DataFrame) -> pl.DataFrame:
    """Faults that one row shows alone: row, session, reason_code, reason.

    `bars` has symbol, symbol_code, symbol_reason, session, named_session (the file's own, or null), is_session,
    slot (null outside the session) and the numbers, NaN already null.
    """
    checks = _checks([name for name in NUMBERS if name in bars.columns])
    chain = pl.lit(None, pl.Int8)
    for number, (_, condition, _) in reversed(list(enumerate(checks))):
        chain = pl.when(condition.fill_null(False)).then(pl.lit(number, pl.Int8)).otherwise(chain)
    which = bars.select(chain.alias("which"))["which"]
    bad = bars.with_columns(which).filter(which.is_not_null())
    parts = [
        bad.filter(pl.col("which") == number).select("row", "session", reason_code=code, reason=reason)
        for number, (code, _, reason) in enumerate(checks)
    ]
    return pl.concat(parts).sort("row")


def _checks(numbers: list[str]) -> list[tuple[pl.Expr, pl.Expr, pl.Expr]]:
    """(code, condition, reason), in the order in which they are asked."""
    price = [pl.col(name) for name in PRICES]
    top, bottom = pl.col("high") * (1 + SLACK), pl.col("low") * (1 - SLACK)
    inverted = (pl.col("low") > top) | pl.any_horizontal(*((pl.col(p) > top) | (pl.col(p) < bottom) for p in PRICES))
    traded = pl.col("volume") > 0
    symbol, session = pl.col("symbol"), pl.col("session")
    cells = pl.concat_str(
        [pl.format(f"{name} {{}}", pl.col(name).cast(pl.String).fill_null("empty")) for name in (*PRICES, "volume")],
        separator=", ",
    )
    return [
        (pl.col("symbol_code"), symbol.is_null(), pl.col("symbol_reason")),
        (pl.lit("FPM-IN-029"), session.is_null(), pl.lit("the row has no time")),
        (
            pl.lit("FPM-IN-027"),
            session != pl.col("named_session"),
            pl.format("dated {}, the file is of {}", session, pl.col("named_session")),
        ),
        (pl.lit("FPM-IN-135"), ~pl.col("is_session"), pl.format("{} is no session of the market", session)),
        (pl.lit("FPM-IN-029"), pl.col("slot").is_null(), pl.format("{} is no minute of the session", pl.col("minute"))),
        (pl.lit("FPM-IN-024"), pl.any_horizontal(pl.col(numbers).is_infinite()), pl.format("infinite: {}", cells)),
        (pl.lit("FPM-IN-022"), pl.any_horizontal(pl.col(numbers) < 0), pl.format("a negative number: {}", cells)),
        (
            pl.lit("FPM-IN-023"),
            traded & pl.any_horizontal(*(p == 0 for p in price)),
            pl.format("price 0 with volume: {}", cells),
        ),
        (
            pl.lit("FPM-IN-024"),
            pl.col("volume").is_null() | (traded & pl.any_horizontal(*(p.is_null() for p in price))),
            pl.lit("a price or the volume is empty"),
        ),
        (pl.lit("FPM-IN-021"), inverted, pl.format("outside [low, high]: {}", cells)),
    ]


def amount_faults(bars: pl.DataFrame) -> pl.DataFrame:
    """Traded rows whose average price lies far outside [low, high]: a mistyped price, or an amount of something else.

    `bars` as for `duplicates`, volumes in shares. Asked after the duplicates, so that two copies that disagree both go.
    """
    average = pl.col("amount") / pl.col("volume")
    off = (average > pl.col("high") * (1 + AMOUNT_SLACK)) | (average < pl.col("low") * (1 - AMOUNT_SLACK))
    bad = bars.filter(((pl.col("volume") > 0) & (pl.col("amount") > 0) & off).fill_null(False))
    reason = pl.format("amount / volume is {}, the bar's prices are {} to {}", average.round(4), "low", "high")
    return bad.select(*FAULT_COLUMNS[:3], pl.lit("FPM-IN-026").alias("reason_code"), reason.alias("reason"))


def duplicates(bars: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Rows of one symbol and minute kept once: (bars without them, faults, number removed as exact copies).

    `bars` is sorted by session, symbol, slot, source, row. Equal copies: the first stays. Different values in one
    file: all copies go (015). Different values in two files: the symbol's whole session goes (034).
    """
    keys = ["session", "symbol", "slot"]
    again = pl.all_horizontal(*(pl.col(key) == pl.col(key).shift(1) for key in keys)).fill_null(False)
    repeated = bars.select(again.alias("again"))["again"]
    if not repeated.any():
        return bars, _no_faults(), 0
    suspects = bars.filter(repeated | repeated.shift(-1, fill_value=False))
    values = [name for name in bars.columns if name not in (*keys, "source", "row")]
    copies = suspects.unique([*keys, *values], keep="first", maintain_order=True)
    counts = copies.group_by(keys, maintain_order=True).agg(pl.len(), pl.col("source").n_unique().alias("files"))
    conflicts = counts.filter(pl.col("len") > 1)
    within, across = conflicts.filter(pl.col("files") == 1), conflicts.filter(pl.col("files") > 1)
    lost = suspects.height - copies.height
    kept = bars.filter(~repeated) if not conflicts.height else _drop_copies(bars, suspects, copies)
    faults = [
        _faults(kept.join(within, on=keys, how="semi"), "FPM-IN-015", "two rows of this minute with other values"),
        _faults(kept.join(across, on=keys[:2], how="semi"), "FPM-IN-034", "conflicting sources: two files disagree"),
    ]
    kept = kept.join(within, on=keys, how="anti", maintain_order="left")
    kept = kept.join(across, on=keys[:2], how="anti", maintain_order="left")
    return kept, pl.concat(faults).unique(["source", "row"], keep="last", maintain_order=True), lost


def _drop_copies(bars: pl.DataFrame, suspects: pl.DataFrame, copies: pl.DataFrame) -> pl.DataFrame:
    extra = suspects.join(copies, on=["source", "row"], how="anti")
    return bars.join(extra, on=["source", "row"], how="anti", maintain_order="left")


def incomplete(
    bars: pl.DataFrame, market: Market, rules: IngestRules, stored: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Symbol-sessions with more than `max_missing` of their minutes absent go to quarantine (018).

    Counts the minutes that trading hours require: no calls, nothing after the end of a half day. `stored` (session,
    symbol, slot): rows the store already has, so that a correction of a few minutes is not taken for a hole.
    """
    calls = [slot for slot, minute in enumerate(market.slots) if minute in CALLS.get(market.name, ())]
    expected = {
        session: sum(slot not in calls for slot in range(last_slot(market, session) + 1))
        for session in bars["session"].unique().sort().to_list()
    }
    keys = ["session", "symbol"]
    seen = bars.select(*keys, "slot").cast({"symbol": pl.String})
    seen = pl.concat([seen, stored.select(*keys, "slot").cast({"symbol": pl.String})])
    if not stored.is_empty():
        seen = seen.unique()
    counted = seen.group_by(keys).agg((~pl.col("slot").is_in(calls)).sum().alias("present"))
    counted = counted.join(bars.select(keys).unique().cast({"symbol": pl.String}), on=keys, how="semi").with_columns(
        pl.col("session").replace_strict(expected, return_dtype=pl.Int64).alias("expected")
    )
    absent = pl.col("expected") - pl.col("present").cast(pl.Int64)
    holes = counted.filter(absent > rules.max_missing * pl.col("expected")).cast({"symbol": bars["symbol"].dtype})
    if not holes.height:
        return bars, _no_faults()
    lost = bars.join(holes, on=keys, how="inner", maintain_order="left")
    text = pl.format("{} of {} minutes present", pl.col("present"), pl.col("expected"))
    faults = lost.select(*FAULT_COLUMNS[:3], pl.lit("FPM-IN-018").alias("reason_code"), text.alias("reason"))
    return bars.join(holes, on=keys, how="anti", maintain_order="left"), faults


def missing_minutes(bars: pl.DataFrame, market: Market) -> int:
    """Minutes absent from the symbol-sessions present, where the vendor delivers every minute (case 17)."""
    wanted = [slot for slot, minute in enumerate(market.slots) if minute in required_minutes(market)]
    if not wanted or bars.is_empty():
        return 0
    present = bars.filter(pl.col("slot").is_in(wanted)).height
    return int(bars.select(pl.struct("session", "symbol").n_unique()).item()) * len(wanted) - present


def _faults(rows: pl.DataFrame, code: str, reason: str) -> pl.DataFrame:
    return rows.select(*FAULT_COLUMNS[:3], pl.lit(code).alias("reason_code"), pl.lit(reason).alias("reason"))


def _no_faults() -> pl.DataFrame:
    kinds = (pl.UInt16, pl.UInt32, pl.Date, pl.String, pl.String)
    return pl.DataFrame(schema=dict(zip(FAULT_COLUMNS, kinds, strict=True)))
