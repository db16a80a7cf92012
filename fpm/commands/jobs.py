"""The jobs of a night by name: what each reads and writes, and how one runs for a session or for many."""

from __future__ import annotations

import importlib
from datetime import date
from types import ModuleType
from typing import Any

import consumers
import producers
from fpm.errors import UsageError
from fpm.progress import Progress
from fpm.store.jobs import runner
from fpm.store.jobs.inputs import RAW
from fpm.store.ledger.stores import Stores

MODULES = {name: f"producers.{name}" for name in producers.JOBS} | {
    name: f"consumers.{name}" for name in consumers.JOBS
}
"""Job name -> module, in nightly order."""


def job(name: str) -> ModuleType:
    """The module of a job. Raises UsageError for an unknown name."""
    if name not in MODULES:
        raise UsageError(
            code="FPM-CFG-004",
            wrong=f"unknown job {name!r}",
            effect="nothing was done",
            todo=f"use one of {', '.join(MODULES)}",
        )
    return importlib.import_module(MODULES[name])


def descriptions() -> list[dict[str, Any]]:
    """Every job with what it reads and writes, in nightly order."""
    modules = {name: job(name) for name in MODULES}
    return [
        {
            "job": name,
            "reads": list(module.READS),
            "writes": list(module.WRITES),
            "what": (module.__doc__ or "").strip().splitlines()[0],
        }
        for name, module in modules.items()
    ]


def run(name: str, session: date, stores: Stores) -> dict[str, Any]:
    """Run one job for one session; the status and row count that the ledger now holds."""
    outcome = runner.run_job(job(name), session, stores)
    return {"status": outcome.status, "rows": outcome.rows}


def sessions_with_bars(stores: Stores, first: date, last: date) -> list[date]:
    """Sessions of a range that have raw bars, of minutes or of days: those a backfill visits."""
    raw = {session for table in RAW for session in stores.sessions(table)}
    return sorted(session for session in raw if first <= session <= last)


def backfill(name: str, first: date, last: date, stores: Stores, progress: Progress) -> dict[str, int]:
    """Run one job for every session of a range; sessions by status."""
    outcomes = runner.backfill(job(name), first, last, stores, progress)
    statuses = [outcome.status for outcome in outcomes]
    return {status: statuses.count(status) for status in sorted(set(statuses))}
