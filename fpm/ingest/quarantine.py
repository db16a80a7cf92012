"""Rows that may not enter the lake, each with a code and a reason.

`rows_out + quarantined + deduplicated = rows_in` holds for every file; a row has one reason, the first that applies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.features.bars import required_minutes
from fpm.ingest.bar_files import NUMBERS
from fpm.row_order import by_runs, in_order
from fpm.schema import PRICES
from fpm.sessions import session_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.markets import Market

SLACK = 1e-6  # relative; prices that differ by less are equal (float32 keeps seven digits)
AMOUNT_SLACK = 0.2  # relative; NSE amounts are sums of last prices and still lie within 1 % of their bars
COPY = ("source", "row", "session")
FAULT_COLUMNS = ("source", "row", "session", "reason_code", "reason")


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
        bad.filter(pl.col("which") == number).select(*keys, **checks[number].fault())
        for number in bad["which"].unique().sort().to_list() or [0]
    ]
    return pl.concat(parts).sort(keys[0])


def row_faults(bars: pl.DataFrame) -> pl.DataFrame:
    """Faults that one row shows alone: row, session, reason_code, reason.

    `bars` has symbol, symbol_code, symbol_reason, session, named_session (the file's own, or null), is_session,
    slot (null outside the session), unit_code and unit_reason (null where volumes and prices mean what they should) and
    the numbers, NaN already null; `fraction`: no whole number of shares where no fraction trades.
    """
    cells = pl.concat_str(
        [pl.format(f"{name} {{}}", pl.col(name).cast(pl.String).fill_null("empty")) for name in (*PRICES, "volume")],
        separator=", ",
    )
    numbers = [name for name in NUMBERS if name in bars.columns]
    return first_faults(bars.with_columns(_zero_price(bars)), _checks(numbers), cells=cells)


def _zero_price(bars: pl.DataFrame) -> pl.Expr:
    """`zero_price`: a price that is 0 in every traded row of the row's symbol, as some vendors deliver the open."""
    free = (pl.col("volume") > 0) & pl.any_horizontal(pl.col(PRICES) == 0)
    if not bars.select(free.fill_null(False).any()).item():
        return pl.lit(None, pl.String).alias("zero_price")
    traded = bars.filter(pl.col("volume") > 0).select("symbol", *PRICES)
    highest = traded.group_by("symbol").agg(pl.col(PRICES).max())
    names = {
        symbol: name
        for symbol, *prices in highest.iter_rows()
        for name, price in zip(PRICES, prices, strict=True)
        if price == 0
    }
    return pl.col("symbol").replace_strict(names, default=None, return_dtype=pl.String).alias("zero_price")


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
        Check(code=pl.col("unit_code"), condition=pl.col("unit_code").is_not_null(), wrong="{unit_reason}"),
        Check(code="FPM-IN-024", condition=pl.any_horizontal(pl.col(numbers).is_infinite()), wrong="infinite: {cells}"),
        Check(code="FPM-IN-022", condition=pl.any_horizontal(pl.col(numbers) < 0), wrong="a negative number: {cells}"),
        Check(
            code="FPM-IN-023",
            condition=free & pl.col("zero_price").is_not_null(),
            wrong="{zero_price} is 0 in all traded rows of {symbol}",
        ),
        Check(code="FPM-IN-023", condition=free, wrong="price 0 with volume: {cells}"),
        Check(code="FPM-IN-024", condition=empty, wrong="a price or the volume is empty"),
        Check(code="FPM-IN-009", condition=pl.col("fraction"), wrong="a fraction of a share: {cells}"),
        Check(code="FPM-IN-021", condition=inverted, wrong="outside [low, high]: {cells}"),
    ]


@dataclass(frozen=True)
class AmountFaults:
    """Traded rows whose average price lies far outside [low, high]: `rows` go, of `amounts` only the amount."""

    rows: pl.DataFrame
    amounts: pl.DataFrame


def amount_faults(bars: pl.DataFrame) -> AmountFaults:
    """Faults of amounts, volumes in shares: a mistyped price, or another amount.

    The prices are at fault where they lie far from the symbol's other closes of the session and the average price lies
    near them; otherwise the amount is, and the bar's good prices stay. `bars` as for `deduplicate`, after which this
    runs, so that two copies that disagree both go.
    """
    average = pl.col("amount") / pl.col("volume")
    off = (average > pl.col("high") * (1 + AMOUNT_SLACK)) | (average < pl.col("low") * (1 - AMOUNT_SLACK))
    bad = bars.filter(((pl.col("volume") > 0) & (pl.col("amount") > 0) & off).fill_null(False))
    if not bad.height:
        return AmountFaults(_no_faults(), _no_faults())
    keys = ["session", "symbol"]
    usual = (
        bars.join(bad.select(keys).unique(), on=keys, how="semi")
        .group_by(keys)
        .agg(pl.col("close").median().alias("usual"))
    )
    bad = bad.join(usual, on=keys, how="left", maintain_order="left")
    far = (((pl.col("low") + pl.col("high")) / 2 / pl.col("usual") - 1).abs() > AMOUNT_SLACK).fill_null(False)
    mistyped = far & ((average / pl.col("usual") - 1).abs() <= AMOUNT_SLACK).fill_null(False)
    values = (average.round(4), "low", "high")
    row = pl.format("amount / volume is {}, the bar's prices are {} to {}", *values)
    amount = pl.format("amount / volume is {}, prices are {} to {}; the bar is stored with close x volume", *values)
    return AmountFaults(
        _faults(bad.filter(mistyped), code="FPM-IN-026", wrong=row),
        _faults(bad.filter(~mistyped), code="FPM-IN-026", wrong=amount),
    )


@dataclass(frozen=True)
class Deduplicated:
    """Bars with one row a symbol and minute, the faults of rows that disagree, the equal copies that were removed.

    `copies`: source, row, session.
    """

    bars: pl.DataFrame
    faults: pl.DataFrame
    copies: pl.DataFrame


def deduplicate(bars: pl.DataFrame) -> Deduplicated:
    """One row a symbol and minute.

    `bars` is sorted by session, symbol, slot, source, row. Equal copies: the first stays. Different values in one
    file: all copies go (015). Different values in two files: the symbol's whole session goes (034).
    """
    keys = ["session", "symbol", "slot"]
    again = pl.all_horizontal(*(pl.col(key) == pl.col(key).shift(1) for key in keys)).fill_null(False)
    repeated = bars.select(again.alias("again"))["again"]
    if not repeated.any():
        return Deduplicated(bars, _no_faults(), bars.select(COPY).clear())
    suspects = bars.filter(repeated | repeated.shift(-1, fill_value=False))
    values = [name for name in bars.columns if name not in (*keys, "source", "row")]
    copies = suspects.unique([*keys, *values], keep="first", maintain_order=True)
    counts = copies.group_by(keys, maintain_order=True).agg(pl.len(), pl.col("source").n_unique().alias("files"))
    conflicts = counts.filter(pl.col("len") > 1)
    within, across = conflicts.filter(pl.col("files") == 1), conflicts.filter(pl.col("files") > 1)
    extra = suspects.join(copies, on=["source", "row"], how="anti")
    single = bars.join(extra, on=["source", "row"], how="anti", maintain_order="left")
    if not conflicts.height:
        return Deduplicated(single, _no_faults(), extra.select(COPY))
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
    return Deduplicated(single, all_faults, extra.select(COPY))


def incomplete(bars: pl.DataFrame, market: Market, stored: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bars without, and faults (018) of, symbol-sessions that lack more than `max_missing` of their minutes.

    Only minutes that trading hours require count: no calls, nothing outside the session's own hours. `stored` (session,
    symbol, slot): rows already in the lake, so that a correction of a few minutes does not look like a hole.
    """
    calls = [slot for slot, minute in enumerate(market.slots) if minute in market.calls]
    traded_N = np.array([minute not in market.calls for minute in market.slots])
    expected = {
        session: int((session_slots(market, session).open_N & traded_N).sum())
        for session in bars["session"].unique().sort().to_list()
    }
    if not expected:
        return bars, _no_faults()
    keys = ["session", "symbol"]
    present = (~pl.col("slot").is_in(calls)).sum().alias("present")
    counted = by_runs(in_order(bars.select(*keys, "slot"), keys), keys, present).cast({"symbol": pl.String})
    if not stored.is_empty():
        minutes = [rows.select(*keys, "slot").cast({"symbol": pl.String}) for rows in (bars, stored)]
        both = pl.concat(minutes).unique().group_by(keys).agg(present)
        counted = both.join(counted, on=keys, how="semi")
    counted = counted.with_columns(pl.col("session").replace_strict(expected, return_dtype=pl.Int64).alias("expected"))
    absent = pl.col("expected") - pl.col("present").cast(pl.Int64)
    holes = counted.filter(absent > market.exchange.max_missing * pl.col("expected")).cast(
        {"symbol": bars["symbol"].dtype}
    )
    if not holes.height:
        return bars, _no_faults()
    incomplete_rows = bars.join(holes, on=keys, how="inner", maintain_order="left")
    words = pl.format("{} of {} minutes present", pl.col("present"), pl.col("expected"))
    faults = _faults(incomplete_rows, code="FPM-IN-018", wrong=words)
    return bars.join(holes, on=keys, how="anti", maintain_order="left"), faults


def missing_minutes(bars: pl.DataFrame, market: Market) -> int:
    """Number of minutes absent from the symbol-sessions of `bars`, where vendors deliver every minute; otherwise 0."""
    required = [slot for slot, minute in enumerate(market.slots) if minute in required_minutes(market)]
    if not required or bars.is_empty():
        return 0
    keys = ("session", "symbol")
    days = by_runs(in_order(bars.select(*keys, "slot"), keys), keys, pl.col("slot").is_in(required).sum())
    return days.height * len(required) - int(days["slot"].sum())


def _faults(rows: pl.DataFrame, *, code: str, wrong: str | pl.Expr) -> pl.DataFrame:
    reason = pl.lit(wrong) if isinstance(wrong, str) else wrong
    return rows.select(*FAULT_COLUMNS[:3], pl.lit(code).alias("reason_code"), reason.alias("reason"))


def _no_faults() -> pl.DataFrame:
    kinds = (pl.UInt32, pl.UInt32, pl.Date, pl.String, pl.String)
    return pl.DataFrame(schema=dict(zip(FAULT_COLUMNS, kinds, strict=True)))
