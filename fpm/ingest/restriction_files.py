"""Lists of what may not be bought, traded or held -> rows of the table `restrictions`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused
from fpm.ingest.bar_files import read_file
from fpm.ingest.cells import day_cells, moment_cells, texts
from fpm.ingest.daily_files import ReferenceRows
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.schema import RESTRICTIONS
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.ingest.bar_files import RawFile
    from fpm.markets import Market

KINDS = ("exclude", "no_buy", "frozen")
EVER = pl.date(9999, 12, 31)


def read_restrictions(path: Path, market: Market, order: Order = NO_ORDER) -> ReferenceRows:
    """The list of a file: symbol, from, to (empty: still), reason; perhaps index (empty: every one), kind, known_at.

    `kind`: `exclude` (the default) sells what is held and buys nothing, `no_buy` buys nothing, `frozen` trades nothing.
    A file is one snapshot of the whole list. `frame`: row, symbol, index, first, last, kind, reason, known_at. A list
    with one bad row is refused whole: without that row a name could be traded that may not be.
    Raises InputRefused as `bar_files.read_file` does, and for a row: 170 its days, 171 its kind, 172 no reason, 173 two
    rows of one symbol that share a day and an index, or the symbol's own code.
    """
    columns = ("symbol", "from", "to", "reason"), ("index", "kind", "known_at")
    read = partial(read_file, path, *columns, order)
    raw = read()
    rows = with_symbols(_typed(raw, order), market)
    wrong = [
        Check(code=pl.col("symbol_code"), condition=pl.col("symbol").is_null(), wrong="{symbol_reason}"),
        Check(code="FPM-IN-170", condition=pl.col("first").is_null(), wrong="{symbol} has no first day"),
        Check(
            code="FPM-IN-170",
            condition=pl.col("first") > pl.col("last"),
            wrong="{symbol}: from {first} is after to {last}",
        ),
        Check(
            code="FPM-IN-171",
            condition=~pl.col("kind").is_in(KINDS),
            wrong="{symbol}: {kind} is not exclude, no_buy or frozen",
        ),
        Check(code="FPM-IN-172", condition=pl.col("reason").is_null(), wrong="{symbol} has no reason"),
    ]
    faults = first_faults(rows, wrong)
    alone = rows.join(faults, on="row", how="anti", maintain_order="left")
    overlap = Check(
        code="FPM-IN-173",
        condition=pl.col("row").is_in(_overlaps(alone).implode()),
        wrong="{symbol} has another row for some of the days from {first}",
    )
    faults = pl.concat([faults, first_faults(alone, [overlap])]).sort("row")
    if faults.height:
        raise _refused(path, faults)
    good = rows.select("row", *RESTRICTIONS.columns, "known_at").sort(*RESTRICTIONS.keys)
    return ReferenceRows(
        path, RESTRICTIONS.name, raw.sha256, raw.frame.height, good, _no_faults(raw), raw.synonyms, raw.ignored, read
    )


def _refused(path: Path, faults: pl.DataFrame) -> InputRefused:
    row, code, reason = faults.select("row", "reason_code", "reason").row(0)
    more = f", and {faults.height - 1} more rows" if faults.height > 1 else ""
    return InputRefused(
        code=code,
        wrong=f"{path.name}: row {row}: {reason}{more}",
        effect="the list is refused whole, the one before stays in force",
        todo="give every row a symbol, from, to (or nothing), a reason, a known kind, and no day twice",
    )


def _no_faults(raw: RawFile) -> pl.DataFrame:
    text = {"reason_code": pl.String, "reason": pl.String, "source": pl.String}
    return raw.frame.clear().with_columns(
        pl.lit(None, pl.Date).alias("session"), *(pl.lit(None, kind).alias(name) for name, kind in text.items())
    )


def _typed(raw: RawFile, order: Order) -> pl.DataFrame:
    frame = raw.frame
    nothing = pl.Series([None] * frame.height, dtype=pl.String)
    index, kind = (texts(frame[name]) if name in frame.columns else nothing for name in ("index", "kind"))
    return frame.select("row", "symbol").with_columns(
        pl.lit(None, pl.Date).alias("session"),
        day_cells(raw, "from", order).alias("first"),
        day_cells(raw, "to", order).alias("last"),
        index.fill_null("").alias("index"),
        kind.str.to_lowercase().fill_null(KINDS[0]).alias("kind"),
        texts(frame["reason"]),
        moment_cells(raw, "known_at"),
    )


def _overlaps(rows: pl.DataFrame) -> pl.Series:
    """Numbers of the rows that share symbol, index and a day with another one; a row without index is of every one."""
    spans = rows.select("row", "symbol", "index", "first", last=pl.col("last").fill_null(EVER))
    pairs = spans.join(spans, on="symbol", suffix="_other").filter(
        pl.col("row") != pl.col("row_other"),
        (pl.col("index") == pl.col("index_other")) | (pl.col("index") == "") | (pl.col("index_other") == ""),
        pl.col("first") <= pl.col("last_other"),
        pl.col("first_other") <= pl.col("last"),
    )
    return pairs["row"].unique()
