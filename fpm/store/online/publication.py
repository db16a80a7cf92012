"""The publication of one session online, all views in one Postgres transaction, and the rows readers then see."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, LiteralString

import polars as pl
from psycopg.sql import SQL, Identifier

from fpm.schema import CLOCKS, HISTORIES, TABLES
from fpm.sessions import previous_sessions
from fpm.store.online import history, tables
from fpm.store.online.transaction import no_endless_wait, notify
from fpm.store.postgres.binary_copy import floats_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from psycopg import Connection

    from fpm.store.ledger.ledger import Publication
    from fpm.store.ledger.stores import Stores

CHANNEL = "fpm_published"  # of NOTIFY
# One publication at a time, of whatever session: this lock guards the decision which one is newest. It is a row that no
# reader may lock, and the wait for it, as for any other lock, ends.
_ALONE: LiteralString = """
INSERT INTO fpm.publishing DEFAULT VALUES ON CONFLICT (singleton) DO UPDATE SET singleton = excluded.singleton
"""
_NEWEST = "SELECT id, session, sha256 FROM fpm.publications WHERE views && %s ORDER BY session DESC, id DESC LIMIT 1"
_LAST = "SELECT id, sha256 FROM fpm.publications WHERE session = %s ORDER BY id DESC LIMIT 1"
_FORMER = """
SELECT vintage FROM fpm.publications
WHERE 'fingerprints' = ANY (views) AND session >= %s AND session < %s AND vintage <> %s
    AND vintage IN (SELECT id FROM fpm.models WHERE kind = 'encoder')
ORDER BY session DESC, id DESC LIMIT 1
"""


def publish_online(publication: Publication, frames: Mapping[str, pl.DataFrame], stores: Stores) -> str:
    """Write every view's rows and the publication's row, or nothing at all.

    The frames are the whole session: rows of it that they lack, such as those a correction withdrew, are deleted, and
    so is every other vintage. Of tables `by_session`, such as orders, nothing older stays.
    Scores and weights are entered in the history, too (`fpm.store.online.history`).
    Returns "published"; "unchanged" where the newest publication is of this session and content (the rows are written
    again all the same, which repairs any change made online); where a newer session is already online "corrected" for
    another content of a session that was published (it is entered in the history only), else "superseded" (nothing is
    written). Raises TryLater where another session of the database holds a lock for a minute.
    """
    with stores.ledger.transaction() as connection, no_endless_wait(connection):
        connection.execute(_ALONE)
        newest = connection.execute(_NEWEST, (list(publication.views),)).fetchone()
        if newest is not None and newest[1] > publication.session:
            return _correct(connection, newest[1], publication, frames, stores)
        for view, frame in frames.items():
            table = tables.online_table(view)
            tables.write(connection, table, frame, publication.session)
            if TABLES[view].by_vintage and len(frame):
                tables.retire(connection, table, frame["vintage"].unique().to_list())
            if TABLES[view].by_session:
                tables.retire_sessions(connection, table, publication.session)
        kept = list(frames) if stores.settings.online_history else []
        if newest is not None and newest[1:] == (publication.session, publication.sha256):
            history.withdraw(connection, newest[0], publication.session, kept)
            history.enter_served(connection, newest[0], publication.session, kept)
            return "unchanged"
        former = newest[0] if newest is not None and newest[1] == publication.session else None
        published = replace(publication, replaces=former)
        number = stores.ledger.record_publication(connection, published)
        history.enter_served(connection, number, publication.session, kept)
        _announce(connection, number, published)
    return "published"


def _correct(
    connection: Connection[Any],
    newest: date,
    publication: Publication,
    frames: Mapping[str, pl.DataFrame],
    stores: Stores,
) -> str:
    """Enter a session that was published, and is online no more, in the history.

    Where its content is that of its last publication, the history gets that one's rows if it lacks them.
    """
    last = connection.execute(_LAST, (publication.session,)).fetchone()
    if last is None or not HISTORIES.keys() & frames.keys():
        return "superseded"
    if not history.keeps(publication.session, newest, stores):
        return "superseded"
    if last[1] == publication.sha256:
        if not history.is_entered(connection, last[0], publication.session, frames):
            history.withdraw(connection, last[0], publication.session, list(frames))
            history.enter(connection, last[0], publication.session, frames)
        return "superseded"
    corrected = replace(publication, views=history.VIEWS, replaces=last[0])
    number = stores.ledger.record_publication(connection, corrected)
    history.enter(connection, number, publication.session, frames)
    _announce(connection, number, corrected)
    return "corrected"


def _announce(connection: Connection[Any], number: int, publication: Publication) -> None:
    row = {
        "publication": number,
        "session": str(publication.session),
        "replaces": publication.replaces,
        "vintage": publication.vintage,
        "model": publication.model,
        "views": list(publication.views),
    }
    notify(connection, CHANNEL, row)


def published_session(stores: Stores) -> date | None:
    """The session readers see; None before the first publication."""
    newest = stores.ledger.query("SELECT max(session) FROM fpm.publications")
    session: date | None = newest[0][0]
    return session


def former_vintage(session: date, vintage: str, stores: Stores) -> str | None:
    """The vintage that readers saw before `vintage`, while it is handed over; else None.

    The hand-over lasts `hand_over` sessions from the first that was published under the new vintage.
    """
    before = previous_sessions(stores.market, session, stores.settings.hand_over)
    rows = stores.ledger.query(_FORMER, (before[0], session, vintage)) if before else []
    return str(rows[0][0]) if rows else None


def served(view: str, stores: Stores, former: bool = False) -> pl.DataFrame:
    """All rows of a serving view (one complete session): declared columns and clocks, vectors as lists of Float32.

    `former`: the rows of the vintage that is being handed over instead.
    """
    table = tables.online_table(view)
    columns = [*TABLES[view].columns, *CLOCKS]
    with stores.ledger.transaction() as connection:
        rows = _rows(connection, f"former_{view}" if former else view, columns)
    cells = list(zip(*rows, strict=True)) or [() for _ in columns]
    declared = TABLES[view].columns
    kinds = {name: pl.Date if declared.get(name) == "date" else table.frame_type(name) for name in columns}
    frame = {name: _series(name, column, kinds[name]) for name, column in zip(columns, cells, strict=True)}
    return pl.DataFrame(frame).sort(table.keys)


def _series(name: str, cells: tuple[Any, ...], kind: Any) -> pl.Series:
    if not isinstance(kind, pl.List):
        return pl.Series(name, cells, dtype=kind)
    if None in cells or not cells:
        return pl.Series(name, [None if cell is None else floats_of(cell) for cell in cells], dtype=kind)
    return pl.Series(name, floats_of(b"".join(cells)).reshape(len(cells), -1)).cast(kind)


def _rows(connection: Connection[tuple[object, ...]], view: str, columns: list[str]) -> list[tuple[object, ...]]:
    with connection.cursor(binary=True) as cursor:
        names = SQL(", ").join(map(Identifier, columns))
        cursor.execute(SQL("SELECT {} FROM {}").format(names, Identifier("serving", view)))
        return cursor.fetchall()
