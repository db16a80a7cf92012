"""The running session online: the scores of every minute that was published, the newest one first in line.

A publication's rows are entered whole, in one transaction, and never changed. `serving.intraday_scores` shows the last
minute's newest publication, `serving.intraday_score_history` all of them. No view of whole sessions reads this.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, LiteralString

import polars as pl
from psycopg.sql import SQL, Identifier

from fpm.schema import CLOCKS, INTRADAY_SCORES
from fpm.sessions import previous_sessions
from fpm.store.online.tables import TYPES
from fpm.store.online.transaction import no_endless_wait, notify
from fpm.store.postgres.binary_copy import encode

if TYPE_CHECKING:
    from datetime import date

    from fpm.running_session import Cut
    from fpm.store.ledger.stores import Stores

CHANNEL = "fpm_intraday"  # of NOTIFY
OF_PUBLICATION = ("vintage", "model")  # one for all rows of a publication
ROWS = {name: TYPES[kind] for name, kind in INTRADAY_SCORES.columns.items() if name not in OF_PUBLICATION}
_ALONE: LiteralString = "LOCK TABLE fpm.intraday_publications IN SHARE ROW EXCLUSIVE MODE"
_LAST: LiteralString = (
    "SELECT id, sha256 FROM fpm.intraday_publications WHERE session = %s AND minute = %s ORDER BY id DESC LIMIT 1"
)
_RECORD: LiteralString = """
INSERT INTO fpm.intraday_publications
    (session, minute, event_timestamp, created_timestamp, sha256, vintage, model, replaces)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
_RETIRE: LiteralString = "DELETE FROM fpm.intraday_publications WHERE session < %s"  # and their rows, by reference
_NEWEST: LiteralString = """
SELECT session, minute, published_at, (SELECT count(DISTINCT symbol) FROM online.intraday_scores WHERE publication = id)
FROM fpm.intraday_publications ORDER BY event_timestamp DESC, id DESC LIMIT 1
"""


def publish_running(at: Cut, rows: pl.DataFrame, stores: Stores) -> str:
    """Enter one minute's scores (columns and clocks of `intraday_scores`) as a publication of its own, or nothing.

    Returns "published", or "unchanged" where the minute's newest publication has these rows. Sessions older than
    `online_history` are dropped. Raises TryLater where another session of the database holds a lock for a minute.
    """
    ordered = rows.sort("symbol", "stream")
    content = sha256(ordered.select(*INTRADAY_SCORES.columns, *CLOCKS).write_csv().encode()).hexdigest()
    with stores.ledger.transaction() as connection, no_endless_wait(connection):
        connection.execute(_ALONE)
        last = connection.execute(_LAST, (at.session, at.text)).fetchone()
        if last is not None and last[1] == content:
            return "unchanged"
        first = ordered.row(0, named=True)
        known_at = ordered[CLOCKS[1]].max()
        facts = (at.session, at.text, at.moment, known_at, content, first["vintage"], first["model"], last and last[0])
        recorded = connection.execute(_RECORD, facts).fetchone()
        assert recorded is not None
        kinds = ROWS | {"publication": "bigint"}
        names = SQL(", ").join(map(Identifier, kinds))
        statement = SQL("COPY online.intraday_scores ({}) FROM STDIN (FORMAT BINARY)").format(names)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(encode(ordered.with_columns(publication=pl.lit(recorded[0])), kinds))
        connection.execute(_RETIRE, (_oldest(at.session, stores),))
        notify(connection, CHANNEL, {"publication": recorded[0], "session": str(at.session), "minute": at.text})
    return "published"


def _oldest(session: date, stores: Stores) -> date:
    return min(previous_sessions(stores.market, session, stores.settings.online_history), default=session)


def newest(stores: Stores) -> dict[str, Any] | None:
    """The minute that readers see, when it was published and how many symbols it has; None before the first."""
    rows = stores.ledger.query(_NEWEST)
    if not rows:
        return None
    session, minute, published_at, symbols = rows[0]
    return {
        "session": str(session),
        "minute": minute,
        "published_at": f"{published_at:%Y-%m-%d %H:%M}Z",
        "symbols": symbols,
    }
