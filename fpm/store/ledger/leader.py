"""One scheduler at work: a row lock in schema `fpm`, which a reader cannot take.

The lock lasts for one look at the agenda and is let go between looks, so the next scheduler takes over when the one at
work ends or dies: the server frees the row with the connection.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm.store.ledger.ledger import Ledger


@contextmanager
def leadership(ledger: Ledger) -> Iterator[bool]:
    """Whether this process is the one at work, as long as the context lasts. Never waits for another."""
    with ledger.transaction() as connection:
        yield connection.execute("SELECT 1 FROM fpm.leader FOR UPDATE SKIP LOCKED").fetchone() is not None
