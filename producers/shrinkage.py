"""A daily table, an index or the table `symbols` that lost names since the last one known: stopped, unless accepted.

A vendor's query that ended half-way looks like a smaller market. A review of an index replaces members and loses none,
so counts are compared, not names. Each session is compared with the newest one stored before this delivery: the history
of an empty home is not stopped, and neither is a correction of a few rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.deliveries import Refused
from fpm.ingest.vendor_files import refusal
from fpm.universe import COLUMNS, delisted, shrinks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date, datetime

    from fpm.ingest.daily_files import ReferenceRows
    from fpm.ingest.ingest_report import IngestReport
    from fpm.store.ledger.stores import Stores

DAILY, MEMBERS, SYMBOLS = "daily_bars", "index_members", "symbols"


@dataclass(frozen=True)
class Shrinkage:
    """A list that lost names: what it is, at which session (None: a table without sessions), since when."""

    table: str
    name: str
    session: date | None
    before: int
    after: int
    since: date

    @property
    def words(self) -> str:
        """Both numbers, and the two sessions."""
        when = f" at {self.session}" if self.session else ""
        return (
            f"{self.name}{when}: {self.before} at {self.since} -> {self.after}, {1 - self.after / self.before:.0%} less"
        )


@dataclass(frozen=True)
class Acceptance:
    """Somebody's word that a smaller universe is right: who said so, and when."""

    by: str
    at: datetime

    def words(self, shrinkage: Shrinkage) -> str:
        """For the report and the ledger."""
        return f"universe accepted by {self.by} at {self.at.isoformat(timespec='seconds')}: {shrinkage.words}"


def unshrunken(
    files: Sequence[ReferenceRows], acceptance: Acceptance | None, report: IngestReport, stores: Stores
) -> tuple[list[ReferenceRows], list[Refused]]:
    """The files of one table that may go in, and those stopped; what is accepted is noted by session in the report."""
    losses = shrinkages(files, stores)
    if acceptance is None:
        refused = stopped(files, losses)
        names = {file.path for file in refused}
        return [file for file in files if file.path not in names], refused
    for loss in losses:
        report.accepted.setdefault(loss.session, []).append(acceptance.words(loss))
    return list(files), []


def shrinkages(files: Sequence[ReferenceRows], stores: Stores) -> list[Shrinkage]:
    """What all files of one table together lost of what the home has known, in order."""
    losses = {DAILY: _daily, MEMBERS: _members, SYMBOLS: _symbols}.get(files[0].table) if files else None
    if losses is None:
        return []
    rows = pl.concat([file.frame for file in files], how="diagonal")
    return [loss for loss in losses(rows, stores) if shrinks(loss.before, loss.after)]


def stopped(files: Sequence[ReferenceRows], losses: Sequence[Shrinkage]) -> list[Refused]:
    """The files with rows of a list that shrank, each refused whole with its first loss."""
    answer = []
    for file in files:
        own = [loss for loss in losses if _has(file, loss)]
        if own:
            more = f" (and {len(own) - 1} more)" if len(own) > 1 else ""
            error = refusal(
                file.path,
                code="FPM-IN-184",
                wrong=f"universe shrinks: {own[0].words}{more}",
                todo="give the whole universe in one delivery, or, where it did shrink, say --accept-universe",
            )
            answer.append(Refused(file.path, error))
    return answer


def _has(file: ReferenceRows, loss: Shrinkage) -> bool:
    if loss.session is None:
        return True
    rows = file.frame.filter(pl.col("session") == loss.session)
    return bool(rows.height if loss.table != MEMBERS else rows["index"].eq(loss.name).any())


def _daily(rows: pl.DataFrame, stores: Stores) -> Iterator[Shrinkage]:
    """Sessions that are new to the home, less what was delisted since."""
    stored = stores.sessions(DAILY)
    columns = [name for name in COLUMNS if name in rows.columns]
    for (session,), today in rows.select("session", *columns).partition_by("session", as_dict=True).items():
        position = bisect_left(stored, session)
        if not position or session in stored[position : position + 1]:
            continue
        last = stores.read(DAILY, stored[position - 1], columns=COLUMNS)
        before = set(last["symbol"].to_list()) - delisted(session, today, last)
        yield Shrinkage(DAILY, DAILY, session, len(before), today["symbol"].n_unique(), stored[position - 1])


def _members(rows: pl.DataFrame, stores: Stores) -> Iterator[Shrinkage]:
    """Every index's snapshots, each against its newest one stored at or before that session."""
    stored = stores.sessions(MEMBERS)

    @cache
    def counts(day: date) -> dict[str, int]:
        members = stores.read(MEMBERS, day, columns=["index", "weight"]).filter((pl.col("weight") > 0).fill_null(True))
        return dict(members.group_by("index").len().iter_rows())

    snapshots = rows.group_by("index", "session").agg(pl.col("symbol").n_unique()).sort("index", "session")
    for index, session, after in snapshots.iter_rows():
        earlier = reversed(stored[: bisect_right(stored, session)])
        last = next((day for day in earlier if index in counts(day)), None)
        if last is not None:
            yield Shrinkage(MEMBERS, index, session, counts(last)[index], after, last)


def _symbols(rows: pl.DataFrame, stores: Stores) -> Iterator[Shrinkage]:
    """Snapshots that would replace the newest one."""
    days = stores.sessions(SYMBOLS)
    if not days:
        return
    before = stores.identities()["symbol"].n_unique()
    for (session,), part in rows.partition_by("session", as_dict=True, maintain_order=True).items():
        if session is None or session >= days[-1]:
            yield Shrinkage(SYMBOLS, "symbols", session, before, part["symbol"].n_unique(), days[-1])
