"""Files of symbols as vendors deliver them -> rows of the table `symbols`: which company used a symbol, and when."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.bar_files import RawFile, read_file
from fpm.ingest.cells import day_cells, texts
from fpm.ingest.daily_files import ReferenceRows
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.stamps import sessions_of
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.schema import SYMBOLS
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.markets import Market

EVER = pl.date(9999, 12, 31)


def read_symbols(path: Path, market: Market, order: Order = NO_ORDER) -> ReferenceRows:
    """The symbols of a file: symbol, first and last day of its use (empty: still), identity of the company.

    With a column `session` every session is a snapshot of the whole table; without one the file is one snapshot, and
    `session` is null. No symbol means two companies on a day, and no company has two symbols: both sides go to
    quarantine.
    Raises InputRefused as `bar_files.read_file` does.
    """
    read = partial(read_file, path, ("symbol", "first", "last", "identity"), ("session",), order)
    raw = read()
    rows = with_symbols(_typed(raw, order), market)
    dated = rows["session"].null_count() < rows.height
    in_calendar = pl.col("session").is_in(sessions_of(path, rows["session"], market)) if dated else pl.lit(True)
    wrong = [
        Check(code=pl.col("symbol_code"), condition=pl.col("symbol").is_null(), wrong="{symbol_reason}"),
        Check(code="FPM-IN-135", condition=~in_calendar.fill_null(False), wrong="no session of the market"),
        Check(code="FPM-IN-152", condition=pl.col("first").is_null(), wrong="no first day"),
        Check(code="FPM-IN-152", condition=pl.col("first") > pl.col("last"), wrong="{first} is after {last}"),
        Check(code="FPM-IN-153", condition=pl.col("identity").is_null(), wrong="no identity"),
    ]
    faults = first_faults(rows, wrong)
    alone = rows.join(faults, on="row", how="anti", maintain_order="left")
    together = [
        Check(
            code="FPM-IN-154",
            condition=_overlaps("session", "symbol"),
            wrong="{symbol} has another row for some of these days: last is the last day of its use",
        ),
        Check(
            code="FPM-IN-155",
            condition=_overlaps("session", "identity"),
            wrong="{identity} has two symbols at once: last is the last day of use, not the first of the next",
        ),
    ]
    faults = pl.concat([faults, first_faults(alone, together)]).sort("row")
    good = alone.join(faults, on="row", how="anti", maintain_order="left")
    good = good.select("row", "session", *SYMBOLS.columns).sort("session", *SYMBOLS.keys)
    bad = raw.frame.drop("session", strict=False).join(faults, on="row", how="inner", maintain_order="left")
    bad = bad.with_columns(pl.lit(path.name).alias("source"))
    return ReferenceRows(
        path, SYMBOLS.name, raw.sha256, raw.frame.height, good, bad, raw.synonyms, raw.ignored, read
    )  # fmt: skip


def _overlaps(*group: str) -> pl.Expr:
    """Whether a row shares a day with another one of its group."""
    last = pl.col("last").fill_null(EVER)
    latest_before = last.cum_max().shift().over(*group, order_by="first")
    next_first = pl.col("first").shift(-1).over(*group, order_by="first")
    return (pl.col("first") <= latest_before) | (last >= next_first)


def _typed(raw: RawFile, order: Order) -> pl.DataFrame:
    """row, session, symbol, first, last and identity typed. Raises InputRefused 008 for a cell that is no day."""
    days = (day_cells(raw, name, order) for name in ("session", "first", "last"))
    return raw.frame.select("row", "symbol").with_columns(*days, texts(raw.frame["identity"]))
