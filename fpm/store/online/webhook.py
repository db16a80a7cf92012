"""Every publication to a webhook, after its COMMIT: at least once, in order, signed.

What is to be sent is a row beside the publication's own, so a receiver that was down and a process that died leave it
open, and the next look sends it. Nothing here makes a night red.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm.errors import FpmError
from fpm.store.channels import post, signature
from fpm.store.log import log

if TYPE_CHECKING:
    from psycopg import Connection

    from fpm.store.ledger.ledger import Ledger
    from fpm.store.ledger.stores import Stores

MOST = 50  # of one look
# A webhook that is set for the first time begins with the newest publication.
_OWED = """
INSERT INTO fpm.announcements (publication)
SELECT id FROM fpm.publications
WHERE id > coalesce((SELECT max(publication) FROM fpm.announcements), (SELECT max(id) - 1 FROM fpm.publications))
ORDER BY id ON CONFLICT DO NOTHING
"""
_OLDEST = """
SELECT publication, session::text, views, to_char(published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       vintage, model, replaces
FROM fpm.announcements JOIN fpm.publications ON id = publication WHERE delivered_at IS NULL
ORDER BY publication LIMIT 1
"""
_NAMES = ("publication", "session", "views", "published_at", "vintage", "model", "replaces")
_OPEN = """
SELECT publication, 'FPM_WEBHOOK', 'publication ' || session, 'published', '', owed_at, delivered_at, attempts, error
FROM fpm.announcements JOIN fpm.publications ON id = publication WHERE delivered_at IS NULL
ORDER BY publication DESC LIMIT %s
"""
_HEARD = """
UPDATE fpm.announcements SET attempts = attempts + 1, error = %s,
    delivered_at = CASE WHEN %s THEN clock_timestamp() END
WHERE publication = %s
"""
_ALONE = "SELECT pg_try_advisory_xact_lock(hashtextextended('announce publications', 0))"


def announce(stores: Stores) -> int:
    """Send what was published and not delivered yet, oldest first, until one fails; how many were delivered.

    Whatever goes wrong is said in the log, and tried again at the next look.
    """
    if stores.settings.webhook is None:
        return 0
    delivered = 0
    try:
        stores.ledger.execute(_OWED)
        while delivered < MOST and _announce_next(stores):
            delivered += 1
    except Exception as wrong:  # noqa: BLE001  the night goes on, whatever a webhook does
        log.error("nothing announced", why=str(wrong) if isinstance(wrong, FpmError) else type(wrong).__name__)
    return delivered


def undelivered(ledger: Ledger, count: int = 20) -> list[dict[str, Any]]:
    """The newest publications that the webhook has not taken, newest first; columns as of `alerts.recent`."""
    names = ("id", "channel", "finding", "state", "cause", "raised_at", "delivered_at", "attempts", "error")
    return [dict(zip(names, row, strict=True)) for row in ledger.query(_OPEN, (count,))]


def _announce_next(stores: Stores) -> bool:
    """Send the oldest; False where there is none, where it fails, or where another process sends."""
    with stores.ledger.transaction() as connection:
        row = _oldest(connection)
        if row is None:
            return False
        wrong = _send(row, stores)
        connection.execute(_HEARD, (wrong, wrong is None, row["publication"]))
    if wrong is not None:
        log.warning("publication not announced", why=str(_unheard(row["publication"], wrong)))
    return wrong is None


def _oldest(connection: Connection[Any]) -> dict[str, Any] | None:
    if connection.execute(_ALONE).fetchone() != (True,):
        return None
    row = connection.execute(_OLDEST).fetchone()
    return None if row is None else dict(zip(_NAMES, row, strict=True))


def _send(publication: dict[str, Any], stores: Stores) -> str | None:
    settings = stores.settings
    assert settings.webhook is not None
    headers = {"Idempotency-Key": f"publication-{publication['publication']}"}
    if settings.webhook_secret is not None:
        headers["X-FPM-Signature"] = signature(publication, settings.webhook_secret.get_secret_value())
    return post(settings.webhook.get_secret_value(), publication, headers=headers)


def _unheard(publication: int, wrong: str) -> FpmError:
    return FpmError(
        code="FPM-ALR-003",
        wrong=f"the webhook did not take publication {publication}: {wrong}",
        effect="it is sent again at the next look, and those after it",
        todo="see FPM_WEBHOOK and its receiver; fpm alerts lists what is open",
    )
