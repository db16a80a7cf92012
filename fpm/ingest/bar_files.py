"""Bar files as vendors deliver them: Parquet or CSV -> typed columns under our names, or a refusal in words.

Nothing is guessed: a column is known by our name or by a synonym below (reported), a number is a number.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PanicException, PolarsError

from fpm.errors import InputRefused
from fpm.schema import OPTIONAL_FLOWS, PRICES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REQUIRED = ("symbol", "minute", *PRICES, "volume")
NUMBERS = (*PRICES, "volume", "amount", *OPTIONAL_FLOWS)
SYNONYMS = {
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
MAGIC = b"PAR1"
# Damaged bytes make the decoder panic as well as raise: 3 of 600 mutants of a good file did. A panic is no Exception.
UNREADABLE = (PolarsError, PanicException)


@dataclass(frozen=True)
class RawFile:
    """One file as read: `frame` under our names and the file's own types, `row` = its row number from 0.

    `synonyms`: our name -> the file's; `ignored`: columns of the file that are not ours.
    """

    path: Path
    sha256: str
    frame: pl.DataFrame
    synonyms: dict[str, str]
    ignored: tuple[str, ...]


def refuse(code: str, path: Path, wrong: str, todo: str) -> InputRefused:
    """The refusal of one whole file."""
    return InputRefused(
        code=code, wrong=f"{path.name}: {wrong}", effect="the file is refused whole, nothing of it is stored", todo=todo
    )


def digest(path: Path) -> str:
    """sha256 of the file's bytes, hex."""
    with path.open("rb") as stream:
        total = sha256()
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def read_file(path: Path, required: Sequence[str] = REQUIRED, optional: Sequence[str] = NUMBERS) -> RawFile:
    """Read the columns named `required` and `optional`; numbers are checked to be numbers.

    Raises InputRefused: 001 empty, 002 truncated, 003 unreadable, 004 content and name differ, 006 missing
    column, 007 near miss or two synonyms, 008 wrong type, 032 not UTF-8 or a number that is none, 033 ragged.
    """
    check_content(path)
    found = _columns(path)
    names = _match(path, found, required, (*required, *optional))
    frame = _read_parquet(path, names) if path.suffix == ".parquet" else _read_csv(path, names)
    for name in (name for name in NUMBERS if name in names):
        _check_number(path, frame, name)
    return RawFile(
        path,
        digest(path),
        frame.with_row_index("row"),
        {name: original for name, original in names.items() if name != original},
        tuple(column for column in found if column not in names.values()),
    )


def check_content(path: Path) -> None:
    """Refuse a file that is empty, truncated, or whose content is not what its name says."""
    size = path.stat().st_size
    if size == 0:
        raise refuse("FPM-IN-001", path, "file is empty (0 bytes)", "ask the vendor for the file again")
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(0, size - 4))
        tail = stream.read(4)
    if path.suffix == ".csv" and head == MAGIC:
        raise refuse("FPM-IN-004", path, "content is Parquet, name says CSV", "rename the file")
    if path.suffix == ".parquet" and head != MAGIC:
        raise refuse("FPM-IN-004", path, "content is not Parquet (CSV?), name says Parquet", "rename the file")
    if path.suffix == ".parquet" and tail != MAGIC:
        raise refuse("FPM-IN-002", path, f"truncated at byte {size}", "wait for the upload to finish, ingest again")


def _columns(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        try:
            return list(pl.read_parquet_schema(path))
        except UNREADABLE as error:
            raise refuse("FPM-IN-003", path, f"unreadable footer ({_short(error)})", "fetch the file again") from None
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream))
    except (UnicodeDecodeError, StopIteration):
        raise refuse("FPM-IN-032", path, "header is not UTF-8 text", "convert the file to UTF-8") from None


def _match(path: Path, found: list[str], required: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Our name -> the file's name, for every wanted column the file has."""
    names = {}
    for name in wanted:
        hits = [name] if name in found else [word for word in SYNONYMS.get(name, ()) if word in found]
        if len(hits) > 1:
            raise refuse("FPM-IN-007", path, f"columns {' and '.join(hits)} both mean {name}", "keep one of them")
        if hits:
            names[name] = hits[0]
    known = {word.lower(): name for name in wanted for word in (name, *SYNONYMS.get(name, ()))}
    for column in found:
        near = known.get(column.strip().lower())
        if near and near not in names:
            wrong = f"column {column!r} is not known, {near!r} is near"
            raise refuse("FPM-IN-007", path, wrong, f"rename it to {near!r}")
    if missing := [name for name in required if name not in names]:
        wrong = f"missing column(s): {', '.join(missing)}; found: {', '.join(found[:40])}"
        raise refuse("FPM-IN-006", path, wrong, "add the column(s) under these names")
    return names


def _read_parquet(path: Path, names: dict[str, str]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path, columns=list(names.values()))
    except UNREADABLE as error:
        raise refuse("FPM-IN-003", path, f"unreadable data ({_short(error)})", "fetch the file again") from None
    frame = frame.rename({original: name for name, original in names.items() if name != original})
    for name in ("symbol", "index"):
        if name in frame.columns:
            if frame[name].dtype not in (pl.String, pl.Categorical, pl.Enum):
                wrong = f"column {names[name]} is {frame[name].dtype}, expected text"
                raise refuse("FPM-IN-008", path, wrong, "write codes as text: 000001 is not 1")
            frame = frame.with_columns(pl.col(name).cast(pl.String))
    return frame.select(list(names))


def _read_csv(path: Path, names: dict[str, str]) -> pl.DataFrame:
    """CSV cells are read as text and become numbers and times by one rule each; the first that does not is named."""
    try:
        text = pl.read_csv(path, columns=list(names.values()), infer_schema=False, encoding="utf8")
    except UNREADABLE as error:
        code = "FPM-IN-032" if "utf" in str(error).lower() else "FPM-IN-033"
        raise refuse(code, path, f"not a readable UTF-8 CSV ({_short(error)})", "repair it, or convert it") from None
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
    if (wrong := (parsed.is_null() & trimmed.is_not_null()).arg_true()).len():
        what = f"row {wrong[0] + 2}, column {original}: {trimmed[wrong[0]]!r} is not a {_kind(text.name)}"
        raise refuse("FPM-IN-032", path, what, "write plain numbers and ISO times")
    return parsed


def _kind(name: str) -> str:
    return "time" if name == "minute" else "number"


def _check_number(path: Path, frame: pl.DataFrame, name: str) -> None:
    if not frame[name].dtype.is_numeric() and frame[name].null_count() < frame.height:
        wrong = f"column {name} is {frame[name].dtype}, expected float64"
        raise refuse("FPM-IN-008", path, wrong, "store numbers as numbers; no silent cast is made")


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:120]
