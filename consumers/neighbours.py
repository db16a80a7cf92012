"""Index the published session's fingerprints online; until then searches are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.store.jobs.inputs import Window
from fpm.store.log import log
from fpm.store.online.neighbours import index_published
from fpm.store.online.publication import published_session

if TYPE_CHECKING:
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "neighbours"
READS = {"fingerprints": Window()}
WRITES = ()
MODELS = ("scorer",)  # names the vintage


def run(session: date, stores: Stores) -> None:
    """Index the fingerprints online if they are of this session; nobody searches an older one."""
    if published_session(stores) != session:
        words = f"not indexed: {published_session(stores) or 'no session'} is online"
    else:
        words = f"{index_published(stores)} vectors under the index"
    if attempt := stores.ledger.latest(NAME, session.isoformat()):
        stores.ledger.note(attempt, words)
    log.info("neighbours", session=session.isoformat(), what=words)
