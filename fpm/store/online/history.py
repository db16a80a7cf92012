"""Earlier sessions online: the scores and weights of every publication, as readers saw them, month by month.

A publication's rows are entered whole, once, in its own transaction, and never changed: a correction is a publication
of its own. `serving.score_history` and `serving.weight_history` say from when to when each was in force. A month is one
partition; once all of its sessions are older than `FPM_ONLINE_HISTORY` it is dropped, as soon as no reader is in its
way.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Composed, Identifier, Literal

from fpm.schema import CLOCKS, HISTORIES, TABLES
from fpm.sessions import previous_sessions
from fpm.store.log import log
from fpm.store.online import tables
from fpm.store.postgres.binary_copy import encode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from psycopg import Connection

    from fpm.store.ledger.stores import Stores

VIEWS = tuple(HISTORIES.values())  # of a publication that readers see in the history only
OF_PUBLICATION = ("vintage", "model")  # one for all rows of a publication, and in its own row
GIVE_WAY = "100ms"  # the longest wait of readers behind a drop
_MONTHS = """
SELECT relid::regclass::text FROM pg_partition_tree('online.{}'::regclass) WHERE isleaf ORDER BY 1
"""


def stored(view: str) -> dict[str, str]:
    """The columns of a history and their types, but `session` and `publication`."""
    columns = tables.online_table(view).stored
    return {name: kind for name, kind in columns.items() if name not in OF_PUBLICATION}


def creation(view: str) -> Composed:
    """The statement that creates a history without any month."""
    table, name = tables.online_table(view), Identifier(tables.SCHEMA, HISTORIES[view])
    required = (*table.keys, *CLOCKS)
    columns = [
        SQL("{} {}{}").format(Identifier(column), SQL(kind), SQL(" NOT NULL" if column in required else ""))
        for column, kind in stored(view).items()
    ]
    return SQL(
        "CREATE TABLE {} ({}, session date NOT NULL, publication bigint NOT NULL, {}) PARTITION BY RANGE (session)"
    ).format(name, SQL(", ").join(columns), covering_key(view))


def covering_key(view: str) -> Composed:
    """The key of a history with all other values in it: a stock's sessions are read side by side from it alone."""
    others = [key for key in tables.online_table(view).keys if key != "symbol"]
    keys = ["symbol", "session", *others, "publication"]
    values = [name for name in stored(view) if name not in keys]
    return SQL("PRIMARY KEY ({}) INCLUDE ({})").format(
        *(SQL(", ").join(map(Identifier, names)) for names in (keys, values))
    )


def add_month(connection: Connection[Any], view: str, session: date) -> Identifier:
    """The partition of a session, made where it is not there yet.

    It is attached, not created in its place: that would wait for every reader of the history.
    """
    first = session.replace(day=1)
    history, month = Identifier(tables.SCHEMA, HISTORIES[view]), Identifier(tables.SCHEMA, _month(view, session))
    row = connection.execute("SELECT to_regclass(%s)", (f"{tables.SCHEMA}.{_month(view, session)}",)).fetchone()
    if row == (None,):
        connection.execute(SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(month, history))
        connection.execute(
            SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                history, month, Literal(first), Literal(_next(first))
            )
        )
    return month


def keeps(session: date, newest: date, stores: Stores) -> bool:
    """Whether a session is in the history while `newest` is online."""
    return session >= oldest(newest, stores)


def oldest(newest: date, stores: Stores) -> date:
    """The first session in the history while `newest` is online; a later one than any where there is no history."""
    count = stores.settings.online_history
    if count == 0:
        return date.max
    return min(previous_sessions(stores.market, newest, count - 1), default=newest)


def enter(connection: Connection[Any], publication: int, session: date, frames: Mapping[str, pl.DataFrame]) -> None:
    """Add a publication's rows, inside the caller's transaction."""
    for view in HISTORIES.keys() & frames.keys():
        month = add_month(connection, view, session)
        rows = tables.incoming(connection, tables.online_table(view), frames[view]).sort("symbol")
        kinds = stored(view) | {"session": "date", "publication": "bigint"}
        content = encode(rows.with_columns(session=pl.lit(session), publication=pl.lit(publication)), kinds)
        names = SQL(", ").join(map(Identifier, kinds))
        statement = SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(month, names)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(content)


def enter_served(connection: Connection[Any], publication: int, session: date, views: Collection[str]) -> None:
    """`enter` for a session whose rows this transaction has written into the tables behind the serving views."""
    for view in HISTORIES.keys() & set(views):
        month, table = add_month(connection, view, session), tables.online_table(view)
        names = SQL(", ").join(map(Identifier, stored(view)))
        connection.execute(
            SQL(
                "INSERT INTO {} ({names}, session, publication) SELECT {names}, session, %s FROM {} WHERE session = %s "
                "ORDER BY symbol"
            ).format(month, table.path, names=names),
            (publication, session),
        )


def withdraw(connection: Connection[Any], publication: int, session: date, views: Collection[str]) -> None:
    """Delete what was entered for a publication: it is entered again, which repairs changes made online."""
    for view in HISTORIES.keys() & set(views):
        connection.execute(
            SQL("DELETE FROM {} WHERE session = %s AND publication = %s").format(add_month(connection, view, session)),
            (session, publication),
        )


def is_entered(
    connection: Connection[Any], publication: int, session: date, frames: Mapping[str, pl.DataFrame]
) -> bool:
    """Whether the history has as many rows of a publication as its frames."""
    return all(
        connection.execute(
            SQL("SELECT count(*) FROM {} WHERE session = %s AND publication = %s").format(
                add_month(connection, view, session)
            ),
            (session, publication),
        ).fetchone()
        == (len(frames[view]),)
        for view in HISTORIES.keys() & frames.keys()
    )


def retire(newest: date, stores: Stores) -> list[str]:
    """Drop every month that ends before the oldest session of the history, and return their names.

    A month that a reader is in stays until the next publication: nobody waits behind the drop, and no publication.
    """
    limit, dropped = oldest(newest, stores), []
    for view in HISTORIES:
        for (name,) in stores.ledger.query(_MONTHS.format(HISTORIES[view])):
            if _end(name) <= limit and _drop(name, stores):
                dropped.append(name)
    return dropped


def served(view: str, session: date, stores: Stores) -> pl.DataFrame:
    """The rows that the history has of a session's publication in force: columns and clocks of the published table."""
    table, columns = tables.online_table(view), [*TABLES[view].columns, *CLOCKS]
    statement = SQL("SELECT {} FROM {} WHERE session = %s AND superseded_at IS NULL").format(
        SQL(", ").join(map(Identifier, columns)), Identifier("serving", HISTORIES[view])
    )
    with stores.ledger.transaction() as connection:
        rows = connection.execute(statement, (session,)).fetchall()
    return pl.DataFrame(rows, {name: table.frame_type(name) for name in columns}, orient="row").sort(table.keys)


def _drop(name: str, stores: Stores) -> bool:
    with stores.ledger.transaction() as connection:
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('lock_timeout', %s, true)", (GIVE_WAY,))
                connection.execute(SQL("DROP TABLE {}").format(Identifier(*name.split("."))))
        except LockNotAvailable:
            log.info("a month of the history stays until no reader is in it", month=name)
            return False
    return True


def _month(view: str, session: date) -> str:
    return f"{HISTORIES[view]}_{session:%Y_%m}"


def _end(name: str) -> date:
    """The first day after a month, by the name of its partition."""
    year, month = name.split("_")[-2:]
    return _next(date(int(year), int(month), 1))


def _next(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)
