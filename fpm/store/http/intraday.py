"""The running session over HTTP: the last minute that was published, of one stock or of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    from psycopg import Connection

    from fpm.store.http.queries import IntradayRequest

OF_MINUTE = (
    "session",
    "minute",
    "event_timestamp",
    "created_timestamp",
    "publication",
    "published_at",
    "vintage",
    "model",
)
OF_ROW = ("symbol", "stream", "score", "spread")
# One statement: of one publication, whatever comes meanwhile.
_ROWS: LiteralString = """
SELECT session, minute, event_timestamp, created_timestamp, publication, published_at, vintage, model,
    symbol, stream, score, spread
FROM serving.intraday_scores
WHERE (%(symbol)s::text IS NULL OR symbol = %(symbol)s) AND (%(stream)s::text IS NULL OR stream = %(stream)s)
ORDER BY symbol, stream
"""


def answer(request: IntradayRequest, connection: Connection[Any]) -> dict[str, Any]:
    """The document: what is true of the minute, null where it has no such row, and the rows."""
    rows = connection.execute(_ROWS, vars(request)).fetchall()
    facts = rows[0][: len(OF_MINUTE)] if rows else [None] * len(OF_MINUTE)
    return dict(zip(OF_MINUTE, facts, strict=True)) | {
        "rows": [dict(zip(OF_ROW, row[len(OF_MINUTE) :], strict=True)) for row in rows]
    }
