"""Files for other programs: any table, or a point-in-time frame, as Parquet; written whole or not at all."""

from __future__ import annotations

import os
from datetime import date, datetime
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused, TryLater, UsageError
from fpm.ingest.stamps import beyond_years
from fpm.reference_prices import with_reference_prices
from fpm.schema import DAILY_BARS, SCORES
from fpm.store.frames.entities import read_entities
from fpm.store.lake.files import table_of

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

SILENT = 250  # sessions in which a name's last close may lie


def table(name: str, span: tuple[date, date] | None, out: Path, stores: Stores) -> int:
    """Write the latest version of every row of a table (columns, session, both clocks) and return the row count.

    `span`: first and last session, or None for all. Tables kept by vintage are written with every vintage. Daily bars
    have a reference price (`pre_close`) in every session but a symbol's first, also where the vendor delivers none.
    Raises UsageError for an unknown table or one with nothing published in that span.
    """
    declared = table_of(name)
    check_writable(out)
    sessions = stores.sessions(name)
    first, last = span or (date.min, date.max)
    inside = [session for session in sessions if first <= session <= last]
    if not inside:
        content = f"{sessions[0]} to {sessions[-1]}" if sessions else "nothing yet"
        raise UsageError(
            code="FPM-CFG-011",
            wrong=f"table {name} has no session from {first} to {last}",
            effect="no file was written",
            todo=f"it holds {content}",
        )
    if declared.by_vintage:
        parts = [stores.read(name, inside[0], inside[-1], vintage=vintage) for vintage in stores.lake.vintages(name)]
        rows = pl.concat([part for part in parts if part.height], how="vertical")
    else:
        rows = stores.read(name, inside[0], inside[-1])
    if name == DAILY_BARS.name:
        rows = with_reference_prices(rows, _bars_before(inside[0], stores))
    _write(rows.sort("session", *declared.keys), out)
    return rows.height


def _bars_before(session: date, stores: Stores) -> pl.DataFrame | None:
    """Closes of the sessions before one, as far back as a halted name may be silent; None where there are none."""
    days = [day for day in stores.sessions(DAILY_BARS.name) if day < session][-SILENT:]
    return stores.read(DAILY_BARS.name, days[0], days[-1], columns=["symbol", "close", "adj_factor"]) if days else None


def frame(
    service_or_view: str,
    entities: Path,
    known_at: datetime | None,
    out: Path,
    stores: Stores,
    progress: Progress | None = None,
) -> int:
    """Write the point-in-time frame of an entity file through Feast and return its row count.

    Rows keep the order of the entity file. They are written in blocks: memory holds the entities and a few sessions.
    `progress` is called with the rows written, the rows in all and the file's name.
    The entity file has `symbol` and `event_timestamp` (with a zone) or `session`; for fingerprints `vintage` (default:
    the one in force at each row's moment), for scores `stream` (default: dual), for weights `index`.
    Raises UsageError for a path that cannot be read or written and for an unknown name, InputRefused for entities that
    would be misread.
    """
    from fpm.store.frames import files
    from fpm.store.retrieval import features

    check_writable(out)
    rows = features.with_moments(read_entities(entities), stores.settings)
    rows = with_vintage(_checked(rows, entities), stores)
    _require_known_symbols(rows, stores)
    if service_or_view == SCORES.name and "stream" not in rows.columns:
        rows = rows.with_columns(stream=pl.lit("dual"))
    entity_rows, job = features.retrieval(stores.settings, service_or_view, rows, known_at)
    total = entity_rows.height
    files.write(job.blocks(), total, out, (lambda done: progress(done, total, out.name)) if progress else None)
    return total


def _require_known_symbols(entities: pl.DataFrame, stores: Stores) -> None:
    """Refuse a symbol that no session ever had: it is misspelt, not without values. Raises InputRefused."""
    symbols = set(entities["symbol"].drop_nulls().unique().to_list())
    unknown = set(symbols)
    for session in reversed(stores.sessions("daily_bars")):  # the newest has nearly all
        if not unknown:
            return
        unknown -= set(stores.read("daily_bars", session, columns=["symbol"])["symbol"].to_list())
    if unknown:
        first = ", ".join(sorted(unknown)[:5]) + (", …" if len(unknown) > 5 else "")
        raise InputRefused(
            code="FPM-FRAME-003",
            wrong=f"{len(unknown)} of {len(symbols)} symbols were never in the store: {first}",
            effect="nothing was written",
            todo="write them as `fpm export daily_bars` does, code.exchange, or drop them",
        )


def with_vintage(entities: pl.DataFrame, stores: Stores) -> pl.DataFrame:
    """`entities` with a `vintage` column: the encoder in force on the local date of every row, null where none was."""
    if "vintage" in entities.columns:
        return entities
    days = entities["event_timestamp"].dt.convert_time_zone(stores.market.timezone).dt.date()
    in_force = {day: _vintage_in_force(day, stores) for day in days.unique().to_list()}
    vintages = days.replace_strict(list(in_force), pl.Series(list(in_force.values()), dtype=pl.String))
    return entities.with_columns(vintages.alias("vintage"))


def _vintage_in_force(day: date, stores: Stores) -> str | None:
    """None before the first vintage: those rows are not dropped, they get null fingerprints."""
    try:
        return stores.models.record_in_force("encoder", day).id
    except TryLater:
        return None


def _checked(rows: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The rows of an entity file with moments in UTC. Raises InputRefused for what would be misread."""
    missing = {"symbol", "event_timestamp"} - set(rows.columns)
    if missing:
        raise InputRefused(
            code="FPM-FRAME-001",
            wrong=f"{path} lacks {', '.join(sorted(missing))}; found: {', '.join(rows.columns)}",
            effect="nothing was written",
            todo="add the column(s); event_timestamp carries its zone, a session stands for its close",
        )
    kind = rows.schema["event_timestamp"]
    if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
        raise InputRefused(
            code="FPM-FRAME-002",
            wrong=f"event_timestamp of {path} is {kind}, a moment without a zone",
            effect="nothing was written",
            todo="write moments with their zone, e.g. 2026-01-05T15:00:00+08:00",
        )
    _check_cells(rows, path)
    return rows.with_columns(pl.col("event_timestamp").dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC")))


def _check_cells(rows: pl.DataFrame, path: Path) -> None:
    """Refuse rows without a moment, symbols that are no text, moments beyond the calendar: by row.

    Raises InputRefused.
    """
    symbol = rows.schema["symbol"]
    if symbol not in (pl.String, pl.Categorical, pl.Enum):
        example = rows["symbol"][0] if rows.height else "none"
        raise InputRefused(
            code="FPM-FRAME-004",
            wrong=f"symbol of {path} is {symbol}, not text; row 0: {example}",
            effect="nothing was written",
            todo="write symbols as text, code.exchange: 000001 is not 1",
        )
    empty = rows["event_timestamp"].is_null().arg_true()
    if len(empty):
        shown = ", ".join(str(row) for row in empty[:5]) + (", …" if len(empty) > 5 else "")
        raise InputRefused(
            code="FPM-FRAME-005",
            wrong=f"{len(empty)} of {rows.height} rows of {path} have no event_timestamp: row {shown}",
            effect="nothing was written",
            todo="fill them in, or drop these rows",
        )
    beyond = beyond_years(rows["event_timestamp"]).arg_true()
    if len(beyond):
        year = rows["event_timestamp"].dt.year()[beyond[0]]
        raise InputRefused(
            code="FPM-FRAME-006",
            wrong=f"event_timestamp of {path}, row {beyond[0]}, is of the year {year}",
            effect="nothing was written",
            todo="check the unit of the time stamps",
        )


def _write(rows: pl.DataFrame, out: Path) -> None:
    """A reader of `out` sees the old file or the new one."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        rows.write_parquet(partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def check_writable(out: Path) -> None:
    """Raises UsageError where `out` is no plain file, or its folder is none that may be written to."""
    if not out.parent.is_dir():
        fault = f"there is no folder {out.parent}"
    elif out.is_symlink():
        fault = f"it is a link to {out.resolve()}: name that file"
    elif out.exists() and not out.is_file():
        fault = "it is a folder, a device or a pipe, no file"
    elif not os.access(out.parent, os.W_OK):
        fault = f"{out.parent} may not be written to"
    else:
        return
    raise UsageError(
        code="FPM-CFG-017",
        wrong=f"cannot write {out}: {fault}",
        effect="nothing was written",
        todo="give a file in an existing folder",
    )
