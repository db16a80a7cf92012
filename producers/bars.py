"""Ingest: raw tables of a vendor into the lake, first copies and corrections, session by session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError
from fpm.features.bars import derive_daily
from fpm.first_copies import NOTES, known_from, rule_of
from fpm.ingest.agreement import CODE
from fpm.ingest.bar_files import order_in
from fpm.ingest.conventions import NOTHING
from fpm.ingest.custody_files import read_custody
from fpm.ingest.daily_files import ReferenceRows, read_daily, read_members
from fpm.ingest.deliveries import Delivery, Refused, batches, find, read_all, without_repeated_snapshots
from fpm.ingest.ingest_report import IngestReport
from fpm.ingest.member_intervals import read_intervals
from fpm.ingest.quarantine import missing_minutes
from fpm.ingest.restriction_files import read_restrictions
from fpm.ingest.score_files import read_scores
from fpm.ingest.signed_deliveries import require_signed
from fpm.ingest.symbol_files import read_symbols
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.ingest.vector_files import read_vectors
from fpm.ingest.vendor_bars import Combined, Parsed, combine, original_rows
from fpm.ingest.vendor_files import digest, name_of
from fpm.markets import Market
from fpm.schema import TABLES
from fpm.sessions import UTC, cut_off
from fpm.store.jobs.publishing import Partition, attempt, ownership, publish, stage
from fpm.store.jobs.receipts import keep_receipt, sessions_ingested
from fpm.store.lake.files import latest
from fpm.store.lake.quarantine import keep_refusal, keep_rows
from fpm.store.ledger.stores import Output, Stores
from producers import custody, restrictions, stream_scores, symbols, vectors, whole_sessions
from producers.capitalisations import weighed
from producers.daily_tables import (
    DailyTables,
    agreed,
    agreed_alone,
    by_session,
    keep_faults,
    stored_minutes,
    symbols_of,
    take_out_alike,
)
from producers.decisions import (
    FROM_MINUTES,
    FROM_VENDOR,
    daily_policy,
    decide,
    decide_profile,
    remembered,
    stated_words,
    words,
)
from producers.listings import UNKNOWN, Listings
from producers.previous_closes import beside_closes, previous_closes
from producers.session_versions import Moments, recorded_first, revised
from producers.shrinkage import Acceptance, unshrunken
from producers.snapshots import last_session
from producers.universe import Universe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from fpm.ingest.units import Stated
    from fpm.progress import Progress
    from fpm.store.jobs.inputs import Window

NAME = "bars"
READS: dict[str, Window] = {}
WRITES = ("minute_bars", "daily_bars", "index_members")
NO_WORD = vectors.Statement()
PUBLISH = "publish"  # the job after whose first session a first copy is known from its arrival


@dataclass(frozen=True)
class Arrival:
    """Moments of one delivery, both aware: corrections are known from `known_at`, bars after `now` are refused.

    `stated`: the caller's words about the files. `known_at_stated`: somebody states `known_at`; else it is the call's.
    `stream`: the name of the scores in files that do not say it. `acceptance`: of a universe that shrank.
    `of_vectors`: what the caller says about another encoder's.
    """

    known_at: datetime
    now: datetime
    stated: Stated = NOTHING
    known_at_stated: bool = False
    stream: str | None = None
    acceptance: Acceptance | None = None
    of_vectors: vectors.Statement = NO_WORD


@dataclass(frozen=True)
class Intake:
    """One call of `ingest`: its moments, its stores, its account.

    `tables`: daily_bars, index_members -> session -> the vendor's rows; `daily` is the source of daily bars,
    FROM_VENDOR or FROM_MINUTES. `daily_tables`: the vendor's daily files, its rows are in `tables`. `first_published`:
    the session that the home published before any other, if any. `order`: of month and day in the CSV files. `scores`,
    `vectors`, `books` (the custodian's): files read and not yet judged, as their symbols may be new with these bars.
    """

    arrival: Arrival
    stores: Stores
    report: IngestReport
    tables: Mapping[str, Mapping[date, pl.DataFrame]]
    daily: str
    daily_tables: DailyTables
    universe: Universe
    listings: Listings
    first_published: date | None
    order: Order = NO_ORDER
    scores: Sequence[ReferenceRows] = ()
    vectors: Sequence[ReferenceRows] = ()
    books: Sequence[ReferenceRows] = ()


def ingest(paths: Sequence[Path], arrival: Arrival, stores: Stores, progress: Progress) -> IngestReport:
    """Ingest all tables below `paths`, in folders as `deliveries.find` describes them.

    The first copy of a session is known from its cut-off; after the first published session from its arrival, if that
    is later, and where the arrival is stated from that moment (`fpm.first_copies`). A session already there is revised:
    values that differ are appended as known from `arrival.known_at`, equal ones change nothing. Bad rows and files go
    to quarantine and cost themselves alone; files of a session are read together, one ingested before is skipped.
    `IngestReport.require_content` tells of an empty call. Raises UsageError for a path that is no delivery or a table
    this home does not expect, InputRefused where it is not as signed.
    """
    delivery, signers = find(paths), require_signed(paths, stores.settings.signing_key)
    intake, references = begin(delivery, arrival, stores)
    intake.report.signed = signers
    paths = [path for path in delivery.bars if not _ingested_before(path, intake.report, stores)]
    intake = replace(intake, order=order_in(paths))
    groups = batches(paths, intake.order)
    for done, group in enumerate(groups):
        progress(done, len(groups), name_of(group[0]))
        _bars(group, intake)
    finish(references, intake)
    progress(len(groups), len(groups), "done")
    return intake.report


References = tuple[list[ReferenceRows], ...]


def begin(delivery: Delivery, arrival: Arrival, stores: Stores) -> tuple[Intake, References]:
    """The intake of one delivery, and its daily and index-member rows, read but not yet published; symbols are.

    Raises UsageError where the home remembers other words.
    """
    arrival = replace(arrival, stated=stated_words(arrival.stated, stores))
    vectors.require_session(arrival.of_vectors.born, stores.market, arrival.now)
    report = IngestReport(stated=words(arrival.stated), passed_over=delivery.passed_over)
    refuse(delivery.refused, report, stores)
    daily = _references(delivery.daily, read_daily, arrival, report, stores)
    references = (daily, _members(delivery, daily, arrival, report, stores))
    tables = {name: by_session(files) for name, files in zip(WRITES[1:], references, strict=True)}
    daily_tables = DailyTables(references[0], tables["daily_bars"])
    policy, live = daily_policy(delivery, stores), stores.ledger.first_published(PUBLISH)
    first_published = live and live[0]
    names = _references(delivery.symbols, read_symbols, arrival, report, stores)
    symbols.take(
        names, arrival.known_at, first_published, stores, stated=arrival.known_at_stated, words=report.accepted
    )
    lists = _references(delivery.restrictions, read_restrictions, arrival, report, stores)
    restrictions.take(lists, arrival.known_at, first_published, stores, stated=arrival.known_at_stated)
    universe, listings = Universe(stores), Listings(symbols_of(tables["daily_bars"]), stores)
    intake = Intake(arrival, stores, report, tables, policy, daily_tables, universe, listings, first_published)
    books = _references(delivery.holdings, read_custody, arrival, report, stores)
    read = partial(read_scores, now=arrival.now, stream=arrival.stream)
    scores = _read_new(delivery.scores, read, report, stores, arrival.stream)
    vintage = arrival.of_vectors.vintage
    read = partial(read_vectors, now=arrival.now, vintage=vintage)
    others = _read_new(delivery.vectors, read, report, stores, vintage)
    return replace(intake, scores=scores, vectors=others, books=books), references


def finish(references: References, intake: Intake) -> None:
    """Publish reference rows of sessions without bars, then scores and vectors, write receipts, say the profile."""
    if intake.tables["daily_bars"]:
        decide(intake.stores, daily_bars=FROM_VENDOR)
    agreed_alone(_other_sessions(intake), intake.daily_tables, intake.report, intake.stores)
    for session in sorted(_other_sessions(intake)):
        publish_session(session, None, "", intake)
    keep_faults(intake.daily_tables, intake.stores)
    intake.report.universe += intake.listings.findings
    _receive(references, intake)
    arrival = stream_scores.Arrival(intake.arrival.known_at, intake.arrival.known_at_stated, intake.first_published)
    stream_scores.take(intake.scores, arrival, intake.stores, intake.report, intake.arrival.stream)
    vectors.take(intake.vectors, arrival, intake.arrival.of_vectors, intake.stores, intake.report)
    custody.receive(intake.books, arrival, intake.stores, intake.report)
    intake.report.profile = intake.stores.ledger.deployment().get("profile", "")


# --- files ------------------------------------------------------------------------------------------------------
def refuse(files: Sequence[Refused], report: IngestReport, stores: Stores) -> None:
    """Note files that are refused whole, in the report and in quarantine."""
    report.add_refused(files)
    for file in files:
        keep_refusal(stores.settings.quarantine, file.path, file.digest, file.refusal)


def _ingested_before(path: Path, report: IngestReport, stores: Stores, stream: str | None = None) -> bool:
    sessions = sessions_ingested(stream_scores.receipt(digest(path), stream), stores)
    report.add_skipped(path, sessions)
    return sessions is not None


Reader = Callable[[Path, Market, Order], ReferenceRows]


def _references(
    paths: Sequence[Path], read: Reader, arrival: Arrival, report: IngestReport, stores: Stores
) -> list[ReferenceRows]:
    """Rows of files of another table that are new; bad rows and bad files go to quarantine."""
    return _accounted(_read_new(paths, read, report, stores), arrival, report, stores)


def _accounted(
    files: Sequence[ReferenceRows], arrival: Arrival, report: IngestReport, stores: Stores
) -> list[ReferenceRows]:
    """The files without those of a universe that shrank and that nobody accepted; bad rows are counted and kept."""
    whole, shrunken = unshrunken(files, arrival.acceptance, report, stores)
    refuse(shrunken, report, stores)
    for file in whole:
        report.add_reference(file.table, file.rows_in, file.quarantined, file.deduplicated)
        report.add_faults(file.table, file.quarantined)
        report.add_conversions(file.path.name, file.conversions)
        keep_rows(stores.settings.quarantine, file.table, file.quarantined, file.sha256)
    return whole


def _read_new(
    paths: Sequence[Path], read: Reader, report: IngestReport, stores: Stores, stream: str | None = None
) -> list[ReferenceRows]:
    new = [path for path in paths if not _ingested_before(path, report, stores, stream)]
    order = order_in(new, "session")
    files = []
    for path in new:
        try:
            files.append(read(path, stores.market, order))
        except FpmError as error:
            refuse([Refused(path, error)], report, stores)
    return files


def _members(
    delivery: Delivery, daily: Sequence[ReferenceRows], arrival: Arrival, report: IngestReport, stores: Stores
) -> list[ReferenceRows]:
    """Snapshots of indices, delivered as such or as intervals; an index's session in two files costs the later one."""
    intervals = partial(read_intervals, through=last_session(arrival.now, stores.market))
    files = _read_new(delivery.members, read_members, report, stores)
    files += weighed(_read_new(delivery.intervals, intervals, report, stores), daily, stores)
    single, refused = without_repeated_snapshots(files)
    refuse(refused, report, stores)
    return _accounted(single, arrival, report, stores)


def _bars(paths: Sequence[Path], intake: Intake) -> None:
    """One batch of bar files: read, check, publish session by session."""
    stores, market = intake.stores, intake.stores.market
    arrival = intake.arrival
    parsed, refused = read_all(paths, market, arrival.now, remembered(stores), arrival.stated, intake.order)
    refuse(refused, intake.report, stores)
    if not parsed:
        return
    combined = combine(parsed, market, stored_minutes(parsed, stores))
    compared = beside_closes(combined, arrival.stated, stores, intake.daily_tables.rows)
    intake.report.add_falls(compared.falls)
    take_out_alike(combined.frame, compared.faults, intake.daily_tables, intake.report, stores)
    combined = compared.combined
    if intake.daily == FROM_VENDOR:
        combined = agreed(combined, intake.daily_tables, intake.report, stores)
        combined = intake.listings.without_strangers(combined)
    for number, bar_file in enumerate(parsed):
        _quarantine(number, bar_file, combined, intake)
    intake.report.add_batch(parsed, combined, missing_minutes(combined.frame, market))
    source = sha256("".join(bar_file.report.sha256 for bar_file in parsed).encode()).hexdigest()
    rows = combined.frame.drop("source", "row").partition_by(
        "session", as_dict=True, include_key=False, maintain_order=True
    )
    if rows:
        conventions = parsed[0].report.conventions.to_json()
        intake.report.unavailable |= decide_profile(combined.frame, stores)
        decide(stores, daily_bars=intake.daily, conventions=conventions, **words(arrival.stated))
    for (session,), bars in rows.items():
        publish_session(session, bars, source, intake)
    waiting = set(combined.quarantined.filter(pl.col("reason_code").is_in([CODE, UNKNOWN]))["source"].to_list())
    sessions = dict(combined.frame.group_by("source").agg(pl.col("session").unique()).iter_rows())
    stored = sessions.keys() | set(combined.copies["source"].to_list())
    for number in sorted(stored - waiting):  # the others' rows are judged again the next time
        file = parsed[number]
        keep_receipt(NAME, file.path, file.report.sha256, sessions.get(number, []), stores)


def _quarantine(number: int, file: Parsed, combined: Combined, intake: Intake) -> None:
    """All faults of one file, with the rows as the vendor wrote them."""
    across = pl.concat([combined.quarantined, combined.amended]).filter(pl.col("source") == number)
    faults = pl.concat([file.quarantined, across.select(file.quarantined.columns)])
    if faults.height:
        rows = original_rows(file.path, faults, intake.order)
        keep_rows(intake.stores.settings.quarantine, "minute_bars", rows, file.report.sha256)


# --- partitions -------------------------------------------------------------------------------------------------
def publish_session(session: date, bars: pl.DataFrame | None, source: str, intake: Intake) -> None:
    """Publish all new rows of one session in one attempt, with stored versions read under the partition's lock."""
    stores = intake.stores
    partition = Partition(NAME, session)
    rule = rule_of(session, intake.first_published, stated=intake.arrival.known_at_stated)
    with ownership(partition, stores), attempt(partition, source, stores) as this_attempt:
        arrival = intake.arrival.known_at
        if rule == "arrival" and this_attempt.started_at is not None:  # a long ingest reaches a session late
            arrival = max(arrival, this_attempt.started_at.astimezone(UTC))
        recorded = recorded_first(session, WRITES, stores)
        limit = cut_off(stores.market, session)
        frames = _frames(session, bars, Moments(limit, known_from(rule, limit, arrival), arrival, recorded), intake)
        first_copy = not frames.keys() <= recorded.keys()
        if words := [*([NOTES[rule]] if first_copy else []), *intake.report.accepted.get(session, [])]:
            stores.ledger.note(this_attempt, "; ".join(words))
        outputs = [Output(table, session, None, frame) for table, frame in frames.items()]
        outcome = publish(partition, this_attempt, stage(partition, outputs, stores), stores)
    intake.report.add_outcome(session, outcome.status)
    if bars is not None:
        intake.report.add_wholeness(session, whole_sessions.fault(session, stores))
    intake.report.universe += intake.universe.findings(session, frames, given=intake.daily == FROM_VENDOR)
    if first_copy:
        intake.report.add_first_copy(rule)


def _frames(session: date, bars: pl.DataFrame | None, moments: Moments, intake: Intake) -> dict[str, pl.DataFrame]:
    """Table -> all versions of its rows of one session, for the tables in this delivery."""
    stores = intake.stores
    frames = {
        name: revised(name, session, rows[session], moments, stores)
        for name, rows in intake.tables.items()
        if session in rows
    }
    if bars is not None:
        frames["minute_bars"] = revised("minute_bars", session, bars, moments, stores)
        if intake.daily == FROM_MINUTES:
            minutes = latest(TABLES["minute_bars"], frames["minute_bars"], max(moments.correction, moments.cut_off))
            closes = previous_closes(session, stores, moments.first_known("minute_bars"))
            daily = derive_daily(minutes, stores.market, closes)
            frames["daily_bars"] = revised("daily_bars", session, daily, moments, stores)
    return frames


def _other_sessions(intake: Intake) -> set[date]:
    """Sessions of daily and index-member rows without bars in this delivery."""
    return {session for by in intake.tables.values() for session in by} - intake.report.touched


def _receive(references: Sequence[Sequence[ReferenceRows]], intake: Intake) -> None:
    """Receipts of files with rows, of which none disagrees: the others are read again, and say the same again."""
    disagreeing = intake.daily_tables.disagreeing
    for file in (file for files in references for file in files if file.path not in disagreeing and file.frame.height):
        keep_receipt(NAME, file.path, file.sha256, file.frame["session"].unique().to_list(), intake.stores)
