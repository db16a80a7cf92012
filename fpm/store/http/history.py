"""The history of one stock over HTTP: rows as they stand, or as readers could see them at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.sql import SQL, Composed, Identifier

from fpm.schema import HISTORIES, TABLES
from fpm.store.http.queries import WITHIN
from fpm.store.http.requests import RequestRefused

if TYPE_CHECKING:
    from psycopg import Connection

    from fpm.store.http.queries import HistoryRequest

MOST_ROWS = 10_000
OF_VERSION = ("event_timestamp", "created_timestamp", "publication", "published_at", "superseded_at")


def columns(view: str) -> tuple[str, ...]:
    """The fields of a row of a view's history; `vintage` and `model` are the publication's."""
    own = [name for name in TABLES[view].columns if name not in ("symbol", "vintage", "model")]
    return ("session", *own, "vintage", "model", *OF_VERSION)


def answer(request: HistoryRequest, connection: Connection[Any]) -> dict[str, Any]:
    """The document. Raises RequestRefused where it would be longer than `MOST_ROWS`."""
    names = columns(request.view)
    values = [request.symbol, request.first, request.last, request.known_at, request.within, request.within]
    with connection.cursor(binary=True) as cursor:  # as text, numbers and moments take twice the time here
        rows = cursor.execute(_statement(request.view, names), values).fetchall()
    if len(rows) > MOST_ROWS:
        raise RequestRefused(
            413,
            code="FPM-HTTP-076",
            wrong=f"more than {MOST_ROWS} rows",
            todo=f"ask for fewer sessions, or read serving.{HISTORIES[request.view]} by SQL",
        )
    return {
        "symbol": request.symbol,
        "view": request.view,
        "known_at": request.known_at,
        "rows": [dict(zip(names, row, strict=True)) for row in rows],
    }


def _statement(view: str, names: tuple[str, ...]) -> Composed:
    return SQL(
        "SELECT {} FROM {}(%s, %s, %s, coalesce(%s, now())) WHERE %s::text IS NULL OR {} = %s "
        "ORDER BY session, {} LIMIT {}"
    ).format(
        SQL(", ").join(map(Identifier, names)),
        Identifier("serving", f"{view}_known_at"),
        Identifier(WITHIN[view]),
        Identifier(WITHIN[view]),
        MOST_ROWS + 1,
    )
