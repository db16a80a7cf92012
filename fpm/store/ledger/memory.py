"""A ledger that answers each question once: for a reader of many sessions, at one moment of the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

from fpm.schema import TABLES
from fpm.store.lake.files import parse
from fpm.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.store.lake.files import LakeFile
    from fpm.store.ledger.ledger import Attempt
    from fpm.store.ledger.stores import Stores

DAY = len("2026-01-05")  # a partition's name ends with its session


class _Span(NamedTuple):
    """Files of a table from a first to a last session, as far as they were asked for."""

    first: date
    last: date
    files: Sequence[tuple[date, LakeFile]]


class RememberedLedger(Ledger):
    """The same ledger, through the same connections, for somebody who only reads, and not for long.

    `sessions`: those that will be asked for one after the other, in order; they are asked for together.
    """

    def __init__(self, ledger: Ledger, sessions: Sequence[date] = ()) -> None:
        self._dsn, self._pool = ledger._dsn, ledger._pool  # noqa: SLF001  it is the same ledger
        former = ledger._answers if isinstance(ledger, RememberedLedger) else {}  # noqa: SLF001  of the same moment
        self._answers: dict[tuple[str, str], list[tuple[Any, ...]]] = former
        self._sessions, self._last = list(sessions), max(sessions, default=None)
        self._names = [session.isoformat() for session in sessions]
        self._attempts: dict[tuple[str, str], dict[str, list[Attempt]]] = {}
        self._spans: dict[str, _Span] = {}

    def query(self, sql: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that the statement returned when it was first asked."""
        key = (sql, repr(parameters))
        if key not in self._answers:
            self._answers[key] = super().query(sql, parameters)
        return self._answers[key]

    def last_attempts(self, job: str, partitions: Sequence[str]) -> list[Attempt]:
        """As the ledger's; for one of the sessions all of them are asked for."""
        if len(partitions) != 1 or partitions[0][-DAY:] not in self._names:
            return super().last_attempts(job, partitions)
        key = job, partitions[0][:-DAY]
        if key not in self._attempts:
            by_partition: dict[str, list[Attempt]] = {}
            for attempt in super().last_attempts(job, [key[1] + name for name in self._names]):
                by_partition.setdefault(attempt.partition, []).append(attempt)
            self._attempts[key] = by_partition
        return self._attempts[key].get(partitions[0], [])

    def current(
        self, tables: Sequence[str], first: date | None = None, last: date | None = None
    ) -> dict[str, LakeFile]:
        """As the ledger's; up to the last of the sessions a table is asked for once."""
        if first is None or last is None or self._last is None:
            return super().current(tables, first, last)
        self._remember([table for table in tables if not self._has(table, first, last)], first, last)
        spans = [self._spans[table].files for table in tables]
        return {file.path: file for files in spans for session, file in files if first <= session <= last}

    def _has(self, table: str, first: date, last: date) -> bool:
        span = self._spans.get(table)
        return span is not None and span.first <= first and last <= span.last

    def _remember(self, tables: Sequence[str], first: date, last: date) -> None:
        """Ask for tables from the earliest to the latest session that anybody wanted of them or will."""
        if not tables:
            return
        former = [self._spans[table] for table in tables if table in self._spans]
        low = min([first, *(span.first for span in former)])
        high = max([last, self._last or last, *(span.last for span in former)])
        files: dict[str, list[tuple[date, LakeFile]]] = {table: [] for table in tables}
        for path, file in super().current(tables, low, high).items():
            table, _, session = parse(path)
            files[table].append((session, file))
        self._spans |= {table: _Span(low, high, each) for table, each in files.items()}

    def beside(self, session: date) -> Sequence[date]:
        """All the sessions, for one of them."""
        return self._sessions if session in self._sessions else super().beside(session)

    def first_sessions(self, tables: Sequence[str]) -> dict[tuple[str, str | None], date]:
        """As the ledger's; for several sessions all tables are asked for at once."""
        if self._last is None:
            return super().first_sessions(tables)
        return {key: session for key, session in super().first_sessions(list(TABLES)).items() if key[0] in tables}


def remembered(stores: Stores, sessions: Sequence[date] = ()) -> Stores:
    """The same stores for reading, as the ledger is from now on; `sessions`: those that will be asked for."""
    ledger = RememberedLedger(stores.ledger, sessions)
    return replace(stores, ledger=ledger, models=replace(stores.models, ledger=ledger), outputs=[])
