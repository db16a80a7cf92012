"""Ingest of Level-2 ticks: records sorted into buckets by session and symbol, minute flows, `minute_bars` rows.

The ingest of bars writes the table: the same partitions, the same corrections. This module computes its rows.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError, UsageError
from fpm.first_copies import known_from, rule_of
from fpm.ingest.agreement import minute_faults
from fpm.ingest.deliveries import NAMED_TABLES, Refused, delivery_of, plain_files
from fpm.ingest.quarantine import FAULT_COLUMNS, incomplete, missing_minutes
from fpm.ingest.signed_deliveries import require_signed
from fpm.ingest.vendor_files import digest, name_of, refusal
from fpm.sessions import cut_off
from fpm.store.jobs.receipts import keep_receipt, sessions_ingested
from fpm.store.jobs.staging import lives, run_of
from fpm.store.lake.quarantine import keep_rows
from fpm.store.lake.tick_buckets import Buckets
from fpm.ticks.files import SNAPSHOTS, TOTALS, TickFile, batches, find, open_file, original_rows
from fpm.ticks.minute_flows import REFERENCES, Minutes, minute_flows, observed, references, session_faults, to_bars
from fpm.ticks.outages import outages, unknown_minutes
from fpm.ticks.reconciliation import reconcile, totals
from fpm.ticks.records import records
from fpm.ticks.report import TickAccount
from fpm.ticks.sequence import channel_gaps
from fpm.ticks.snapshots import ODD
from fpm.ticks.tape import STREAMS, UNITS, TickRules, sid_of, symbol_of
from producers.bars import NAME, Arrival, Intake, begin, finish, publish_session, refuse
from producers.daily_tables import disagreeing, take_out_alike
from producers.decisions import FROM_VENDOR, decide, decide_profile
from producers.listings import stranger_faults
from producers.previous_closes import close_faults, previous_closes
from producers.tick_snapshots import judge_snapshots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from fpm.ingest.ingest_report import IngestReport
    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

BUCKET = 2_000_000  # records of a bucket, on average; four times that is the working set of one computation
MOST_BUCKETS = 4096
RULE = TickRules()
SPOILT, SPOILT_BY = "FPM-IN-190", "more than 1 % bad records"
NO_HOLES = pl.DataFrame(schema={"row": pl.UInt32, "reason_code": pl.String, "reason": pl.String})


@dataclass
class TickDelivery:
    """One delivery in progress.

    `files`: a file's position is its number. `buckets`: their records by session and symbol; `snapshots` likewise.
    `faults`: bad rows by file number, `bad`: their count by session and symbol. `odd`: symbol-sessions with too many
    odd snapshots. `source`: digest of the content of all accepted files.
    """

    intake: Intake
    files: list[TickFile]
    buckets: Buckets
    snapshots: Buckets
    account: TickAccount = field(default_factory=TickAccount)
    faults: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    source: str = ""
    bad: Counter[tuple[date, int]] = field(default_factory=Counter)
    odd: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ODD))

    @property
    def accepted(self) -> list[TickFile]:
        """The files without those refused."""
        refused = {file.path for file in self.refused}
        return [file for file in self.files if file.path not in refused]


def ingest(paths: Sequence[Path], arrival: Arrival, stores: Stores, progress: Progress) -> IngestReport:
    """Ingest trades and orders below `paths`: files named by their stream, with daily bars and index members.

    A delivery is skipped where every file was ingested before; with one new file all are read again, since flows need
    trades and orders together. Bad records, and symbol-sessions that fail a check, go to quarantine.
    Raises UsageError where there are no ticks or the market has no rules for them, InputRefused for a delivery that is
    not as its sender signed it, where the home has a key.
    """
    if stores.market.name != "cn":
        raise UsageError(
            code="FPM-CFG-103",
            wrong=f"Level-2 rules are known for market cn, this home is {stores.market.name}",
            effect="nothing was read",
            todo="give minute bars",
        )
    signers = require_signed(paths, stores.settings.signing_key)
    streams, others = find(paths)
    tables = {name: tuple(path for path in others if path.stem == name) for name in NAMED_TABLES}
    intake, reference_files = begin(delivery_of((), tables), arrival, stores)
    intake.report.signed = signers
    if _ingested_before(streams, intake):
        finish(reference_files, intake)
        return intake.report
    with run_of(stores.ledger) as run:
        delivery = _open_delivery(streams, paths, intake, run)
        delivery.account.ignored = [name_of(path) for path in others if path.stem not in tables]
        try:
            _scatter(delivery, progress)
            published = _publish_sessions(delivery, _totals(delivery), progress)
        finally:
            delivery.buckets.remove()
    _store_outcome(delivery, published)
    finish(reference_files, intake)
    delivery.account.check()
    intake.report.ticks = delivery.account.to_dict()
    return intake.report


# --- files ------------------------------------------------------------------------------------------------------
def _ingested_before(files: Sequence[Path], intake: Intake) -> bool:
    if any(not path.is_file() for path in files):
        return False
    receipts = [sessions_ingested(digest(path), intake.stores) for path in files]
    if any(sessions is None for sessions in receipts):
        return False
    for path, sessions in zip(files, receipts, strict=True):
        intake.report.add_skipped(path, sessions)
    return True


def _open_delivery(streams: Sequence[Path], named: Sequence[Path], intake: Intake, run: str) -> TickDelivery:
    """The delivery with every file recognised by its footer, or refused; remains of dead ingests are removed."""
    below = {path: next((folder for folder in named if path.is_relative_to(folder)), path) for path in streams}
    plain, refused = plain_files([(below[path], path) for path in streams])
    files = []
    for path in plain:
        try:
            files.append(open_file(path))
        except FpmError as error:
            refused.append(Refused(path, error))
    counts = [
        min(MOST_BUCKETS, sum(file.rows for file in files if file.stream in streams) // BUCKET + 1)
        for streams in (STREAMS, (SNAPSHOTS,))
    ]
    folder = intake.stores.lake.staging / "ticks"
    for old in folder.glob("*"):
        if not lives(old.name, intake.stores.ledger):  # left behind by a killed ingest, on whatever host
            shutil.rmtree(old, ignore_errors=True)
    own = folder / run
    records, snapshots = Buckets(own, counts[0], RULE.most_rows), Buckets(own / SNAPSHOTS, counts[1], RULE.most_rows)
    return TickDelivery(intake, files, records, snapshots, refused=refused)


def _scatter(delivery: TickDelivery, progress: Progress) -> None:
    """Read every file of records once, a batch at a time, and put its records into the buckets."""
    streams = [(number, file) for number, file in enumerate(delivery.files) if file.stream in STREAMS]
    for done, (number, file) in enumerate(streams):
        progress(done, 2 * len(streams), file.path.name)
        before = delivery.buckets.left_out
        try:
            _scatter_file(number, file, delivery)
        except FpmError as error:
            delivery.buckets.drop(str(number))
            delivery.buckets.left_out = before
            delivery.faults.pop(number, None)
            delivery.refused.append(Refused(file.path, error))
    delivery.account.records["too_many"] = delivery.buckets.left_out


def _scatter_file(number: int, file: TickFile, delivery: TickDelivery) -> None:
    """Put one file's records into the buckets. Raises InputRefused 150 where it has more bad rows than a sound file."""
    market, now = delivery.intake.stores.market, delivery.intake.arrival.now
    bad, counts, spoilt = [], [], []
    for batch in batches(file):
        part = records(batch, file, number, market, now)
        delivery.buckets.add(part.tape, str(number))
        spoilt.append(part.bad)
        bad.append(part.faults)
        counts.append((batch.height, part.status, part.faults.select("reason_code")))
        count = sum(faults.height for faults in bad)
        if count > RULE.few + RULE.bad * file.rows:
            example = (part.faults if part.faults.height else bad[0]).row(0, named=True)
            raise refusal(
                file.path,
                code="FPM-IN-150",
                wrong=f"{count} bad rows, e.g. row {example['row']}: {example['reason_code']} {example['reason']}",
                todo="repair the file; a sound one has few bad rows",
            )
    for session, sid, rows in pl.concat(spoilt).iter_rows():
        delivery.bad[session, sid] += rows
    for rows, status, faults in counts:
        delivery.account.add_batch(rows, status, faults)
    delivery.faults[number] = [faults for faults in bad if faults.height]
    delivery.intake.report.synonyms.update(file.synonyms)
    delivery.intake.report.ignored.update(file.ignored)


def _totals(delivery: TickDelivery) -> pl.DataFrame:
    """The exchange's totals, of tables and of judged snapshots; an unreadable file is refused like any other."""
    market, parts = delivery.intake.stores.market, []
    for file in (file for file in delivery.files if file.stream == TOTALS):
        try:
            parts.append(totals([file], market))
        except FpmError as error:
            delivery.refused.append(Refused(file.path, error))
    snapshots = judge_snapshots(
        delivery.files, delivery.snapshots, delivery.account, market, delivery.intake.arrival.now
    )
    delivery.refused += snapshots.refused
    delivery.faults.update(snapshots.faults)
    delivery.odd = snapshots.odd
    return pl.concat([*parts, snapshots.totals, totals([], market)]).unique()


# --- sessions ---------------------------------------------------------------------------------------------------
def _publish_sessions(delivery: TickDelivery, exchange_totals: pl.DataFrame, progress: Progress) -> list[date]:
    """Compute, check and publish one session after the other; returns the published ones."""
    report, days, published, unavailable = delivery.intake.report, delivery.buckets.sessions(), [], None
    with_ticks = [exchange_totals.select("sid", "session").clear()]
    delivery.source = sha256("".join(digest(file.path) for file in delivery.accepted).encode()).hexdigest()
    for done, session in enumerate(days):
        progress(len(days) + done, 2 * len(days), str(session))
        prices = _references(session, delivery.intake)
        parts = [_minutes(session, bucket, prices, delivery) for bucket in delivery.buckets.numbers(session)]
        delivery.account.add_minutes(parts)
        parts = [part for part in parts if part.symbols.height]
        if not parts:  # only records after hours
            continue
        with_ticks += [part.symbols.select("sid", session=pl.lit(session)) for part in parts]
        bars = _bars(session, parts, exchange_totals, delivery)
        del parts
        if bars.height:
            missing = decide_profile(bars, delivery.intake.stores)
            unavailable = missing if unavailable is None else unavailable & missing
            decide(delivery.intake.stores, daily_bars=delivery.intake.daily)
            publish_session(session, bars, delivery.source, delivery.intake)
            published.append(session)
    report.unavailable = unavailable or set()
    traded = exchange_totals.filter(pl.col("volume") > 0)
    delivery.account.totals_without_ticks = traded.join(pl.concat(with_ticks), on=["sid", "session"], how="anti").height
    return published


def _minutes(session: date, bucket: int, prices: pl.DataFrame, delivery: TickDelivery) -> Minutes:
    """One bucket's minute rows; its faults go to those of their files."""
    tape = delivery.buckets.read(session, bucket)
    minutes = minute_flows(tape, session, delivery.intake.stores.market, prices, RULE)
    for (number,), part in minutes.faults.partition_by("file", as_dict=True).items():
        rows = part.select("row", pl.lit(session).alias("session"), "reason_code", "reason")
        delivery.faults.setdefault(number, []).append(rows)
    return minutes


def _references(session: date, intake: Intake) -> pl.DataFrame:
    """Prior closes and limits: of the delivery's daily rows, or else the closes known before the session."""
    daily = intake.tables["daily_bars"].get(session)
    if daily is None:
        rule = rule_of(session, intake.first_published, stated=intake.arrival.known_at_stated)
        known_at = known_from(rule, cut_off(intake.stores.market, session), intake.arrival.known_at)
        as_known = None if rule == "arrival" else known_at  # what arrived a moment ago, before this session, counts
        daily = previous_closes(session, intake.stores, as_known).rename({"close": "pre_close"})
    return references(daily, UNITS) if daily.height else pl.DataFrame(schema=REFERENCES)


def _bars(
    session: date, parts: Sequence[Minutes], exchange_totals: pl.DataFrame, delivery: TickDelivery
) -> pl.DataFrame:
    """The session's bars; symbol-sessions that fail a check, or lack too many minutes, go to quarantine."""
    symbols = pl.concat([part.symbols for part in parts])
    symbol_sequences = pl.concat([part.symbol_sequences for part in parts])
    sequences = pl.concat([part.sequences for part in parts])
    gaps = channel_gaps(sequences, RULE)
    lost = outages(sequences, gaps, RULE)
    verdicts = reconcile(symbols, exchange_totals, session)
    checked = session_faults(symbols, symbol_sequences, gaps, verdicts, RULE)
    odd = delivery.odd.filter(pl.col("session") == session).drop("session")
    odd = pl.concat([_spoilt(session, symbols, delivery), odd.join(symbols, on="sid", how="semi")])
    large = delivery.buckets.too_large(session)
    delivery.intake.report.exceptions += [  # it may have no minute that could go to quarantine
        f"{session} {symbol}: {code} {reason}"
        for symbol, code, reason in large.select(symbol_of(pl.col("sid")), "reason_code", "reason").iter_rows()
    ]
    faults = pl.concat([large, checked, odd])
    faults = faults.unique("sid", keep="first", maintain_order=True)
    delivery.account.add_session(session, symbols, gaps, lost, verdicts, faults)
    market = delivery.intake.stores.market
    unknown = unknown_minutes(symbol_sequences.join(faults, on="sid", how="anti"), gaps, lost)
    rows = pl.concat([observed(part.rows, symbols, unknown, market, RULE) for part in parts])
    counts = pl.concat([part.counts for part in parts])
    whole = observed(counts, symbols, unknown, market, RULE)
    delivery.account.add_unused(counts, faults, whole)
    bars = to_bars(rows.join(faults, on="sid", how="anti"))
    faulty = rows.join(faults, on="sid", how="inner", maintain_order="left")
    complete = _complete(session, bars, faulty, delivery)
    hollow = bars.join(complete, on="symbol", how="anti").select(sid_of(pl.col("symbol"))).unique()
    delivery.account.add_hollow(int(whole.join(hollow, on="sid", how="semi")["records"].sum()))
    return complete


def _spoilt(session: date, symbols: pl.DataFrame, delivery: TickDelivery) -> pl.DataFrame:
    """sid, reason_code, reason of symbols with more bad records than sound ones have: their minutes would be wrong."""
    bad = [(sid, count) for (day, sid), count in sorted(delivery.bad.items()) if day == session]
    counts = pl.DataFrame(bad, schema={"sid": pl.Int32, "bad": pl.Int64}, orient="row")
    many = symbols.join(counts, on="sid").filter(pl.col("bad") > RULE.spoilt * (pl.col("records") + pl.col("bad")))
    reason = pl.format(f"{SPOILT_BY}: {{}} beside {{}} good ones", "bad", "records")
    return many.select("sid", pl.lit(SPOILT).alias("reason_code"), reason.alias("reason"))


def _complete(session: date, bars: pl.DataFrame, faulty: pl.DataFrame, delivery: TickDelivery) -> pl.DataFrame:
    """Bars without symbol-sessions that lack too many minutes or disagree with the daily table, or of unknown symbols.

    These and the `faulty` rows go to quarantine.
    """
    intake, market = delivery.intake, delivery.intake.stores.market
    keyed = bars.with_columns(pl.lit(session).alias("session"), pl.lit(0, pl.UInt32).alias("source")).with_row_index(
        "row"
    )
    complete, holes = incomplete(keyed, market, keyed.clear()) if bars.height else (keyed, NO_HOLES)
    beside, falls = close_faults(complete, intake.arrival.stated, intake.stores, intake.daily_tables.rows)
    intake.report.add_falls(falls)
    if beside.height:
        take_out_alike(complete, beside, intake.daily_tables, intake.report, intake.stores)
        rows = complete.join(beside, on=["session", "symbol"], how="inner", maintain_order="left")
        holes = pl.concat([holes, rows.select(FAULT_COLUMNS).select(holes.columns)])
        complete = complete.join(beside, on=["session", "symbol"], how="anti", maintain_order="left")
    if intake.daily == FROM_VENDOR and complete.height:
        differing = disagreeing(complete, intake.daily_tables, intake.report, intake.stores)
        holes = pl.concat([holes, minute_faults(complete, differing).select(holes.columns)])
        complete = complete.join(differing, on=["session", "symbol"], how="anti", maintain_order="left")
        strangers = intake.listings.strangers(complete)
        holes = pl.concat([holes, stranger_faults(complete, strangers).select(holes.columns)])
        complete = complete.join(strangers, on=["session", "symbol"], how="anti", maintain_order="left")
    hollow = keyed.join(holes.select("row", "reason_code", "reason"), on="row", how="inner").drop("row", "source")
    faulty_bars = faulty.with_columns(symbol_of(pl.col("sid")), pl.lit(session).alias("session"))
    quarantined = pl.concat([hollow, faulty_bars.select(hollow.columns)])
    report = intake.report
    report.rows_in += bars.height + faulty.height
    report.rows_out += complete.height
    report.quarantined.update(quarantined["reason_code"].to_list())
    report.missing_minutes += missing_minutes(complete, market)
    report.symbols.update(complete["symbol"].unique().to_list())
    if quarantined.height:
        name = ",".join(sorted(file.path.name for file in delivery.accepted if file.stream in STREAMS))
        rows = quarantined.with_columns(pl.lit(name).alias("source")).with_row_index("row")
        keep_rows(intake.stores.settings.quarantine, "minute_bars", rows, delivery.source)
    return complete.drop("session", "source", "row")


def _store_outcome(delivery: TickDelivery, published: Sequence[date]) -> None:
    """Refused files and bad records go to quarantine, records as the vendor wrote them; other files get receipts.

    None gets one while minutes of an unknown symbol wait: the same files bring them once it is known.
    """
    report, folder = delivery.intake.report, delivery.intake.stores.settings.quarantine
    refuse(delivery.refused, report, delivery.intake.stores)
    for number, parts in sorted(delivery.faults.items()):
        if parts:
            file = delivery.files[number]
            keep_rows(folder, file.stream, original_rows(file, pl.concat(parts)), digest(file.path))
    for file in delivery.accepted if published and not delivery.intake.listings.findings else []:
        keep_receipt(NAME, file.path, digest(file.path), published, delivery.intake.stores)
