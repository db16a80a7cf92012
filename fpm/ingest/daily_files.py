"""Daily and index-member files as vendors deliver them -> rows of `daily_bars` and `index_members`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.bar_files import RawFile, read_file
from fpm.ingest.quarantine import SLACK, Check, first_faults
from fpm.ingest.stamps import sessions_of
from fpm.ingest.vendor_files import refusal
from fpm.schema import DAILY_BARS, INDEX_MEMBERS, PRICES, Table
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.sessions import Market

KINDS = {"float64": pl.Float64(), "bool": pl.Boolean(), "string": pl.String(), "date": pl.Date()}
TRUTH = {"true": True, "false": False, "1": True, "0": False, None: None}


@dataclass(frozen=True)
class ReferenceRows:
    """Rows of one file.

    `frame`: good rows, sorted by session and key. `quarantined`: bad rows as the vendor wrote them, with session,
    reason_code, reason, source.
    """

    path: Path
    table: str
    sha256: str
    rows_in: int
    frame: pl.DataFrame
    quarantined: pl.DataFrame
    synonyms: dict[str, str]
    ignored: tuple[str, ...]


def read_daily(path: Path, market: Market) -> ReferenceRows:
    """Daily bars of a file: one row a symbol and session.

    Absent columns are filled: `adj_factor` 1, `suspended` where nothing traded, `turnover` from float shares where the
    file has them; the rest is unavailable.

    Raises InputRefused as `bar_files.read_file` does; also 029 no session, CAL-001 the calendar does not reach.
    """
    optional = tuple(name for name in DAILY_BARS.columns if name not in ("symbol", *PRICES, "volume"))
    raw = read_file(path, ("symbol", "session", *PRICES, "volume"), optional)
    typed = _typed(raw, DAILY_BARS.columns)
    filled = typed.with_columns(pl.coalesce(_column(typed, "adj_factor"), pl.lit(1.0)).alias("adj_factor"))
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
        Check(code="FPM-IN-021", condition=outside, wrong="a price outside [low, high]"),
    ]
    return _reference_rows(raw, filled, market, DAILY_BARS, checks)


def read_members(path: Path, market: Market) -> ReferenceRows:
    """Index members of a file: one row an index, session and symbol; weights in shares of 1 within each.

    Raises InputRefused as `bar_files.read_file` does.
    """
    raw = read_file(path, ("index", "session", "symbol", "weight"), ())
    typed = _typed(raw, INDEX_MEMBERS.columns)
    bad = pl.col("weight").is_infinite() | (pl.col("weight") < 0)
    checks = [Check(code="FPM-IN-022", condition=bad, wrong="weight is no weight")]
    return _reference_rows(raw, typed, market, INDEX_MEMBERS, checks)


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in frame.columns else pl.lit(None)


def _typed(raw: RawFile, kinds: dict[str, str]) -> pl.DataFrame:
    """The declared columns in their types. Raises InputRefused 008 where a value does not fit."""
    columns = {name: kinds.get(name, "date") for name in raw.frame.columns if name == "session" or name in kinds}
    for name, kind in columns.items():
        if kind == "float64" and raw.path.suffix == ".parquet" and raw.frame[name].dtype == pl.String:
            raise refusal(
                raw.path,
                code="FPM-IN-008",
                wrong=f"column {name} is String, expected float64",
                todo="store numbers as numbers; no silent cast is made",
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
    """`column` in its declared type; text becomes a date (ISO, with or without dashes), a truth value or a number."""
    if column.dtype == pl.String and kind == "date":
        return column.str.replace_all("-", "").str.to_date("%Y%m%d")
    if column.dtype == pl.String and kind == "bool":
        return column.str.to_lowercase().replace_strict(TRUTH, return_dtype=pl.Boolean)
    return column.cast(KINDS[kind])


def _reference_rows(
    raw: RawFile, typed: pl.DataFrame, market: Market, table: Table, checks: list[Check]
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
    good = good.drop("row", "spelling", "symbol_code", "symbol_reason").sort(*keys)
    original = raw.frame.drop("session").join(faults, on="row", how="inner", maintain_order="left")
    original = original.with_columns(pl.lit(raw.path.name).alias("source"))
    return ReferenceRows(raw.path, table.name, raw.sha256, raw.frame.height, good, original, raw.synonyms, raw.ignored)
