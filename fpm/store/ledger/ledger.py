"""The ledger: who computed which partition, when, from what, with which result; and the locks that keep writers apart.

It is the outbox of the lake: a partition is visible to its dependants once its row says ``published``. Wall-clock time
lives here and nowhere else.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, LiteralString

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from fpm.environment import environment_fingerprint
from fpm.errors import TryLater, UsageError
from fpm.store.lake.files import LakeFile, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Status = Literal["running", "prepared", "published", "failed", "waiting"]
Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Staged:
    """One file of an attempt: the lake file it becomes, and where it lies until then (below the staging folder)."""

    file: LakeFile
    staging: str


@dataclass(frozen=True)
class Attempt:
    """One row: the n-th attempt of a job at a partition (`session` or `vintage/session`)."""

    job: str
    partition: str
    attempt: int
    status: Status
    inputs_sha: str
    files: tuple[Staged, ...] = ()
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True)
class Publication:
    """One complete session made visible online: which views, from which attempt, model and vintage."""

    session: date
    views: tuple[str, ...]
    attempt: int
    sha256: str
    vintage: str | None = None
    model: str | None = None
    replaces: int | None = None  # id of the publication of the same session that this one corrects


class Ledger:
    """The ledger's tables over a pool of connections that survives a restart of the server."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            dsn,
            min_size=0,
            max_size=8,
            timeout=30,
            open=True,
            check=ConnectionPool.check_connection,
            kwargs={"autocommit": False, "application_name": "fpm"},
        )

    def __repr__(self) -> str:
        return "Ledger()"  # the connection string holds a password

    def close(self) -> None:
        """Give all connections back to the server."""
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside one transaction: committed at the end, rolled back by an exception."""
        try:
            with self._pool.connection() as connection:
                yield connection
        except psycopg.OperationalError as wrong:
            raise _unanswered(wrong) from wrong

    def query(self, sql: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        with self.transaction() as connection:
            return connection.execute(sql, parameters).fetchall()

    def execute(self, sql: LiteralString, parameters: Sequence[object] = ()) -> int:
        """Number of rows one statement touched."""
        with self.transaction() as connection:
            return connection.execute(sql, parameters).rowcount

    # --- locks ------------------------------------------------------------------------------------
    @contextmanager
    def lock(self, job: str, partition: str) -> Iterator[Connection]:
        """Hold (job, partition) alone; waits for its owner, also for a dead one whose server process lives on.

        The lock has a connection of its own and ends with it, so a killed owner never leaves it behind.
        """
        try:
            connection = psycopg.connect(self._dsn, autocommit=True, application_name=f"fpm {job} {partition}"[:63])
        except psycopg.OperationalError as wrong:
            raise _unanswered(wrong) from wrong
        with connection:
            connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"{job}/{partition}",))
            yield connection

    # --- attempts ---------------------------------------------------------------------------------
    def latest(self, job: str, partition: str, *statuses: Status) -> Attempt | None:
        """The last attempt at a partition (with one of `statuses`, if any are named)."""
        rows = self.query(
            _ATTEMPT + "WHERE job = %s AND partition = %s AND (%s OR status = ANY(%s)) ORDER BY attempt DESC LIMIT 1",
            (job, partition, not statuses, list(statuses)),
        )
        return _attempt(rows[0]) if rows else None

    def published_attempts(self, job: str, partitions: Sequence[str]) -> dict[str, Attempt]:
        """The last published attempt of each partition that has one."""
        rows = self.query(
            "SELECT DISTINCT ON (partition) "
            + _ATTEMPT.removeprefix("SELECT ")
            + "WHERE job = %s AND partition = ANY(%s) AND status = 'published' ORDER BY partition, attempt DESC",
            (job, list(partitions)),
        )
        return {attempt.partition: attempt for attempt in map(_attempt, rows)}

    def published(self, job: str) -> set[date]:
        """Sessions for which a job has published, under any vintage."""
        rows = self.query("SELECT DISTINCT partition FROM fpm.ledger WHERE job = %s AND status = 'published'", (job,))
        return {date.fromisoformat(str(partition)[-10:]) for (partition,) in rows}

    def rows(self, session: date | None = None) -> list[dict[str, Any]]:
        """What ran and what is red: the last attempt of each job at each partition (or those of one session)."""
        found = self.query(
            "SELECT DISTINCT ON (job, partition) job, partition, attempt, status, error, note, "
            "started_at, finished_at, environment, "
            "(SELECT coalesce(sum((file ->> 'rows')::bigint), 0) FROM jsonb_array_elements(files) AS file) "
            "FROM fpm.ledger WHERE %s::text IS NULL OR right(partition, 10) = %s ORDER BY job, partition, attempt DESC",
            (session and session.isoformat(), session and session.isoformat()),
        )
        names = (
            *("job", "partition", "attempt", "status", "error", "note"),
            *("started_at", "finished_at", "environment", "rows"),
        )
        return [dict(zip(names, row, strict=True)) for row in found]

    def begin(self, job: str, partition: str, inputs_sha: str) -> Attempt:
        """A new attempt, ``running``. The caller holds the lock, so one that still looks alive is dead."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE fpm.ledger SET status = 'failed', error = 'interrupted', finished_at = clock_timestamp() "
                "WHERE job = %s AND partition = %s AND status IN ('running', 'prepared')",
                (job, partition),
            )
            (number,) = _one(
                connection.execute(
                    "INSERT INTO fpm.ledger (job, partition, attempt, status, inputs_sha, environment) "
                    "SELECT %s, %s, coalesce(max(attempt), 0) + 1, 'running', %s, %s FROM fpm.ledger "
                    "WHERE job = %s AND partition = %s RETURNING attempt",
                    (job, partition, inputs_sha, environment_fingerprint(), job, partition),
                ).fetchone()
            )
        return Attempt(job, partition, int(number), "running", inputs_sha)

    def prepare(self, attempt: Attempt, files: Iterable[Staged]) -> None:
        """``prepared``: every staged file is on the disk and named here; from now on recovery finishes it."""
        documents = Jsonb([_document(each) for each in files])
        with self.transaction() as connection:
            self._advance(connection, attempt, "UPDATE fpm.ledger SET status = 'prepared', files = %s", (documents,))

    def publish(self, attempt: Attempt, files: Sequence[Staged]) -> None:
        """``published``: the files are in the lake; their hashes become the current ones. One transaction."""
        knowledge = sorted({moment for each in files for moment in each.file.knowledge})
        with self.transaction() as connection:
            for each in files:
                table, vintage, session = parse(each.file.path)
                connection.execute(
                    _CURRENT,
                    {
                        **asdict(each.file),
                        "knowledge": list(each.file.knowledge),
                        "table": table,
                        "vintage": vintage,
                        "session": session,
                        "job": attempt.job,
                        "partition": attempt.partition,
                        "attempt": attempt.attempt,
                    },
                )
            self._advance(
                connection,
                attempt,
                "UPDATE fpm.ledger SET status = 'published', files = %s, knowledge = %s, "
                "finished_at = clock_timestamp()",
                (Jsonb([_document(each) for each in files]), knowledge),
            )

    def fail(self, attempt: Attempt, status: Status, message: str, *, prepared: bool = False) -> bool:
        """``failed`` or ``waiting``, with the reason; False, and nothing changed, where the attempt is past that.

        A prepared attempt is only given up (`prepared`) by recovery, when its files are not there.
        """
        touched = self.execute(
            "UPDATE fpm.ledger SET status = %s, error = %s, finished_at = clock_timestamp() "
            "WHERE job = %s AND partition = %s AND attempt = %s AND (status = 'running' OR %s AND status = 'prepared')",
            (status, message, attempt.job, attempt.partition, attempt.attempt, prepared),
        )
        return touched == 1

    def note(self, attempt: Attempt, words: str) -> None:
        """Say a word about an attempt that is no error: `fpm status` shows it."""
        self.execute(
            "UPDATE fpm.ledger SET note = %s WHERE job = %s AND partition = %s AND attempt = %s",
            (words, attempt.job, attempt.partition, attempt.attempt),
        )

    def wait(self, job: str, partition: str, reason: str) -> None:
        """Note that a partition waits for inputs; repeated waiting for the same reason adds no row."""
        last = self.latest(job, partition)
        if last is None or last.status != "waiting" or last.error != reason:
            self.fail(self.begin(job, partition, ""), "waiting", reason)

    def _advance(
        self, connection: Connection, attempt: Attempt, update: LiteralString, values: Sequence[object]
    ) -> None:
        """Run an update on the attempt's row while it is still the last one and alive; otherwise raise TryLater."""
        touched = connection.execute(
            update + " WHERE job = %s AND partition = %s AND attempt = %s AND status IN ('running', 'prepared')",
            (*values, attempt.job, attempt.partition, attempt.attempt),
        ).rowcount
        if touched != 1:
            raise TryLater(
                code="FPM-JOB-076",
                wrong=f"attempt {attempt.attempt} at {attempt.job} {attempt.partition} has lost its lock",
                effect="its result was thrown away",
                todo="nothing: the newer attempt has taken over",
            )

    # --- what is in the lake ------------------------------------------------------------------------
    def current(
        self, tables: Sequence[str], first: date | None = None, last: date | None = None
    ) -> dict[str, LakeFile]:
        """Published files of the tables by their path in the lake: all, or those of sessions `first` to `last`."""
        rows = self.query(
            'SELECT path, sha256, rows, knowledge FROM fpm.files WHERE "table" = ANY(%s) AND session BETWEEN %s AND %s',
            (list(tables), first or date.min, last or date.max),
        )
        return {row[0]: LakeFile(row[0], row[1], row[2], tuple(row[3])) for row in rows}

    def first_sessions(self, tables: Sequence[str]) -> dict[tuple[str, str | None], date]:
        """First published session of each (table, vintage); of a table with vintages also of (table, None), any."""
        rows = self.query(
            'SELECT "table", vintage, min(session) FROM fpm.files WHERE "table" = ANY(%s) '
            'GROUP BY GROUPING SETS (("table", vintage), ("table"))',
            (list(tables),),
        )
        return {(table, vintage): session for table, vintage, session in rows}

    # --- publications and deployment -----------------------------------------------------------------
    def record_publication(self, connection: Connection, publication: Publication) -> int:
        """Add a publication row inside the caller's transaction; returns its id."""
        values = asdict(publication) | {"views": list(publication.views)}
        (number,) = _one(
            connection.execute(
                "INSERT INTO fpm.publications (session, views, attempt, sha256, vintage, model, replaces) "
                "VALUES (%(session)s, %(views)s, %(attempt)s, %(sha256)s, %(vintage)s, %(model)s, %(replaces)s) "
                "RETURNING id",
                values,
            ).fetchone()
        )
        return int(number)

    def publications(self, session: date | None = None) -> list[tuple[int, Publication]]:
        """Publications with their ids, newest first: all, or one session's."""
        rows = self.query(
            "SELECT id, session, views, attempt, sha256, vintage, model, replaces FROM fpm.publications "
            "WHERE %s::date IS NULL OR session = %s ORDER BY id DESC",
            (session, session),
        )
        return [(row[0], Publication(row[1], tuple(row[2]), *row[3:])) for row in rows]

    def deployment(self) -> Mapping[str, str]:
        """What this deployment has decided once: market, preset, profile, …"""
        return {str(key): str(value) for key, value in self.query("SELECT key, value FROM fpm.deployment")}

    def decide(self, key: str, value: str) -> None:
        """Remember a decision. Raises UsageError where another value was decided before."""
        self.execute("INSERT INTO fpm.deployment (key, value) VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, value))
        decided = self.deployment()[key]
        if decided != value:
            raise UsageError(
                code="FPM-CFG-010",
                wrong=f"{key} {value!r} asked for, this home was made with {decided!r}",
                effect="nothing was done",
                todo=f"leave {key} out, or set FPM_HOME to another folder for another {key}",
            )


_ATTEMPT: LiteralString = (
    "SELECT job, partition, attempt, status, inputs_sha, files, error, started_at, finished_at FROM fpm.ledger "
)
_CURRENT: LiteralString = """
INSERT INTO fpm.files (path, "table", vintage, session, sha256, rows, knowledge, job, partition, attempt)
VALUES (%(path)s, %(table)s, %(vintage)s, %(session)s, %(sha256)s, %(rows)s, %(knowledge)s,
    %(job)s, %(partition)s, %(attempt)s)
ON CONFLICT (path) DO UPDATE SET sha256 = excluded.sha256, rows = excluded.rows, knowledge = excluded.knowledge,
    job = excluded.job, partition = excluded.partition, attempt = excluded.attempt
"""


def _unanswered(wrong: Exception) -> TryLater:
    return TryLater(
        code="FPM-PG-075",
        wrong=f"the database did not answer: {wrong}",
        effect="the transaction was rolled back",
        todo="see that Postgres runs (`fpm setup`), then run the same command again",
    )


def _one(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert row is not None, "INSERT … RETURNING gives a row"
    return row


def _document(staged: Staged) -> dict[str, Any]:
    moments = [moment.isoformat() for moment in staged.file.knowledge]
    return asdict(staged.file) | {"knowledge": moments, "staging": staged.staging}


def _attempt(row: tuple[Any, ...]) -> Attempt:
    files = tuple(
        Staged(
            LakeFile(each["path"], each["sha256"], each["rows"], tuple(map(datetime.fromisoformat, each["knowledge"]))),
            each["staging"],
        )
        for each in row[5]
    )
    job, partition, number, status, inputs_sha, _, error, started_at, finished_at = row
    return Attempt(job, partition, number, status, inputs_sha, files, error, started_at, finished_at)
