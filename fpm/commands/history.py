"""The history of a home: what bars alone allow, computed in order, and all that is missing where nothing can be.

A stage is a job that needs no model: `fpm backfill all` runs the stages, `fpm walk-forward` runs them first.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any

import consumers
import producers
from consumers.streams import require_stream
from fpm.commands import jobs
from fpm.errors import TryLater
from fpm.store.jobs import runner
from fpm.store.jobs.inputs import RAW, sessions_ahead, windows
from fpm.store.ledger.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.commands.training import Bar
    from fpm.store.jobs.inputs import Window

ALL = "all"
OF_DAYS = ("daily_factors", "labels")  # stages of what a scorer needs beside vectors from outside
DONE = ("published", "unchanged")
TRAINED = (
    "fingerprints",
    "scores",
    "vector_scores",
    "score_intervals",
)  # jobs that `fpm walk-forward` runs beside the stages
INGEST, BACKFILL_ALL, WALK_FORWARD = "fpm ingest", f"fpm backfill {ALL}", "fpm walk-forward"


def stages() -> list[str]:
    """The nightly jobs of the producers that need no model, in order."""
    return [name for name in producers.JOBS if not getattr(jobs.job(name), "MODELS", ())]


def visited(names: Sequence[str], first: date, last: date, stores: Stores) -> list[date]:
    """The sessions that a backfill of these jobs visits: those whose raw tables are there for one of them."""
    sessions = {session for name in names for session in _span(name, first, last, stores)}
    return jobs.sessions_with_bars(stores, min(sessions), max(sessions)) if sessions else []


def backfill(names: Sequence[str], span: tuple[date, date], stores: Stores, bar: Bar) -> list[dict[str, Any]]:
    """Run jobs for every session of a span, one after the other; a row each with its sessions by status.

    A job whose raw tables are absent from all sessions is passed over: a home of daily bars has no minute features.
    Raises TryLater where no session of any job could be computed, with all that is missing.
    """
    if any("stream" in getattr(jobs.job(name), "SETTINGS", ()) for name in names):
        require_stream(stores)
    rows = [_stage(name, span, stores, bar) for name in names]
    if not any(row.get(status) for row in rows for status in DONE):
        raise nothing_computed(names, span, stores)
    return rows


def _stage(name: str, span: tuple[date, date], stores: Stores, bar: Bar) -> dict[str, Any]:
    own = _span(name, *span, stores)
    with bar(name.replace("_", " ")) as progress:
        if not own:
            absent = ", ".join(sorted(table for table in _raw(name) if not _within(table, *span, stores)))
            progress(0, 0, reason := f"no session has {absent or 'its raw tables'}")
            return {"job": name, "planned": 0, "waits_for": reason}
        outcomes = runner.backfill(jobs.job(name), own[0], own[-1], stores, progress)
    counts = Counter[str](outcome.status for outcome in outcomes)
    waiting = [outcome.reason for outcome in outcomes if outcome.status == "waiting"]
    return {"job": name, "planned": len(outcomes), **dict(sorted(counts.items()))} | (
        {"waits_for": waiting[0]} if waiting else {}
    )


def _raw(name: str) -> list[str]:
    """The raw tables of which a job needs its own session; any of them for a job that reads none."""
    reads: Mapping[str, Window] = jobs.job(name).READS
    return [table for table, window in reads.items() if table in RAW and window.include and window.required]


def _within(table: str, first: date, last: date, stores: Stores) -> set[date]:
    return {session for session in stores.sessions(table) if first <= session <= last}


def _span(name: str, first: date, last: date, stores: Stores) -> list[date]:
    """The sessions that have a job's raw tables, in order."""
    tables = [_within(table, first, last, stores) for table in _raw(name)]
    return sorted(set.intersection(*tables)) if tables else jobs.sessions_with_bars(stores, first, last)


# --- a walk-forward from bars alone ---------------------------------------------------------------------------------
def with_features(stores: Stores) -> list[date]:
    """The sessions that have features, or will once the stages ran."""
    return sorted({*stores.sessions("minute_features"), *_span("minute_features", date.min, date.max, stores)})


def complete(last: date, stores: Stores, bar: Bar) -> None:
    """Bring features, factors and labels of the whole history up to `last` up to date.

    Raises TryLater where there are no bars, with all that is missing.
    """
    first = min(with_features(stores), default=last)
    backfill(stages(), (min(first, last), last), stores, bar)


# --- what is missing ------------------------------------------------------------------------------------------------
def waiting(later: TryLater, names: Sequence[str], span: tuple[date, date], stores: Stores) -> TryLater:
    """The error `later` with all that is missing; itself where it is about something else."""
    return nothing_computed(names, span, stores) if _all_lacking(names, span, stores) else later


def nothing_computed(names: Sequence[str], span: tuple[date, date], stores: Stores) -> TryLater:
    """The error where jobs compute nothing from first to last: all that is missing, and the commands that bring it."""
    missing = _all_lacking(names, span, stores)
    things = sorted(missing, key=lambda thing: _order(missing[thing]))
    commands = list(dict.fromkeys(missing[thing] for thing in things))
    if any(command.startswith(WALK_FORWARD) for command in commands):  # it runs the stages
        commands = [command for command in commands if not command.startswith(BACKFILL_ALL)]
    first, last = span
    return TryLater(
        code="FPM-JOB-073",
        wrong=f"nothing of {', '.join(names)} can be computed from {first} to {last}: there is no "
        f"{', no '.join(things) or 'session whose inputs are complete'}",
        effect="nothing was computed",
        todo=", then ".join(commands) or "see what each session waits for: fpm status SESSION",
    )


def _order(command: str) -> int:
    return next(
        place for place, word in enumerate((INGEST, BACKFILL_ALL, WALK_FORWARD, "")) if command.startswith(word)
    )


def _all_lacking(names: Sequence[str], span: tuple[date, date], stores: Stores) -> dict[str, str]:
    """What jobs lack at the last session of a span with bars, and what the jobs before them lack: thing -> command."""
    missing: dict[str, str] = {}
    session = max(visited(names, *span, stores), default=span[1])
    for name in names:
        _add_lacking(name, session, span, stores, missing)
    return missing


def _add_lacking(name: str, session: date, span: tuple[date, date], stores: Stores, missing: dict[str, str]) -> None:
    module = jobs.job(name)
    for kind in getattr(module, "MODELS", ()):
        try:
            stores.models.record_in_force(kind, session)
        except TryLater:
            missing[f"{kind} in force on {session}"] = f"{WALK_FORWARD} {span[0]} {span[1]}"
            _add_absent("minute_features", [session], span, stores, missing)
    for table, window in windows(module, stores.settings).items():
        days = [*([session] if window.include else []), *sessions_ahead(window, session, stores)]
        if window.required:
            _add_absent(table, days, span, stores, missing)


def _add_absent(
    table: str, days: Sequence[date], span: tuple[date, date], stores: Stores, missing: dict[str, str]
) -> None:
    """Add a table that lacks one of `days`, and what the job that writes it lacks."""
    stored = set(stores.sessions(table))
    absent = [day for day in days if day not in stored]
    if not absent:
        return
    whole_span = table in RAW and not any(span[0] <= day <= span[1] for day in stored)
    first, last = span if whole_span else (absent[0], absent[-1])
    thing = f"{table} of {first}" + (f" to {last}" if last > first else "")
    if thing in missing:
        return
    writer = next((name for name in (*producers.JOBS, *consumers.JOBS) if table in jobs.job(name).WRITES), None)
    if writer is None:
        missing[thing] = f"{INGEST} PATH"
        return
    command = WALK_FORWARD if writer in TRAINED else BACKFILL_ALL if writer in stages() else f"fpm backfill {writer}"
    missing[thing] = f"{command} {span[0]} {span[1]}"
    _add_lacking(writer, absent[0], span, stores, missing)
