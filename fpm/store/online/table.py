"""Online tables: schema ``online``, one typed row an entity, readable by plain SQL.

Columns: the join keys (primary key), the values, `event_timestamp`, `created_timestamp`, and `session`, which the
database derives. A write never goes back in time: an older (event, created) pair leaves the row as it is. Non-finite
or future-dated values are refused whole, because a row dated tomorrow would lock out every later one.

Nothing here imports Feast; `fpm.store.online.online_store` gives it to Feast.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

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
    "bool": "boolean",
    "vector": f"vector({FINGERPRINT_SIZE})",
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
ROOM = "fillfactor = 45"  # the next session's version of a row finds room on its page: a tenth off a publication
CLOCK_SLACK = timedelta(minutes=5)  # between this machine's clock and the database's
# Daily rows describe the session's close, which is its own date in UTC in every market (crypto: 24:00, hence the 1 µs).
SESSION = "(((event_timestamp AT TIME ZONE 'UTC') - interval '1 microsecond')::date)"


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
        """Every column a writer gives."""
        return self.columns | dict.fromkeys(CLOCKS, "timestamptz")

    @property
    def path(self) -> Composed:
        return SQL("{}.{}").format(Identifier(SCHEMA), Identifier(self.name))

    def frame_type(self, column: str) -> Any:
        """The polars type of a column; vectors are lists of Float32."""
        return FRAME_TYPES.get(self.stored[column], pl.List(pl.Float32))

    def selection(self, columns: Sequence[str]) -> Selection:
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
    ).format(Identifier(SCHEMA), table.path, columns, _names(table.keys), SQL(ROOM), lacking)


def write(connection: Connection[Any], table: OnlineTable, frame: pl.DataFrame, whole: date | None = None) -> int:
    """Bring the rows in, inside the caller's transaction; older rows are left out. Returns the rows changed.

    `frame`: keys, values and both clocks (aware); other columns are left aside. Of several rows of one key the
    newest counts. `whole`: the session of which these are all rows there are; whatever else is online of it is taken
    back (of a table with vintages, under theirs). Columns of the table that the writer does not know stay as they are.
    Raises InputRefused, with nothing stored, for anything `_check` or `_check_vintages` names.
    """
    rows = _typed(table, frame)
    _check(table, rows, _clock(connection))
    _check_vintages(connection, table, rows)
    content = encode(newest_versions(rows, table.keys), table.stored)
    incoming = Identifier("incoming_" + table.name)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                incoming, _names(table.stored), table.path
            )
        )
        statement = SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(incoming, _names(table.stored))
        with cursor.copy(statement) as copy:
            copy.write(content)
        if whole is not None:
            cursor.execute(_withdrawal(table, incoming), (whole,))
        cursor.execute(_upsert(table, incoming))
        changed = cursor.rowcount
        cursor.execute(SQL("DROP TABLE {}").format(incoming))
    return changed


def retire(connection: Connection[Any], table: OnlineTable, kept: Sequence[str]) -> int:
    """Take the rows of every vintage but these offline, whatever their session. Returns how many."""
    statement = SQL("DELETE FROM {} WHERE vintage <> ALL (%s)").format(table.path)
    return connection.execute(statement, (list(kept),)).rowcount


def read(
    connection: Connection[Any], selections: Sequence[Selection], asked: Sequence[Sequence[tuple[Any, ...]]]
) -> list[tuple[Any, ...]]:
    """Of every selection, for its keys (`asked`: one list a selection, all of one length, values in the order of its
    keys), in that order: event_timestamp, *columns, nulls if unknown; selections side by side.

    One statement, so one moment of the database for all of them. Vectors come as `binary_copy.floats_of` takes them.
    """
    arrays = [
        [key[i] for key in rows]
        for selection, rows in zip(selections, asked, strict=True)
        for i in range(len(selection.keys))
    ]
    with connection.cursor(binary=True) as cursor:
        cursor.execute(_reading(tuple(selections)), arrays)
        return cursor.fetchall()


@lru_cache(maxsize=256)
def _reading(selections: tuple[Selection, ...]) -> bytes:
    """The statement of `read`; with hundreds of columns composing it takes longer than running it."""
    chosen, kinds, names, joins = [], [], [], []
    for number, selection in enumerate(selections):
        held, keys = Identifier(f"held_{number}"), [Identifier(f"{key}_{number}") for key, _ in selection.keys]
        chosen += [SQL("{}.{}").format(held, Identifier(name)) for name in (EVENT, *selection.columns)]
        kinds += [SQL("%s::{}[]").format(SQL(kind)) for _, kind in selection.keys]
        names += keys
        same = [
            SQL("{}.{} = asked.{}").format(held, Identifier(key), name)
            for (key, _), name in zip(selection.keys, keys, strict=True)
        ]
        path = Identifier(selection.schema, selection.name)
        joins.append(SQL("LEFT JOIN {} AS {} ON {}").format(path, held, SQL(" AND ").join(same)))
    statement = SQL(
        "SELECT {chosen} FROM unnest({kinds}) WITH ORDINALITY AS asked({names}, ordinal_) {joins} "
        "ORDER BY asked.ordinal_"
    ).format(
        chosen=SQL(", ").join(chosen),
        kinds=SQL(", ").join(kinds),
        names=SQL(", ").join(names),
        joins=SQL(" ").join(joins),
    )
    return statement.as_bytes()


def _declared(table: OnlineTable, name: str) -> Composed:
    required = name in table.keys or name in CLOCKS
    return SQL("{} {}{}").format(Identifier(name), SQL(table.stored[name]), SQL(" NOT NULL" if required else ""))


def _names(names: Sequence[str] | dict[str, str]) -> Composed:
    return SQL(", ").join(Identifier(name) for name in names)


def _upsert(table: OnlineTable, incoming: Identifier) -> Composed:
    """Rows in key order, so that two writers cannot deadlock; the guard keeps time from going back."""
    replaced = SQL(", ").join(
        SQL("{0} = excluded.{0}").format(Identifier(name)) for name in table.stored if name not in table.keys
    )
    return SQL(
        "INSERT INTO {table} AS held ({names}) SELECT {names} FROM {incoming} ORDER BY {keys} "
        "ON CONFLICT ({keys}) DO UPDATE SET {replaced} WHERE "
        "(excluded.event_timestamp, excluded.created_timestamp) >= (held.event_timestamp, held.created_timestamp)"
    ).format(
        table=table.path, names=_names(table.stored), incoming=incoming, keys=_names(table.keys), replaced=replaced
    )


def _withdrawal(table: OnlineTable, incoming: Identifier) -> Composed:
    """Rows of a session that the incoming ones lack, or have in an earlier version: the guard would keep those."""
    same = SQL(" AND ").join(SQL("kept.{0} = held.{0}").format(Identifier(key)) for key in table.keys)
    of_vintage = SQL("AND held.vintage IN (SELECT vintage FROM {}) ").format(incoming)
    return SQL(
        "DELETE FROM {table} AS held WHERE held.session = %s {of_vintage}AND NOT EXISTS "
        "(SELECT FROM {incoming} AS kept WHERE {same} AND kept.created_timestamp >= held.created_timestamp)"
    ).format(
        table=table.path, incoming=incoming, same=same, of_vintage=of_vintage if "vintage" in table.keys else SQL("")
    )


def _clock(connection: Connection[Any]) -> datetime:
    """The database's moment: one clock for all writers."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC)  # psycopg gives the session's zone


def _typed(table: OnlineTable, frame: pl.DataFrame) -> pl.DataFrame:
    """The stored columns in the table's types. Raises InputRefused for a missing column or a naive clock."""
    if missing := [name for name in table.stored if name not in frame.columns]:
        raise _refused("FPM-ONL-002", table, f"missing columns {missing}")
    for name in CLOCKS:
        kind = frame.schema[name]
        if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
            raise _refused("FPM-ONL-003", table, f"{name} holds {kind}, not moments with a time zone")
    return frame.select(pl.col(name).cast(table.frame_type(name)) for name in table.stored)


def _check(table: OnlineTable, rows: pl.DataFrame, now: datetime) -> None:
    """Raises InputRefused for an empty key or clock, a non-finite number, a vector of another length, or an event
    later than the database's clock or than its own knowledge (five minutes are granted).
    """
    event = pl.col(EVENT)
    faults = [(pl.any_horizontal(pl.col(*table.keys, *CLOCKS).is_null()), "FPM-ONL-004", "an empty key or clock")]
    for name, kind in table.columns.items():
        if kind in ("real", "double precision"):
            faults.append((~pl.col(name).is_finite(), "FPM-ONL-005", f"{name} not finite"))
        elif kind.startswith("vector"):
            faults.append((~_sound(name, int(kind[7:-1])), "FPM-ONL-005", f"{name} not {kind} of finite numbers"))
    faults += [
        (event > now + CLOCK_SLACK, "FPM-ONL-028", f"an event after {now.isoformat()}"),
        (event > pl.col(CREATED) + CLOCK_SLACK, "FPM-ONL-029", "an event after it was known"),
    ]
    any_bad = rows.select(wrong.any().alias(str(i)) for i, (wrong, _, _) in enumerate(faults)).row(0)
    for i in (i for i, bad in enumerate(any_bad) if bad):
        _refuse_where(table, rows, *faults[i])


def _check_vintages(connection: Connection[Any], table: OnlineTable, rows: pl.DataFrame) -> None:
    """Vectors of two profiles never mix: raises InputRefused for a vintage that is not one of the deployment's profile.

    Before the deployment has decided its profile there is nothing to hold them to.
    """
    if "vintage" not in table.columns:
        return
    named = rows["vintage"].drop_nulls().unique().sort().to_list()
    found = connection.execute(
        "SELECT value, ARRAY(SELECT id FROM fpm.models WHERE kind = 'encoder' AND manifest->>'profile' = value "
        "AND id = ANY(%s)) FROM fpm.deployment WHERE key = 'profile'",
        (named,),
    ).fetchone()
    if found is not None and (strange := sorted(set(named) - set(found[1]))):
        raise _refused("FPM-ONL-030", table, f"{strange[0]!r} is no vintage of profile {found[0]}")


def _sound(name: str, length: int) -> pl.Expr:
    """Whether a vector is of this length, of finite numbers; null where there is none."""
    return (pl.col(name).list.len() == length) & (
        pl.col(name).list.eval(pl.element().is_finite().fill_null(False)).list.all()
    )


def _refuse_where(table: OnlineTable, rows: pl.DataFrame, wrong: pl.Expr, code: str, what: str) -> None:
    bad = rows.filter(wrong)
    if len(bad):
        first = bad.row(0)[: len(table.keys)]
        raise _refused(code, table, f"{len(bad)} of {len(rows)} rows with {what}, first {first}")


def _refused(code: str, table: OnlineTable, wrong: str) -> InputRefused:
    return InputRefused(
        code=code,
        wrong=f"{table.name}: {wrong}",
        effect="nothing was stored online",
        todo="mend the job that made them",
    )
