"""Messages to people, as rows: raised once, delivered at least once, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm.store.ledger.ledger import Ledger


@dataclass(frozen=True)
class Alert:
    """What a person is told of a finding: `state` red or recovered; another `cause` of a red finding is told, too."""

    state: str
    cause: str
    document: Mapping[str, Any]


def standing(channel: str, ledger: Ledger) -> set[str]:
    """The findings that are red by the newest message of a channel."""
    rows = ledger.query(
        "SELECT finding FROM (SELECT DISTINCT ON (finding) finding, state FROM fpm.alerts WHERE channel = %s "
        "ORDER BY finding, id DESC) AS newest WHERE state = 'red'",
        (channel,),
    )
    return {finding for (finding,) in rows}


def raise_alerts(channel: str, alerts: Mapping[str, Alert], ledger: Ledger) -> int:
    """Add the messages (by finding) that the channel's newest ones do not say already; how many."""
    added = 0
    with ledger.transaction() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"raise {channel}",))
        for finding, alert in alerts.items():
            newest = connection.execute(
                "SELECT state, cause FROM fpm.alerts WHERE channel = %s AND finding = %s ORDER BY id DESC LIMIT 1",
                (channel, finding),
            ).fetchone()
            if newest == (alert.state, alert.cause) or (alert.state == "recovered" and (newest or "-")[0] != "red"):
                continue
            connection.execute(
                "INSERT INTO fpm.alerts (channel, finding, state, cause, document) VALUES (%s, %s, %s, %s, %s)",
                (channel, finding, alert.state, alert.cause, Jsonb(dict(alert.document))),
            )
            added += 1
    return added


def deliver_next(channel: str, send: Callable[[dict[str, Any]], str | None], ledger: Ledger) -> bool | None:
    """Send the channel's oldest message that was not delivered; None where there is none, or another process sends.

    `send` takes the document with its `id` and returns what went wrong, if anything did. A process that dies after it
    sent leaves the message open, so it is sent again: at least once.
    """
    with ledger.transaction() as connection:
        (free,) = connection.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"deliver {channel}",)
        ).fetchone() or (False,)
        row = connection.execute(
            "SELECT id, document FROM fpm.alerts WHERE channel = %s AND delivered_at IS NULL ORDER BY id LIMIT 1",
            (channel,),
        ).fetchone()
        if not free or row is None:
            return None
        wrong = send({"id": row[0], **row[1]})
        connection.execute(
            "UPDATE fpm.alerts SET attempts = attempts + 1, error = %s, "
            "delivered_at = CASE WHEN %s THEN clock_timestamp() END WHERE id = %s",
            (wrong, wrong is None, row[0]),
        )
    return wrong is None


def recent(ledger: Ledger, count: int = 20) -> list[dict[str, Any]]:
    """The newest messages with their delivery, newest first."""
    names = ("id", "channel", "finding", "state", "cause", "raised_at", "delivered_at", "attempts", "error")
    rows = ledger.query(
        "SELECT id, channel, finding, state, cause, raised_at, delivered_at, attempts, error FROM fpm.alerts "
        "ORDER BY id DESC LIMIT %s",
        (count,),
    )
    return [dict(zip(names, row, strict=True)) for row in rows]
