"""Bar files as vendors deliver them: Parquet or CSV -> typed columns under our names, or a refusal in words.

Nothing is guessed: a column has our name or a synonym below (reported), a number is a number.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from fpm.errors import InputRefused
from fpm.ingest.decoder import decode
from fpm.ingest.time_spellings import NO_ORDER, Order, joined
from fpm.ingest.vendor_files import CSV, check_regular, kind_of
from fpm.schema import OPTIONAL_FLOWS, PRICES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from fpm.ingest.columns import Synonyms

REQUIRED = ("symbol", "minute", *PRICES, "volume")
NUMBERS = (*PRICES, "volume", "amount", *OPTIONAL_FLOWS)
SYNONYMS: Synonyms = {
    "symbol": ("ts_code", "code", "ticker", "stock_code", "instrument", "order_book_id"),
    "minute": ("datetime", "trade_time", "bar_time", "timestamp", "ts_event"),
    "session": ("trade_date", "trading_day", "date"),
    "volume": ("vol",),
    "amount": ("money", "total_turnover", "quote_volume"),
    "trades": ("trade_count", "num_trades", "number_of_trades"),
    "buy_volume": ("taker_buy_volume", "taker_buy_base_volume"),
    "buy_amount": ("taker_buy_amount", "taker_buy_quote_volume"),
    "pre_close": ("prev_close", "preclose"),
    "index": ("index_code",),
}


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


def read_file(
    path: Path,
    required: Sequence[str] = REQUIRED,
    optional: Sequence[str] = NUMBERS,
    order: Order = NO_ORDER,
    numbers: Sequence[str] = NUMBERS,
    synonyms: Synonyms = SYNONYMS,
    lists: Sequence[str] = (),
) -> RawFile:
    """Read the `required` and the `optional` columns of one file; those among `numbers` must be numbers.

    `order`: of month and day in the delivery's CSV files (`order_in`). `lists`: columns of lists of numbers.
    Raises InputRefused: 001 empty, 002 truncated, 003 unreadable, 004 content and name differ, 005 no plain file, 006
    missing column, 007 near miss or two synonyms, 008 wrong type, 032 not UTF-8, or a number, time or day that is none,
    033 ragged, 220 a CSV of lists, RES-144, 145 and 148 beyond the limits of size.
    """
    check_regular(path)
    facts, frame = decode(
        "fpm.ingest.table_files:columns_of",
        path,
        required=list(required),
        optional=list(optional),
        numbers=numbers,
        synonyms=synonyms,
        order=astuple(order),
        lists=list(lists),
    )
    names = facts["names"]
    return RawFile(
        path,
        facts["sha256"],
        frame.with_row_index("row"),
        {name: original for name, original in names.items() if name != original},
        tuple(column for column in facts["header"] if column not in names.values()),
    )


def order_in(paths: Sequence[Path], column: str = "minute") -> Order:
    """The order of month and day in the CSV files of one delivery; open where no cell of them shows it."""
    orders = []
    for path in (path for path in paths if kind_of(path) == CSV):
        try:
            check_regular(path)
            facts, _ = decode("fpm.ingest.table_files:day_order", path, column=column, synonyms=SYNONYMS)
        except InputRefused:
            continue  # reading it for its rows says why
        order, open_cell, cells = facts["order"]
        orders.append(Order(order, open_cell, tuple(cells)))
    return joined(orders)
