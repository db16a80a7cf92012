"""The ledger: which job computed which partition, when, from what, with which result; and the locks between writers.

It is the outbox of the lake: other jobs see a partition once its row says ``published``. Wall-clock time is stored
here and nowhere else.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from fpm.environment import environment_fingerprint
from fpm.errors import TryLater, UsageError
from fpm.store.addresses import hidden, sealed, secrets_of
from fpm.store.lake.files import LakeFile, parse
from fpm.store.world import PATIENCE, Connection, world

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Status = Literal["running", "prepared", "published", "failed", "waiting"]


@dataclass(frozen=True)
class Staged:
    """One file of an attempt: the lake file that it becomes, and its path below the staging folder until then."""

    file: LakeFile
    staging: str


@dataclass(frozen=True)
class Attempt:
    """One row: attempt number `attempt` of a job at a partition (`session` or `vintage/session`)."""

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
    """One complete session online: its views, and the attempt, model and vintage that they come from."""

    session: date
    views: tuple[str, ...]
    attempt: int
    sha256: str
    vintage: str | None = None
    model: str | None = None
    replaces: int | None = None  # id of the session's publication that this one corrects


class Ledger:
    """The ledger's tables, through connections that survive a restart; after `patience` seconds a server is away."""

    def __init__(self, dsn: str, patience: float = PATIENCE) -> None:
        self._dsn = dsn
        self._pool = world().connections(dsn, patience)

    def __repr__(self) -> str:
        return "Ledger()"  # the connection string holds a password

    def _shown(self, text: str) -> str:
        """A text for others to read, without the database's password."""
        return hidden(text, secrets_of(self._dsn))

    def close(self) -> None:
        """Give all connections back to the server."""
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside one transaction, rolled back by an exception. Raises TryLater where none answers."""
        with self._connection(autocommit=False) as connection:
            yield connection

    @contextmanager
    def _connection(self, *, autocommit: bool) -> Iterator[Connection]:
        try:
            with self._pool.connection() as connection:
                connection.autocommit = autocommit
                yield connection
        except psycopg.OperationalError as wrong:
            raise _unanswered(self._shown(str(wrong))) from sealed(wrong)

    def query(self, sql: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that one statement returns. It is its own transaction: one round trip instead of three."""
        with self._connection(autocommit=True) as connection:
            return connection.execute(sql, parameters).fetchall()

    def execute(self, sql: LiteralString, parameters: Sequence[object] = ()) -> int:
        """Number of rows that one statement changed."""
        with self._connection(autocommit=True) as connection:
            return connection.execute(sql, parameters).rowcount

    # --- locks ------------------------------------------------------------------------------------
    @contextmanager
    def lock(self, job: str, partition: str) -> Iterator[Connection]:
        """The lock on (job, partition), once its owner releases it; a dead one does when its server process ends.

        It belongs to a connection of its own. Raises TryLater where the database does not answer, or stops to.
        """
        with ExitStack() as stack:
            try:
                own = world().connect(self._dsn, autocommit=True, application_name=f"fpm {job} {partition}"[:63])
                line = stack.enter_context(own)
                line.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"{job}/{partition}",))
            except psycopg.OperationalError as wrong:
                raise _unanswered(self._shown(str(wrong))) from sealed(wrong)
            yield line

    def is_owned(self, job: str, partition: str) -> bool:
        """Whether a living process holds the lock on (job, partition)."""
        ((free,),) = self.query("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"{job}/{partition}",))
        return not free

    # --- attempts ---------------------------------------------------------------------------------
    def last_attempts(self, job: str, partitions: Sequence[str]) -> list[Attempt]:
        """The last attempt with each status at each of the partitions, oldest first, by one question."""
        rows = self.query(
            "SELECT DISTINCT ON (partition, status) " + _ATTEMPT.removeprefix("SELECT ") + "WHERE job = %s AND "
            "partition = ANY(%s) ORDER BY partition, status, attempt DESC",
            (job, list(partitions)),
        )
        return sorted(map(_attempt, rows), key=lambda attempt: attempt.attempt)

    def latest_of_each(self, job: str, partitions: Sequence[str], *statuses: Status) -> dict[str, Attempt]:
        """The last attempt at each partition, of those with one of `statuses` if there are any."""
        attempts = self.last_attempts(job, partitions)
        return {each.partition: each for each in attempts if not statuses or each.status in statuses}

    def latest(self, job: str, partition: str, *statuses: Status) -> Attempt | None:
        """`latest_of_each` of one partition."""
        return self.latest_of_each(job, [partition], *statuses).get(partition)

    def published(self, job: str) -> set[date]:
        """Sessions for which a job has published, under any vintage."""
        rows = self.query("SELECT DISTINCT partition FROM fpm.ledger WHERE job = %s AND status = 'published'", (job,))
        return {date.fromisoformat(str(partition)[-10:]) for (partition,) in rows}

    def first_published(self, job: str) -> tuple[date, datetime] | None:
        """The session that a job published before any other, and when it did; None where it published nothing."""
        rows = self.query(
            "SELECT partition, finished_at FROM fpm.ledger WHERE job = %s AND status = 'published' "
            "ORDER BY finished_at LIMIT 1",
            (job,),
        )
        return (date.fromisoformat(str(rows[0][0])[-10:]), rows[0][1]) if rows else None

    def first_files(self, job: str) -> list[tuple[LakeFile, datetime, str | None]]:
        """The first published file of each path that a job wrote, when its attempt began, and the attempt's note."""
        rows = self.query(
            "SELECT DISTINCT ON (path) path, file ->> 'sha256', (file ->> 'rows')::bigint, "
            "ARRAY(SELECT jsonb_array_elements_text(file -> 'knowledge'))::timestamptz[], started_at, note "
            "FROM fpm.ledger, jsonb_array_elements(files) AS file, LATERAL (SELECT file ->> 'path' AS path) AS named "
            "WHERE job = %s AND status = 'published' ORDER BY path, attempt",
            (job,),
        )
        return [(LakeFile(row[0], row[1], row[2], tuple(row[3])), row[4], row[5]) for row in rows]

    def rows(self, session: date | None = None) -> list[dict[str, Any]]:
        """The last attempt of each job at each partition, or at those of one session: what ran and what is red."""
        rows = self.query(
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
        return [dict(zip(names, row, strict=True)) for row in rows]

    def begin(self, job: str, partition: str, inputs_sha: str) -> Attempt:
        """A new attempt, ``running``, in the environment of this process.

        The caller holds the lock, so an older attempt that looks alive is dead and becomes ``failed``.
        """
        with self.transaction() as connection:
            connection.execute(
                "UPDATE fpm.ledger SET status = 'failed', error = 'interrupted', finished_at = clock_timestamp() "
                "WHERE job = %s AND partition = %s AND status IN ('running', 'prepared')",
                (job, partition),
            )
            number, started_at = _one(
                connection.execute(
                    "INSERT INTO fpm.ledger (job, partition, attempt, status, inputs_sha, environment) "
                    "SELECT %s, %s, coalesce(max(attempt), 0) + 1, 'running', %s, %s FROM fpm.ledger "
                    "WHERE job = %s AND partition = %s RETURNING attempt, started_at",
                    (job, partition, inputs_sha, environment_fingerprint(), job, partition),
                ).fetchone()
            )
        return Attempt(job, partition, int(number), "running", inputs_sha, started_at=started_at)

    def prepare(self, attempt: Attempt, files: Iterable[Staged]) -> None:
        """Set ``prepared``: every staged file is on the disk and listed here, so recovery can finish the attempt.

        Raises TryLater where a newer attempt has taken over.
        """
        documents = Jsonb([_document(staged) for staged in files])
        with self.transaction() as connection:
            self._advance(connection, attempt, "UPDATE fpm.ledger SET status = 'prepared', files = %s", (documents,))

    def publish(
        self, attempt: Attempt, files: Sequence[Staged], identities: Mapping[str, str | None] | None = None
    ) -> None:
        """Set ``published``: the files are in the lake, and their hashes become the current ones, in one transaction.

        `identities` (`fpm.store.lake.seals`) are those of the files that were put into the lake, by path; a file that
        was there already keeps the one that it has. Raises TryLater where a newer attempt has taken over.
        """
        knowledge = sorted({moment for staged in files for moment in staged.file.knowledge})
        with self.transaction() as connection:
            for staged in files:
                table, vintage, session = parse(staged.file.path)
                connection.execute(
                    _CURRENT,
                    {
                        **asdict(staged.file),
                        "identity": (identities or {}).get(staged.file.path),
                        "knowledge": list(staged.file.knowledge),
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
                (Jsonb([_document(staged) for staged in files]), knowledge),
            )

    def fail(self, attempt: Attempt, status: Status, message: str, *, prepared: bool = False) -> bool:
        """Set ``failed`` or ``waiting`` with its reason; False, with nothing changed, where it is too late for that.

        Only recovery gives up a prepared attempt (`prepared`), when its files are gone.
        """
        touched = self.execute(
            "UPDATE fpm.ledger SET status = %s, error = %s, finished_at = clock_timestamp() "
            "WHERE job = %s AND partition = %s AND attempt = %s AND (status = 'running' OR %s AND status = 'prepared')",
            (status, self._shown(message), attempt.job, attempt.partition, attempt.attempt, prepared),
        )
        return touched == 1

    def note(self, attempt: Attempt, words: str) -> None:
        """Add a remark to an attempt that is no error; `fpm status` shows it."""
        self.execute(
            "UPDATE fpm.ledger SET note = %s WHERE job = %s AND partition = %s AND attempt = %s",
            (self._shown(words), attempt.job, attempt.partition, attempt.attempt),
        )

    def wait(self, job: str, partition: str, reason: str) -> None:
        """Record that a partition waits for inputs; waiting again for the same reason adds no row."""
        last = self.latest(job, partition)
        if last is None or last.status != "waiting" or last.error != reason:
            self.fail(self.begin(job, partition, ""), "waiting", reason)

    def _advance(
        self, connection: Connection, attempt: Attempt, update: LiteralString, values: Sequence[object]
    ) -> None:
        """Run an update on the attempt's row. Raises TryLater where the attempt is no longer alive."""
        touched = connection.execute(
            update + " WHERE job = %s AND partition = %s AND attempt = %s AND status IN ('running', 'prepared')",
            (*values, attempt.job, attempt.partition, attempt.attempt),
        ).rowcount
        if touched != 1:
            raise superseded(attempt)

    # --- what is in the lake ------------------------------------------------------------------------
    def current(
        self, tables: Sequence[str], first: date | None = None, last: date | None = None
    ) -> dict[str, LakeFile]:
        """Published files of the tables by their path in the lake, of all sessions or of `first` to `last`."""
        rows = self.query(
            'SELECT path, sha256, rows, knowledge FROM fpm.files WHERE "table" = ANY(%s) AND session BETWEEN %s AND %s',
            (list(tables), first or date.min, last or date.max),
        )
        return {row[0]: LakeFile(row[0], row[1], row[2], tuple(row[3])) for row in rows}

    def first_sessions(self, tables: Sequence[str]) -> dict[tuple[str, str | None], date]:
        """First published session of each (table, vintage), and of each (table, None) over all its vintages."""
        rows = self.query(
            'SELECT "table", vintage, min(session) FROM fpm.files WHERE "table" = ANY(%s) '
            'GROUP BY GROUPING SETS (("table", vintage), ("table"))',
            (list(tables),),
        )
        return {(table, vintage): session for table, vintage, session in rows}

    def beside(self, session: date) -> Sequence[date]:
        """The sessions to ask for where one is: a remembered ledger asks for all that follow, too."""
        return [session]

    # --- publications and deployment -----------------------------------------------------------------
    def record_publication(self, connection: Connection, publication: Publication) -> int:
        """Add a publication inside the caller's transaction; returns its id."""
        values = asdict(publication) | {"views": list(publication.views)}
        cursor = connection.execute(
            "INSERT INTO fpm.publications (session, views, attempt, sha256, vintage, model, replaces) VALUES "
            "(%(session)s, %(views)s, %(attempt)s, %(sha256)s, %(vintage)s, %(model)s, %(replaces)s) RETURNING id",
            values,
        )
        return int(_one(cursor.fetchone())[0])

    def publications(self, session: date | None = None) -> list[tuple[int, Publication]]:
        """Publications with their ids, newest first: all, or one session's."""
        rows = self.query(
            "SELECT id, session, views, attempt, sha256, vintage, model, replaces FROM fpm.publications "
            "WHERE %s::date IS NULL OR session = %s ORDER BY id DESC",
            (session, session),
        )
        return [(row[0], Publication(row[1], tuple(row[2]), *row[3:])) for row in rows]

    def deployment(self) -> Mapping[str, str]:
        """The decisions that this deployment made once, by name: market, preset, profile and others."""
        return {str(key): str(value) for key, value in self.query("SELECT key, value FROM fpm.deployment")}

    def decide(self, key: str, value: str) -> None:
        """Record a decision. Raises UsageError where another value was decided before."""
        self.execute("INSERT INTO fpm.deployment (key, value) VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, value))
        if (decided := self.deployment()[key]) != value:
            raise UsageError(
                code="FPM-CFG-010",
                wrong=f"{key} is {value!r} here, but this home was made with {decided!r}",
                effect="nothing was done",
                todo=f"leave {key} out, or set FPM_HOME to another folder for another {key}",
            )


_ATTEMPT: LiteralString = (
    "SELECT job, partition, attempt, status, inputs_sha, files, error, started_at, finished_at FROM fpm.ledger "
)
_CURRENT: LiteralString = """
INSERT INTO fpm.files AS old (path, "table", vintage, session, sha256, rows, knowledge, job, partition, attempt,
    identity)
VALUES (%(path)s, %(table)s, %(vintage)s, %(session)s, %(sha256)s, %(rows)s, %(knowledge)s,
    %(job)s, %(partition)s, %(attempt)s, %(identity)s)
ON CONFLICT (path) DO UPDATE SET sha256 = excluded.sha256, rows = excluded.rows, knowledge = excluded.knowledge,
    job = excluded.job, partition = excluded.partition, attempt = excluded.attempt,
    identity = coalesce(excluded.identity, CASE WHEN old.sha256 = excluded.sha256 THEN old.identity END)
"""


def superseded(attempt: Attempt) -> TryLater:
    """The refusal of an attempt whose lock another runner has taken."""
    return TryLater(
        code="FPM-JOB-076",
        wrong=f"attempt {attempt.attempt} at {attempt.job} {attempt.partition} has lost its lock",
        effect="its result was thrown away",
        todo="nothing: the newer attempt has taken over",
    )


def _unanswered(wrong: str) -> TryLater:
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
            LakeFile(file["path"], file["sha256"], file["rows"], tuple(map(datetime.fromisoformat, file["knowledge"]))),
            file["staging"],
        )
        for file in row[5]
    )
    job, partition, number, status, inputs_sha, _, error, started_at, finished_at = row
    return Attempt(job, partition, number, status, inputs_sha, files, error, started_at, finished_at)
