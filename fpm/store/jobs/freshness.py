"""Which sessions of a job stand as they are: published, with the inputs, models and code that they would have now.

One session at a time the runner takes a lock and asks a dozen questions. Here the ledger is asked once for all of them,
and what is left of an unchanged session is one digest.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from fpm.errors import TryLater
from fpm.store.jobs.inputs import inputs_of, published_files, span_of
from fpm.store.jobs.publishing import Outcome, Partition, outcome
from fpm.store.ledger.memory import remembered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from fpm.store.jobs.inputs import Job, Published
    from fpm.store.ledger.ledger import Attempt
    from fpm.store.ledger.stores import Stores


def stands(job: Job, session: date, stores: Stores) -> bool:
    """Whether what the job wrote for the session is never done again: a decision that went online."""
    return bool(getattr(job, "FINAL", False)) and bool(stores.ledger.publications(session))


class Freshness:
    """What the ledger says of a job's sessions, at the moment of its first question.

    A session that a run changes since, or whose inputs a run changes, is judged by what was before.
    """

    def __init__(self, job: Job, sessions: Sequence[date], stores: Stores) -> None:
        self._job, self._sessions, self._stores = job, sessions, remembered(stores)

    def unchanged(self, session: date) -> Outcome | None:
        """The outcome of a session that has nothing to do; None where the runner has to look at it."""
        partition = self._partition(session)
        last = self._published.get(partition.name)
        if last is None or not self._is_current(last, session):
            return None
        if not all((self._stores.lake.root / staged.file.path).is_file() for staged in last.files):
            return None
        return outcome(partition, "unchanged", last.files)

    def _partition(self, session: date) -> Partition:
        return Partition(self._job.NAME, session, self._stores.vintage)

    def _is_current(self, last: Attempt, session: date) -> bool:
        try:
            inputs = inputs_of(self._job, session, self._stores, self._files)
        except TryLater:
            return False
        same = inputs.digest == last.inputs_sha or stands(self._job, session, self._stores)
        return same and not inputs.missing

    @cached_property
    def _published(self) -> Mapping[str, Attempt]:
        """Last attempts that published, by partition; none of jobs that run every time or left something staged."""
        if not self._job.WRITES:
            return {}
        names = [self._partition(session).name for session in self._sessions]
        last = self._stores.ledger.latest_of_each(self._job.NAME, names)
        staged = {folder.stem for folder in (self._stores.lake.staging / self._job.NAME).glob("*")}
        return {
            name: attempt
            for name, attempt in last.items()
            if attempt.status == "published" and name.replace("/", "_") not in staged
        }

    @cached_property
    def _files(self) -> Published:
        ends = [span_of(self._job, session, self._stores) for session in (self._sessions[0], self._sessions[-1])]
        return published_files(self._job, ends[0][0], ends[-1][1], self._stores)
