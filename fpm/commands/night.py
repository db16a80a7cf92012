"""A night as data: its steps, which of them have ended, and running them in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import consumers
import producers
from consumers.questions import morning
from fpm.commands import jobs
from fpm.commands.upgrade import require_confirmed
from fpm.errors import FpmError, ModelRefused, StoreCorrupt, TryLater, UsageError
from fpm.schema import VECTOR_SCORES
from fpm.sessions import is_session, previous_sessions
from fpm.store.jobs import runner
from fpm.store.jobs.freshness import rests_on_removed, stands
from fpm.store.jobs.inputs import inputs_of
from fpm.store.jobs.publishing import Partition, last_published
from fpm.store.ledger.stores import Stores
from fpm.store.log import log
from fpm.store.online.publication import former_vintage
from fpm.store.retrieval.dual_stream import OUTSIDE
from producers import whole_sessions


@dataclass(frozen=True)
class Step:
    """One job of a night, for one session.

    `vintage`: the encoder vintage to work for; None for jobs that have none. `looks_back`: corrected sessions of the
    scorer's look-back are computed again first. `optional`: the night goes on where the model or its files refuse.
    `apart`: no other step of the night needs it, so the night goes on where its inputs are missing.
    """

    job: str
    session: date
    vintage: str | None = None
    looks_back: bool = False
    optional: bool = False
    apart: bool = False


def steps(
    session: date, label_session: date | None, vintage: str, former: str | None, outside: Sequence[str] = ()
) -> list[Step]:
    """The steps of a night, in order.

    `label_session`: the session whose label is complete tonight (None: it has no bars). `vintage`: what the scorer in
    force was trained on; `former`: the vintage it replaces, while both are online. `outside`: vintages of vectors from
    outside that are to be scored.
    """
    fingerprints = [Step("fingerprints", session, vintage, looks_back=True)]
    if former:
        fingerprints.append(Step("fingerprints", session, former, optional=True))
    special = {
        "labels": [Step("labels", label_session, apart=True)] if label_session else [],
        "fingerprints": fingerprints,
        VECTOR_SCORES.name: [Step(VECTOR_SCORES.name, session, name, optional=True, apart=True) for name in outside],
    }
    produced = [special.get(name, [Step(name, session, looks_back=True)]) for name in producers.JOBS]
    consumed = [special.get(name, [Step(name, session)]) for name in consumers.JOBS]
    return [step for job_steps in (*produced, *consumed) for step in job_steps]


def night_steps(session: date, stores: Stores) -> list[Step]:
    """The steps of a session's night in this home. Raises TryLater where no scorer is in force."""
    vintage = stores.models.record_in_force("scorer", session).manifest["vintage"]
    former = former_vintage(session, vintage, stores)
    return steps(session, _label_session(session, stores), vintage, former, outside_vintages(session, stores))


def outside_vintages(session: date, stores: Stores) -> list[str]:
    """The vintages from outside that have vectors of the session and a scorer that may serve it."""
    names = [model.id for model in stores.models.list(OUTSIDE.encoder)]
    there = [name for name in names if session in stores.sessions(OUTSIDE.table, name)]
    return [name for name in there if _has_scorer(name, session, stores)]


def _has_scorer(vintage: str, session: date, stores: Stores) -> bool:
    try:
        stores.models.record_in_force(OUTSIDE.scorer, session, vintage)
    except TryLater:
        return False
    return True


def nightly(session: date, stores: Stores, stop: Callable[[], bool] = lambda: False) -> list[dict[str, Any]]:
    """Run every step of a session's night; one row a step with the ledger's status. `stop` ends it between two jobs.

    Raises UsageError for a day without trading or where this program computes otherwise than the one that somebody
    confirmed, TryLater where an input or a model is missing, or where it is stopped, FpmError where the session's bars
    are not whole.
    """
    require_confirmed(stores)
    require_session(session, stores)
    fault = whole_sessions.standing(session, stores)
    if fault is not None:
        raise whole_sessions.refusal(session, fault)
    window = look_back(session, stores)
    rows = []
    for step in night_steps(session, stores):
        if stop():
            raise TryLater(
                code="FPM-NGT-130",
                wrong=f"the night of {session} was stopped before {step.job}",
                effect="the jobs before it have ended",
                todo=f"fpm nightly --session {session}",
            )
        rows.append(_row(step, window, stores))
    _write_page(session, stores)
    return rows


def _write_page(session: date, stores: Stores) -> None:
    """Write the morning page, unless a newer session has a portfolio; a page that fails does not undo a night."""
    try:
        if session == morning.newest_session(stores):
            morning.write(session, None, stores)
    except FpmError as refusal:
        log.error("no morning page", session=str(session), why=str(refusal))


def require_session(session: date, stores: Stores) -> None:
    """Raises UsageError for a day on which the market does not trade."""
    if not is_session(stores.market, session):
        raise UsageError(
            code="FPM-CFG-069",
            wrong=f"{session} is no session of {stores.market.name}",
            effect="nothing was done",
            todo="give a day on which the market trades",
        )


def open_steps(session: date, stores: Stores) -> list[str]:
    """Names of the jobs of a session's night that have not ended with their present inputs, in order."""
    try:
        night = night_steps(session, stores)
    except TryLater:  # no scorer: nothing can have ended
        return [name for name in (*producers.JOBS, *consumers.JOBS) if name != VECTOR_SCORES.name]
    return list(dict.fromkeys(step.job for step in night if not _has_ended(step, stores)))


def _has_ended(step: Step, stores: Stores) -> bool:
    """Whether the step's last attempt has a result from the inputs that it has now: one that failed since is open.

    An optional one that refused has ended: the night went on without it.
    """
    stores = stores.for_vintage(step.vintage) if step.vintage else stores
    job, partition = jobs.job(step.job), Partition(step.job, step.session, stores.vintage)
    if step.optional:
        last = stores.ledger.latest(step.job, partition.name)
        if last is not None and last.status == "failed":
            return True
    before = last_published(partition, stores)
    if before is None:
        return False
    if stands(job, step.session, stores):
        return True
    try:
        return not runner.failed_since(job, partition, stores) and (
            before.inputs_sha == inputs_of(job, step.session, stores).digest
            or rests_on_removed(job, step.session, stores)
        )
    except FpmError:
        return False


def _label_session(session: date, stores: Stores) -> date | None:
    """The session whose label is complete tonight; None where it has no bars."""
    labelled = previous_sessions(stores.market, session, stores.settings.model_choices.reach)[0]
    return labelled if labelled in stores.sessions("daily_bars") else None


def _row(step: Step, window: list[date], stores: Stores) -> dict[str, Any]:
    """Run one step; what the ledger says of it."""
    stores = stores.for_vintage(step.vintage) if step.vintage else stores
    corrected = _corrected(step.job, window, stores) if step.looks_back else 0
    outcome = _run(step, stores)
    return {"job": step.job, "session": str(step.session), **outcome, "corrected": corrected}


def _run(step: Step, stores: Stores) -> dict[str, Any]:
    """Run one step; what need not succeed is recorded by the ledger, and the night goes on.

    An `optional` vintage may be unreadable: that may be why there is a new one.
    """
    about = {"job": step.job, "session": str(step.session), "vintage": step.vintage}
    try:
        return jobs.run(step.job, step.session, stores)
    except (ModelRefused, StoreCorrupt) as refusal:
        if not step.optional:
            raise
        log.error("the night goes on without", **about, why=str(refusal))
        return {"status": "failed", "rows": 0}
    except TryLater as later:
        if not step.apart:
            raise
        log.info("not yet", **about, why=str(later))
        return {"status": "waiting", "rows": 0}


def look_back(session: date, stores: Stores) -> list[date]:
    """The sessions before this one that its scores depend on."""
    from fpm.nn.scorer.network import scorer_config

    settings = stores.settings
    config = scorer_config(settings.preset, settings.model_choices.scorer)
    before = previous_sessions(stores.market, session, config.look_back - 1)
    return [session for session in stores.sessions("minute_bars") if before and before[0] <= session <= before[-1]]


def _corrected(name: str, window: list[date], stores: Stores) -> int:
    """Bring the sessions of a window up to date; the number computed again because their inputs were corrected.

    One that fails delays no other session: the ledger says so of it, and what rests on it waits.
    """
    if not window:
        return 0
    try:
        outcomes = runner.backfill(jobs.job(name), window[0], window[-1], stores, lambda *_: None)
    except Exception as wrong:  # noqa: BLE001  whatever it is, that session has its own night
        if len(window) == 1:
            log.error("not corrected", job=name, session=str(window[0]), why=f"{type(wrong).__name__}: {wrong}")
            return 0
        return sum(_corrected(name, [session], stores) for session in window)
    return sum(outcome.status == "published" for outcome in outcomes)
