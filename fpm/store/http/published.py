"""The publication that readers see, and what the headers of an answer say of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from fpm import sessions
from fpm.store.http.requests import RequestRefused

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import Connection

    from fpm.markets import Market

_COLUMNS = "SELECT id, session, published_at, vintage, model, stale_days FROM serving.publications "
NEWEST = _COLUMNS + "ORDER BY session DESC, id DESC LIMIT 1"
OF_ID = _COLUMNS + "WHERE id = %s"
LONGEST_HOLIDAY = 30  # days; the longest closure of any of our markets since 1990 took 18


@dataclass(frozen=True)
class Published:
    """One publication; the fields are the columns of `NEWEST`."""

    id: int
    session: str
    published_at: str
    vintage: str | None
    model: str | None
    stale_days: int

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that say which publication an answer is of."""
        return {f"x-fpm-{name.replace('_', '-')}": str(value) for name, value in vars(self).items() if name != "id"} | {
            "x-fpm-publication": str(self.id)
        }

    def at(self, now: datetime) -> Published:
        """The same at another moment (UTC)."""
        return replace(self, stale_days=(now.date() - date.fromisoformat(self.session)).days)


def published(connection: Connection[Any], number: int | None = None) -> Published:
    """The newest publication, or the one of an id. Raises RequestRefused where there is none."""
    cursor = connection.execute(NEWEST) if number is None else connection.execute(OF_ID, (number,))
    row = cursor.fetchone()
    if row is None:
        raise nothing()
    return Published(row[0], row[1].isoformat(), row[2].isoformat(), *row[3:])


def nothing() -> RequestRefused:
    """The refusal before the first publication."""
    return RequestRefused(
        503, code="FPM-HTTP-084", wrong="nothing is published yet", todo="ask again after the first night"
    )


def require_fresh(held: Published, market: Market, now: datetime) -> None:
    """Raises RequestRefused where a newer session is due."""
    due = due_session(market, now)
    if date.fromisoformat(held.session) < due:
        raise RequestRefused(
            409,
            code="FPM-HTTP-087",
            wrong=f"session {held.session} is published, {held.stale_days} days old; {due} is due since "
            f"{sessions.cut_off(market, due).isoformat()}",
            todo="ask again later, or without require=fresh for the session that there is",
            headers=held.headers,
        )


def due_session(market: Market, now: datetime) -> date:
    """The newest session whose cut-off has passed: the one that readers may expect after its night."""
    today = now.astimezone(market.zone).date()
    days = sessions.sessions_between(market, today - timedelta(days=LONGEST_HOLIDAY), today)
    return max(day for day in days if sessions.cut_off(market, day) <= now)
