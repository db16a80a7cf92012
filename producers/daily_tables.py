"""The vendor's daily tables beside the minutes: units by comparison, and what disagrees into quarantine.

Both sides may come with the delivery or stand in the lake; only rows of the delivery are set aside.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.agreement import CODE, KEYS, day_totals, disagreements, minute_faults, scaled, table_scales
from fpm.store.lake.quarantine import keep_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fpm.ingest.daily_files import ReferenceRows
    from fpm.ingest.ingest_report import IngestReport
    from fpm.ingest.vendor_bars import Combined, Parsed
    from fpm.store.ledger.stores import Stores

TABLE = "daily_bars"
MINUTE_COLUMNS = ("session", "symbol", "slot", "high", "low", "close", "volume", "amount")
NO_DIFFERENCE = pl.DataFrame(schema={"session": pl.Date, "symbol": pl.String, "reason": pl.String})
PLACE = ("source", "row")  # file and row that a daily row comes from


@dataclass
class DailyTables:
    """The daily files of one delivery.

    `rows`: session -> rows as they will be stored, with `PLACE`. `scales`: file -> factors of its columns, once the
    minutes showed them. `faults`: place, session, reason_code and reason of the rows that disagree.
    """

    files: Sequence[ReferenceRows]
    rows: dict[date, pl.DataFrame]
    scales: dict[int, dict[str, float]] = field(default_factory=dict)
    faults: list[pl.DataFrame] = field(default_factory=list)

    @property
    def disagreeing(self) -> set[Path]:
        """Files with a row that disagrees."""
        return {self.files[number].path for part in self.faults for number in part["source"].unique().to_list()}


def by_session(files: Sequence[ReferenceRows]) -> dict[date, pl.DataFrame]:
    """The rows of all files by session, with `PLACE`."""
    if not files:
        return {}
    frames = [file.frame.with_columns(pl.lit(number, pl.UInt32).alias("source")) for number, file in enumerate(files)]
    rows = pl.concat(frames, how="diagonal")
    parts = rows.partition_by("session", as_dict=True, include_key=False, maintain_order=True)
    return {session: part for (session,), part in parts.items()}


def symbols_of(rows: Mapping[date, pl.DataFrame]) -> dict[date, frozenset[str]]:
    """The symbols of every session."""
    return {session: frozenset(part["symbol"].to_list()) for session, part in rows.items()}


def agreed(combined: Combined, tables: DailyTables, report: IngestReport, stores: Stores) -> Combined:
    """The bars of a batch without the symbol-sessions that disagree with the daily table, whose rows go as well."""
    differing = disagreeing(combined.frame, tables, report, stores)
    if differing.is_empty():
        return combined
    faults = minute_faults(combined.frame, differing)
    frame = combined.frame.join(differing, on=KEYS, how="anti", maintain_order="left")
    return replace(combined, frame=frame, quarantined=pl.concat([combined.quarantined, faults]))


def take_out_alike(
    bars: pl.DataFrame, faults: pl.DataFrame, tables: DailyTables, report: IngestReport, stores: Stores
) -> None:
    """Take out the daily rows that say the same as minutes which were set aside for their prices.

    `faults`: session, symbol, reason_code, reason, of symbol-sessions in `bars`. A daily row that disagrees with them
    stays: it may be right.
    """
    faults = faults.filter(pl.col("session").is_in(list(tables.rows)))
    if faults.is_empty():
        return
    minutes = bars.join(faults, on=KEYS, how="semi").select(MINUTE_COLUMNS)
    daily = _delivered(faults["session"].unique().sort().to_list(), tables)
    differing = (
        NO_DIFFERENCE if daily is None else disagreements(daily, day_totals(minutes, stores.market), stores.market)
    )
    alike = faults.join(differing, on=KEYS, how="anti", maintain_order="left").partition_by("session", as_dict=True)
    if rows := sum(_take_out(day, part, tables) for (day,), part in alike.items() if isinstance(day, date)):
        report.add_refused_rows(TABLE, rows)


def disagreeing(bars: pl.DataFrame, tables: DailyTables, report: IngestReport, stores: Stores) -> pl.DataFrame:
    """session, symbol, reason of the bars that disagree with the daily table, whose rows are taken out."""
    sessions = bars["session"].unique().sort().to_list()
    totals = _totals(sessions, bars.select(MINUTE_COLUMNS), stores) if sessions else None
    return NO_DIFFERENCE if totals is None else _set_aside(sessions, totals, tables, report, stores)


def agreed_alone(sessions: set[date], tables: DailyTables, report: IngestReport, stores: Stores) -> None:
    """Daily rows of sessions without bars in the delivery, against the minutes that the lake has of them."""
    days = sorted(sessions & set(tables.rows) & set(stores.sessions("minute_bars")))
    if days:
        _set_aside(days, _totals(days, None, stores), tables, report, stores)


def stored_minutes(files: Sequence[Parsed], stores: Stores) -> pl.DataFrame | None:
    """The lake's minutes of the sessions in these files; None where it has none."""
    days = {day for file in files for day in file.frame["session"].unique().to_list()} & set(
        stores.sessions("minute_bars")
    )
    frames = [stores.read("minute_bars", day, columns=("symbol", "slot")) for day in sorted(days)]
    return pl.concat(frames) if frames else None


def keep_faults(tables: DailyTables, stores: Stores) -> None:
    """Write the rows that disagree to quarantine, beside the file's other bad rows."""
    if not tables.faults:
        return
    faults = pl.concat(tables.faults)
    for number, file in enumerate(tables.files):
        own = faults.filter(pl.col("source") == number).drop("source")
        if own.height:
            keep_rows(stores.settings.quarantine, TABLE, file.with_faults(own), file.sha256)


def _totals(sessions: Sequence[date], delivered: pl.DataFrame | None, stores: Stores) -> pl.DataFrame:
    """`day_totals` of these sessions: delivered minutes, and stored ones that the delivery lacks."""
    stored, parts = set(stores.sessions("minute_bars")), []
    for day in sessions:
        own = [] if delivered is None else [delivered.filter(pl.col("session") == day)]
        if day in stored:
            rows = stores.read("minute_bars", day, columns=MINUTE_COLUMNS[1:]).select(MINUTE_COLUMNS)
            own.append(rows.join(own[0], on=[*KEYS, "slot"], how="anti") if own else rows)
        parts.append(day_totals(pl.concat(own, how="vertical_relaxed"), stores.market))
    return pl.concat(parts)


def _set_aside(
    sessions: Sequence[date], totals: pl.DataFrame, tables: DailyTables, report: IngestReport, stores: Stores
) -> pl.DataFrame:
    """Scale the tables by the minutes, take out the daily rows that disagree; returns the symbol-sessions."""
    _scale(sessions, totals, tables, report)
    daily = _delivered(sessions, tables)
    stored = [day for day in sessions if day not in tables.rows and day in set(stores.sessions(TABLE))]
    parts = [stores.read(TABLE, day, columns=("symbol", *MINUTE_COLUMNS[3:], "suspended")) for day in stored]
    parts = [*([daily] if daily is not None else []), *parts]
    if not parts:
        return NO_DIFFERENCE
    differing = disagreements(pl.concat(parts, how="diagonal_relaxed"), totals, stores.market)
    rows = 0
    for (day,), part in differing.partition_by("session", as_dict=True).items():
        if day in tables.rows:
            rows += _take_out(day, part.with_columns(reason_code=pl.lit(CODE)), tables)
    report.add_disagreements(differing, rows)
    return differing


def _delivered(sessions: Sequence[date], tables: DailyTables) -> pl.DataFrame | None:
    parts = [tables.rows[day].with_columns(session=pl.lit(day)) for day in sessions if day in tables.rows]
    return pl.concat(parts, how="diagonal") if parts else None


def _scale(sessions: Sequence[date], totals: pl.DataFrame, tables: DailyTables, report: IngestReport) -> None:
    """Find the scale of every file that these sessions show for the first time, and apply it to all its rows."""
    daily = _delivered(sessions, tables)
    if daily is None:
        return
    for (number,), own in daily.partition_by("source", as_dict=True).items():
        if number in tables.scales or not own.join(totals, on=KEYS, how="semi").height:
            continue
        scales = tables.scales[number] = table_scales(own, totals)
        if not scales:
            continue
        words = [f"{name} x {factor:g} to agree with the minutes: converted" for name, factor in scales.items()]
        report.add_conversions(tables.files[number].path.name, words)
        for day, rows in tables.rows.items():
            parts = [scaled(part, scales if source == number else {}) for (source,), part in _by_source(rows)]
            tables.rows[day] = pl.concat(parts, how="diagonal")


def _by_source(rows: pl.DataFrame) -> list[tuple[tuple[object, ...], pl.DataFrame]]:
    return list(rows.partition_by("source", as_dict=True, maintain_order=True).items())


def _take_out(day: date, differing: pl.DataFrame, tables: DailyTables) -> int:
    """Remove a session's daily rows (symbol, reason_code, reason) and note them as faults; returns their number."""
    rows = tables.rows[day]
    bad = rows.join(differing, on="symbol", how="inner", maintain_order="left")
    place = bad.select(*PLACE, pl.lit(day).alias("session"), "reason_code", "reason")
    tables.faults.append(place)
    left = rows.join(differing, on="symbol", how="anti", maintain_order="left")
    if left.height:
        tables.rows[day] = left
    else:
        del tables.rows[day]
    return bad.height
