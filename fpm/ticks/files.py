"""Level-2 files as vendors deliver them: their stream, columns and batches of rows, or a refusal in words.

The name of a file, or of its folder (`orders/2023-02-01.parquet`), begins with its stream: `trades`, `orders`, `ticks`
(Shanghai's merged stream), `snapshots`, `totals`. Files are Parquet, read a batch at a time: size costs no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fpm.errors import UsageError
from fpm.ingest.columns import Synonyms, resolve
from fpm.ingest.decoder import DECODED, decode, parts, too_large
from fpm.ingest.table_files import UNREADABLE, check_size, check_texts, footer, header_of, row_width, unreadable
from fpm.ingest.vendor_files import PARQUET, check_content, check_regular, kind_of, refusal
from fpm.ticks.depth import synonyms
from fpm.ticks.tape import MERGED, ORDERS, TRADES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SNAPSHOTS, TOTALS = "snapshots", "totals"
BATCH = 1 << 20  # rows
MOST_RATIO = (
    200  # bytes decoded over bytes of the file: times and numbers differ in every record, real ones have 3 to 6
)
WIDE = 8  # a snapshot's row has the columns of this many records

SYNONYMS: Synonyms = {
    "symbol": ("SecurityID", "ts_code", "code", "ticker"),
    "time": ("datetime", "timestamp", "TransactTime", "TradeTime", "OrderTime", "TickTime"),
    "price": ("TradePrice", "LastPx", "OrderPrice", "Price"),
    "volume": ("TradeQty", "LastQty", "OrderQty", "Balance", "Qty", "qty"),
    "side": ("TradeBSFlag", "TickBSFlag", "OrderBSFlag", "Side", "bs_flag"),
    "exec_type": ("ExecType",),
    "order_type": ("OrderType", "OrdType"),
    "record_type": ("Type", "TickType"),
    "buy_order": ("TradeBuyNo", "BidApplSeqNum", "BuyOrderNO"),
    "sell_order": ("TradeSellNo", "OfferApplSeqNum", "SellOrderNO"),
    "order_no": ("OrderNO", "OrderNo"),
    "seq": ("ApplSeqNum", "BizIndex", "TradeIndex", "OrderIndex"),
    "channel": ("ChannelNo", "TradeChannel", "TradeChan", "OrderChannel", "Channel"),
    "session": ("trade_date", "date"),
    "amount": ("turnover", "Turnover"),
    "trades": ("trade_count", "TradNumber"),
    "phase": ("TradingPhaseCode", "InstrumentStatus"),
    **synonyms(),
}
RANKED = ("seq",)  # of BizIndex and TradeIndex the first: it orders trades among orders
_KEYS = ("symbol", "time", "price", "volume", "seq")
REQUIRED = {
    TRADES: (*_KEYS, "buy_order", "sell_order"),
    ORDERS: (*_KEYS, "side", "order_no"),
    MERGED: (*_KEYS, "record_type", "side", "buy_order", "sell_order"),
    SNAPSHOTS: ("symbol", "time", "cum_volume", "cum_amount", "cum_trades"),
    TOTALS: ("symbol", "session", "volume", "amount", "trades"),
}
BOOK = tuple(synonyms())
OPTIONAL = {
    TRADES: ("side", "exec_type", "channel"),
    ORDERS: ("order_type", "channel"),
    MERGED: ("channel",),
    SNAPSHOTS: ("phase", *BOOK),
}
# Words of one exchange's own files: a file with both kinds of one column is two files.
OWN_WORDS = {
    "Shanghai": ("TradeBuyNo", "TradeSellNo", "TradeBSFlag", "TickBSFlag", "BizIndex", "TradeIndex", "OrderIndex"),
    "Shenzhen": ("BidApplSeqNum", "OfferApplSeqNum", "ExecType", "ApplSeqNum"),
}
NUMBERS = (*BOOK, "price", "volume", "cum_volume", "cum_amount", "cum_trades", "amount", "trades")
WHOLE = ("seq", "channel", "buy_order", "sell_order", "order_no")


@dataclass(frozen=True)
class TickFile:
    """One file by its footer: `names` is our column name -> the file's; `ignored`: its other columns."""

    path: Path
    stream: str
    rows: int
    names: dict[str, str]
    ignored: tuple[str, ...]

    @property
    def synonyms(self) -> dict[str, str]:
        """Our name -> the file's, where they differ."""
        return {name: original for name, original in self.names.items() if name != original}


def stream_of(path: Path) -> str | None:
    """The stream that begins a file's name, or its folder's name where a day or a part begins the file's; else None.

    >>> from pathlib import Path
    >>> stream_of(Path("orders/2023-02-01.parquet"))
    'orders'
    """
    folder = (path.parent.name,) if path.stem[:1].isdigit() or path.stem.startswith("part") else ()
    for name in (path.stem, *folder):
        for stream in REQUIRED:
            if name == stream or name.startswith((f"{stream}-", f"{stream}_", f"{stream}.")):
                return stream
    return None


def find(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Parquet and CSV files below `paths`: those of a stream, and the others.

    Raises UsageError for a path that does not exist, or where no file at all holds trades.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(
                code="FPM-CFG-101",
                wrong=f"{path} does not exist",
                effect="nothing was read",
                todo="name a folder of ticks",
            )
        inside = path.rglob("*") if path.is_dir() else [path]
        files += [file for file in inside if kind_of(file) and not file.name.startswith(".") and not file.is_dir()]
    files = sorted(set(files))
    streams = [file for file in files if stream_of(file)]
    if not any(stream_of(file) in (TRADES, MERGED) for file in streams):
        raise UsageError(
            code="FPM-CFG-102",
            wrong=f"no file named {TRADES}* or {MERGED}* in {', '.join(map(str, paths))}",
            effect="nothing was read",
            todo=f"name the files by their stream: {list(REQUIRED)}",
        )
    return streams, [file for file in files if not stream_of(file)]


def open_file(path: Path) -> TickFile:
    """The stream, size and columns of a file, from its footer alone.

    Raises InputRefused: 001 empty, 002 truncated, 003 unreadable, 004 not Parquet, 006 missing column, 007 two columns
    of one meaning or a near miss, 008 wrong type, 146 prices as integers, RES-145 a footer beyond bounds.
    """
    check_regular(path)
    facts, _ = decode("fpm.ticks.files:footer_of", path)
    return TickFile(path, facts["stream"], facts["rows"], facts["names"], tuple(facts["ignored"]))


def footer_of(path: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    """The facts of `open_file` (stream, rows, names, ignored), read in the child; no frame."""
    check_content(path)
    if kind_of(path) != PARQUET:
        raise refusal(
            path, code="FPM-IN-004", wrong="ticks as CSV", todo="write them as Parquet: types and speed are needed"
        )
    header = header_of(path)
    with footer(path) as parquet:
        schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
        width = row_width(path, parquet, [name for name in header if not pa.types.is_nested(schema.field(name).type)])
    if not rows:
        raise refusal(path, code="FPM-IN-001", wrong="file has no rows", todo="ask the vendor for the file again")
    stream = stream_of(path)
    if stream is None:
        raise refusal(
            path,
            code="FPM-IN-006",
            wrong="its name says no stream",
            todo=f"begin it with one of {', '.join(REQUIRED)}",
        )
    _check_schemas(path, header)
    names = resolve(path, header, REQUIRED[stream], OPTIONAL.get(stream, ()), SYNONYMS, RANKED)
    _check_types(path, schema, names)
    _check_ratio(path, rows * width)
    ignored = [name for name in header if name not in names.values()]
    return {"stream": stream, "rows": rows, "names": names, "ignored": ignored}, pl.DataFrame()


def _check_schemas(path: Path, header: Sequence[str]) -> None:
    """Refuse a file (147) with one column under the names of both exchanges: their records, one below the other."""
    words = {exchange: [word for word in own if word in header] for exchange, own in OWN_WORDS.items()}
    meanings = [
        {name for name, others in SYNONYMS.items() if set(own) & set(others)} - set(RANKED) for own in words.values()
    ]
    if meanings[0] & meanings[1]:
        both = " and ".join(f"{exchange} ({', '.join(own)})" for exchange, own in words.items())
        raise refusal(
            path,
            code="FPM-IN-147",
            wrong=f"columns of {both}: two schemas in one file",
            todo="give each exchange's records as files of their own",
        )


def _check_ratio(path: Path, size: int) -> None:
    """Refuse a file (RES-144) that decodes to far more than real records do; a real one may be of any size."""
    if size > DECODED and size > MOST_RATIO * path.stat().st_size:
        raise too_large(
            path, f"{path.stat().st_size >> 10} KB that decode to {size >> 20} MB, {MOST_RATIO} times as much at most"
        )


def _check_types(path: Path, schema: pa.Schema, names: dict[str, str]) -> None:
    for name, original in names.items():
        kind = schema.field(original).type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if name == "price" and pa.types.is_integer(kind):
            raise refusal(
                path,
                code="FPM-IN-146",
                wrong=f"column {original} is {kind}: prices look scaled, by 100, 1,000 or 10,000",
                todo="give prices in currency, as decimal numbers",
            )
        fits = (
            (name not in NUMBERS or number)
            and (name not in WHOLE or pa.types.is_integer(kind))
            and (name != "time" or pa.types.is_timestamp(kind))
            and (name != "session" or pa.types.is_date(kind))
            and (name != "symbol" or not number)
        )
        if not fits:
            expected = "a number" if name in NUMBERS else "integer" if name in WHOLE else _EXPECTED[name]
            raise refusal(
                path,
                code="FPM-IN-008",
                wrong=f"column {original} is {kind}, expected {expected}",
                todo="store numbers as numbers, times as timestamps, codes as text",
            )


_EXPECTED = {"time": "timestamp", "session": "date", "symbol": "text"}


def batches(file: TickFile) -> Iterator[pl.DataFrame]:
    """The file's columns under our names, with `row` from 0, a batch at a time.

    Raises InputRefused 003 where the data cannot be decoded.
    """
    names, first = {original: name for name, original in file.names.items()}, 0
    rows = BATCH // WIDE if file.stream == SNAPSHOTS else BATCH
    for _, frame in parts("fpm.ticks.files:batches_of", file.path, columns=list(names), rows=rows):
        yield frame.rename(names).with_columns(pl.int_range(first, first + pl.len(), dtype=pl.UInt32).alias("row"))
        first += frame.height


def batches_of(path: Path, *, columns: Sequence[str], rows: int) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    """Columns of a file, `rows` at a time, page checksums verified, decoded in the child; no facts."""
    with footer(path) as parquet:
        check_size(path, parquet, columns, DECODED * max(1, parquet.metadata.num_rows // rows))
        try:
            for batch in parquet.iter_batches(rows, columns=list(columns), use_threads=False):
                batch.validate(full=True)  # texts that are no UTF-8 are refused here
                frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
                for name in (name for name, kind in frame.schema.items() if kind == pl.String):
                    check_texts(path, frame[name], name)
                yield {}, frame
        except UNREADABLE as error:
            raise unreadable(path, "data", error) from None


def original_rows(file: TickFile, faults: pl.DataFrame) -> pl.DataFrame:
    """The rows of `faults` (row, session, reason_code, reason) as the vendor wrote them, with these and `source`."""
    by_row = faults.with_columns(pl.col("row").cast(pl.UInt32))
    rows = [batch.join(by_row, on="row", how="inner", maintain_order="left") for batch in batches(file)]
    return pl.concat(rows).drop("session_right", strict=False).with_columns(pl.lit(file.path.name).alias("source"))
