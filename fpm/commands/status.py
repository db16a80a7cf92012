"""What the ledger says ran."""

from __future__ import annotations

from datetime import date
from typing import Any

from fpm.store.ledger.stores import Stores


def status(stores: Stores, session: date | None) -> list[dict[str, Any]]:
    """The ledger's rows of one session, or per job and status the number of sessions and the newest of them."""
    rows = stores.ledger.rows(session)
    if session is not None:
        return rows
    partitions: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        partitions.setdefault((row["job"], row["status"]), []).append(row["partition"])
    return [
        {"job": job, "status": state, "sessions": len(names), "newest": max(names)}
        for (job, state), names in sorted(partitions.items())
    ]
