"""The runner: everything around a job. A job itself only reads, computes and writes."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import date
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from fpm.allocation import memory_reuse
from fpm.errors import TryLater
from fpm.retention import RETIRABLE
from fpm.sessions import cut_off, require_order, sessions_between
from fpm.store.jobs.freshness import Freshness, lack, rests_on_removed, stands
from fpm.store.jobs.history import history_of
from fpm.store.jobs.inputs import Inputs, Job, Window, digest, inputs_of, unseen
from fpm.store.jobs.publishing import (
    Outcome,
    Partition,
    are_staged,
    attempt,
    discard,
    last_published,
    outcome,
    ownership,
    publish,
    stage,
)
from fpm.store.jobs.staging import run_of
from fpm.store.jobs.workers import results
from fpm.store.ledger.retirements import retired
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.log import configure, context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from fpm.progress import Progress
    from fpm.store.ledger.ledger import Staged
    from fpm.store.settings import Settings


@memory_reuse()
def run_job(job: Job, session: date, stores: Stores) -> Outcome:
    """Run one job for one session and publish its outputs, unless inputs, code and models are unchanged, or it stands.

    A job that writes no table of the lake runs every time, because what it wrote elsewhere may have changed.
    Raises TryLater where an input or a model is missing (the ledger then says ``waiting``), and whatever the job
    raises (the ledger says ``failed``).
    """
    partition = Partition(job.NAME, session, stores.vintage)
    with ownership(partition, stores):
        inputs = _ready_inputs(job, partition, stores)
        before = last_published(partition, stores)
        same = before is not None and before.inputs_sha == inputs.digest and not failed_since(job, partition, stores)
        if before is not None and (same or stands(job, session, stores) or rests_on_removed(job, session, stores)):
            if not job.WRITES:
                _repeat(job, partition, inputs, stores)
            return outcome(partition, "unchanged", before.files)
        with attempt(partition, inputs.digest, stores) as current:
            files = stage(partition, history_of(job, session, stores, inputs.moments), stores)
            return publish(partition, current, files, stores)


def failed_since(job: Job, partition: Partition, stores: Stores) -> bool:
    """Whether a job that writes outside the lake failed after it had ended: its next success is an attempt, too."""
    if job.WRITES:
        return False
    last = stores.ledger.latest(partition.job, partition.name)
    return last is not None and last.status != "published"


def _repeat(job: Job, partition: Partition, inputs: Inputs, stores: Stores) -> None:
    """Run a job that writes outside the lake with unchanged inputs; only a failure becomes an attempt of its own."""
    try:
        job.run(partition.session, stores.as_of(inputs.moments[-1]).named(partition.session))
    except Exception:
        with attempt(partition, inputs.digest, stores):  # records any error in the ledger
            raise


def _ready_inputs(job: Job, partition: Partition, stores: Stores) -> Inputs:
    """The job's inputs. Raises TryLater where something is missing, which the ledger records."""
    try:
        inputs = inputs_of(job, partition.session, stores)
        if later := lack(inputs, partition) or _blind(inputs, partition, stores):
            raise later
    except TryLater as later:
        stores.ledger.wait(partition.job, partition.name, str(later))
        raise
    return inputs


def _blind(inputs: Inputs, partition: Partition, stores: Stores) -> TryLater | None:
    """The refusal where this host does not see a file that the job would read: it would compute without it."""
    lacking = unseen(inputs, stores)
    if not lacking:
        return None
    return TryLater(
        code="FPM-JOB-078",
        wrong=f"{partition.job} {partition.name} reads {lacking[0]}, one of {len(lacking)} published files that are "
        "not there",
        effect="nothing was computed",
        todo="run their jobs again, or wait until a shared folder shows them on this host (docs/scale.md)",
    )


def publish_frames(name: str, session: date, frames: Mapping[str, pl.DataFrame], stores: Stores) -> Outcome:
    """Publish whole partitions (table -> frame) that come from outside, under the job `name`.

    A frame with `created_timestamp` is the partition's whole history; without it all rows are known at the cut-off.
    Unchanged frames publish nothing.
    """

    class Delivery:
        NAME, WRITES = name, tuple(frames)
        READS: Mapping[str, Window] = {}

        @staticmethod
        def run(session: date, stores: Stores) -> None:
            for table, frame in frames.items():
                stores.write(table, session, frame)

    partition = Partition(name, session, stores.vintage)
    with ownership(partition, stores):
        files = stage(partition, history_of(Delivery(), session, stores, [cut_off(stores.market, session)]), stores)
        content = digest(sorted((staged.file.path, staged.file.sha256) for staged in files))
        before = last_published(partition, stores)
        if before is not None and before.inputs_sha == content:
            discard(files, stores)
            return outcome(partition, "unchanged", before.files)
        with attempt(partition, content, stores) as current:
            return publish(partition, current, files, stores)


@memory_reuse()
def backfill(job: Job, first: date, last: date, stores: Stores, progress: Progress) -> list[Outcome]:
    """Run a job for every session from `first` to `last` that has raw bars; published ones are skipped.

    With `settings.workers` > 1 worker processes compute and stage sessions, and this one publishes them in order; a job
    that reads its own table runs one session after the other. A session without inputs becomes ``waiting`` and the
    others go on; any other error ends the backfill.
    Raises UsageError for a reversed range, TryLater where no session has raw bars.
    """
    sessions = _sessions(job, first, last, stores)
    serial = stores.settings.workers == 1 or bool(set(job.READS) & set(job.WRITES)) or not job.WRITES
    runs = (_in_order if serial else _parallel)(job, sessions, stores)
    outcomes: list[Outcome] = []
    for outcome_of_session in runs:
        outcomes.append(outcome_of_session)
        progress(len(outcomes), len(sessions), outcome_of_session.session)
    return outcomes


def is_settled(job: Job, first: date, last: date, stores: Stores) -> bool:
    """Whether a backfill of these sessions has nothing to do."""
    sessions = _sessions(job, first, last, stores)
    fresh = Freshness(job, sessions, stores)
    return all(fresh.settled(session) for session in sessions)


def _sessions(job: Job, first: date, last: date, stores: Stores) -> list[date]:
    """Sessions with raw bars, without those whose results of the job somebody had removed."""
    require_order(first, last)
    raw = {session for table in ("minute_bars", "daily_bars") for session in stores.sessions(table)}
    sessions = [session for session in sessions_between(stores.market, first, last) if session in raw]
    if not sessions:
        raise TryLater(
            code="FPM-JOB-074",
            wrong=f"there are no raw bars from {first} to {last}",
            effect="nothing was done",
            todo="ingest them: fpm ingest PATH",
        )
    gone = retired(stores.ledger) if job.WRITES and set(job.WRITES) <= set(RETIRABLE) else {}
    before = min((gone.get(table, date.min) for table in job.WRITES), default=date.min)
    return [session for session in sessions if session >= before]


def _in_order(job: Job, sessions: Sequence[date], stores: Stores) -> Iterator[Outcome]:
    """One session after the other: what has nothing to do by the ledger, and after it some runs.

    A run may change the inputs of later sessions, so the ledger is asked anew: after one run, then two, four and so on.
    """
    place, runs = 0, 1
    while place < len(sessions):
        fresh = Freshness(job, sessions[place:], stores)
        while place < len(sessions) and (settled := fresh.settled(sessions[place])):
            yield settled
            place += 1
        for session in sessions[place : place + runs]:
            yield _run_or_wait(job, session, stores)
        place, runs = place + runs, 2 * runs


def _run_or_wait(job: Job, session: date, stores: Stores) -> Outcome:
    try:
        return run_job(job, session, stores)
    except TryLater as later:
        return Outcome(session, "waiting", reason=str(later))


# --- sessions in several processes --------------------------------------------------------------------------------
def _parallel(job: Job, sessions: Sequence[date], stores: Stores) -> Iterator[Outcome]:
    """Compute and stage in workers, publish here.

    Workers hold no lock, so a result is published only if its inputs, read again under the lock, are unchanged;
    otherwise the session runs again.
    """
    from joblib import delayed

    module: str = job.__name__  # type: ignore[attr-defined]
    fresh = Freshness(job, sessions, stores)
    settled = {session: fresh.settled(session) for session in sessions}
    todo = [session for session, known in settled.items() if known is None]
    with run_of(stores.ledger) if todo else nullcontext("") as run:
        alone = stores.settings.model_copy(update={"workers": 1})  # a worker has no workers of its own
        calls = [delayed(_in_worker)(module, session, alone, stores.vintage, run) for session in todo]
        staged: Iterator[tuple[str, tuple[Staged, ...]]] = iter(results(calls, stores.settings) if calls else ())
        for session in sessions:
            if former := settled[session]:
                yield former
                continue
            content, files = next(staged)
            yield _publish(job, session, content, files, stores) if files else _run_or_wait(job, session, stores)


@memory_reuse()
def _in_worker(
    module: str, session: date, settings: Settings, vintage: str | None, run: str
) -> tuple[str, tuple[Staged, ...]]:
    """Digest and staged files of a session; no files where it waits for inputs or is already published."""
    job: Job = import_module(module)
    with context(job=job.NAME, session=str(session)):
        return _computed(job, session, settings, vintage, run)


def _computed(
    job: Job, session: date, settings: Settings, vintage: str | None, run: str
) -> tuple[str, tuple[Staged, ...]]:
    stores, partition = _worker_stores(settings).for_vintage(vintage), Partition(job.NAME, session, vintage)
    try:
        inputs = inputs_of(job, session, stores)
    except TryLater:
        return "", ()
    before = last_published(partition, stores)
    if inputs.missing or (before is not None and before.inputs_sha == inputs.digest):
        return inputs.digest, ()
    if unseen(inputs, stores):
        return inputs.digest, ()
    outputs = history_of(job, session, stores, inputs.moments)
    try:
        return inputs.digest, stage(partition, outputs, stores, run)
    except FileNotFoundError:  # the database lost the run, and the partition's next owner cleaned up
        return inputs.digest, ()


@lru_cache(maxsize=1)
def _worker_stores(settings: Settings) -> Stores:
    configure(settings)
    return open_stores(settings)


def _publish(job: Job, session: date, content: str, files: tuple[Staged, ...], stores: Stores) -> Outcome:
    """Publish the files of a worker if the job would still write them now, otherwise run it here."""
    partition = Partition(job.NAME, session, stores.vintage)
    with ownership(partition, stores):
        before = last_published(partition, stores)
        new = before is None or before.inputs_sha != content
        if new and are_staged(files, stores) and _ready_inputs(job, partition, stores).digest == content:
            with attempt(partition, content, stores) as current:
                return publish(partition, current, files, stores)
        discard(files, stores)
    return _run_or_wait(job, session, stores)
