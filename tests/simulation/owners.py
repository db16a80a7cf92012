"""One owner a partition (I7): nobody enters a partition in which another living process is at work.

Who has lost a connection may have lost the lock with it, and another may be at work already: the ledger refuses the
former one's result. That is no violation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from fpm.store.jobs import publishing, runner
from fpm.store.jobs.publishing import Partition
from fpm.store.ledger.stores import Stores
from tests.simulation.turns import Violation

OWNERSHIP = publishing.ownership


@contextmanager
def watched(
    process: Callable[[], int], is_sound: Callable[[int], bool], record: Callable[[Violation], None]
) -> Iterator[None]:
    """`process`: whose turn it is; `is_sound`: whether a process lives and has all its connections.

    `record` hears of a violation: the product may take it for a bug of one night, and go on.
    """
    owners: dict[tuple[str, str], set[int]] = {}

    @contextmanager
    def ownership(partition: Partition, stores: Stores) -> Iterator[None]:
        with OWNERSHIP(partition, stores):
            own, others = process(), owners.setdefault((partition.job, partition.name), set())
            if is_sound(own) and (rivals := sorted(filter(is_sound, others))):
                violation = Violation(f"I7: {partition.job} {partition.name} belongs to {rivals}, and to {own}")
                record(violation)
                raise violation
            others.add(own)
            try:
                yield
            finally:
                others.discard(own)

    with patch.object(publishing, "ownership", ownership), patch.object(runner, "ownership", ownership):
        yield
