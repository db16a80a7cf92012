"""Whose unfinished files these are, on whatever host: a home may be shared, and process ids are not.

Each attempt has a folder of its own, named after its host and a chance word. Who holds a partition's lock works alone,
so every other attempt's folder there is a dead one's. Workers hold no lock: their folders wait for a run, and the run
lives as long as the database has its lock. Nothing rests on that but work: files that were removed are made again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from fpm.store.world import world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fpm.store.ledger.ledger import Ledger

RUN, OF_RUN = "run", "~"


@contextmanager
def run_of(ledger: Ledger) -> Iterator[str]:
    """The name of a run that lives as long as the context lasts, or until the database loses this process."""
    run = world().nonce()
    with ledger.lock(RUN, run):
        yield run


def attempt_of(run: str = "") -> str:
    """A name for one attempt; `run` is the one that its files wait for."""
    return f"{run}{OF_RUN}{world().nonce()}" if run else world().nonce()


def lives(run: str, ledger: Ledger) -> bool:
    """Whether a run's process is at work, here or on another host."""
    return ledger.is_owned(RUN, run)


def dead(folders: Path, prefix: str, ledger: Ledger) -> list[Path]:
    """Folders `prefix` + attempt that no living run waits for; the caller holds the lock under which they were made."""
    names = [(folder, folder.name.removeprefix(prefix).split(OF_RUN)) for folder in folders.glob(f"{prefix}*")]
    return [folder for folder, (run, *waits) in names if not (waits and lives(run, ledger))]


def of_same_run(folder: Path) -> list[Path]:
    """A run's folders for one partition: Ray repeats a task whose host fell silent, and the first may end later."""
    own, waits, _ = folder.name.partition(OF_RUN)
    return list(folder.parent.glob(f"{own}{OF_RUN}*")) if waits else [folder]
