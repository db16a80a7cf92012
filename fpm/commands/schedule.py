"""The order of the night, and the clock. Beside cli and demo the only module that knows the jobs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date, datetime
from threading import Event
from types import ModuleType
from typing import Any

import consumers
import producers
from fpm import walk_forward as folding
from fpm.errors import FpmError, ModelRefused, StoreCorrupt, TryLater, UsageError
from fpm.progress import Progress
from fpm.sessions import cut_off, previous_sessions
from fpm.store.jobs import runner
from fpm.store.ledger.stores import Stores
from fpm.store.log import configure, log
from fpm.store.online.publication import former_vintage

NIGHT = (*(f"producers.{name}" for name in producers.JOBS), *(f"consumers.{name}" for name in consumers.JOBS))
LABEL_AHEAD = 6  # the label of t is complete six sessions later: tonight labels the session six back
CALENDAR_WARNING_DAYS = 45
Bar = Callable[[str], AbstractContextManager[Progress]]


def job(name: str) -> ModuleType:
    """The module of a nightly job. Raises UsageError for an unknown name."""
    for path in NIGHT:
        if path.split(".")[1] == name:
            return importlib.import_module(path)
    names = ", ".join(path.split(".")[1] for path in NIGHT)
    raise UsageError(
        code="FPM-CFG-004", wrong=f"unknown job {name!r}", effect="nothing was done", todo=f"use one of {names}"
    )


def describe_jobs() -> list[dict[str, Any]]:
    """Every nightly job with what it reads and writes, in order."""
    modules = [importlib.import_module(path) for path in NIGHT]
    return [
        {
            "job": path.split(".")[1],
            "reads": list(module.READS),
            "writes": list(module.WRITES),
            "what": (module.__doc__ or "").strip().splitlines()[0],
        }
        for path, module in zip(NIGHT, modules, strict=True)
    ]


def run(module: ModuleType, session: date, stores: Stores) -> dict[str, Any]:
    """One job, one session; what the ledger now says of it."""
    outcome = runner.run_job(module, session, stores)
    return {"status": outcome.status, "rows": outcome.rows}


def backfill(module: ModuleType, first: date, last: date, stores: Stores, progress: Progress) -> dict[str, int]:
    """One job over every session of a range; how many ended in which status."""
    outcomes = runner.backfill(module, first, last, stores, progress)
    statuses = [outcome.status for outcome in outcomes]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


# --- the night ----------------------------------------------------------------------------------------------------


def nightly(session: date, stores: Stores) -> list[dict[str, Any]]:
    """Every job of one session, in order, then publication and parity; what the ledger says of each.

    Producers also look at the sessions that tonight's scores look back on: what was corrected since is done again,
    what was not is skipped. Fingerprints are those of the vintage that the scorer in force was trained on and, while
    it takes over, of the former one. Labels are those of the session whose horizon closes tonight. Raises TryLater
    where an input or a model is not there yet.
    """
    window = _look_back(session, stores)
    vintage = stores.models.named_in_force("scorer", session).manifest["vintage"]
    of_scorer, former = stores.for_vintage(vintage), former_vintage(session, vintage, stores)
    rows = []
    for path in NIGHT:
        module, name = importlib.import_module(path), path.split(".")[1]
        of = of_scorer if name == "fingerprints" else stores
        target = previous_sessions(stores.market, session, LABEL_AHEAD)[0] if name == "labels" else session
        if name == "labels" and target not in stores.sessions("daily_bars"):
            continue
        again = _corrected(module, window, of) if path.startswith("producers") and name != "labels" else 0
        rows.append({"job": name, "session": str(target), **run(module, target, of), "corrected": again})
        if name == "fingerprints" and former:
            rows.append({"job": name, "session": str(target), **_of_former(module, target, former, stores)})
    return rows


def _of_former(module: ModuleType, session: date, former: str, stores: Stores) -> dict[str, Any]:
    """The session's fingerprints under the former vintage, too. That it refuses, or that this code cannot read it, may
    be why there is a new one: the ledger says so, and the night goes on.
    """
    try:
        return {**run(module, session, stores.for_vintage(former)), "corrected": 0}
    except (ModelRefused, StoreCorrupt) as refused:
        log.error("the former vintage has no fingerprints", session=str(session), former=former, why=str(refused))
        return {"status": "failed", "rows": 0, "corrected": 0}


def _look_back(session: date, stores: Stores) -> list[date]:
    """The sessions before this one that its scores depend on."""
    from fpm.nn.scorer.network import PRESETS

    before = previous_sessions(stores.market, session, PRESETS[stores.settings.preset].look_back - 1)
    return with_bars(stores, before[0], before[-1]) if before else []


def _corrected(module: ModuleType, window: list[date], stores: Stores) -> int:
    """Bring the sessions of a window up to date; how many had to be done again."""
    if not window:
        return 0
    outcomes = runner.backfill(module, window[0], window[-1], stores, lambda done, total, what: None)
    return sum(outcome.status == "published" for outcome in outcomes)


def due(stores: Stores, now: datetime) -> list[date]:
    """Sessions with raw bars whose cut-off has passed and which lie after the newest published one, oldest first.

    A home that never published starts with its newest session: history is a matter of `walk-forward`.
    """
    _warn_of_calendar_end(stores, now)
    ready = [session for session in stores.sessions("minute_bars") if cut_off(stores.market, session) <= now]
    published = stores.ledger.published("publish")
    if not published:
        return ready[-1:]
    return [session for session in ready if session > max(published)]


def serve(stores: Stores, clock: Callable[[], datetime], every_minutes: int, stop: Event | None = None) -> None:
    """Look at the ledger every few minutes and run what is due, until interrupted or `stop` is set.

    APScheduler is a clock and no more: what is due is the ledger's word, so a machine that was off catches up and
    two schedulers publish once.
    """
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(
        lambda: _tick(stores, clock()),
        "interval",
        minutes=every_minutes,
        next_run_time=clock(),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=None,
    )
    if "log_level" not in stores.settings.model_fields_set:
        configure(stores.settings.model_copy(update={"log_level": "info"}))  # a clock that says nothing looks dead
    scheduler.start()
    log.info("clock started", every_minutes=every_minutes)
    waiting = stop or Event()
    try:
        while not waiting.wait(1):
            pass
    finally:
        scheduler.shutdown(wait=True)


def _tick(stores: Stores, now: datetime) -> None:
    for session in due(stores, now):
        try:
            nightly(session, stores)
        except FpmError as wrong:  # the next tick tries again; the ledger holds the reason
            (log.info if isinstance(wrong, TryLater) else log.error)("not done", session=str(session), why=str(wrong))
            return
        log.info("night done", session=str(session))


def _warn_of_calendar_end(stores: Stores, now: datetime) -> None:
    """The calendar's last day is a fact to act on weeks ahead, not an exception in the night it arrives."""
    from fpm.sessions import calendar_end

    end = calendar_end(stores.market)
    if end is not None and (end - now.date()).days <= CALENDAR_WARNING_DAYS:
        todo = "upgrade exchange_calendars, or name a file of what the exchange announced in FPM_CALENDAR"
        log.warning("the trading calendar ends soon", calendar=stores.market.calendar, ends=str(end), todo=todo)


# --- walk-forward -------------------------------------------------------------------------------------------------


def plan(stores: Stores, first: date, last: date, refit: int | None) -> list[folding.Fold]:
    """The folds whose test sessions cover `first` to `last`."""
    from dataclasses import replace

    config = stores.settings.folds
    config = replace(config, refit=refit) if refit else config
    return folding.folds(stores.sessions("minute_features"), first, last, config)


def describe(fold: folding.Fold) -> dict[str, str]:
    """A fold as a row for people and programs."""
    parts = ("train", "embargoed", "validation", "purged", "test")
    return {name: folding.span(getattr(fold, name)) for name in parts} | {
        "encoder_through": str(fold.encoder_through),
        "scorer_through": str(fold.scorer_through),
    }


def walk_forward(stores: Stores, folds: list[folding.Fold], bar: Bar) -> None:
    """Vintage, fingerprints of the whole look-back under it, scorer, out-of-sample scores: fold by fold."""
    from consumers import scorer, scores
    from producers import encoder, fingerprints

    for number, fold in enumerate(folds, 1):
        part = f"fold {number}/{len(folds)}"
        with bar(f"{part}: encoder") as progress:
            vintage = encoder.train(fold.encoder_through, stores, progress)
        with bar(f"{part}: fingerprints") as progress:
            first = stores.sessions("minute_features")[0]
            runner.backfill(fingerprints, first, fold.test[-1], stores.for_vintage(vintage), progress)
        with bar(f"{part}: scorer") as progress:
            scorer.train(fold.scorer_through, vintage, stores, progress)
        with bar(f"{part}: scores") as progress:
            runner.backfill(scores, fold.test[0], fold.test[-1], stores, progress)


def train_scorer(through: date, stores: Stores, progress: Progress) -> str:
    """A scorer on the vintage in force at `through`, whose fingerprints are written where they are missing."""
    from consumers import scorer
    from producers import fingerprints

    vintage = stores.models.in_force("encoder", through).id
    first = stores.sessions("minute_features")[0]
    runner.backfill(fingerprints, first, through, stores.for_vintage(vintage), progress)
    return scorer.train(through, vintage, stores, progress)


# --- what ran -----------------------------------------------------------------------------------------------------


def status(stores: Stores, session: date | None) -> list[dict[str, Any]]:
    """The ledger of one session, or for every job how many sessions are in which status and the newest of them."""
    rows = stores.ledger.rows(session)
    if session is not None:
        return rows
    counted: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        counted.setdefault((row["job"], row["status"]), []).append(row["partition"])
    return [
        {"job": job_name, "status": state, "sessions": len(partitions), "newest": max(partitions)}
        for (job_name, state), partitions in sorted(counted.items())
    ]


def with_bars(stores: Stores, first: date, last: date) -> list[date]:
    """Sessions of a range that have raw bars: what a backfill will look at."""
    return [session for session in stores.sessions("minute_bars") if first <= session <= last]
