"""Daily and index-member files as vendors deliver them -> rows of `daily_bars` and `index_members`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError
from fpm.ingest.bar_files import RawFile, read_file, refuse
from fpm.ingest.quarantine import SLACK
from fpm.schema import DAILY_BARS, INDEX_MEMBERS, PRICES, Table
from fpm.sessions import Market, sessions_between
from fpm.symbols import symbol_table

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {"float64": pl.Float64(), "bool": pl.Boolean(), "string": pl.String(), "date": pl.Date()}
TRUTH = {"true": True, "false": False, "1": True, "0": False, None: None}


@dataclass(frozen=True)
class ReferenceRows:
    """Rows sorted by session and key; bad ones as the vendor wrote them, with session, reason_code, reason, source."""

    path: Path
    table: str
    sha256: str
    rows_in: int
    frame: pl.DataFrame
    quarantined: pl.DataFrame
    synonyms: dict[str, str]
    ignored: tuple[str, ...]


def read_daily(path: Path, market: Market) -> ReferenceRows:
    """One row a symbol and session. Absent columns: `adj_factor` 1, `suspended` where nothing traded, `turnover`
    from float shares where given, the rest unavailable.

    Raises InputRefused as `bar_files.read_file` does, or 135 where the calendar does not reach.
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
        ("FPM-IN-024", pl.any_horizontal(pl.col(numbers).is_infinite()), "an infinite number"),
        ("FPM-IN-022", pl.any_horizontal(pl.col(numbers) < 0), "a negative number"),
        ("FPM-IN-023", pl.col("adj_factor") == 0, "adj_factor is 0"),
        ("FPM-IN-021", outside, "a price outside [low, high]"),
    ]
    return _judged(raw, filled, market, DAILY_BARS, checks)


def read_members(path: Path, market: Market) -> ReferenceRows:
    """One row an index, session and symbol; weights in shares of 1 within an index and session.

    Raises InputRefused as `bar_files.read_file` does.
    """
    raw = read_file(path, ("index", "session", "symbol", "weight"), ())
    typed = _typed(raw, INDEX_MEMBERS.columns)
    bad = pl.col("weight").is_infinite() | (pl.col("weight") < 0)
    return _judged(raw, typed, market, INDEX_MEMBERS, [("FPM-IN-022", bad, "weight is no weight")])


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in frame.columns else pl.lit(None)


def _typed(raw: RawFile, kinds: dict[str, str]) -> pl.DataFrame:
    """Declared types; a value that does not fit refuses the file."""
    wanted = {name: kinds.get(name, "date") for name in raw.frame.columns if name == "session" or name in kinds}
    for name, kind in wanted.items():
        if kind == "float64" and raw.path.suffix == ".parquet" and raw.frame[name].dtype == pl.String:
            wrong = f"column {name} is String, expected float64"
            raise refuse("FPM-IN-008", raw.path, wrong, "store numbers as numbers; no silent cast is made")
    try:
        typed = raw.frame.select("row", *(_cast(raw.frame[name], kind) for name, kind in wanted.items()))
    except pl.exceptions.PolarsError as error:
        wrong = f"a column does not fit its type ({str(error).splitlines()[0][:120]})"
        raise refuse("FPM-IN-008", raw.path, wrong, "store numbers as numbers and dates as dates") from None
    return typed.with_columns(pl.selectors.float().fill_nan(None))


def _cast(column: pl.Series, kind: str) -> pl.Series:
    """In the declared type; text only becomes a date (ISO, with or without dashes), a truth value or a number."""
    if column.dtype == pl.String and kind == "date":
        return column.str.replace_all("-", "").str.to_date("%Y%m%d")
    if column.dtype == pl.String and kind == "bool":
        return column.str.to_lowercase().replace_strict(TRUTH, return_dtype=pl.Boolean)
    return column.cast(KINDS[kind])


def _sessions(path: Path, days: pl.Series, market: Market) -> list[date]:
    first, last = days.min(), days.max()
    if not isinstance(first, date) or not isinstance(last, date):
        raise refuse("FPM-IN-029", path, "no row has a session", "add sessions as dates")
    try:
        return sessions_between(market, first, last)
    except FpmError as error:
        raise refuse(error.code, path, error.wrong, error.todo) from None


def _judged(
    raw: RawFile, typed: pl.DataFrame, market: Market, of: Table, checks: list[tuple[str, pl.Expr, str]]
) -> ReferenceRows:
    """Rows with a code, a session and no fault; of rows with equal keys none is kept."""
    keys = ["session", *of.keys]
    table = symbol_table(typed["symbol"].drop_nulls(), market)
    named = typed.rename({"symbol": "spelling"}).join(table, on="spelling", how="left", maintain_order="left")
    days = named["session"].drop_nulls()
    sessions = _sessions(raw.path, days, market)
    asked = [
        (
            pl.col("reason_code").fill_null("FPM-IN-031"),
            pl.col("symbol").is_null(),
            pl.col("reason").fill_null("the row has no symbol"),
        ),
        (pl.lit("FPM-IN-135"), ~pl.col("session").is_in(sessions).fill_null(False), pl.lit("no session of the market")),
        *((pl.lit(code), condition, pl.lit(text)) for code, condition, text in checks),
        (pl.lit("FPM-IN-015"), pl.struct(*keys).is_duplicated(), pl.lit("two rows of one key")),
    ]
    code, reason = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for its_code, condition, its_reason in reversed(asked):
        bad = condition.fill_null(False)
        code, reason = pl.when(bad).then(its_code).otherwise(code), pl.when(bad).then(its_reason).otherwise(reason)
    judged = named.with_columns(code.alias("reason_code"), reason.alias("reason"))
    faults = judged.filter(pl.col("reason_code").is_not_null()).select("row", "session", "reason_code", "reason")
    good = judged.filter(pl.col("reason_code").is_null()).drop("row", "spelling", "reason_code", "reason").sort(*keys)
    original = raw.frame.drop("session").join(faults, on="row", how="inner", maintain_order="left")
    original = original.with_columns(pl.lit(raw.path.name).alias("source"))
    return ReferenceRows(raw.path, of.name, raw.sha256, raw.frame.height, good, original, raw.synonyms, raw.ignored)
