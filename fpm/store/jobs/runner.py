"""The runner: what every job needs done once. A job reads, computes and writes; it never sees any of this."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from fpm.allocation import memory_reuse
from fpm.errors import TryLater
from fpm.sessions import cut_off, require_order, sessions_between
from fpm.store.jobs.history import history_of
from fpm.store.jobs.inputs import Inputs, Job, Window, digest, inputs_of
from fpm.store.jobs.publishing import (
    Outcome,
    Partition,
    attempt,
    discard,
    last_published,
    outcome,
    ownership,
    publish,
    stage,
)
from fpm.store.jobs.workers import results
from fpm.store.ledger.stores import Stores, open_stores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    import polars as pl

    from fpm.progress import Progress
    from fpm.store.ledger.ledger import Staged
    from fpm.store.settings import Settings


@memory_reuse()
def run_job(job: Job, session: date, stores: Stores) -> Outcome:
    """Run one job for one session and publish what it wrote; unchanged inputs, code and models compute nothing
    (only a job that writes no table of the lake is run each time, to see that what it wrote elsewhere still holds).

    Raises TryLater where an input or a model is missing (the ledger then says ``waiting``), and whatever the job
    raises (the ledger says ``failed``).
    """
    partition = Partition(job.NAME, session, stores.vintage)
    with ownership(partition, stores):
        inputs = _ready_inputs(job, partition, stores)
        before = last_published(partition, stores)
        if before is not None and before.inputs_sha == inputs.digest:
            if not job.WRITES:
                _look_again(job, partition, inputs, stores)
            return outcome(partition, "unchanged", before.files)
        with attempt(partition, inputs.digest, stores) as begun:
            staged = stage(partition, history_of(job, session, stores, inputs.moments), stores)
            return publish(partition, begun, staged, stores)


def _look_again(job: Job, partition: Partition, inputs: Inputs, stores: Stores) -> None:
    """A job that writes outside the lake runs although its inputs are the same: the outside may have changed.

    It gets an attempt of its own only if it fails.
    """
    try:
        job.run(partition.session, stores.as_of(inputs.moments[-1]))
    except Exception as wrong:  # whatever it was: the attempt records it in the ledger, then it goes on up
        with attempt(partition, inputs.digest, stores):
            raise wrong


def _ready_inputs(job: Job, partition: Partition, stores: Stores) -> Inputs:
    """The job's inputs; if something is missing the ledger notes it and TryLater is raised."""
    try:
        inputs = inputs_of(job, partition.session, stores)
        if inputs.missing:
            raise TryLater(
                code="FPM-JOB-075",
                wrong=f"{job.NAME} {partition.name} waits for {', '.join(inputs.missing[:5])}",
                effect="nothing was computed",
                todo="run the jobs that write them (`fpm jobs`), then this one again",
            )
        return inputs
    except TryLater as later:
        stores.ledger.wait(partition.job, partition.name, str(later))
        raise


def publish_frames(name: str, session: date, frames: Mapping[str, pl.DataFrame], stores: Stores) -> Outcome:
    """Publish whole partitions (table -> frame) under the job `name`, for what comes from outside: ingest.

    A frame with `created_timestamp` is the partition's whole history; without it everything is known at the cut-off.
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
        staged = stage(partition, history_of(Delivery(), session, stores, [cut_off(stores.market, session)]), stores)
        content = digest(sorted((each.file.path, each.file.sha256) for each in staged))
        before = last_published(partition, stores)
        if before is not None and before.inputs_sha == content:
            discard(staged, stores)
            return outcome(partition, "unchanged", before.files)
        with attempt(partition, content, stores) as begun:
            return publish(partition, begun, staged, stores)


@memory_reuse()
def backfill(job: Job, first: date, last: date, stores: Stores, progress: Progress) -> list[Outcome]:
    """Run a job over every session from `first` to `last` that has raw bars, resuming where the ledger stopped.

    With `settings.workers` > 1 sessions are computed and staged in processes of their own and published here, in order;
    a job that reads what it writes runs one session after the other. A session without its inputs is ``waiting`` and
    the others go on; any other error ends the backfill.
    Raises UsageError for a reversed range, TryLater where there is no session at all.
    """
    sessions = _sessions(first, last, stores)
    alone = stores.settings.workers == 1 or bool(set(job.READS) & set(job.WRITES)) or not job.WRITES
    runs = (_run_or_wait(job, session, stores) for session in sessions) if alone else _mapped(job, sessions, stores)
    outcomes = []
    for ended in runs:
        outcomes.append(ended)
        progress(len(outcomes), len(sessions), ended.session)
    return outcomes


def _sessions(first: date, last: date, stores: Stores) -> list[date]:
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
    return sessions


def _run_or_wait(job: Job, session: date, stores: Stores) -> Outcome:
    try:
        return run_job(job, session, stores)
    except TryLater as later:
        return Outcome(session, "waiting", reason=str(later))


# --- sessions in several processes --------------------------------------------------------------------------------
def _mapped(job: Job, sessions: Sequence[date], stores: Stores) -> Iterator[Outcome]:
    """Compute and stage in workers, publish here. Workers hold no lock: under the lock a result is taken only if its
    inputs are still the current ones, otherwise the session is run again.
    """
    from joblib import delayed

    module: str = job.__name__  # type: ignore[attr-defined]
    calls = [delayed(_in_worker)(module, session, stores.settings, stores.vintage, os.getpid()) for session in sessions]
    for session, (content, staged) in zip(sessions, results(calls, stores.settings), strict=True):
        yield _take(job, session, content, staged, stores) if staged else _run_or_wait(job, session, stores)


@memory_reuse()
def _in_worker(
    module: str, session: date, settings: Settings, vintage: str | None, owner: int
) -> tuple[str, tuple[Staged, ...]]:
    """Digest and staged files of a session; no files where it waits for inputs or is published already."""
    job: Job = import_module(module)
    stores, partition = _worker_stores(settings).for_vintage(vintage), Partition(job.NAME, session, vintage)
    try:
        inputs = inputs_of(job, session, stores)
    except TryLater:
        return "", ()
    before = last_published(partition, stores)
    if inputs.missing or (before is not None and before.inputs_sha == inputs.digest):
        return inputs.digest, ()
    return inputs.digest, stage(partition, history_of(job, session, stores, inputs.moments), stores, owner)


@lru_cache(maxsize=1)
def _worker_stores(settings: Settings) -> Stores:
    return open_stores(settings)


def _take(job: Job, session: date, content: str, staged: tuple[Staged, ...], stores: Stores) -> Outcome:
    """Publish what a worker staged, if it still is what the job would write now."""
    partition = Partition(job.NAME, session, stores.vintage)
    with ownership(partition, stores):
        before = last_published(partition, stores)
        new = before is None or before.inputs_sha != content
        if new and _ready_inputs(job, partition, stores).digest == content:
            with attempt(partition, content, stores) as begun:
                return publish(partition, begun, staged, stores)
        discard(staged, stores)
    return _run_or_wait(job, session, stores)
