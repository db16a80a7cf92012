"""Ingest: raw tables of a vendor into the lake, first copies and corrections, session by session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import polars as pl

from fpm.features.bars import derive_daily
from fpm.ingest.conventions import Conventions
from fpm.ingest.daily_files import ReferenceRows, read_daily, read_members
from fpm.ingest.deliveries import Delivery, Refused, batches, find, read_all
from fpm.ingest.ingest_report import IngestReport
from fpm.ingest.quarantine import missing_minutes
from fpm.ingest.revisions import revise
from fpm.ingest.vendor_bars import Combined, Parsed, combine, original_rows
from fpm.ingest.vendor_files import digest
from fpm.schema import FEATURES, OPTIONAL_FLOWS, TABLES
from fpm.sessions import Market, close, cut_off, moment, previous_sessions
from fpm.store.jobs.publishing import Partition, attempt, ownership, publish, stage
from fpm.store.jobs.receipts import keep_receipt, sessions_ingested
from fpm.store.lake.files import CLOCK, latest
from fpm.store.lake.quarantine import keep_refusal, keep_rows
from fpm.store.ledger.stores import Output, Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fpm.progress import Progress
    from fpm.store.jobs.inputs import Window

NAME = "bars"
READS: dict[str, Window] = {}
WRITES = ("minute_bars", "daily_bars", "index_members")
LOOK_BACK = 5  # sessions that may hold a symbol's previous close
TAKER = ("buy_amount", "buy_volume", "sell_amount", "sell_volume")
FROM_VENDOR, FROM_MINUTES = "given", "derived"  # sources of daily bars, as the ledger stores them


@dataclass(frozen=True)
class Arrival:
    """Moments of one delivery, both aware: corrections are known from `known_at`, bars after `now` are refused."""

    known_at: datetime
    now: datetime


@dataclass(frozen=True)
class Intake:
    """One call of `ingest`: its moments, its stores, its account.

    `tables`: daily_bars, index_members -> session -> the vendor's rows; `daily` is the source of daily bars,
    FROM_VENDOR or FROM_MINUTES.
    """

    arrival: Arrival
    stores: Stores
    report: IngestReport
    tables: Mapping[str, Mapping[date, pl.DataFrame]]
    daily: str


def ingest(paths: Sequence[Path], arrival: Arrival, stores: Stores, progress: Progress) -> IngestReport:
    """Ingest all tables below `paths`, in folders as `deliveries.find` describes them.

    The first copy of a session is known from its cut-off. A session already there is revised: values that differ are
    appended as known from `arrival.known_at`, equal ones change nothing. Bad rows and files go to quarantine and the
    rest goes on; a file ingested before is skipped. Files that share a session are read together, others one by one.
    Raises UsageError for a path that is no delivery or a table this home does not expect, InputRefused where a daily
    or index-member file or every single bar file is refused.
    """
    delivery = find(paths)
    intake, references = begin(delivery, arrival, stores)
    report = intake.report
    groups = batches([path for path in delivery.bars if not _ingested_before(path, report, stores)])
    refused: list[Refused] = []
    for done, group in enumerate(groups):
        progress(done, len(groups), group[0].name)
        refused += _bars(group, intake)
    finish(references, intake)
    progress(len(groups), len(groups), "done")
    if refused and not report.sessions:
        raise refused[0].refusal
    return report


References = tuple[list[ReferenceRows], ...]


def begin(delivery: Delivery, arrival: Arrival, stores: Stores) -> tuple[Intake, References]:
    """The intake of one delivery, and its daily and index-member rows, read but not yet published.

    Raises InputRefused where one of those files is refused.
    """
    report = IngestReport()
    references = (
        _references(delivery.daily, read_daily, report, stores),
        _references(delivery.members, read_members, report, stores),
    )
    tables = {name: _by_session(files) for name, files in zip(WRITES[1:], references, strict=True)}
    return Intake(arrival, stores, report, tables, _daily_policy(delivery, stores)), references


def finish(references: References, intake: Intake) -> None:
    """Publish reference rows of sessions without bars, write receipts, and put the profile into the report."""
    _publish_other_sessions(intake)
    _receive(references, intake)
    intake.report.profile = intake.stores.ledger.deployment().get("profile", "")


# --- files ------------------------------------------------------------------------------------------------------
def _ingested_before(path: Path, report: IngestReport, stores: Stores) -> bool:
    sessions = sessions_ingested(digest(path), stores)
    report.add_skipped(path, sessions)
    return sessions is not None


def _references(
    paths: Sequence[Path], read: Callable[[Path, Market], ReferenceRows], report: IngestReport, stores: Stores
) -> list[ReferenceRows]:
    """Daily or index-member files that are new; their bad rows go to quarantine."""
    files = [read(path, stores.market) for path in paths if not _ingested_before(path, report, stores)]
    for file in files:
        report.add_reference(file.table, file.rows_in, file.quarantined)
        keep_rows(stores.settings.quarantine, file.table, file.quarantined, file.sha256)
    return files


def _by_session(files: Sequence[ReferenceRows]) -> dict[date, pl.DataFrame]:
    if not files:
        return {}
    rows = pl.concat([file.frame for file in files], how="diagonal")
    parts = rows.partition_by("session", as_dict=True, include_key=False, maintain_order=True)
    return {session: part for (session,), part in parts.items()}


def _daily_policy(delivery: Delivery, stores: Stores) -> str:
    """The source of daily bars, decided by the first delivery. Raises UsageError where a later one disagrees."""
    decision = stores.ledger.deployment().get("daily_bars")
    source = FROM_VENDOR if delivery.daily else decision or FROM_MINUTES
    if decision and decision != source:
        stores.ledger.decide("daily_bars", source)
    return source


def _bars(paths: Sequence[Path], intake: Intake) -> list[Refused]:
    """One batch of bar files: read, check, publish session by session. Returns the files refused whole."""
    stores, market = intake.stores, intake.stores.market
    parsed, refused = read_all(paths, market, intake.arrival.now, _remembered(stores))
    intake.report.add_refused(refused)
    for file in refused:
        keep_refusal(stores.settings.quarantine, file.path, digest(file.path), file.refusal)
    if not parsed:
        return refused
    combined = combine(parsed, market, _stored_minutes(parsed, stores))
    for number, bar_file in enumerate(parsed):
        _quarantine(number, bar_file, combined, intake)
    intake.report.add_batch(parsed, combined, missing_minutes(combined.frame, market))
    source = sha256("".join(bar_file.report.sha256 for bar_file in parsed).encode()).hexdigest()
    rows = combined.frame.drop("source", "row").partition_by(
        "session", as_dict=True, include_key=False, maintain_order=True
    )
    if rows:
        decide(combined.frame, intake, conventions=parsed[0].report.conventions.to_json())
    for (session,), bars in rows.items():
        publish_session(session, bars, source, intake)
    for number, bar_file in enumerate(parsed):
        sessions = combined.frame.filter(pl.col("source") == number)["session"].unique().to_list()
        keep_receipt(NAME, bar_file.path, bar_file.report.sha256, sessions, stores)
    return refused


def _stored_minutes(files: Sequence[Parsed], stores: Stores) -> pl.DataFrame | None:
    """The lake's minutes of the sessions in these files; None where it has none."""
    days = {day for file in files for day in file.frame["session"].unique().to_list()} & set(
        stores.sessions("minute_bars")
    )
    frames = [stores.read("minute_bars", day, columns=("symbol", "slot")) for day in sorted(days)]
    return pl.concat(frames) if frames else None


def _quarantine(number: int, file: Parsed, combined: Combined, intake: Intake) -> None:
    """All faults of one file, with the rows as the vendor wrote them."""
    across = combined.quarantined.filter(pl.col("source") == number).select(file.quarantined.columns)
    faults = pl.concat([file.quarantined, across])
    if faults.height:
        rows = original_rows(file.path, faults)
        keep_rows(intake.stores.settings.quarantine, "minute_bars", rows, file.report.sha256)


# --- decisions of a home, made once ---------------------------------------------------------------------------------
def _remembered(stores: Stores) -> Conventions | None:
    text = stores.ledger.deployment().get("conventions")
    return Conventions.from_json(text) if text else None


def decide(bars: pl.DataFrame, intake: Intake, **more: str) -> None:
    """Store the decisions of a home's first ingest: feature profile, source of daily bars, and `more`.

    `more` may be the conventions of bar files, for later files too small to show theirs.
    """
    ledger, decisions = intake.stores.ledger, intake.stores.ledger.deployment()
    flows = {name for name in OPTIONAL_FLOWS if name in bars.columns and bars[name].null_count() < bars.height}
    if "profile" not in decisions:
        intake.stores.decide_profile(profile_of(flows))
    for key, value in (("daily_bars", intake.daily), *more.items()):
        if key not in decisions:
            ledger.decide(key, value)
    intake.report.unavailable |= flows_of(intake.stores.profile.name) - flows


def profile_of(flows: set[str]) -> str:
    """The richest profile that these flow columns allow: l2_32, bar_flow_32 (taker amounts and volumes), bar_32."""
    if flows_of("l2_32") <= flows:
        return "l2_32"
    return "bar_flow_32" if set(TAKER) <= flows else "bar_32"


def flows_of(profile: str) -> set[str]:
    """Optional columns that a profile uses: bar_32 classifies sides itself, so it only needs trade counts."""
    return {"trades"} | (set() if profile == "bar_32" else set(FEATURES[profile]) & set(OPTIONAL_FLOWS))


# --- partitions -------------------------------------------------------------------------------------------------
def publish_session(session: date, bars: pl.DataFrame | None, source: str, intake: Intake) -> None:
    """Publish all new rows of one session in one attempt, with stored versions read under the partition's lock."""
    stores = intake.stores
    partition = Partition(NAME, session)
    with ownership(partition, stores), attempt(partition, source, stores) as this_attempt:
        frames = _frames(session, bars, intake)
        outputs = [Output(table, session, None, frame) for table, frame in frames.items()]
        outcome = publish(partition, this_attempt, stage(partition, outputs, stores), stores)
    intake.report.add_outcome(session, outcome.status)


def _frames(session: date, bars: pl.DataFrame | None, intake: Intake) -> dict[str, pl.DataFrame]:
    """Table -> all versions of its rows of one session, for the tables in this delivery."""
    frames = {
        name: _revised(name, session, rows[session], intake) for name, rows in intake.tables.items() if session in rows
    }
    if bars is not None:
        frames["minute_bars"] = _revised("minute_bars", session, bars, intake)
        if intake.daily == FROM_MINUTES:
            known_at = max(intake.arrival.known_at, cut_off(intake.stores.market, session))
            minutes = latest(TABLES["minute_bars"], frames["minute_bars"], known_at)
            daily = derive_daily(minutes, intake.stores.market, previous_closes(session, intake.stores))
            frames["daily_bars"] = _revised("daily_bars", session, daily, intake)
    return frames


def _revised(name: str, session: date, rows: pl.DataFrame, intake: Intake) -> pl.DataFrame:
    stores, table = intake.stores, TABLES[name]
    files = stores.lake.files(name, session, session)
    stored = stores.lake.decode(files[0][1]) if files else None
    incoming = rows.with_columns(_events(name, session, stores.market).alias("event_timestamp"))
    return revise(stored, incoming, table.keys, cut_off(stores.market, session), intake.arrival.known_at)


def _events(name: str, session: date, market: Market) -> pl.Expr:
    if name != "minute_bars":
        return pl.lit(close(market, session), dtype=CLOCK)
    ends = [moment(market, session, minute) for minute in market.slots]
    return pl.col("slot").replace_strict(list(range(len(ends))), ends, return_dtype=CLOCK)


def previous_closes(session: date, stores: Stores) -> pl.DataFrame:
    """symbol, close, float_shares: each symbol's last close before the session, as known at its cut-off."""
    before = previous_sessions(stores.market, session, LOOK_BACK) or [session - timedelta(days=1)]
    as_known = stores.as_of(cut_off(stores.market, session))
    rows = as_known.read("daily_bars", before[0], before[-1], columns=("symbol", "close", "float_shares"))
    return rows.drop_nulls("close").unique("symbol", keep="last", maintain_order=True).drop("session")


def _publish_other_sessions(intake: Intake) -> None:
    """Daily and index-member rows of sessions without bars in this delivery."""
    others = {session for by in intake.tables.values() for session in by} - intake.report.touched
    for session in sorted(others):
        publish_session(session, None, "", intake)


def _receive(references: Sequence[Sequence[ReferenceRows]], intake: Intake) -> None:
    for file in (file for files in references for file in files):
        keep_receipt(NAME, file.path, file.sha256, file.frame["session"].unique().to_list(), intake.stores)
