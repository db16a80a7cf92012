"""Files of a custodian -> rows of the table `custody`: shares and cash of an index's book at a close.

A book with one bad row is no book: it is refused whole, and the book before stays.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.bar_files import RawFile, read_file
from fpm.ingest.cells import moment_cells, number_cells, texts
from fpm.ingest.daily_files import ReferenceRows
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.stamps import sessions_of
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.ingest.vendor_files import refusal
from fpm.schema import CASH, CUSTODY
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fpm.markets import Market

BOOK = ("session", "index")
MOST_SHARES = 1e15  # beyond it a float64 holds no single shares
WHOLE = pl.col("shares").is_between(0, MOST_SHARES) & (pl.col("shares") == pl.col("shares").floor())


def read_custody(path: Path, market: Market, order: Order = NO_ORDER) -> ReferenceRows:
    """The books of a file: index, session, symbol, shares; perhaps cash, known_at (with an offset).

    Cash is a row of symbol `CASH` (its amount in `shares` or in `cash`) or a column `cash`, the same in a book's rows.
    `frame`: row, session, index, symbol, shares, cash, known_at; each book with one row `CASH`.
    Raises InputRefused as `bar_files.read_file` does; also 029 no session, CAL-001 the calendar does not reach.
    """
    read = partial(read_file, path, ("index", "session", "symbol", "shares"), ("cash", "known_at"), order)
    raw = read()
    rows = _with_cash(with_symbols(_typed(raw), market))
    if rows["session"].null_count() == rows.height:
        raise refusal(path, code="FPM-IN-029", wrong="no row has a session", todo="add sessions as dates")
    faults = broken_books(rows, first_faults(rows, _checks(sessions_of(path, rows["session"], market))))
    good = _one_cash_row(rows.join(faults, on="row", how="anti", maintain_order="left"))
    good = good.select("row", *BOOK, "symbol", pl.col("shares").cast(pl.Int64), "cash", "known_at")
    bad = raw.frame.drop("session").join(faults, on="row", how="inner", maintain_order="left")
    bad = bad.with_columns(pl.lit(path.name).alias("source"))
    return ReferenceRows(
        path, CUSTODY.name, raw.sha256, raw.frame.height, good, bad, raw.synonyms, raw.ignored, read
    )  # fmt: skip


def broken_books(rows: pl.DataFrame, faults: pl.DataFrame) -> pl.DataFrame:
    """`faults` (row, session, reason_code, reason), and the other rows of every book that has one of them."""
    books = rows.join(faults.select("row"), on="row", how="semi").select(*BOOK).unique()
    rest = rows.join(books, on=BOOK, how="semi", nulls_equal=True).join(faults, on="row", how="anti")
    others = first_faults(
        rest, [Check(code="FPM-IN-179", condition=pl.lit(True), wrong="another row of this book is refused")]
    )
    return pl.concat([faults, others]).unique("row", keep="first", maintain_order=True).sort("row")


def _typed(raw: RawFile) -> pl.DataFrame:
    frame = raw.frame
    days = frame["session"].cast(pl.Date) if frame["session"].dtype.is_temporal() else None
    if days is None:
        raise refusal(
            raw.path,
            code="FPM-IN-008",
            wrong=f"column session is {frame['session'].dtype}, expected a date",
            todo="store days as dates",
        )
    numbers = (number_cells(raw, name) for name in ("shares", "cash"))
    symbol = pl.Series("symbol", texts(frame["symbol"]))
    return frame.select("row").with_columns(
        days, texts(frame["index"]), symbol, *numbers, moment_cells(raw, "known_at")
    )  # fmt: skip


def _with_cash(rows: pl.DataFrame) -> pl.DataFrame:
    """`CASH` as a symbol of its own, with its amount in `cash` and no shares."""
    is_cash = pl.col("spelling").str.to_uppercase() == CASH
    amount = pl.when(is_cash).then(pl.coalesce("cash", "shares")).otherwise("cash")
    return rows.with_columns(is_cash.fill_null(False).alias("is_cash")).with_columns(
        pl.when("is_cash").then(pl.lit(CASH)).otherwise("symbol").alias("symbol"),
        pl.when("is_cash").then(0.0).otherwise("shares").alias("shares"),
        amount.alias("cash"),
        amount.drop_nulls().n_unique().over(*BOOK).alias("amounts"),
    )


def _checks(sessions: Sequence[object]) -> list[Check]:
    twice = pl.struct(*BOOK, "symbol").is_duplicated()
    return [
        Check(code="FPM-IN-178", condition=pl.col("index").is_null(), wrong="the row has no index"),
        Check(code=pl.col("symbol_code"), condition=pl.col("symbol").is_null(), wrong="{symbol_reason}"),
        Check(
            code="FPM-IN-135",
            condition=~pl.col("session").is_in(sessions).fill_null(False),
            wrong="{session} is no session of the market",
        ),
        Check(
            code="FPM-IN-174",
            condition=~WHOLE.fill_null(False),
            wrong="{symbol} has {shares} shares, no whole number of at least 0",
        ),
        Check(
            code="FPM-IN-175",
            condition=(pl.col("cash") < 0) | pl.col("cash").is_infinite(),
            wrong="cash is {cash}",
        ),
        Check(code="FPM-IN-175", condition=pl.col("amounts") != 1, wrong="the book has {amounts} amounts of cash"),
        Check(code="FPM-IN-176", condition=twice, wrong="{symbol} is there twice: two books of one index and session"),
    ]


def _one_cash_row(rows: pl.DataFrame) -> pl.DataFrame:
    """Every book with one row `CASH`, whose number is that of the book's first row where the file has none."""
    books = rows.group_by(*BOOK, maintain_order=True).agg(
        pl.coalesce(pl.col("row").filter("is_cash").first(), pl.col("row").first()),
        pl.col("cash").drop_nulls().first(),
        pl.col("known_at").max(),
    )
    cash = books.with_columns(symbol=pl.lit(CASH), shares=pl.lit(0.0))
    shares = rows.filter(~pl.col("is_cash")).with_columns(cash=pl.lit(None, pl.Float64))
    columns = ["row", *BOOK, "symbol", "shares", "cash", "known_at"]
    return pl.concat([cash.select(columns), shares.select(columns)]).sort(*BOOK, "symbol")
