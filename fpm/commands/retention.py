"""Retention at the command line: what FPM_RETENTION would remove, who needs it, and the removal.

A table of which anything is needed is refused whole, and what can go of the others goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import producers
from consumers.questions.passport import NAME as PASSPORT
from fpm.commands.jobs import MODULES, job
from fpm.commands.night import look_back
from fpm.commands.training import reach
from fpm.errors import FpmError, UsageError
from fpm.progress import Progress
from fpm.report import passport
from fpm.retention import RETIRABLE, Excess, Need, excess
from fpm.sessions import cut_off
from fpm.store.faults import faultpoint
from fpm.store.jobs.inputs import sessions_of, windows
from fpm.store.lake.files import parse, sync_folder
from fpm.store.ledger.retirements import retire, retired, stored_sessions
from fpm.store.ledger.seals import recorded_seals
from fpm.store.ledger.stores import Stores
from fpm.store.world import world

BARS, FEATURES = "minute_bars", "minute_features"
INGESTS = ("bars", "ticks")  # write minute bars beside no job of the night
REPLAYED = ("scores", "portfolio")
FAULTPOINTS = ("retired", "unlinked")


@dataclass(frozen=True)
class Decision:
    """Who has something removed, and why."""

    reason: str
    by: str


def plan(stores: Stores, now: datetime) -> list[Excess]:
    """What every table of FPM_RETENTION holds beyond it. Raises UsageError where no retention is set."""
    if stores.settings.retention is None:
        raise UsageError(
            code="FPM-CFG-073",
            wrong="no retention is set: everything is kept",
            effect="nothing was removed",
            todo="set FPM_RETENTION, e.g. minute_bars=500, minute_features=1500 (sessions)",
        )
    own = list(needs(stores, now))
    kept = stores.settings.kept_sessions
    return [excess(table, keep, stored_sessions(table, stores.ledger), own) for table, keep in kept.items()]


def rows(excesses: list[Excess], stores: Stores) -> list[dict[str, Any]]:
    """The plan for people and programs."""
    return [
        {
            "table": own.table,
            "keep": own.keep,
            "state": own.state,
            "before": own.before and str(own.before),
            "sessions": len(own.sessions),
            "bytes": sum(_size(path) for path in _files(own.table, own.before, stores)) if own.before else 0,
            "needed": own.need and f"since {own.need.since} by {own.need.why}",
        }
        for own in excesses
    ]


def apply(excesses: list[Excess], decision: Decision, stores: Stores, progress: Progress) -> int:
    """Remove what is removable, and what a killed removal has left; the number of files."""
    for own in excesses:
        if own.state == "removable" and own.before is not None:
            with stores.ledger.lock("retention", own.table):
                retire(own.table, own.before, decision.reason, decision.by, stores.ledger)
            faultpoint("retired")
    files = [path for table, before in retired(stores.ledger).items() for path in _files(table, before, stores)]
    gone = 0
    for number, path in enumerate(files, 1):
        gone += _remove(path, stores)
        faultpoint("unlinked")
        progress(number, len(files), path.parent.name)
    return gone


def refusal(excesses: list[Excess]) -> FpmError | None:
    """The error of tables that something needs; None where there is none."""
    needed = [own for own in excesses if own.need is not None]
    if not needed:
        return None
    words = "; ".join(
        f"{own.table} before {own.before}, since {own.need.since} by {own.need.why}" for own in needed if own.need
    )
    return UsageError(
        code="FPM-RET-001",
        wrong=f"somebody needs what would go: {words}",
        effect="nothing of these tables was removed",
        todo="keep more sessions in FPM_RETENTION; a passport needs its partitions as long as it lies in `reports`",
    )


# --- who needs what ---------------------------------------------------------------------------------------------------
def needs(stores: Stores, now: datetime) -> Iterator[Need]:
    """Everything that reads a table of minutes: nights and corrections, replays, trainings, passports, open work."""
    yield from _nights(stores, now)
    yield from _replays(stores)
    yield from _training(stores)
    yield from _passports(stores)
    yield from _uncomputed(stores)


def _nights(stores: Stores, now: datetime) -> Iterator[Need]:
    """The windows of every job at the oldest session that a night may run again, its look-back included."""
    back = stores.settings.corrections_back
    recent = [session for session in stores.sessions(BARS) if cut_off(stores.market, session) <= now][-back:]
    if recent:
        words = f"the night of {recent[0]}, which a correction may run again (FPM_CORRECTIONS_BACK={back})"
        oldest = min([recent[0], *look_back(recent[0], stores)])
        for name in MODULES:
            yield from _reads(name, oldest if name in producers.JOBS else recent[0], words, stores)


def _replays(stores: Stores) -> Iterator[Need]:
    for name in REPLAYED:
        first = min((day for table in job(name).WRITES for day in stores.sessions(table)), default=None)
        if first is not None:
            yield from _reads(name, first, f"a replay of {name} of {first}", stores)


def _reads(name: str, session: date, why: str, stores: Stores) -> Iterator[Need]:
    """What one job reads and writes at a session."""
    module: Any = job(name)
    for table, window in windows(module, stores.settings).items():
        if table in RETIRABLE:
            yield Need(table, min([session, *sessions_of(window, session, stores)]), f"{why}: {name}")
    yield from (Need(table, session, f"{why}: {name}") for table in module.WRITES if table in RETIRABLE)


def _training(stores: Stores) -> Iterator[Need]:
    """The sessions that the next training learns from."""
    sessions = stores.sessions(FEATURES)
    if sessions:
        count = reach(stores.settings)
        window = stores.settings.train_window
        first = sessions[0] if count is None else sessions[-min(count, len(sessions))]
        yield Need(FEATURES, first, f"the next training (FPM_TRAIN_WINDOW={window})")


def _passports(stores: Stores) -> Iterator[Need]:
    """The partitions whose bytes a passport in the home vouches for."""
    for path in sorted(stores.settings.reports.rglob(PASSPORT)):
        stated = [parse(name) for name in passport.unseal(path.read_bytes())["partitions"]]
        for table in RETIRABLE:
            if days := [session for name, _, session in stated if name == table]:
                yield Need(table, min(days), f"the passport {path.relative_to(stores.settings.home)}")


def _uncomputed(stores: Stores) -> Iterator[Need]:
    """Minutes whose features nobody has computed."""
    for table, result in ((BARS, FEATURES), ("session_totals", FEATURES)):
        computed = stores.ledger.published(result)
        open_days = [session for session in stores.sessions(table) if session not in computed]
        if open_days:
            yield Need(table, open_days[0], f"{result}, which are not computed yet: fpm backfill all")


# --- files ------------------------------------------------------------------------------------------------------------
def _files(table: str, before: date, stores: Stores) -> list[Path]:
    return [path for session, path in stores.lake.files(table, date.min, before) if session < before]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(path: Path, stores: Stores) -> bool:
    """Remove a file that the ledger has forgotten; one that was delivered or computed again since stays."""
    name = path.relative_to(stores.lake.root).as_posix()
    table, _, session = parse(name)
    writers = [*(INGESTS if table == BARS else ()), *(each for each in MODULES if table in job(each).WRITES)]
    with ExitStack() as locks:
        for writer in writers or [table]:  # a minute's publication owns its table's partition
            locks.enter_context(stores.ledger.lock(writer, str(session)))
        if name in recorded_seals(stores.ledger, table, name):
            return False
        world().unlink(path)
        world().remove_tree(path.parent)
        sync_folder(path.parent.parent)
    return True
