"""What the transaction of every publication keeps to, be it of a session or of a minute.

It waits for no lock without end, and no COMMIT of it fails because nobody reads notifications.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg.errors import LockNotAvailable

from fpm.errors import TryLater
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection

LONGEST_WAIT = "60s"  # a publication takes some seconds
FULLEST_QUEUE = 0.8  # of PostgreSQL's queue of notifications


@contextmanager
def no_endless_wait(connection: Connection[Any]) -> Iterator[None]:
    """Raises TryLater where another session of the database holds a lock for `LONGEST_WAIT`."""
    try:
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (LONGEST_WAIT,))
        yield
    except LockNotAvailable:
        raise TryLater(
            code="FPM-PUB-090",
            wrong=f"another session of the database held what a publication needs for {LONGEST_WAIT}",
            effect="nothing was published, readers keep what they have",
            todo="see pg_locks and pg_stat_activity, end that session, then run the same command again",
        ) from None


def notify(connection: Connection[Any], channel: str, row: Mapping[str, Any]) -> None:
    """Notify listeners; Postgres delivers it with COMMIT, so it is true when it arrives, and never of a rollback.

    Any login may fill the queue of notifications while it listens in a transaction without end, and a full one would
    refuse the COMMIT: then nobody is notified, and whoever asks for publications misses nothing.
    """
    usage = connection.execute("SELECT pg_notification_queue_usage()").fetchone()
    if usage is not None and usage[0] > FULLEST_QUEUE:
        log.warning("nobody was notified of a publication: the queue of notifications is full", usage=usage[0])
        return
    connection.execute("SELECT pg_notify(%s, %s)", (channel, json.dumps(row)))
