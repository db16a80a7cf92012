"""A night as data: which sessions are due, which steps a night has, and running them in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import consumers
import producers
from consumers.questions import morning
from fpm.commands import jobs
from fpm.errors import FpmError, ModelRefused, StoreCorrupt
from fpm.sessions import cut_off, previous_sessions
from fpm.store.jobs import runner
from fpm.store.ledger.stores import Stores
from fpm.store.log import log
from fpm.store.online.publication import former_vintage

LABEL_AHEAD = 6  # the label of t is complete six sessions later: tonight labels the session six back


@dataclass(frozen=True)
class Step:
    """One job of a night, for one session.

    `vintage`: the encoder vintage to work for; None for jobs that have none. `looks_back`: corrected sessions of the
    scorer's look-back are computed again first. `optional`: the night goes on where the model or its files refuse.
    """

    job: str
    session: date
    vintage: str | None = None
    looks_back: bool = False
    optional: bool = False


def steps(session: date, label_session: date | None, vintage: str, former: str | None) -> list[Step]:
    """The steps of a night, in order.

    `label_session`: the session whose label is complete tonight (None: it has no bars). `vintage`: what the scorer in
    force was trained on; `former`: the vintage it replaces, while both are online.
    """
    fingerprints = [Step("fingerprints", session, vintage, looks_back=True)]
    if former:
        fingerprints.append(Step("fingerprints", session, former, optional=True))
    special = {
        "labels": [Step("labels", label_session)] if label_session else [],
        "fingerprints": fingerprints,
    }
    produced = [special.get(name, [Step(name, session, looks_back=True)]) for name in producers.JOBS]
    consumed = [[Step(name, session)] for name in consumers.JOBS]
    return [step for job_steps in (*produced, *consumed) for step in job_steps]


def nightly(session: date, stores: Stores) -> list[dict[str, Any]]:
    """Run every step of a session's night; one row a step with the ledger's status.

    Raises TryLater where an input or a model is missing.
    """
    window = _look_back(session, stores)
    vintage = stores.models.record_in_force("scorer", session).manifest["vintage"]
    former = former_vintage(session, vintage, stores)
    rows = [_row(step, window, stores) for step in steps(session, _label_session(session, stores), vintage, former)]
    _write_page(session, stores)
    return rows


def _write_page(session: date, stores: Stores) -> None:
    """Write the morning page, unless a newer session has a portfolio; a page that fails does not undo a night."""
    try:
        if session == morning.newest_session(stores):
            morning.write(session, None, stores)
    except FpmError as refusal:
        log.error("no morning page", session=str(session), why=str(refusal))


def _label_session(session: date, stores: Stores) -> date | None:
    """The session whose label is complete tonight; None where it has no bars."""
    labelled = previous_sessions(stores.market, session, LABEL_AHEAD)[0]
    return labelled if labelled in stores.sessions("daily_bars") else None


def _row(step: Step, window: list[date], stores: Stores) -> dict[str, Any]:
    """Run one step; what the ledger says of it."""
    stores = stores.for_vintage(step.vintage) if step.vintage else stores
    corrected = _corrected(step.job, window, stores) if step.looks_back else 0
    run = _run_optional if step.optional else jobs.run
    outcome = run(step.job, step.session, stores)
    return {"job": step.job, "session": str(step.session), **outcome, "corrected": corrected}


def _run_optional(name: str, session: date, stores: Stores) -> dict[str, Any]:
    """Run a job whose vintage may be unreadable: that may be why there is a new one.

    The ledger records the failure, and the night goes on.
    """
    try:
        return jobs.run(name, session, stores)
    except (ModelRefused, StoreCorrupt) as refusal:
        log.error(
            "the former vintage has no fingerprints", session=str(session), former=stores.vintage, why=str(refusal)
        )
        return {"status": "failed", "rows": 0}


def _look_back(session: date, stores: Stores) -> list[date]:
    """The sessions before this one that its scores depend on."""
    from fpm.nn.scorer.network import PRESETS

    before = previous_sessions(stores.market, session, PRESETS[stores.settings.preset].look_back - 1)
    return [session for session in stores.sessions("minute_bars") if before and before[0] <= session <= before[-1]]


def _corrected(name: str, window: list[date], stores: Stores) -> int:
    """Bring the sessions of a window up to date; the number computed again because their inputs were corrected."""
    if not window:
        return 0
    outcomes = runner.backfill(jobs.job(name), window[0], window[-1], stores, lambda *_: None)
    return sum(outcome.status == "published" for outcome in outcomes)


def due(stores: Stores, now: datetime) -> list[date]:
    """Sessions with raw bars, past their cut-off and after the newest published one, oldest first.

    A home that never published starts with its newest session: history is a matter of `walk-forward`.
    """
    ready = [session for session in stores.sessions("minute_bars") if cut_off(stores.market, session) <= now]
    published = stores.ledger.published("publish")
    if not published:
        return ready[-1:]
    return [session for session in ready if session > max(published)]
