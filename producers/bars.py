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
from fpm.store.ledger.stores import Stores, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fpm.progress import Progress
    from fpm.store.jobs.inputs import Window

NAME = "bars"
READS: dict[str, Window] = {}
WRITES = ("minute_bars", "daily_bars", "index_members")
LOOK_BACK = 5  # sessions in which a symbol's previous close is looked for
TAKER = ("buy_amount", "buy_volume", "sell_amount", "sell_volume")
GIVEN, DERIVED = "given", "derived"


@dataclass(frozen=True)
class Arrival:
    """`known_at`: when a correction arrived; `now`: bars later than this are refused. Both aware."""

    known_at: datetime
    now: datetime


@dataclass(frozen=True)
class Intake:
    """One call of `ingest`: when it arrived, where it goes, the account of it.

    `tables`: daily_bars, index_members -> session -> rows, as the vendor gave them; `daily` says whether daily bars
    are given by the vendor or derived from the minutes.
    """

    arrival: Arrival
    stores: Stores
    report: IngestReport
    tables: Mapping[str, Mapping[date, pl.DataFrame]]
    daily: str


def ingest(paths: Sequence[Path], arrival: Arrival, stores: Stores, progress: Progress) -> IngestReport:
    """Take in everything below `paths`; `deliveries.find` says what a folder may hold.

    The first copy of a session is known from its cut-off. A session already there is revised: values that differ are
    appended as known from `arrival.known_at`, equal ones change nothing. Bad rows and files go to quarantine and the
    rest goes on; a file taken in before is skipped. Files that share a session are read together, others one by one.
    Raises UsageError for a path that is no delivery or a table this home does not expect, InputRefused where a daily
    or index-member file or every single bar file is refused.
    """
    delivery = find(paths)
    intake, references = begin(delivery, arrival, stores)
    report = intake.report
    groups = batches([path for path in delivery.bars if not _taken(path, report, stores)])
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
    """The account of one delivery, with its daily and index-member rows read in but not yet published.

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
    """After the last session with bars: reference rows of other sessions, receipts, the profile in the report."""
    _tables_alone(intake)
    _receive(references, intake)
    intake.report.profile = intake.stores.ledger.deployment().get("profile", "")


# --- files ------------------------------------------------------------------------------------------------------
def _taken(path: Path, report: IngestReport, stores: Stores) -> bool:
    sessions = sessions_ingested(digest(path), stores)
    report.add_skipped(path, sessions)
    return sessions is not None


def _references(
    paths: Sequence[Path], read: Callable[[Path, Market], ReferenceRows], report: IngestReport, stores: Stores
) -> list[ReferenceRows]:
    """Daily or index-member files not taken in before; their bad rows to quarantine."""
    found = [read(path, stores.market) for path in paths if not _taken(path, report, stores)]
    for file in found:
        report.add_reference(file.table, file.rows_in, file.quarantined)
        keep_rows(stores.settings.quarantine, file.table, file.quarantined, file.sha256)
    return found


def _by_session(files: Sequence[ReferenceRows]) -> dict[date, pl.DataFrame]:
    if not files:
        return {}
    rows = pl.concat([file.frame for file in files], how="diagonal")
    parts = rows.partition_by("session", as_dict=True, include_key=False, maintain_order=True)
    return {session: part for (session,), part in parts.items()}


def _daily_policy(delivery: Delivery, stores: Stores) -> str:
    """Given or derived, decided by the first delivery. Raises UsageError for a daily table after that."""
    decided = stores.ledger.deployment().get("daily_bars")
    wanted = GIVEN if delivery.daily else decided or DERIVED
    if decided and decided != wanted:
        stores.ledger.decide("daily_bars", wanted)
    return wanted


def _bars(paths: Sequence[Path], intake: Intake) -> list[Refused]:
    """One batch of bar files: read, check, publish session by session. Returns the files refused whole."""
    stores, market = intake.stores, intake.stores.market
    parsed, refused = read_all(paths, market, intake.arrival.now, _remembered(stores))
    intake.report.add_refused(refused)
    for each in refused:
        keep_refusal(stores.settings.quarantine, each.path, digest(each.path), each.refusal)
    if not parsed:
        return refused
    combined = combine(parsed, market, _stored_minutes(parsed, stores))
    for number, file in enumerate(parsed):
        _quarantine(number, file, combined, intake)
    intake.report.add_batch(parsed, combined, missing_minutes(combined.frame, market))
    source = sha256("".join(file.report.sha256 for file in parsed).encode()).hexdigest()
    rows = combined.frame.drop("source", "row").partition_by(
        "session", as_dict=True, include_key=False, maintain_order=True
    )
    if rows:
        decide(combined.frame, intake, conventions=parsed[0].report.conventions.to_json())
    for (session,), bars in rows.items():
        publish_session(session, bars, source, intake)
    for number, file in enumerate(parsed):
        sessions = combined.frame.filter(pl.col("source") == number)["session"].unique().to_list()
        keep_receipt(NAME, file.path, file.report.sha256, sessions, stores)
    return refused


def _stored_minutes(files: Sequence[Parsed], stores: Stores) -> pl.DataFrame | None:
    """Minutes the lake already has of the sessions in these files."""
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


# --- what a home decides once -----------------------------------------------------------------------------------
def _remembered(stores: Stores) -> Conventions | None:
    text = stores.ledger.deployment().get("conventions")
    return Conventions.from_json(text) if text else None


def decide(bars: pl.DataFrame, intake: Intake, **more: str) -> None:
    """At the first ingest: feature profile, source of daily bars, and `more`, such as the conventions of bar files,
    for files too small to show theirs.
    """
    ledger, decided = intake.stores.ledger, intake.stores.ledger.deployment()
    have = {name for name in OPTIONAL_FLOWS if name in bars.columns and bars[name].null_count() < bars.height}
    if "profile" not in decided:
        intake.stores.decide_profile(profile_of(have))
    for key, value in (("daily_bars", intake.daily), *more.items()):
        if key not in decided:
            ledger.decide(key, value)
    intake.report.unavailable |= flows_of(intake.stores.profile.name) - have


def profile_of(flows: set[str]) -> str:
    """The richest profile these flow columns allow: l2_32, bar_flow_32 (taker amounts and volumes), bar_32."""
    if flows_of("l2_32") <= flows:
        return "l2_32"
    return "bar_flow_32" if set(TAKER) <= flows else "bar_32"


def flows_of(profile: str) -> set[str]:
    """Optional columns a profile computes from: bar_32 classifies sides itself, so it only wants trade counts."""
    return {"trades"} | (set() if profile == "bar_32" else set(FEATURES[profile]) & set(OPTIONAL_FLOWS))


# --- partitions -------------------------------------------------------------------------------------------------
def publish_session(session: date, bars: pl.DataFrame | None, source: str, intake: Intake) -> None:
    """Everything one session gained, in one attempt; stored versions are read under the partition's lock."""
    stores = intake.stores
    partition = Partition(NAME, session)
    with ownership(partition, stores), attempt(partition, source, stores) as begun:
        frames = _frames(session, bars, intake)
        written = [Output(table, session, None, frame) for table, frame in frames.items()]
        outcome = publish(partition, begun, stage(partition, written, stores), stores)
    intake.report.add_outcome(session, outcome.status)


def _frames(session: date, bars: pl.DataFrame | None, intake: Intake) -> dict[str, pl.DataFrame]:
    """Whole new histories of the tables this delivery says something about."""
    frames = {name: _revised(name, session, by[session], intake) for name, by in intake.tables.items() if session in by}
    if bars is not None:
        frames["minute_bars"] = _revised("minute_bars", session, bars, intake)
        if intake.daily == DERIVED:
            known = max(intake.arrival.known_at, cut_off(intake.stores.market, session))
            told = latest(TABLES["minute_bars"], frames["minute_bars"], known)
            daily = derive_daily(told, intake.stores.market, previous_closes(session, intake.stores))
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
    """Each symbol's last close in the sessions before, as known at this session's cut-off: symbol, close."""
    before = previous_sessions(stores.market, session, LOOK_BACK) or [session - timedelta(days=1)]
    as_known = stores.as_of(cut_off(stores.market, session))
    rows = as_known.read("daily_bars", before[0], before[-1], columns=("symbol", "close", "float_shares"))
    return rows.drop_nulls("close").unique("symbol", keep="last", maintain_order=True).drop("session")


def _tables_alone(intake: Intake) -> None:
    """Daily and index-member rows of sessions for which this delivery brought no bars."""
    left = {session for by in intake.tables.values() for session in by} - intake.report.touched
    for session in sorted(left):
        publish_session(session, None, "", intake)


def _receive(references: Sequence[Sequence[ReferenceRows]], intake: Intake) -> None:
    for file in (file for files in references for file in files):
        keep_receipt(NAME, file.path, file.sha256, file.frame["session"].unique().to_list(), intake.stores)
