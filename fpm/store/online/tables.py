"""Online tables: schema ``online``, one typed row per entity, readable by plain SQL.

Columns: the join keys (primary key), the values, `event_timestamp`, `created_timestamp`, and `session`, which the
database derives. A write never goes back in time: an older (event, created) pair leaves the row as it is. A frame with
non-finite or future-dated values is refused whole, because a row dated tomorrow would lock out every later one.

Nothing here imports Feast; `fpm.store.online.online_store` connects the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, LiteralString

import polars as pl
from psycopg.sql import SQL, Composed, Identifier

from fpm.errors import InputRefused, UsageError
from fpm.schema import CLOCKS, FINGERPRINT_SIZE, TABLES
from fpm.store.postgres.binary_copy import encode
from fpm.two_clocks import CREATED, EVENT, newest_versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

SCHEMA = "online"
TYPES = {
    "string": "text",
    "float32": "real",
    "float64": "double precision",
    "int16": "integer",
    "int64": "bigint",
    "bool": "boolean",
    "vector": f"vector({FINGERPRINT_SIZE})",
    "date": "timestamptz",  # midnight in UTC, as Feast has it; the serving views show a date
}
FRAME_TYPES: dict[str, Any] = {
    "text": pl.String,
    "real": pl.Float32,
    "double precision": pl.Float64,
    "integer": pl.Int32,
    "bigint": pl.Int64,
    "boolean": pl.Boolean,
    "timestamptz": pl.Datetime("us", "UTC"),
}
STORAGE = "fillfactor = 45"  # the next version of a row fits on the same page: a publication takes a tenth less time
CLOCK_SLACK = timedelta(minutes=5)  # between this machine's clock and the database's
# Daily rows describe the session's close, which is its own date in UTC in every market (crypto: 24:00, hence the 1 µs).
SESSION = "(((event_timestamp AT TIME ZONE 'UTC') - interval '1 microsecond')::date)"
IN_FORCE: LiteralString = "SELECT id FROM serving.publications ORDER BY session DESC, id DESC LIMIT 1"


@dataclass(frozen=True)
class Selection:
    """Columns of a table of schema ``online``, or of the view of its name in schema ``serving``, read by key."""

    schema: str
    name: str
    keys: tuple[tuple[str, str], ...]  # name and Postgres type
    columns: tuple[str, ...]


@dataclass(frozen=True)
class OnlineTable:
    """One table of schema ``online``: `columns` are Postgres types by name, keys first, without the clocks."""

    name: str
    keys: tuple[str, ...]
    columns: dict[str, str]

    @property
    def stored(self) -> dict[str, str]:
        """The Postgres types of every column that a writer fills: keys, values and clocks."""
        return self.columns | dict.fromkeys(CLOCKS, "timestamptz")

    @property
    def path(self) -> Composed:
        """The table's qualified name."""
        return SQL("{}.{}").format(Identifier(SCHEMA), Identifier(self.name))

    def frame_type(self, column: str) -> Any:
        """The Polars type of a column; vectors are lists of Float32."""
        return FRAME_TYPES.get(self.stored[column], pl.List(pl.Float32))

    def selection(self, columns: Sequence[str]) -> Selection:
        """These columns, read by the table's keys."""
        return Selection(SCHEMA, self.name, tuple((key, self.columns[key]) for key in self.keys), tuple(columns))


def online_table(name: str) -> OnlineTable:
    """The online table of a lake table. Raises UsageError where the table is not published online."""
    if name not in TABLES or not TABLES[name].online:
        raise UsageError(
            code="FPM-ONL-001",
            wrong=f"{name!r} is not published online",
            effect="nothing was written",
            todo=f"use one of {', '.join(table.name for table in TABLES.values() if table.online)}",
        )
    table = TABLES[name]
    return OnlineTable(name, table.keys, {column: TYPES[kind] for column, kind in table.columns.items()})


def creation(table: OnlineTable) -> Composed:
    """Statements that create the table, or add the columns it lacks; safe to repeat."""
    session = SQL("session date GENERATED ALWAYS AS {} STORED").format(SQL(SESSION))
    columns = SQL(", ").join([*(_declared(table, name) for name in table.stored), session])
    lacking = SQL("; ").join(
        SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(table.path, Identifier(name), SQL(kind))
        for name, kind in table.columns.items()
    )
    return SQL(
        "CREATE SCHEMA IF NOT EXISTS {}; CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({})) WITH ({}); {}"
    ).format(Identifier(SCHEMA), table.path, columns, _names(table.keys), SQL(STORAGE), lacking)


def write(connection: Connection[Any], table: OnlineTable, frame: pl.DataFrame, whole: date | None = None) -> int:
    """Store the rows inside the caller's transaction and return the number of rows changed; older rows are left out.

    `frame`: keys, values and both clocks (aware); other columns are ignored. Of several rows of one key the newest
    counts. `whole`: the session that these rows make up; all other rows of it are deleted (of a table with vintages,
    those of the frame's vintages). Columns of the table that the writer does not know stay as they are.
    Until the transaction ends the table has no other writer, so rows are replaced by a join, which takes less time of
    the server than ON CONFLICT: that locks every row first. Readers wait for nothing.
    Raises InputRefused, with nothing stored, for any fault that `_check` or `_check_vintages` names.
    """
    content = encode(incoming(connection, table, frame), table.stored)
    place = Identifier("incoming_" + table.name)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table.path))
        cursor.execute(
            SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                place, _names(table.stored), table.path
            )
        )
        statement = SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(place, _names(table.stored))
        with cursor.copy(statement) as copy:
            copy.write(content)
        if whole is not None:
            cursor.execute(_deletion(table, place), (whole,))
        changed = sum(cursor.execute(step(table, place)).rowcount for step in (_update, _insertion))
        cursor.execute(SQL("DROP TABLE {}").format(place))
    return changed


def incoming(connection: Connection[Any], table: OnlineTable, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that a frame stores: the table's columns and types, the newest version of every key.

    Raises InputRefused for any fault that `_check` or `_check_vintages` names.
    """
    rows = _typed(table, frame)
    _check(table, rows, _clock(connection))
    _check_vintages(connection, table, rows)
    return newest_versions(rows, table.keys)


def retire(connection: Connection[Any], table: OnlineTable, vintages: Sequence[str]) -> int:
    """Delete the rows of every vintage except these, whatever their session, and return their number."""
    statement = SQL("DELETE FROM {} WHERE vintage <> ALL (%s)").format(table.path)
    return connection.execute(statement, (list(vintages),)).rowcount


def retire_sessions(connection: Connection[Any], table: OnlineTable, session: date) -> int:
    """Delete the rows of every session before this one, and return their number."""
    return connection.execute(SQL("DELETE FROM {} WHERE session < %s").format(table.path), (session,)).rowcount


def read(
    connection: Connection[Any],
    selections: Sequence[Selection],
    keys: Sequence[Sequence[tuple[Any, ...]]],
    witnessed: bool = False,
) -> list[tuple[Any, ...]]:
    """One row per key, in the order of the keys: for every selection event_timestamp, *columns, null where unknown.

    `keys`: one list per selection, all of one length; the values of a key are in the order of the selection's keys.
    One statement reads all of them, so they are of one moment of the database. Vectors are the bytes that
    `binary_copy.floats_of` reads. `witnessed`: the last column is the id of the publication in force at that moment.
    """
    arrays = [
        [key[i] for key in selection_keys]
        for selection, selection_keys in zip(selections, keys, strict=True)
        for i in range(len(selection.keys))
    ]
    with connection.cursor(binary=True) as cursor:
        cursor.execute(_reading(tuple(selections), witnessed), arrays)
        return cursor.fetchall()


@lru_cache(maxsize=256)
def _reading(selections: tuple[Selection, ...], witnessed: bool) -> bytes:
    """The statement of `read`; with hundreds of columns composing it takes longer than running it."""
    columns, kinds, key_names, joins = [], [], [], []
    for number, selection in enumerate(selections):
        alias, keys = Identifier(f"table_{number}"), [Identifier(f"{key}_{number}") for key, _ in selection.keys]
        columns += [SQL("{}.{}").format(alias, Identifier(name)) for name in (EVENT, *selection.columns)]
        kinds += [SQL("%s::{}[]").format(SQL(kind)) for _, kind in selection.keys]
        key_names += keys
        same = [
            SQL("{}.{} = request.{}").format(alias, Identifier(key), name)
            for (key, _), name in zip(selection.keys, keys, strict=True)
        ]
        path = Identifier(selection.schema, selection.name)
        joins.append(SQL("LEFT JOIN {} AS {} ON {}").format(path, alias, SQL(" AND ").join(same)))
    if witnessed:
        columns.append(SQL("({})").format(SQL(IN_FORCE)))
    statement = SQL(
        "SELECT {columns} FROM unnest({kinds}) WITH ORDINALITY AS request({keys}, ordinal_) {joins} "
        "ORDER BY request.ordinal_"
    ).format(
        columns=SQL(", ").join(columns),
        kinds=SQL(", ").join(kinds),
        keys=SQL(", ").join(key_names),
        joins=SQL(" ").join(joins),
    )
    return statement.as_bytes()


def _declared(table: OnlineTable, name: str) -> Composed:
    required = name in table.keys or name in CLOCKS
    return SQL("{} {}{}").format(Identifier(name), SQL(table.stored[name]), SQL(" NOT NULL" if required else ""))


def _names(names: Sequence[str] | dict[str, str]) -> Composed:
    return SQL(", ").join(Identifier(name) for name in names)


def _update(table: OnlineTable, incoming: Identifier) -> Composed:
    """Replace the rows that are there; the WHERE keeps an older version from winning."""
    replaced = SQL(", ").join(
        SQL("{0} = incoming.{0}").format(Identifier(name)) for name in table.stored if name not in table.keys
    )
    return SQL(
        "UPDATE {table} AS stored SET {replaced} FROM {incoming} AS incoming WHERE {same} AND "
        "(incoming.event_timestamp, incoming.created_timestamp) >= (stored.event_timestamp, stored.created_timestamp)"
    ).format(table=table.path, replaced=replaced, incoming=incoming, same=_same(table))


def _insertion(table: OnlineTable, incoming: Identifier) -> Composed:
    """Add the rows whose keys the table lacks."""
    return SQL(
        "INSERT INTO {table} ({names}) SELECT {names} FROM {incoming} AS incoming "
        "WHERE NOT EXISTS (SELECT FROM {table} AS stored WHERE {same})"
    ).format(table=table.path, names=_names(table.stored), incoming=incoming, same=_same(table))


def _same(table: OnlineTable) -> Composed:
    return SQL(" AND ").join(SQL("incoming.{0} = stored.{0}").format(Identifier(key)) for key in table.keys)


def _deletion(table: OnlineTable, incoming: Identifier) -> Composed:
    """Delete a session's rows that the incoming ones lack, or have in an earlier version, which `_update` leaves."""
    of_vintage = SQL("AND stored.vintage IN (SELECT vintage FROM {}) ").format(incoming)
    return SQL(
        "DELETE FROM {table} AS stored WHERE stored.session = %s {of_vintage}AND NOT EXISTS "
        "(SELECT FROM {incoming} AS incoming WHERE {same} AND incoming.created_timestamp >= stored.created_timestamp)"
    ).format(
        table=table.path,
        incoming=incoming,
        same=_same(table),
        of_vintage=of_vintage if "vintage" in table.keys else SQL(""),
    )


def _clock(connection: Connection[Any]) -> datetime:
    """The database's time: one clock for all writers."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC)  # psycopg gives the session's zone


@dataclass(frozen=True)
class _Fault:
    """A condition that no row may meet, with the parts of its error."""

    rows: pl.Expr
    code: str
    wrong: str
    todo: str


def _typed(table: OnlineTable, frame: pl.DataFrame) -> pl.DataFrame:
    """The stored columns in the table's types. Raises InputRefused for a missing column or a naive clock."""
    if missing := [name for name in table.stored if name not in frame.columns]:
        raise _refused(
            table, code="FPM-ONL-002", wrong=f"missing columns {missing}", todo="write every column and both clocks"
        )
    for name in CLOCKS:
        kind = frame.schema[name]
        if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
            raise _refused(
                table,
                code="FPM-ONL-003",
                wrong=f"{name} holds {kind}, not moments with a time zone",
                todo="write moments in UTC",
            )
    return frame.select(pl.col(name).cast(table.frame_type(name)) for name in table.stored)


def _check(table: OnlineTable, rows: pl.DataFrame, now: datetime) -> None:
    """Refuse rows that `_faults` names. Raises InputRefused."""
    faults = _faults(table, now)
    present = rows.select(fault.rows.any().alias(str(i)) for i, fault in enumerate(faults)).row(0)
    for fault, is_present in zip(faults, present, strict=True):
        if is_present:
            bad = rows.filter(fault.rows)
            first = bad.row(0)[: len(table.keys)]
            wrong = f"{len(bad)} of {len(rows)} rows with {fault.wrong}, first {first}"
            raise _refused(table, code=fault.code, wrong=wrong, todo=fault.todo)


def _faults(table: OnlineTable, now: datetime) -> list[_Fault]:
    """An empty key or clock, a non-finite number, a vector of another length, or an impossible event.

    An event may be later neither than the database's clock nor than its own knowledge; five minutes are tolerated.
    """
    event = pl.col(EVENT)
    empty = pl.any_horizontal(pl.col(*table.keys, *CLOCKS).is_null())
    faults = [_Fault(empty, code="FPM-ONL-004", wrong="an empty key or clock", todo="fill in the keys and both clocks")]
    for name, kind in table.columns.items():
        if kind in ("real", "double precision"):
            finite = pl.col(name).is_finite()
            faults.append(_Fault(~finite, code="FPM-ONL-005", wrong=f"{name} not finite", todo="write null instead"))
        elif kind.startswith("vector"):
            wrong = f"{name} not {kind} of finite numbers"
            sound = _is_sound(name, int(kind[7:-1]))
            faults.append(_Fault(~sound, code="FPM-ONL-005", wrong=wrong, todo="write whole vectors, or null"))
    return [
        *faults,
        _Fault(
            event > now + CLOCK_SLACK,
            code="FPM-ONL-028",
            wrong=f"an event after {now.isoformat()}",
            todo="correct the event_timestamp, or the clock of a machine",
        ),
        _Fault(
            event > pl.col(CREATED) + CLOCK_SLACK,
            code="FPM-ONL-029",
            wrong="an event after it was known",
            todo="correct the event_timestamp or the created_timestamp",
        ),
    ]


def _check_vintages(connection: Connection[Any], table: OnlineTable, rows: pl.DataFrame) -> None:
    """Refuse a vintage that is not one of the deployment's profile: vectors of two profiles never mix.

    Before the deployment has decided its profile, every vintage is accepted. Raises InputRefused.
    """
    if "vintage" not in table.columns:
        return
    vintages = rows["vintage"].drop_nulls().unique().sort().to_list()
    row = connection.execute(
        "SELECT value, ARRAY(SELECT id FROM fpm.models WHERE kind = 'encoder' AND manifest->>'profile' = value "
        "AND id = ANY(%s)) FROM fpm.deployment WHERE key = 'profile'",
        (vintages,),
    ).fetchone()
    if row is not None and (strange := sorted(set(vintages) - set(row[1]))):
        raise _refused(
            table,
            code="FPM-ONL-030",
            wrong=f"{strange[0]!r} is no vintage of profile {row[0]}",
            todo="write what an encoder of that profile made",
        )


def _is_sound(name: str, length: int) -> pl.Expr:
    """Whether a vector is of this length, of finite numbers; null where there is none."""
    return (pl.col(name).list.len() == length) & (
        pl.col(name).list.eval(pl.element().is_finite().fill_null(False)).list.all()
    )


def _refused(table: OnlineTable, *, code: str, wrong: str, todo: str) -> InputRefused:
    return InputRefused(code=code, wrong=f"{table.name}: {wrong}", effect="nothing was stored online", todo=todo)
