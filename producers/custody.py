"""Ingest of the table `custody`: the real book of an index at a close, whole or not at all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused
from fpm.first_copies import NOTES, known_from, rule_of
from fpm.ingest.custody_files import BOOK, broken_books
from fpm.ingest.deliveries import Refused
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.revisions import revise
from fpm.schema import CASH, CUSTODY
from fpm.sessions import close, cut_off
from fpm.store.jobs.publishing import Partition, attempt, ownership, publish, stage
from fpm.store.jobs.receipts import keep_receipt
from fpm.store.lake.files import instant, latest
from fpm.store.lake.quarantine import keep_refusal, keep_rows
from fpm.store.ledger.stores import Output
from fpm.store.log import log
from producers.snapshots import withdrawn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from fpm.ingest.daily_files import ReferenceRows
    from fpm.ingest.ingest_report import IngestReport
    from fpm.store.ledger.stores import Stores
    from producers.stream_scores import Arrival

NAME = "custody"
EVERY_INDEX = "ALL"  # the built-in index of a home without index_members


def checked(files: Sequence[ReferenceRows], stores: Stores) -> list[tuple[ReferenceRows, pl.DataFrame]]:
    """Each file with the rows (row, session, reason_code, reason) that this home refuses.

    That are indices and symbols that it does not know, and books of one index and session in two files. A book with one
    such row is refused whole.
    """
    counts = Counter(book for file in files for book in file.frame.select(*BOOK).unique().iter_rows())
    twice = pl.DataFrame(
        [book for book, count in counts.items() if count > 1],
        schema={"session": pl.Date, "index": pl.String},
        orient="row",
    ).with_columns(twice=pl.lit(True))
    indices = _indices(stores)
    return [(file, _faults(file.frame, twice, indices, stores)) for file in files]


def _faults(rows: pl.DataFrame, twice: pl.DataFrame, indices: set[str], stores: Stores) -> pl.DataFrame:
    wanted = set(rows["symbol"].to_list()) - {CASH}
    last = max(rows["session"].to_list(), default=None)
    symbols = wanted - (_without_bars(wanted, last, stores) if last else set())
    checks = [
        Check(code="FPM-IN-176", condition=pl.col("twice"), wrong="two files have a book of {index} at {session}"),
        Check(
            code="FPM-IN-178",
            condition=~pl.col("index").is_in(sorted(indices)),
            wrong="this home has no index {index}",
        ),
        Check(
            code="FPM-IN-177",
            condition=~pl.col("symbol").is_in([CASH, *sorted(symbols)]),
            wrong="{symbol} has never had a bar",
        ),
    ]
    return broken_books(rows, first_faults(rows.join(twice, on=BOOK, how="left"), checks))


def _without_bars(symbols: set[str], last: date, stores: Stores) -> set[str]:
    """The symbols without a daily bar up to a session; the newest sessions are looked at first."""
    missing = set(symbols)
    for session in reversed([day for day in stores.sessions("daily_bars") if day <= last]):
        if not missing:
            break
        missing -= set(stores.read("daily_bars", session, columns=["symbol"])["symbol"].to_list())
    return missing


def _indices(stores: Stores) -> set[str]:
    sessions = stores.sessions("index_members")
    rows = (stores.read("index_members", session, columns=["index"])["index"] for session in sessions)
    return set().union(*(part.unique().to_list() for part in rows)) or {EVERY_INDEX}


def refusals(file: ReferenceRows, faults: pl.DataFrame) -> list[Refused]:
    """One refusal for each book of a file that is not taken, by the first fault of its rows."""
    bad = file.with_faults(faults).filter(pl.col("reason_code") != "FPM-IN-179").sort("row")
    reasons = bad.unique(BOOK, keep="first", maintain_order=True)
    return [
        Refused(file.path, _refused(index, session, code, reason))
        for index, session, code, reason in reasons.select("index", "session", "reason_code", "reason").iter_rows()
    ]


def _refused(index: str | None, session: date | None, code: str, reason: str) -> InputRefused:
    return InputRefused(
        code=code,
        wrong=f"the book of {index} at {session}: {reason}",
        effect="the book is refused whole, the one before is kept",
        todo="give one book an index and session: every symbol once, whole shares of at least 0, one amount of cash",
    )


def receive(files: Sequence[ReferenceRows], arrival: Arrival, stores: Stores, report: IngestReport) -> None:
    """Publish the books of the custodian's files; one that is refused is named, and the one before stays."""
    for file, faults in checked(files, stores):
        refused = refusals(file, faults)
        report.add_refused(refused)
        for each in refused:
            keep_refusal(stores.settings.quarantine, each.path, each.digest, each.refusal)
            log.error("a book is refused, the one before is kept", reason=str(each.refusal))
        report.add_refused_rows(NAME, faults.height)
        keep_rows(stores.settings.quarantine, NAME, file.with_faults(faults), file.sha256)
        sessions = take(file, faults, arrival.known_at, arrival.first_published, stores, stated=arrival.stated)
        report.sessions.update(sessions)


def take(
    file: ReferenceRows,
    faults: pl.DataFrame,
    known_at: datetime,
    first_published: date | None,
    stores: Stores,
    *,
    stated: bool,
) -> list[date]:
    """Publish the books of one file without those of `faults`; returns the sessions that changed.

    A book's first copy follows the rule of first copies (`fpm.first_copies`), a later one replaces it from its arrival.
    A moment in the file's column known_at is a statement.
    """
    good = file.frame.join(faults, on="row", how="anti", maintain_order="left")
    written = []
    for (session,), books in sorted(good.partition_by("session", as_dict=True, maintain_order=True).items()):
        if _publish(session, books, known_at, first_published, stores, stated=stated):
            written.append(session)
    if faults.is_empty() and file.quarantined.is_empty() and good.height:
        keep_receipt(NAME, file.path, file.sha256, written, stores)
    return written


def _publish(
    session: date,
    books: pl.DataFrame,
    arrival: datetime,
    first_published: date | None,
    stores: Stores,
    *,
    stated: bool,
) -> bool:
    """Publish the books of one session; False where they say what was known."""
    partition, limit = Partition(NAME, session), cut_off(stores.market, session)
    with ownership(partition, stores):
        files = stores.lake.files(NAME, session, session)
        before = stores.lake.decode(files[0][1]) if files else None
        frame, notes = before, set()
        for (index,), book in sorted(books.partition_by("index", as_dict=True).items()):
            own = book["known_at"].max()
            moment: datetime = own if own is not None else arrival  # type: ignore[assignment]  # polars types max loosely
            rule = rule_of(session, first_published, stated=stated or own is not None)
            is_first = frame is None or frame.filter(pl.col("index") == index).is_empty()
            since = known_from(rule, limit, moment) if is_first else max(limit, moment)
            frame = _revised(frame, str(index), book.select(*CUSTODY.columns), since, session, stores)
            notes |= {NOTES[rule]} if is_first else set()
        if frame is None or (before is not None and frame.equals(before)):
            return False
        with attempt(partition, "", stores) as this_attempt:
            for note in sorted(notes):
                stores.ledger.note(this_attempt, note)
            publish(partition, this_attempt, stage(partition, [Output(NAME, session, None, frame)], stores), stores)
    return True


def _revised(
    stored: pl.DataFrame | None, index: str, book: pl.DataFrame, moment: datetime, session: date, stores: Stores
) -> pl.DataFrame:
    """All versions of a session's books with one more; what the custodian no longer names is withdrawn."""
    rows = book
    if stored is not None:
        former = latest(CUSTODY, stored, moment).filter(pl.col("index") == index).drop_nulls("shares")
        rows = pl.concat([book, withdrawn(CUSTODY, former.select(*CUSTODY.columns), book)])
    incoming = rows.with_columns(event_timestamp=instant(close(stores.market, session)))
    return revise(stored, incoming, CUSTODY.keys, moment, moment)
