"""One table file, Parquet or CSV, as typed columns under our names: the part of reading that runs in the child.

Beyond the bounds of `vendor_files` nothing is decoded: the footer's rows times the width of the wanted columns tell the
size before. Page checksums are verified where the vendor wrote them: only Arrow does, at half the speed of Polars.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PanicException, PolarsError

from fpm.ingest.columns import Synonyms, resolve
from fpm.ingest.decoder import DECODED, too_large
from fpm.ingest.time_spellings import NO_ORDER, Order, days, order_of, times, two_readings
from fpm.ingest.vendor_files import PARQUET, check_content, digest, kind_of, refusal
from fpm.interruption import stop_if_interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MOST_COLUMNS, MOST_GROUPS = 1_000, 100_000
MOST_FOOTER = 64 << 20  # bytes; one of a market's session with a row group a symbol has 5 MB
MOST_HEADER = 1 << 20  # characters of a CSV's header
LONGEST_CELL = 1 << 16  # bytes of a text; the longest code has 24
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
TEXTS = ("symbol", "index")
_VIEW = 16  # bytes of a text in a column, beside its letters
# Damaged bytes make the decoder panic as well as raise: 3 of 600 mutants of a good file did. A panic is no Exception.
UNREADABLE = (PolarsError, PanicException, pa.ArrowException, OSError, ValueError)


def columns_of(
    path: Path,
    *,
    required: Sequence[str],
    optional: Sequence[str],
    numbers: Sequence[str],
    synonyms: Synonyms,
    order: Sequence[Any] | None = None,
    lists: Sequence[str] = (),
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Facts (`sha256`, `header`, `names`: ours -> the file's) and the `required` and `optional` columns of one file.

    `lists`: columns whose cells are lists of numbers; only Parquet has them.
    Raises InputRefused as `bar_files.read_file` does, 220 for a CSV of lists.
    """
    check_content(path)
    if lists and kind_of(path) != PARQUET:
        raise refusal(
            path, code="FPM-IN-220", wrong="a CSV file has no column of lists", todo="write it as Parquet: list<float>"
        )
    header = header_of(path)
    names = resolve(path, header, required, optional, synonyms)
    if kind_of(path) == PARQUET:
        frame = _read_parquet(path, names, [names[name] for name in lists])
    else:
        frame = _read_csv(
            path, names, numbers, NO_ORDER if order is None else Order(order[0], order[1], tuple(order[2]))
        )
    for name in (name for name in numbers if name in names):
        _check_number(path, frame, name)
    return {"sha256": digest(path), "header": header, "names": names}, frame


def day_order(path: Path, *, column: str, synonyms: Synonyms) -> tuple[dict[str, Any], pl.DataFrame]:
    """Facts (`order`: the parts of an `Order`) about the days of one CSV file; no frame.

    Only a file whose first cell ends with its year is read further. An unreadable file has no order.
    """
    nothing: tuple[dict[str, Any], pl.DataFrame] = {"order": ["", "", ["", ""]]}, pl.DataFrame()
    names = resolve(path, header_of(path), (), (column,), synonyms)
    if column not in names:
        return nothing
    first = _text(path, names, rows=1)
    if not order_of(first[column]).open_cell:
        return nothing
    order = order_of(_text(path, names)[column])
    return {"order": [order.order, order.open_cell, list(order.cells)]}, pl.DataFrame()


def header_of(path: Path) -> list[str]:
    """Names of a file's columns. Raises InputRefused: 003, 032, 033 unreadable, RES-145 a header beyond the bounds."""
    header = list(footer(path).schema_arrow.names) if kind_of(path) == PARQUET else _csv_header(path)
    if len(header) > MOST_COLUMNS:
        raise _beyond(path, f"{len(header)} columns, at most {MOST_COLUMNS} are taken")
    return header


def names_of(path: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    """Facts (`header`: names of the columns) of one file; no frame. Raises InputRefused as `header_of` does."""
    check_content(path)
    return {"header": header_of(path)}, pl.DataFrame()


def footer(path: Path) -> pq.ParquetFile:
    """A Parquet file, its footer read and within bounds. Raises InputRefused: 003 unreadable, RES-145 beyond them."""
    with path.open("rb") as stream:
        stream.seek(-8, io.SEEK_END)
        size = int.from_bytes(stream.read(4), "little")
    if size > MOST_FOOTER:
        raise _beyond(path, f"a footer of {size >> 20} MB, at most {MOST_FOOTER >> 20} are taken")
    try:
        parquet = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
        groups = parquet.metadata.num_row_groups
        parquet.schema_arrow  # noqa: B018  Arrow decodes it here
    except UNREADABLE as error:
        raise unreadable(path, "footer", error) from None
    if groups > MOST_GROUPS:
        raise _beyond(path, f"{groups} row groups, at most {MOST_GROUPS} are taken")
    return parquet


def check_size(
    path: Path, parquet: pq.ParquetFile, columns: Sequence[str], most: int = DECODED, lists: Sequence[str] = ()
) -> None:
    """Refuse a file whose rows, times the width of `columns`, take more than `most` bytes. Raises InputRefused RES-144.

    A column that is no plain value is refused by its type (008).
    """
    width = row_width(path, parquet, columns, lists)
    size = parquet.metadata.num_rows * width
    if size > most:
        raise too_large(
            path,
            f"{parquet.metadata.num_rows} rows of {width} bytes are {size >> 20} MB, at most {most >> 20} are taken",
        )


def row_width(path: Path, parquet: pq.ParquetFile, columns: Sequence[str], lists: Sequence[str] = ()) -> int:
    """Bytes of a row's `columns` in memory, without the letters of texts; of a column of `lists` the mean row's.

    Raises InputRefused 008: no plain value, or no list of numbers.
    """
    width = 0
    for name in columns:
        kind = parquet.schema_arrow.field(name).type
        if name in lists:
            width += _list_width(path, parquet, name, kind)
            continue
        if pa.types.is_nested(kind):
            raise refusal(
                path,
                code="FPM-IN-008",
                wrong=f"column {name} is {str(kind)[:80]}, expected a plain value",
                todo="write it as one plain table",
            )
        width += max(kind.bit_width // 8, 1) if pa.types.is_primitive(kind) else _VIEW
    return width


def _list_width(path: Path, parquet: pq.ParquetFile, name: str, kind: pa.DataType) -> int:
    """Bytes of the mean row's list, as the footer counts its numbers. Raises InputRefused 008."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or kind.value_type not in (pa.float32(), pa.float64()):
        raise refusal(
            path,
            code="FPM-IN-008",
            wrong=f"column {name} is {str(kind)[:80]}, expected a list of float32 or float64",
            todo="write a vector as list<float>",
        )
    metadata = parquet.metadata
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    numbers: int = sum(column.num_values for column in columns if column.path_in_schema.split(".")[0] == name)
    return _VIEW + 8 * -(-numbers // max(int(metadata.num_rows), 1))


def unreadable(path: Path, part: str, error: BaseException) -> Exception:
    """The refusal of a file whose footer or data cannot be decoded, for the caller to raise.

    Raises KeyboardInterrupt where the error is what a library made of Ctrl-C: the file is not to blame.
    """
    stop_if_interrupted()
    first = (str(error).splitlines() or [""])[0][:120]
    return refusal(path, code="FPM-IN-003", wrong=f"unreadable {part} ({first})", todo="fetch the file again")


def frame_of(path: Path, columns: Sequence[str] | None = None, lists: Sequence[str] = ()) -> pl.DataFrame:
    """Columns of a Parquet file within the bounds, page checksums verified where there are any; None means all."""
    with footer(path) as parquet:
        names = parquet.schema_arrow.names if columns is None else list(columns)
        check_size(path, parquet, names, lists=lists)
        try:
            if _has_checksums(path, parquet):
                table = parquet.read(columns=names, use_threads=False)
                table.validate(full=True)
                frame = pl.DataFrame(pl.from_arrow(table))
            else:
                frame = pl.read_parquet(path, columns=names, hive_partitioning=False, glob=False)
        except UNREADABLE as error:
            raise unreadable(path, "data", error) from None
    for name, kind in frame.schema.items():
        if kind == pl.String:
            check_texts(path, frame[name], name)
    return frame.select(names)


def check_texts(path: Path, texts: pl.Series, name: str) -> None:
    """Refuse a column of text with a cell, or a sum of cells, that is too long. Raises InputRefused RES-144."""
    lengths = texts.str.len_bytes()
    longest, total = lengths.max(), lengths.sum()
    if isinstance(longest, int) and longest > LONGEST_CELL:
        raise too_large(path, f"row {lengths.arg_max()}, column {name}: a cell of {longest} bytes")
    if total > DECODED:
        raise too_large(path, f"column {name} has {int(total) >> 20} MB of text, at most {DECODED >> 20} are taken")


def _has_checksums(path: Path, parquet: pq.ParquetFile) -> bool:
    """Whether the first pages of the first or the last row group have checksums, or headers that are not understood."""
    groups = parquet.metadata.num_row_groups
    with path.open("rb") as stream:
        for number in {0, groups - 1} if groups else ():
            group = parquet.metadata.row_group(number)
            for column in range(group.num_columns):
                chunk = group.column(column)
                stream.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
                if _page_has_checksum(stream.read(24)):
                    return True
    return False


def _page_has_checksum(header: bytes) -> bool:
    """Whether a page's header (Thrift's compact protocol) has the optional field 4 after the three integers 1 to 3.

    https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, PageHeader.
    """
    at = 0
    for _ in range(3):  # type, size, compressed size: each 0x15 (next field, i32) and a number of seven bits a byte
        if at >= len(header) or header[at] != 0x15:
            return True
        at += 1
        while at < len(header) and header[at] & 0x80:
            at += 1
        at += 1
    return at >= len(header) or header[at] >> 4 == 1


def _read_parquet(path: Path, names: Mapping[str, str], lists: Sequence[str] = ()) -> pl.DataFrame:
    frame = frame_of(path, list(names.values()), lists)
    frame = frame.with_columns(pl.col(name).cast(pl.List(pl.Float32)) for name in lists)
    frame = frame.rename({original: name for name, original in names.items() if name != original})
    for name in TEXTS:
        if name in frame.columns:
            if frame[name].dtype not in (pl.String, pl.Categorical, pl.Enum):
                raise refusal(
                    path,
                    code="FPM-IN-008",
                    wrong=f"column {names[name]} is {frame[name].dtype}, expected text",
                    todo="write codes as text: 000001 is not 1",
                )
            frame = frame.with_columns(pl.col(name).cast(pl.String))
            check_texts(path, frame[name], names[name])
    if "session" in frame.columns and frame["session"].dtype == pl.String:
        frame = frame.with_columns(
            _parsed(path, frame["session"], names["session"], days(frame["session"]), NO_ORDER, 0)
        )
    return frame.select(list(names))


def entities_of(path: Path, *, moments: Sequence[str]) -> tuple[dict[str, Any], pl.DataFrame]:
    """All columns of an entity file; of a CSV the `moments` become times, whole numbers and numbers become such.

    Raises InputRefused as `columns_of` does, 032 for a moment that is none.
    """
    check_content(path)
    header = header_of(path)
    if kind_of(path) == PARQUET:
        return {}, frame_of(path)
    text = _text(path, {name: name for name in header})
    columns = []
    for name in header:
        cells = text[name].str.strip_chars()
        cells = cells.set(cells == "", None)
        if name in moments:
            columns.append(_parsed(path, cells, name, times(cells), NO_ORDER, kind="time"))
        else:
            columns.append(text[name] if name in (*TEXTS, "vintage", "stream") else _number_or_text(cells))
    return {}, pl.DataFrame(columns)


def _number_or_text(cells: pl.Series) -> pl.Series:
    for kind in (pl.Int64, pl.Float64):
        numbers = cells.cast(kind, strict=False)
        if numbers.null_count() == cells.null_count():
            return numbers
    return cells


# --- CSV ------------------------------------------------------------------------------------------------------------
def _csv_header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            text = stream.read(MOST_HEADER)
        if len(text) == MOST_HEADER and "\n" not in text:
            raise _beyond(path, f"a header of more than {MOST_HEADER} characters")
        header = next(csv.reader(io.StringIO(text)))
    except (UnicodeDecodeError, StopIteration, csv.Error):
        raise refusal(
            path, code="FPM-IN-032", wrong="header is not UTF-8 text", todo="convert the file to UTF-8"
        ) from None
    if len(header) == 1 and (others := [sign for sign in SEPARATORS if sign in header[0]]):
        raise refusal(
            path,
            code="FPM-IN-032",
            wrong=f"its columns are separated by {SEPARATORS[others[0]]}, not by commas",
            todo="write it with commas between the columns and points in the numbers",
        )
    return header


def _text(path: Path, names: Mapping[str, str], rows: int | None = None) -> pl.DataFrame:
    """The cells of a CSV file as text under our names."""
    if (size := path.stat().st_size) > DECODED:
        raise too_large(path, f"{size >> 20} MB of CSV, at most {DECODED >> 20} are taken")
    try:
        text = pl.read_csv(
            path, columns=list(names.values()), infer_schema=False, encoding="utf8", n_rows=rows, glob=False
        )
    except UNREADABLE as error:
        wrong = f"not a readable UTF-8 CSV ({(str(error).splitlines() or [''])[0][:120]})"
        if "utf" in str(error).lower():
            raise refusal(path, code="FPM-IN-032", wrong=wrong, todo="convert the file to UTF-8") from None
        raise refusal(path, code="FPM-IN-033", wrong=wrong, todo="repair the file") from None
    for name in text.columns:
        check_texts(path, text[name], name)
    return text.rename({original: name for name, original in names.items() if name != original}).select(list(names))


def _read_csv(path: Path, names: Mapping[str, str], numbers: Sequence[str], order: Order) -> pl.DataFrame:
    """CSV cells become numbers, times and days by one rule each; the first cell that does not is named."""
    text = _text(path, names)
    columns = []
    for name, original in names.items():
        cells = text[name].str.strip_chars()
        cells = cells.set(cells == "", None)
        if name in numbers:
            columns.append(_parsed(path, cells, original, cells.cast(pl.Float64, strict=False), order))
        elif name == "minute":
            columns.append(_parsed(path, cells, original, times(cells, order), order))
        elif name == "session":
            columns.append(_parsed(path, cells, original, days(cells, order), order))
        else:
            columns.append(text[name])
    return pl.DataFrame(columns)


def _parsed(
    path: Path, cells: pl.Series, original: str, parsed: pl.Series, order: Order, first: int = 2, kind: str = ""
) -> pl.Series:
    """`parsed`, where every cell was read. `first`: the number of the first row, 2 below a header."""
    wrong = (parsed.is_null() & cells.is_not_null()).arg_true()
    if not len(wrong):
        return parsed
    row, cell = wrong[0], cells[wrong[0]]
    place = f"row {row + first}, column {original}"
    kind = kind or {"minute": "time", "session": "day"}.get(cells.name, "number")
    if kind != "number" and not order.order and order_of(cells[row : row + 1]).open_cell:
        raise refusal(
            path,
            code="FPM-IN-032",
            wrong=f"{place}: {two_readings(cell, order)}",
            todo="write the year first (2018-02-01), or add a file of the same source with a day above 12",
        )
    raise refusal(
        path,
        code="FPM-IN-032",
        wrong=f"{place}: {cell[:80]!r} is not a {kind}",
        todo="write plain numbers, and times as 2025-04-28 09:31 (fpm/ingest/time_spellings.py lists the others)",
    )


def _check_number(path: Path, frame: pl.DataFrame, name: str) -> None:
    if not frame[name].dtype.is_numeric() and frame[name].null_count() < frame.height:
        raise refusal(
            path,
            code="FPM-IN-008",
            wrong=f"column {name} is {frame[name].dtype}, expected float64",
            todo="store numbers as numbers; no silent cast is made",
        )


def _beyond(path: Path, wrong: str) -> Exception:
    return refusal(path, code="FPM-RES-145", wrong=wrong, todo="write it as one plain table")
