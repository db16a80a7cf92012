"""Which sessions of a job stand as they are: published, with the inputs, models and code that they would have now.

One session at a time the runner takes a lock and asks a dozen questions. Here the ledger is asked once for all of them,
and what is left of an unchanged session is one digest.
"""

from __future__ import annotations

from functools import cached_property
from os.path import isfile
from typing import TYPE_CHECKING

from fpm.errors import TryLater
from fpm.retention import RETIRABLE
from fpm.store.jobs.inputs import inputs_of, published_files, sessions_of, windows
from fpm.store.jobs.publishing import Outcome, Partition, outcome
from fpm.store.ledger.memory import remembered
from fpm.store.ledger.retirements import retired

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from fpm.store.jobs.inputs import Inputs, Job, Published
    from fpm.store.ledger.ledger import Attempt
    from fpm.store.ledger.stores import Stores


def stands(job: Job, session: date, stores: Stores) -> bool:
    """Whether what the job wrote for the session is never done again: a decision that went online."""
    return bool(getattr(job, "FINAL", False)) and bool(stores.ledger.publications(session))


def rests_on_removed(job: Job, session: date, stores: Stores) -> bool:
    """Whether sessions that the job read were removed since: from the others it would write something else."""
    reads = {table: window for table, window in windows(job, stores.settings).items() if table in RETIRABLE}
    gone = retired(stores.ledger) if reads else {}
    return any(
        table in gone and min([session, *sessions_of(window, session, stores)]) < gone[table]
        for table, window in reads.items()
    )


def lack(inputs: Inputs, partition: Partition) -> TryLater | None:
    """What a partition waits for; None where every input is there."""
    if not inputs.missing:
        return None
    return TryLater(
        code="FPM-JOB-075",
        wrong=f"{partition.job} {partition.name} waits for {', '.join(inputs.missing[:5])}",
        effect="nothing was computed",
        todo="run the jobs that write them (`fpm jobs`), then this one again",
    )


class Freshness:
    """What the ledger says of a job's sessions, at the moment of its first question.

    A session that a run changes since, or whose inputs a run changes, is judged by what was before.
    """

    def __init__(self, job: Job, sessions: Sequence[date], stores: Stores) -> None:
        self._job, self._sessions, self._stores = job, sessions, remembered(stores)

    def settled(self, session: date) -> Outcome | None:
        """The outcome of a session that has nothing to do, or still waits; None where the runner has to look at it."""
        partition = Partition(self._job.NAME, session, self._stores.vintage)
        last = self._attempts.get(partition.name)
        if last is None:
            return None
        try:
            inputs = inputs_of(self._job, session, self._stores, self._files)
        except TryLater:
            return None
        if later := lack(inputs, partition):
            waits = last.status == "waiting" and last.error == str(later)
            return Outcome(session, "waiting", reason=str(later)) if waits else None
        same = (
            inputs.digest == last.inputs_sha
            or stands(self._job, session, self._stores)
            or rests_on_removed(self._job, session, self._stores)
        )
        root, paths = str(self._stores.lake.root), [staged.file.path for staged in last.files]
        # as text: to make a `Path` of a file takes longer than to look whether it is there
        is_there = last.status == "published" and all(isfile(f"{root}/{path}") for path in paths)  # noqa: PTH113  see above
        return outcome(partition, "unchanged", last.files) if same and is_there else None

    @cached_property
    def _attempts(self) -> Mapping[str, Attempt]:
        """Last attempts that ended, by partition; none of jobs that run every time, or where something is staged."""
        if not self._job.WRITES:
            return {}
        names = [Partition(self._job.NAME, session, self._stores.vintage).name for session in self._sessions]
        staged = {folder.stem for folder in (self._stores.lake.staging / self._job.NAME).glob("*")}
        return {
            name: attempt
            for name, attempt in self._stores.ledger.latest_of_each(self._job.NAME, names).items()
            if attempt.status in ("published", "waiting") and name.replace("/", "_") not in staged
        }

    @cached_property
    def _files(self) -> Published:
        return published_files(self._job, self._sessions, self._stores)
