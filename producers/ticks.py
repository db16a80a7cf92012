"""Ingest of Level-2 ticks: records laid down by session and symbol, minute flows from them, `minute_bars` out of those.

The table's writer is the ingest of bars: the same partitions, the same corrections. Here its rows are made.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused, UsageError
from fpm.ingest.deliveries import DAILY, MEMBERS, Delivery, Refused
from fpm.ingest.quarantine import RULES, incomplete, missing_minutes
from fpm.ingest.vendor_files import digest, refusal
from fpm.store.jobs.receipts import keep_receipt, sessions_ingested
from fpm.store.lake.quarantine import keep_refusal, keep_rows
from fpm.store.lake.tick_buckets import Buckets
from fpm.ticks.files import TickFile, batches, find, open_file, original_rows
from fpm.ticks.minute_flows import REFERENCES, Minutes, minute_flows, observed, references, set_aside, to_bars
from fpm.ticks.reconciliation import reconcile, totals
from fpm.ticks.records import records
from fpm.ticks.report import TickAccount
from fpm.ticks.sequence import channel_gaps
from fpm.ticks.tape import STREAMS, UNITS, TickRules, symbol_of
from producers.bars import NAME, Arrival, Intake, begin, decide, finish, previous_closes, publish_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.ingest.ingest_report import IngestReport
    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

BUCKET = 2_000_000  # records a bucket holds on average; four times that is the working set of one computation
MOST_BUCKETS = 4096
RULE = TickRules()
NO_HOLES = pl.DataFrame(schema={"row": pl.UInt32, "reason_code": pl.String, "reason": pl.String})


@dataclass
class Take:
    """One delivery on its way in: its files (a file's place among them is its number), their records by session and
    symbol, rows found bad by file, files refused, the account; `source` names the content of all files.
    """

    intake: Intake
    files: list[TickFile]
    buckets: Buckets
    account: TickAccount = field(default_factory=TickAccount)
    faults: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    source: str = ""

    @property
    def accepted(self) -> list[TickFile]:
        gone = {each.path for each in self.refused}
        return [file for file in self.files if file.path not in gone]


def ingest(paths: Sequence[Path], arrival: Arrival, stores: Stores, progress: Progress) -> IngestReport:
    """Take in trades and orders below `paths`: files named by their stream, daily bars and index members beside them.

    A delivery whose every file was taken in before is skipped; one new file among them makes all be read again, since
    flows come of trades and orders together. Bad records, and symbol-sessions that do not hold, go to quarantine.
    Raises UsageError where there are no ticks or the market has none, InputRefused where nothing could be taken in.
    """
    if stores.market.name != "cn":
        wrong = f"Level-2 rules are known for market cn, this home is {stores.market.name}"
        raise UsageError(code="FPM-CFG-103", wrong=wrong, effect="nothing was read", todo="give minute bars")
    known, others = find(paths)
    named = {name: tuple(path for path in others if path.stem == name) for name in (DAILY, MEMBERS)}
    intake, reference_files = begin(Delivery((), named[DAILY], named[MEMBERS]), arrival, stores)
    if _taken_before(known, intake):
        finish(reference_files, intake)
        return intake.report
    take = _opened(known, intake)
    take.account.ignored = [path.name for path in others if path.stem not in named]
    try:
        _scatter(take, progress)
        told = _totals(take)
        published = _sessions(take, told, progress)
    finally:
        take.buckets.remove()
    _keep(take, published)
    finish(reference_files, intake)
    intake.report.ticks = take.account.to_dict()
    if take.refused and not intake.report.sessions:
        raise take.refused[0].refusal
    return intake.report


# --- files ------------------------------------------------------------------------------------------------------
def _taken_before(files: Sequence[Path], intake: Intake) -> bool:
    taken = [sessions_ingested(digest(path), intake.stores) for path in files]
    if any(each is None for each in taken):
        return False
    for path, sessions in zip(files, taken, strict=True):
        intake.report.add_skipped(path, sessions)
    return True


def _opened(paths: Sequence[Path], intake: Intake) -> Take:
    """Every file recognised by its footer; those refused are set aside."""
    files, refused = [], []
    for path in paths:
        try:
            files.append(open_file(path))
        except InputRefused as refusal:
            refused.append(Refused(path, refusal))
    rows = sum(file.rows for file in files if file.stream in STREAMS)
    folder = intake.stores.lake.staging / "ticks"
    for old in folder.glob("*"):
        if not Path("/proc", old.name).exists():  # left behind by a killed ingest
            shutil.rmtree(old, ignore_errors=True)
    count = min(MOST_BUCKETS, rows // BUCKET + 1)
    return Take(intake, files, Buckets(folder / str(os.getpid()), count, RULE.most_rows), refused=refused)


def _scatter(take: Take, progress: Progress) -> None:
    """Read every file of records once, a batch at a time, and lay its records down by session and symbol."""
    streams = [(number, file) for number, file in enumerate(take.files) if file.stream in STREAMS]
    for done, (number, file) in enumerate(streams):
        progress(done, 2 * len(streams), file.path.name)
        try:
            _scatter_file(number, file, take)
        except InputRefused as refusal:
            take.buckets.drop(str(number))
            take.faults.pop(number, None)
            take.refused.append(Refused(file.path, refusal))
    take.account.records["too_many"] = take.buckets.left_out


def _scatter_file(number: int, file: TickFile, take: Take) -> None:
    """Raises InputRefused 150 where more of the rows are bad than a sound file has."""
    stores, bad, seen = take.intake.stores, [], []
    for batch in batches(file):
        found = records(batch, file, number, stores.market, take.intake.arrival.now)
        take.buckets.add(found.tape, str(number))
        bad.append(found.faults)
        seen.append((batch.height, found.status, found.faults.select("reason_code")))
        count = sum(part.height for part in bad)
        if count > RULE.few + RULE.bad * file.rows:
            first = found.faults if found.faults.height else bad[0]
            wrong = (
                f"{count} bad rows so far, e.g. row {first['row'][0]}: {first['reason_code'][0]} {first['reason'][0]}"
            )
            raise refusal(
                file.path, code="FPM-IN-150", wrong=wrong, todo="repair the file; a sound one has few bad rows"
            )
    for rows, status, faults in seen:
        take.account.add_batch(rows, status, faults)
    take.faults[number] = [part for part in bad if part.height]
    take.intake.report.synonyms.update(file.synonyms)
    take.intake.report.ignored.update(file.ignored)


def _totals(take: Take) -> pl.DataFrame:
    """The exchange's totals; a file of them that cannot be read is refused like any other."""
    found = []
    for file in (file for file in take.files if file.stream not in STREAMS):
        try:
            found.append(totals([file], take.intake.stores.market))
        except InputRefused as refusal:
            take.refused.append(Refused(file.path, refusal))
    return pl.concat([*found, totals([], take.intake.stores.market)]).unique()


# --- sessions ---------------------------------------------------------------------------------------------------
def _sessions(take: Take, told: pl.DataFrame, progress: Progress) -> list[date]:
    """Every session's minute rows made, judged and published, one after the other. Returns those published."""
    days, published, ticked, lacking = take.buckets.sessions(), [], [told.select("sid", "session").clear()], None
    take.source = sha256("".join(digest(file.path) for file in take.accepted).encode()).hexdigest()
    for done, session in enumerate(days):
        progress(len(days) + done, 2 * len(days), str(session))
        priced = _references(session, take.intake)
        parts = [_minutes(session, bucket, priced, take) for bucket in take.buckets.numbers(session)]
        take.account.add_minutes(parts)
        parts = [part for part in parts if part.symbols.height]
        if not parts:  # nothing but records after hours
            continue
        ticked += [part.symbols.select("sid", session=pl.lit(session)) for part in parts]
        bars = _judged(session, parts, told, take)
        del parts
        if bars.height:
            take.intake.report.unavailable = set()
            decide(bars, take.intake)
            lacking = take.intake.report.unavailable if lacking is None else lacking & take.intake.report.unavailable
            publish_session(session, bars, take.source, take.intake)
            published.append(session)
    take.intake.report.unavailable = lacking or set()
    traded = told.filter(pl.col("volume") > 0)
    take.account.totals_without_ticks = traded.join(pl.concat(ticked), on=["sid", "session"], how="anti").height
    return published


def _minutes(session: date, bucket: int, priced: pl.DataFrame, take: Take) -> Minutes:
    """One bucket's minute rows; its faults noted by file."""
    tape = take.buckets.read(session, bucket)
    made = minute_flows(tape, session, take.intake.stores.market, priced, RULE)
    for (number,), part in made.faults.partition_by("file", as_dict=True).items():
        rows = part.select("row", pl.lit(session).alias("session"), "reason_code", "reason")
        take.faults.setdefault(number, []).append(rows)
    return made


def _references(session: date, intake: Intake) -> pl.DataFrame:
    """Prior closes and limits: the delivery's daily rows, without them the closes known before the session."""
    daily = intake.tables["daily_bars"].get(session)
    if daily is None:
        daily = previous_closes(session, intake.stores).rename({"close": "pre_close"})
    return references(daily, UNITS) if daily.height else pl.DataFrame(schema=REFERENCES)


def _judged(session: date, parts: Sequence[Minutes], told: pl.DataFrame, take: Take) -> pl.DataFrame:
    """The session's bars: symbol-sessions that do not hold, or lack too many minutes, go to quarantine."""
    symbols, places = (pl.concat([getattr(part, name) for part in parts]) for name in ("symbols", "places"))
    gaps = channel_gaps(pl.concat([part.sequences for part in parts]), RULE)
    judged = reconcile(symbols, told, session)
    aside = pl.concat([take.buckets.too_large(session), set_aside(symbols, places, gaps, judged, RULE)])
    aside = aside.unique("sid", keep="first", maintain_order=True)
    take.account.add_session(session, symbols, gaps, judged, aside)
    rows = pl.concat([observed(part.rows, symbols, take.intake.stores.market) for part in parts])
    bars = to_bars(rows.join(aside, on="sid", how="anti"))
    lost = rows.join(aside, on="sid", how="inner", maintain_order="left")
    return _complete(session, bars, lost, take)


def _complete(session: date, bars: pl.DataFrame, lost: pl.DataFrame, take: Take) -> pl.DataFrame:
    """Bars without symbol-sessions that lack too many of their minutes; what is set aside is kept and counted."""
    intake, market = take.intake, take.intake.stores.market
    keyed = bars.with_columns(pl.lit(session).alias("session"), pl.lit(0, pl.UInt16).alias("source")).with_row_index(
        "row"
    )
    kept, holes = incomplete(keyed, market, RULES[market.name], keyed.clear()) if bars.height else (keyed, NO_HOLES)
    hollow = keyed.join(holes.select("row", "reason_code", "reason"), on="row", how="inner").drop("row", "source")
    spelt = lost.with_columns(symbol_of(pl.col("sid")), pl.lit(session).alias("session"))
    aside = pl.concat([hollow, spelt.select(hollow.columns)])
    report = intake.report
    report.rows_in += bars.height + lost.height
    report.rows_out += kept.height
    report.quarantined.update(aside["reason_code"].to_list())
    report.missing_minutes += missing_minutes(kept, market)
    report.symbols.update(kept["symbol"].unique().to_list())
    if aside.height:
        name = ",".join(sorted(file.path.name for file in take.accepted if file.stream in STREAMS))
        rows = aside.with_columns(pl.lit(name).alias("source")).with_row_index("row")
        keep_rows(intake.stores.settings.quarantine, "minute_bars", rows, take.source)
    return kept.drop("session", "source", "row")


def _keep(take: Take, published: Sequence[date]) -> None:
    """Refused files and bad records to quarantine, the latter as the vendor wrote them; receipts of the others."""
    report, folder = take.intake.report, take.intake.stores.settings.quarantine
    report.add_refused(take.refused)
    for each in take.refused:
        keep_refusal(folder, each.path, digest(each.path), each.refusal)
    for number, parts in sorted(take.faults.items()):
        if parts:
            file = take.files[number]
            keep_rows(folder, file.stream, original_rows(file, pl.concat(parts)), digest(file.path))
    for file in take.accepted if published else []:
        keep_receipt(NAME, file.path, digest(file.path), published, take.intake.stores)
