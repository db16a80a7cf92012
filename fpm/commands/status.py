"""What the ledger says ran, and what an evening decided, for a terminal."""

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


def compact(answer: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The same for a person: no environments, relaxations as text, no table without rows."""
    jobs = [{name: cell for name, cell in row.items() if name != "environment"} for row in answer["jobs"]]
    decisions = [
        {**row, "relaxed": ", ".join(f"{name} +{excess:.3g}" for name, excess in row["relaxed"].items()) or None}
        for row in answer["decisions"]
    ]
    return {name: rows for name, rows in (("jobs", jobs), ("decisions", decisions)) if rows}
