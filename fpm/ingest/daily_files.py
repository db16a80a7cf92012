"""Daily and index-member files as vendors deliver them -> rows of `daily_bars` and `index_members`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.agreement import in_shares
from fpm.ingest.bar_files import RawFile, read_file
from fpm.ingest.index_weights import NO_WEIGHT, SNAPSHOT, in_shares_of_one, odd_snapshots
from fpm.ingest.quarantine import SLACK, Check, first_faults
from fpm.ingest.stamps import sessions_of
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.ingest.vendor_files import PARQUET, kind_of, refusal
from fpm.schema import DAILY_BARS, INDEX_MEMBERS, PRICES
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fpm.markets import Market
    from fpm.table import Table

KINDS = {"float64": pl.Float64(), "bool": pl.Boolean(), "string": pl.String(), "date": pl.Date()}
TRUTH = {"true": True, "false": False, "1": True, "0": False, None: None}


@dataclass(frozen=True)
class ReferenceRows:
    """Rows of one file.

    `frame`: good rows, sorted by session and key, with `row`, their number in the file. `quarantined`: bad rows as the
    vendor wrote them, with session, reason_code, reason, source; `deduplicated`: number of rows that repeat another.
    `read` reads the file again; `conversions`: units that were converted, and what else was assumed, in words.
    `has_weights`: of index members, whether the file says them; else they are equal.
    """

    path: Path
    table: str
    sha256: str
    rows_in: int
    frame: pl.DataFrame
    quarantined: pl.DataFrame
    synonyms: dict[str, str]
    ignored: tuple[str, ...]
    read: Callable[[], RawFile]
    conversions: tuple[str, ...] = ()
    deduplicated: int = 0
    has_weights: bool = True

    @property
    def rows_out(self) -> int:
        """Rows of the file that are stored: an interval is one row, however many snapshots it is in."""
        return self.rows_in - self.quarantined.height - self.deduplicated

    def with_faults(self, faults: pl.DataFrame) -> pl.DataFrame:
        """`quarantined`, and the rows of `faults` (row, session, reason_code, reason) as the vendor wrote them."""
        return pl.concat([self.quarantined, _original(self.read(), faults)], how="diagonal_relaxed")


def read_daily(path: Path, market: Market, order: Order = NO_ORDER) -> ReferenceRows:
    """Daily bars of a file: one row a symbol and session.

    Absent columns are filled: `adj_factor` 1, `suspended` where nothing traded, `turnover` from float shares where the
    file has them; the rest is unavailable. Volumes in lots and amounts in thousands are converted. An empty factor
    beside others is no 1: it would be a jump of the price, so its row goes.

    Raises InputRefused as `bar_files.read_file` does; also 029 no session, CAL-001 the calendar does not reach.
    """
    optional = tuple(name for name in DAILY_BARS.columns if name not in ("symbol", *PRICES, "volume"))
    read = partial(read_file, path, ("symbol", "session", *PRICES, "volume"), optional, order)
    raw = read()
    units = in_shares(_typed(raw, DAILY_BARS.columns), market)
    typed = units.rows
    no_factors = "adj_factor" not in typed.columns or typed["adj_factor"].null_count() == typed.height
    filled = typed.with_columns(pl.lit(1.0).alias("adj_factor")) if no_factors else typed
    filled = filled.with_columns(
        pl.coalesce(_column(filled, "suspended"), pl.col("volume") == 0).alias("suspended"),
        pl.coalesce(_column(filled, "turnover"), pl.col("volume") / _column(filled, "float_shares")).alias("turnover"),
    )
    top, bottom = pl.col("high") * (1 + SLACK), pl.col("low") * (1 - SLACK)
    outside = pl.any_horizontal(*((pl.col(name) > top) | (pl.col(name) < bottom) for name in PRICES))
    numbers = [name for name, kind in DAILY_BARS.columns.items() if kind == "float64" and name in filled.columns]
    checks = [
        Check(
            code="FPM-IN-024",
            condition=pl.any_horizontal(pl.col(numbers).is_infinite()),
            wrong="an infinite number",
        ),
        Check(code="FPM-IN-022", condition=pl.any_horizontal(pl.col(numbers) < 0), wrong="a negative number"),
        Check(code="FPM-IN-023", condition=pl.col("adj_factor") == 0, wrong="adj_factor is 0"),
        Check(code="FPM-IN-024", condition=pl.col("adj_factor").is_null(), wrong="adj_factor is empty"),
        Check(code="FPM-IN-021", condition=outside, wrong="a price outside [low, high]"),
    ]
    return replace(_reference_rows(read, raw, filled, market, checks), conversions=units.conversions)


def read_members(path: Path, market: Market, order: Order = NO_ORDER) -> ReferenceRows:
    """Index members of a file: one row an index, session and symbol; weights in shares of 1 within each.

    Percent are converted where every snapshot sums to 100; a snapshot that does not sum to one goes to quarantine.
    Raises InputRefused as `bar_files.read_file` does.
    """
    read = partial(read_file, path, ("index", "session", "symbol", "weight"), (), order)
    raw = read()
    typed = _typed(raw, INDEX_MEMBERS.columns)
    units = in_shares_of_one(typed)
    checks = [Check(code="FPM-IN-022", condition=NO_WEIGHT, wrong="weight is no weight")]
    rows = replace(_reference_rows(read, raw, units.rows, market, checks, INDEX_MEMBERS), conversions=units.conversions)
    partial_ones = rows.frame.join(odd_snapshots(rows.frame), on=SNAPSHOT, how="inner", maintain_order="left")
    if partial_ones.is_empty():
        return rows
    reason = pl.format("weights of {} on {} sum to {}", "index", "session", pl.col("sum").round(6))
    faults = partial_ones.select("row", "session", pl.lit("FPM-IN-165").alias("reason_code"), reason.alias("reason"))
    good = rows.frame.join(partial_ones, on="row", how="anti", maintain_order="left")
    return replace(rows, frame=good, quarantined=rows.with_faults(faults.sort("row")))


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in frame.columns else pl.lit(None)


def _typed(raw: RawFile, kinds: dict[str, str]) -> pl.DataFrame:
    """The declared columns in their types. Raises InputRefused 008 where a value does not fit."""
    columns = {name: kinds.get(name, "date") for name in raw.frame.columns if name == "session" or name in kinds}
    for name, kind in columns.items():
        if kind == "float64" and kind_of(raw.path) == PARQUET and raw.frame[name].dtype == pl.String:
            raise refusal(
                raw.path,
                code="FPM-IN-008",
                wrong=f"column {name} is String, expected float64",
                todo="store numbers as numbers; no silent cast is made",
            )
        if kind == "date" and raw.frame[name].dtype.is_numeric():
            raise refusal(
                raw.path,
                code="FPM-IN-008",
                wrong=f"column {name} is {raw.frame[name].dtype}, expected a date",
                todo="store days as dates",
            )
    try:
        typed = raw.frame.select("row", *(_cast(raw.frame[name], kind) for name, kind in columns.items()))
    except pl.exceptions.PolarsError as error:
        raise refusal(
            raw.path,
            code="FPM-IN-008",
            wrong=f"a column does not fit its type ({str(error).splitlines()[0][:120]})",
            todo="store numbers as numbers and dates as dates",
        ) from None
    return typed.with_columns(pl.selectors.float().fill_nan(None))


def _cast(column: pl.Series, kind: str) -> pl.Series:
    """`column` in its declared type; text becomes a truth value or a number; days were read before."""
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.date() if kind == "date" else column.cast(KINDS[kind])
    if column.dtype == pl.String and kind == "bool":
        return column.str.to_lowercase().replace_strict(TRUTH, return_dtype=pl.Boolean)
    return column.cast(KINDS[kind])


def _reference_rows(
    read: Callable[[], RawFile],
    raw: RawFile,
    typed: pl.DataFrame,
    market: Market,
    checks: list[Check],
    table: Table = DAILY_BARS,
) -> ReferenceRows:
    """Rows with a symbol, a session and no fault; of rows with equal keys none stays."""
    keys = ["session", *table.keys]
    rows = with_symbols(typed, market)
    if rows["session"].null_count() == rows.height:
        raise refusal(raw.path, code="FPM-IN-029", wrong="no row has a session", todo="add sessions as dates")
    sessions = sessions_of(raw.path, rows["session"], market)
    no_session = ~pl.col("session").is_in(sessions).fill_null(False)
    all_checks = [
        Check(code=pl.col("symbol_code"), condition=pl.col("symbol").is_null(), wrong="{symbol_reason}"),
        Check(code="FPM-IN-135", condition=no_session, wrong="no session of the market"),
        *checks,
        Check(code="FPM-IN-015", condition=pl.struct(*keys).is_duplicated(), wrong="two rows of one key"),
    ]
    faults = first_faults(rows, all_checks)
    good = rows.join(faults, on="row", how="anti", maintain_order="left")
    good = good.drop("spelling", "symbol_code", "symbol_reason").sort(*keys)
    return ReferenceRows(
        raw.path,
        table.name,
        raw.sha256,
        raw.frame.height,
        good,
        _original(raw, faults),
        raw.synonyms,
        raw.ignored,
        read,
    )


def _original(raw: RawFile, faults: pl.DataFrame) -> pl.DataFrame:
    """The rows of `faults` as the vendor wrote them, with their reasons and `source`."""
    rows = raw.frame.drop("session").join(faults, on="row", how="inner", maintain_order="left")
    return rows.with_columns(pl.lit(raw.path.name).alias("source"))
