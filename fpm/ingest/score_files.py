"""Files of scores from outside -> rows of the table `stream_scores`, a stream each or several in one file."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import UsageError
from fpm.ingest.bar_files import SYNONYMS, RawFile, read_file
from fpm.ingest.daily_files import ReferenceRows
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.stamps import sessions_of
from fpm.ingest.time_spellings import NO_ORDER, Order, times
from fpm.ingest.vendor_files import refusal
from fpm.schema import STREAM_NAME, STREAM_SCORES, STREAMS
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fpm.ingest.columns import Synonyms
    from fpm.markets import Market

NAMES: Synonyms = {
    **SYNONYMS,
    "session": (*SYNONYMS["session"], "datetime"),
    "score": ("prediction", "alpha", "signal"),
    "known_at": ("available_at", "created_at"),
}
KEYS = ("session", *STREAM_SCORES.keys)
MOMENT = pl.Datetime("us", "UTC")


def require_stream_name(name: str) -> None:
    """Raises UsageError 163 for a stream of ours, or for what is no name of one."""
    if wrong := _no_stream(name):
        raise UsageError(
            code="FPM-IN-163",
            wrong=wrong,
            effect="nothing was read",
            todo="name the stream otherwise, e.g. --stream my_scores",
        )


def read_scores(
    path: Path, market: Market, order: Order = NO_ORDER, *, now: datetime, stream: str | None = None
) -> ReferenceRows:
    """Scores of a file: row, session, symbol, stream, score, known_at (UTC, null where the file does not say).

    The stream is the row's own, else `stream`, else the file's stem. Equal rows of one key are counted once; a known_at
    without a zone is exchange-local. Symbols and whole sessions are judged by `producers.stream_scores`.
    Raises InputRefused as `bar_files.read_file` does; 163 where the file's stem is no name of a stream.
    """
    read = partial(
        read_file, path, ("symbol", "session", "score"), ("known_at", "stream"), order, ("score",), NAMES
    )  # fmt: skip
    raw = read()
    if stream is None and "stream" not in raw.frame.columns and (wrong := _no_stream(path.stem)):
        raise refusal(path, code="FPM-IN-163", wrong=wrong, todo="say --stream NAME, or add a column stream")
    rows = with_symbols(_typed(raw, market, order, stream or path.stem), market)
    sessions = sessions_of(path, rows["session"], market)
    no_session = ~pl.col("session").is_in(sessions).fill_null(False)
    alone = [
        Check(code=pl.col("symbol_code"), condition=pl.col("symbol").is_null(), wrong="{symbol_reason}"),
        Check(code="FPM-IN-135", condition=no_session, wrong="no session of the market"),
        Check(code="FPM-IN-163", condition=pl.col("own_name"), wrong="{stream} is a stream of fpm's own"),
        Check(code="FPM-IN-163", condition=pl.col("no_name"), wrong="no name of a stream"),
        Check(
            code="FPM-IN-160", condition=~pl.col("score").is_finite().fill_null(False), wrong="no score, or no number"
        ),
        Check(code="FPM-IN-164", condition=pl.col("no_moment"), wrong="known_at is no moment"),
        Check(code="FPM-IN-164", condition=pl.col("known_at") > now, wrong="known_at {known_at} is yet to come"),
    ]
    faults = first_faults(rows, alone)
    good = rows.join(faults, on="row", how="anti", maintain_order="left")
    kept, conflicts, copies = without_repeats(good, KEYS, ("score", "known_at"))
    kept = kept.select("row", *KEYS, "score", "known_at").sort(*KEYS)
    rows_of_file = ReferenceRows(
        path, STREAM_SCORES.name, raw.sha256, raw.frame.height, kept, nothing(raw), raw.synonyms, raw.ignored, read
    )
    return replace(
        rows_of_file,
        quarantined=rows_of_file.with_faults(pl.concat([faults, conflicts]).sort("row")),
        deduplicated=copies,
    )


def without_repeats(
    rows: pl.DataFrame, keys: Sequence[str], values: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Rows of one key once, the faults of those that differ in a value, and the number of equal copies left out."""
    once = rows.unique([*keys, *values], keep="first", maintain_order=True)
    twice = Check(code="FPM-IN-015", condition=pl.struct(*keys).is_duplicated(), wrong="two rows of one key differ")
    conflicts = first_faults(once, [twice])
    repeats = rows.join(once, on="row", how="anti")
    # a copy of a row that conflicts is set aside with it
    repeats_set_aside = repeats.join(once.join(conflicts, on="row"), on=list(keys), how="semi")
    kept = once.join(conflicts, on="row", how="anti", maintain_order="left")
    conflicts = pl.concat([conflicts, _same_fault(repeats_set_aside, twice)])
    return kept, conflicts, repeats.height - repeats_set_aside.height


def _same_fault(rows: pl.DataFrame, check: Check) -> pl.DataFrame:
    return rows.select("row", "session", **check.fault())


def nothing(raw: RawFile) -> pl.DataFrame:
    """No rows of a file, with the columns of those in quarantine."""
    return raw.frame.clear().with_columns(source=pl.lit(None, pl.String))


def _no_stream(name: str) -> str:
    """Why a name is none of a stream from outside; "" where it is one."""
    if name in STREAMS:
        return f"{name} is a stream of fpm's own"
    return "" if re.fullmatch(STREAM_NAME, name) else f"{name!r} is no name of a stream"


def _typed(raw: RawFile, market: Market, order: Order, stream: str) -> pl.DataFrame:
    """row, symbol, session, stream, score, known_at, and whether stream and known_at are none."""
    frame = raw.frame
    own = (
        frame["stream"].cast(pl.String)
        if "stream" in frame.columns
        else pl.Series("stream", [stream]).new_from_index(0, frame.height)
    )
    known, no_moment = known_moments(raw, market, order)
    typed = frame.select("row", "symbol", days_of(raw, market), pl.col("score").cast(pl.Float64)).with_columns(
        own.rename("stream"), known, no_moment
    )
    return typed.with_columns(
        own_name=pl.col("stream").is_in(STREAMS),
        no_name=~pl.col("stream").str.contains(STREAM_NAME).fill_null(False),
    )


def days_of(raw: RawFile, market: Market) -> pl.Series:
    """The column `session` as dates, of moments with a zone the exchange's. Raises InputRefused 008."""
    cells = raw.frame["session"]
    if isinstance(cells.dtype, pl.Datetime) and cells.dtype.time_zone:
        cells = cells.dt.convert_time_zone(market.timezone)
    if not isinstance(cells.dtype, (pl.Date, pl.Datetime)):
        raise refusal(
            raw.path,
            code="FPM-IN-008",
            wrong=f"column session is {cells.dtype}, expected a date",
            todo="store days as dates",
        )
    return cells.cast(pl.Date)


def known_moments(raw: RawFile, market: Market, order: Order) -> tuple[pl.Series, pl.Series]:
    """`known_at` in UTC, and `no_moment`: whether a cell is none."""
    frame = raw.frame
    if "known_at" not in frame.columns:
        return pl.Series("known_at", [None] * frame.height, MOMENT), pl.Series("no_moment", [False] * frame.height)
    cells = frame["known_at"]
    parsed = cells
    if cells.dtype == pl.String:
        text = cells.str.strip_chars()
        cells = text.set(text == "", None)
        parsed = times(cells, order)
    elif not isinstance(cells.dtype, pl.Datetime) and cells.null_count() < len(cells):
        raise refusal(
            raw.path,
            code="FPM-IN-008",
            wrong=f"column known_at is {cells.dtype}, expected a moment",
            todo="store moments with their zone",
        )
    moments = parsed.cast(pl.Datetime("us", getattr(parsed.dtype, "time_zone", None)))
    if getattr(moments.dtype, "time_zone", None) is None:
        moments = moments.dt.replace_time_zone(market.timezone, ambiguous="earliest", non_existent="null")
    moments = moments.dt.convert_time_zone("UTC").rename("known_at")
    return moments, (moments.is_null() & cells.is_not_null()).rename("no_moment")
