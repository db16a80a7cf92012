"""Bar files as vendors deliver them: Parquet or CSV -> typed columns under our names, or a refusal in words.

Nothing is guessed: a column has our name or a synonym below (reported), a number is a number.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PanicException, PolarsError

from fpm.ingest.columns import Synonyms, resolve
from fpm.ingest.vendor_files import check_content, digest, refusal
from fpm.schema import OPTIONAL_FLOWS, PRICES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REQUIRED = ("symbol", "minute", *PRICES, "volume")
NUMBERS = (*PRICES, "volume", "amount", *OPTIONAL_FLOWS)
SYNONYMS: Synonyms = {
    "symbol": ("ts_code", "code", "ticker", "stock_code", "instrument", "order_book_id"),
    "minute": ("datetime", "trade_time", "bar_time", "timestamp"),
    "session": ("trade_date", "trading_day", "date"),
    "volume": ("vol",),
    "amount": ("money", "total_turnover", "quote_volume"),
    "trades": ("trade_count", "num_trades", "number_of_trades"),
    "buy_volume": ("taker_buy_volume", "taker_buy_base_volume"),
    "buy_amount": ("taker_buy_amount", "taker_buy_quote_volume"),
    "pre_close": ("prev_close", "preclose"),
    "index": ("index_code",),
}
# Damaged bytes make the decoder panic as well as raise: 3 of 600 mutants of a good file did. A panic is no Exception.
UNREADABLE = (PolarsError, PanicException)


@dataclass(frozen=True)
class RawFile:
    """One file: `frame` under our names with the file's own types, `row` = its row number from 0.

    `synonyms`: our name -> the file's; `ignored`: the file's other columns.
    """

    path: Path
    sha256: str
    frame: pl.DataFrame
    synonyms: dict[str, str]
    ignored: tuple[str, ...]


def read_file(path: Path, required: Sequence[str] = REQUIRED, optional: Sequence[str] = NUMBERS) -> RawFile:
    """Read the `required` and the `optional` columns of one file; numbers must be numbers.

    Raises InputRefused: 001 empty, 002 truncated, 003 unreadable, 004 content and name differ, 006 missing
    column, 007 near miss or two synonyms, 008 wrong type, 032 not UTF-8 or a number that is none, 033 ragged.
    """
    check_content(path)
    header = _header(path)
    names = resolve(path, header, required, optional, SYNONYMS)
    frame = _read_parquet(path, names) if path.suffix == ".parquet" else _read_csv(path, names)
    for name in (name for name in NUMBERS if name in names):
        _check_number(path, frame, name)
    return RawFile(
        path,
        digest(path),
        frame.with_row_index("row"),
        {name: original for name, original in names.items() if name != original},
        tuple(column for column in header if column not in names.values()),
    )


def _header(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        try:
            return list(pl.read_parquet_schema(path))
        except UNREADABLE as error:
            raise refusal(
                path,
                code="FPM-IN-003",
                wrong=f"unreadable footer ({_first_line(error)})",
                todo="fetch the file again",
            ) from None
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream))
    except (UnicodeDecodeError, StopIteration):
        raise refusal(
            path, code="FPM-IN-032", wrong="header is not UTF-8 text", todo="convert the file to UTF-8"
        ) from None


def _read_parquet(path: Path, names: dict[str, str]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, columns=list(names.values()))
    except UNREADABLE as error:
        raise refusal(
            path,
            code="FPM-IN-003",
            wrong=f"unreadable data ({_first_line(error)})",
            todo="fetch the file again",
        ) from None
    frame = frame.rename({original: name for name, original in names.items() if name != original})
    for name in ("symbol", "index"):
        if name in frame.columns:
            if frame[name].dtype not in (pl.String, pl.Categorical, pl.Enum):
                raise refusal(
                    path,
                    code="FPM-IN-008",
                    wrong=f"column {names[name]} is {frame[name].dtype}, expected text",
                    todo="write codes as text: 000001 is not 1",
                )
            frame = frame.with_columns(pl.col(name).cast(pl.String))
    return frame.select(list(names))


def _read_csv(path: Path, names: dict[str, str]) -> pl.DataFrame:
    """CSV cells become numbers and times by one rule each; the first cell that does not is named."""
    try:
        text = pl.read_csv(path, columns=list(names.values()), infer_schema=False, encoding="utf8")
    except UNREADABLE as error:
        wrong = f"not a readable UTF-8 CSV ({_first_line(error)})"
        if "utf" in str(error).lower():
            raise refusal(path, code="FPM-IN-032", wrong=wrong, todo="convert the file to UTF-8") from None
        raise refusal(path, code="FPM-IN-033", wrong=wrong, todo="repair the file") from None
    text = text.rename({original: name for name, original in names.items() if name != original})
    parsed = [_csv_column(path, text[name], names[name]) for name in names]
    return pl.DataFrame(parsed)


def _csv_column(path: Path, text: pl.Series, original: str) -> pl.Series:
    if text.name not in NUMBERS and text.name != "minute":
        return text
    trimmed = text.str.strip_chars()
    trimmed = trimmed.set(trimmed == "", None)
    if text.name == "minute":
        parsed = trimmed.str.replace("T", " ").str.to_datetime(time_unit="us", strict=False)
    else:
        parsed = trimmed.cast(pl.Float64, strict=False)
    if (unreadable := (parsed.is_null() & trimmed.is_not_null()).arg_true()).len():
        row, kind = unreadable[0], "time" if text.name == "minute" else "number"
        raise refusal(
            path,
            code="FPM-IN-032",
            wrong=f"row {row + 2}, column {original}: {trimmed[row]!r} is not a {kind}",
            todo="write plain numbers and ISO times",
        )
    return parsed


def _check_number(path: Path, frame: pl.DataFrame, name: str) -> None:
    if not frame[name].dtype.is_numeric() and frame[name].null_count() < frame.height:
        raise refusal(
            path,
            code="FPM-IN-008",
            wrong=f"column {name} is {frame[name].dtype}, expected float64",
            todo="store numbers as numbers; no silent cast is made",
        )


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:120]
