"""The real Postgres behind connections that a seed refuses, cuts before or after COMMIT, or keeps alive without client.

A `Line` is a real connection, lent to one `Client` after the other, so that a new client costs nothing. Where a
statement waits for another client's lock, the turn goes to another actor.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg_pool import PoolTimeout

Here = Callable[[str], None]  # a point at which a turn may end and a fault may come


class Line(psycopg.Connection):
    """A real connection. `client` hears of every round trip; `stuck` is called while a lock is held by another."""

    client: Client | None = None
    waits_for_none = False  # the statement takes no lock that another may hold: psycopg's own loop is faster
    keeps_locks = False  # it was lent for locks that outlive a transaction
    is_free = False  # then only the unwinding code of a dead client may touch it
    stuck: Callable[[int], bool]

    def wait(self, gen: Generator[Any, Any, Any], interval: float = 0.0, timeout: float | None = None) -> Any:
        if self.is_free:
            gen.close()
            raise psycopg.OperationalError("the connection is closed")
        if self.client is not None:
            try:
                self.client.round_trip()
            except BaseException:
                gen.close()
                raise
        if self.waits_for_none:
            return super().wait(gen)
        handle = self.pgconn.socket
        try:
            state = next(gen)
            while True:
                reads, writes, _ = select.select([handle] if state & 1 else [], [handle] if state & 2 else [], [], 0.02)
                if not reads and not writes:
                    while self.stuck(self.pgconn.backend_pid):
                        pass
                    continue
                state = gen.send((1 if reads else 0) | (2 if writes else 0))
        except StopIteration as end:
            return end.value


class Server:
    """Real connections by address, and one more that watches."""

    def __init__(self, dsn: str) -> None:
        self.watch = psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=300s")
        self._free: dict[str, list[Line]] = {}

    def line(self, dsn: str, autocommit: bool | None, stuck: Callable[[int], bool]) -> Line:
        free = self._free.setdefault(dsn, [])
        line = free.pop() if free else Line.connect(dsn, application_name="simulation")
        line.stuck, line.is_free = stuck, False
        line.keeps_locks = bool(autocommit)
        if autocommit is not None and line.autocommit is not autocommit:
            line.autocommit = autocommit
        return line

    def give_back(self, dsn: str, line: Line) -> None:
        """End its transaction and its locks, as the end of a session does."""
        line.client = None
        is_idle = line.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if not is_idle or line.lock.locked():  # psycopg's state is a dead client's, who may be about to send
            self.watch.execute("SELECT pg_terminate_backend(%s, 5000)", (line.pgconn.backend_pid,))
            line.close()
            return
        if line.keeps_locks:
            line.execute("SELECT pg_advisory_unlock_all()")
        line.is_free = True
        self._free[dsn].append(line)

    def is_blocked(self, process: int) -> bool:
        row = self.watch.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (process,)).fetchone()
        return bool(row and row[0])

    def close(self) -> None:
        for line in (line for lines in self._free.values() for line in lines):
            line.close()
        self.watch.close()


class Client:
    """What the store holds of a connection: `here` may cut it at every round trip and around COMMIT."""

    def __init__(self, line: Line, here: Here, end: Callable[[Client], None]) -> None:
        self.line, self._here, self._end = line, here, end
        self.lost = self._writes = False
        line.client = self

    def round_trip(self) -> None:
        if self.lost:
            raise psycopg.OperationalError("the connection is closed")
        self._here("query")

    def execute(self, query: Any, *values: Any) -> Any:
        only_reads = isinstance(query, str) and query.lstrip().startswith("SELECT")
        self._writes |= not only_reads
        line = self._alive()
        line.waits_for_none = only_reads and "_lock" not in query and "FOR UPDATE" not in query
        alone = line.autocommit and not only_reads  # the statement commits itself
        try:
            if alone:
                self._here("commit")
            answer = line.execute(query, *values)
            if alone:
                self._here("committed")
                self._writes = False
            return answer
        finally:
            line.waits_for_none = False

    @property
    def autocommit(self) -> bool:
        return self._alive().autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        line = self._alive()
        if line.autocommit is not value:
            line.client = None  # psycopg asks the server nothing
            line.autocommit = value
            line.client = self

    def cursor(self, **options: Any) -> Any:
        self._writes |= not options  # the store reads by a binary cursor
        return self._alive().cursor(**options)

    def transaction(self) -> Any:
        return self._alive().transaction()

    def _alive(self) -> Line:
        if self.lost:
            raise psycopg.OperationalError("the connection is closed")
        return self.line

    def commit(self) -> None:
        line = self._alive()
        if line.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            return
        if self._writes:
            self._here("commit")
        line.client = None
        line.commit()
        line.client = self
        if self._writes:
            self._here("committed")
        self._writes = False

    def rollback(self) -> None:
        if not self.lost:
            self.line.client = None
            self.line.rollback()
            self.line.client = self

    def close(self) -> None:
        self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()
        self.close()


class Pool:
    """psycopg's pool, as the ledger sees it."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect

    @contextmanager
    def connection(self) -> Iterator[Client]:
        try:
            client = self._connect()
        except psycopg.OperationalError as refusal:
            raise PoolTimeout("couldn't get a connection after 10.00 sec") from refusal
        with client:
            yield client

    def close(self) -> None:
        """Its connections are back already."""
