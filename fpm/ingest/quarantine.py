"""Rows that may not enter the lake, each with a code and a reason.

`rows_out + quarantined + deduplicated = rows_in` holds for every file; a row has one reason, the first that applies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.features.bars import CALLS, required_minutes
from fpm.ingest.bar_files import NUMBERS
from fpm.schema import PRICES
from fpm.sessions import Market, last_slot

if TYPE_CHECKING:
    from collections.abc import Sequence

SLACK = 1e-6  # relative; prices that differ by less are equal (float32 keeps seven digits)
AMOUNT_SLACK = 0.2  # relative; NSE amounts are sums of last prices and still lie within 1 % of their bars
FAULT_COLUMNS = ("source", "row", "session", "reason_code", "reason")


@dataclass(frozen=True)
class IngestRules:
    """Tolerances. `max_missing`: share of a session's minutes that a symbol may lack before its session is set aside.

    Vendors of cn, cn15 and crypto deliver a row for every minute, so an absent row is a lost one. Vendors of us and nse
    leave out a minute in which nothing traded: of 7,887 real US symbol-sessions 33 % lack a row, 0.7 % a fifth of
    them, 23 a quarter; only a hole beyond `max_missing` says that the collector failed.

    `future_minutes`: how far a stamp may lie ahead of the clock.
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


@dataclass(frozen=True)
class Check:
    """One reason to set rows aside: those where `condition` holds.

    `code` is the reason's code, or an expression for the row's own. `wrong` says what is wrong in words; a {column} in
    it is the row's cell.
    """

    code: str | pl.Expr
    condition: pl.Expr
    wrong: str

    def fault(self) -> dict[str, pl.Expr]:
        """`reason_code` and `reason` of the rows that fail this check."""
        columns = re.findall(r"{(\w+)}", self.wrong)
        reason = pl.format(re.sub(r"{\w+}", "{}", self.wrong), *columns) if columns else pl.lit(self.wrong)
        return {"reason_code": pl.lit(self.code) if isinstance(self.code, str) else self.code, "reason": reason}


def first_faults(
    rows: pl.DataFrame,
    checks: Sequence[Check],
    keys: Sequence[str] = ("row", "session"),
    cells: pl.Expr | None = None,
) -> pl.DataFrame:
    """`keys`, reason_code and reason of every row that fails a check, by the first one it fails; sorted by key.

    `cells`: a row's values as text, for the reasons that show {cells}; only bad rows pay for it.
    """
    which = pl.lit(None, pl.Int8)
    for number, check in reversed(list(enumerate(checks))):
        which = pl.when(check.condition.fill_null(False)).then(pl.lit(number, pl.Int8)).otherwise(which)
    bad = rows.with_columns(which.alias("which")).filter(pl.col("which").is_not_null())
    bad = bad if cells is None else bad.with_columns(cells.alias("cells"))
    parts = [
        bad.filter(pl.col("which") == number).select(*keys, **check.fault()) for number, check in enumerate(checks)
    ]
    return pl.concat(parts).sort(keys[0])


def row_faults(bars: pl.DataFrame) -> pl.DataFrame:
    """Faults that one row shows alone: row, session, reason_code, reason.

    `bars` has symbol, symbol_code, symbol_reason, session, named_session (the file's own, or null), is_session,
    slot (null outside the session) and the numbers, NaN already null.
    """
    cells = pl.concat_str(
        [pl.format(f"{name} {{}}", pl.col(name).cast(pl.String).fill_null("empty")) for name in (*PRICES, "volume")],
        separator=", ",
    )
    return first_faults(bars, _checks([name for name in NUMBERS if name in bars.columns]), cells=cells)


def _checks(numbers: list[str]) -> list[Check]:
    """The checks of one row, in order."""
    price = [pl.col(name) for name in PRICES]
    top, bottom = pl.col("high") * (1 + SLACK), pl.col("low") * (1 - SLACK)
    inverted = (pl.col("low") > top) | pl.any_horizontal(*((pl.col(p) > top) | (pl.col(p) < bottom) for p in PRICES))
    traded = pl.col("volume") > 0
    empty = pl.col("volume").is_null() | (traded & pl.any_horizontal(*(p.is_null() for p in price)))
    free = traded & pl.any_horizontal(*(p == 0 for p in price))
    symbol, session = pl.col("symbol"), pl.col("session")
    return [
        Check(code=pl.col("symbol_code"), condition=symbol.is_null(), wrong="{symbol_reason}"),
        Check(code="FPM-IN-029", condition=session.is_null(), wrong="the row has no time"),
        Check(
            code="FPM-IN-027",
            condition=session != pl.col("named_session"),
            wrong="dated {session}, the file is of {named_session}",
        ),
        Check(code="FPM-IN-135", condition=~pl.col("is_session"), wrong="{session} is no session of the market"),
        Check(code="FPM-IN-029", condition=pl.col("slot").is_null(), wrong="{minute} is no minute of the session"),
        Check(code="FPM-IN-024", condition=pl.any_horizontal(pl.col(numbers).is_infinite()), wrong="infinite: {cells}"),
        Check(code="FPM-IN-022", condition=pl.any_horizontal(pl.col(numbers) < 0), wrong="a negative number: {cells}"),
        Check(code="FPM-IN-023", condition=free, wrong="price 0 with volume: {cells}"),
        Check(code="FPM-IN-024", condition=empty, wrong="a price or the volume is empty"),
        Check(code="FPM-IN-021", condition=inverted, wrong="outside [low, high]: {cells}"),
    ]


def amount_faults(bars: pl.DataFrame) -> pl.DataFrame:
    """Traded rows whose average price lies far outside [low, high]: a mistyped price, or another amount.

    `bars` as for `deduplicate`, volumes in shares. It runs after that, so that two copies that disagree both go.
    """
    average = pl.col("amount") / pl.col("volume")
    off = (average > pl.col("high") * (1 + AMOUNT_SLACK)) | (average < pl.col("low") * (1 - AMOUNT_SLACK))
    bad = bars.filter(((pl.col("volume") > 0) & (pl.col("amount") > 0) & off).fill_null(False))
    text = "amount / volume is {}, the bar's prices are {} to {}"
    return _faults(bad, code="FPM-IN-026", wrong=pl.format(text, average.round(4), "low", "high"))


@dataclass(frozen=True)
class Deduplicated:
    """Bars with one row a symbol and minute, the faults of rows that disagree, the number of equal copies removed."""

    bars: pl.DataFrame
    faults: pl.DataFrame
    copies: int


def deduplicate(bars: pl.DataFrame) -> Deduplicated:
    """One row a symbol and minute.

    `bars` is sorted by session, symbol, slot, source, row. Equal copies: the first stays. Different values in one
    file: all copies go (015). Different values in two files: the symbol's whole session goes (034).
    """
    keys = ["session", "symbol", "slot"]
    again = pl.all_horizontal(*(pl.col(key) == pl.col(key).shift(1) for key in keys)).fill_null(False)
    repeated = bars.select(again.alias("again"))["again"]
    if not repeated.any():
        return Deduplicated(bars, _no_faults(), 0)
    suspects = bars.filter(repeated | repeated.shift(-1, fill_value=False))
    values = [name for name in bars.columns if name not in (*keys, "source", "row")]
    copies = suspects.unique([*keys, *values], keep="first", maintain_order=True)
    counts = copies.group_by(keys, maintain_order=True).agg(pl.len(), pl.col("source").n_unique().alias("files"))
    conflicts = counts.filter(pl.col("len") > 1)
    within, across = conflicts.filter(pl.col("files") == 1), conflicts.filter(pl.col("files") > 1)
    single = bars.filter(~repeated) if not conflicts.height else _drop_copies(bars, suspects, copies)
    faults = [
        _faults(single.join(within, on=keys, how="semi"), code="FPM-IN-015", wrong="two rows of this minute differ"),
        _faults(
            single.join(across, on=keys[:2], how="semi"),
            code="FPM-IN-034",
            wrong="conflicting sources: two files disagree",
        ),
    ]
    single = single.join(within, on=keys, how="anti", maintain_order="left")
    single = single.join(across, on=keys[:2], how="anti", maintain_order="left")
    all_faults = pl.concat(faults).unique(["source", "row"], keep="last", maintain_order=True)
    return Deduplicated(single, all_faults, suspects.height - copies.height)


def _drop_copies(bars: pl.DataFrame, suspects: pl.DataFrame, copies: pl.DataFrame) -> pl.DataFrame:
    extra = suspects.join(copies, on=["source", "row"], how="anti")
    return bars.join(extra, on=["source", "row"], how="anti", maintain_order="left")


def incomplete(
    bars: pl.DataFrame, market: Market, rules: IngestRules, stored: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bars without, and faults (018) of, symbol-sessions that lack more than `max_missing` of their minutes.

    Only minutes that trading hours require count: no calls, nothing after the end of a half day. `stored` (session,
    symbol, slot): rows already in the lake, so that a correction of a few minutes does not look like a hole.
    """
    calls = [slot for slot, minute in enumerate(market.slots) if minute in CALLS.get(market.name, ())]
    expected = {
        session: sum(slot not in calls for slot in range(last_slot(market, session) + 1))
        for session in bars["session"].unique().sort().to_list()
    }
    keys = ["session", "symbol"]
    minutes = bars.select(*keys, "slot").cast({"symbol": pl.String})
    minutes = pl.concat([minutes, stored.select(*keys, "slot").cast({"symbol": pl.String})])
    if not stored.is_empty():
        minutes = minutes.unique()
    counted = minutes.group_by(keys).agg((~pl.col("slot").is_in(calls)).sum().alias("present"))
    counted = counted.join(bars.select(keys).unique().cast({"symbol": pl.String}), on=keys, how="semi").with_columns(
        pl.col("session").replace_strict(expected, return_dtype=pl.Int64).alias("expected")
    )
    absent = pl.col("expected") - pl.col("present").cast(pl.Int64)
    holes = counted.filter(absent > rules.max_missing * pl.col("expected")).cast({"symbol": bars["symbol"].dtype})
    if not holes.height:
        return bars, _no_faults()
    incomplete_rows = bars.join(holes, on=keys, how="inner", maintain_order="left")
    present = pl.format("{} of {} minutes present", pl.col("present"), pl.col("expected"))
    faults = _faults(incomplete_rows, code="FPM-IN-018", wrong=present)
    return bars.join(holes, on=keys, how="anti", maintain_order="left"), faults


def missing_minutes(bars: pl.DataFrame, market: Market) -> int:
    """Number of minutes absent from the symbol-sessions of `bars`, where vendors deliver every minute; otherwise 0."""
    required = [slot for slot, minute in enumerate(market.slots) if minute in required_minutes(market)]
    if not required or bars.is_empty():
        return 0
    present = bars.filter(pl.col("slot").is_in(required)).height
    return int(bars.select(pl.struct("session", "symbol").n_unique()).item()) * len(required) - present


def _faults(rows: pl.DataFrame, *, code: str, wrong: str | pl.Expr) -> pl.DataFrame:
    reason = pl.lit(wrong) if isinstance(wrong, str) else wrong
    return rows.select(*FAULT_COLUMNS[:3], pl.lit(code).alias("reason_code"), reason.alias("reason"))


def _no_faults() -> pl.DataFrame:
    kinds = (pl.UInt16, pl.UInt32, pl.Date, pl.String, pl.String)
    return pl.DataFrame(schema=dict(zip(FAULT_COLUMNS, kinds, strict=True)))
