"""How a partition becomes visible, and how the rest of a killed attempt is finished or discarded.

Lock, waited for -> ``running``, attempt + 1 -> (compute) -> stage, fsync, sha256 -> ``prepared`` -> rename, fsync the
folders -> ``published``. Whoever gets the lock first looks at what the last owner left: the ledger says which files,
with which hashes, from where. Hence two runners, a backfill beside the nightly, or SIGKILL anywhere: the same bytes.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fpm.errors import TryLater
from fpm.store.faults import faultpoint
from fpm.store.lake.files import sha256_of
from fpm.store.ledger.ledger import Attempt, Staged
from fpm.store.log import context, log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from fpm.store.ledger.stores import Stores, Output


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `unchanged`: nothing to do, or the same bytes again; `waiting`: inputs missing, see `reason`.

    `sha256`: the file's, or over those of several; `rows`: all versions in them.
    """

    session: date
    status: Literal["published", "unchanged", "waiting"]
    sha256: str = ""
    rows: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Partition:
    """What one lock covers: a job at a session, under an encoder vintage or none."""

    job: str
    session: date
    vintage: str | None = None

    @property
    def name(self) -> str:
        return f"{self.vintage}/{self.session}" if self.vintage else str(self.session)

    def staging(self, owner: int) -> str:
        """Folder below the staging root of the process `owner` (a process id: the dead leave theirs behind)."""
        return f"{self.job}/{self.name.replace('/', '_')}.{owner}"


@contextmanager
def ownership(partition: Partition, stores: Stores) -> Iterator[None]:
    """Hold the partition alone, with the rest of a killed owner finished or discarded."""
    with context(job=partition.job, session=str(partition.session)), stores.ledger.lock(partition.job, partition.name):
        _recover(partition, stores)
        yield


def last_published(partition: Partition, stores: Stores) -> Attempt | None:
    """The published attempt, if its files still are what it published.

    They are only hashed where a later attempt has come to nothing: it may have renamed some of its files.
    """
    published = stores.ledger.latest(partition.job, partition.name, "published")
    if published is None:
        return None
    last = stores.ledger.latest(partition.job, partition.name)
    touched = last is not None and last.attempt != published.attempt
    for each in published.files:
        path = stores.lake.root / each.file.path
        if not path.is_file() or (touched and sha256_of(path) != each.file.sha256):
            return None
    return published


@contextmanager
def attempt(partition: Partition, inputs_sha: str, stores: Stores) -> Iterator[Attempt]:
    """A new attempt; an error inside is written to the ledger with its message, and raised again."""
    _decide(stores)
    begun = stores.ledger.begin(partition.job, partition.name, inputs_sha)
    faultpoint("begun")
    with context(attempt=begun.attempt):
        try:
            yield begun
        except (Exception, KeyboardInterrupt) as wrong:
            _give_up(partition, begun, wrong, stores)
            raise


def stage(
    partition: Partition, written: Sequence[Output], stores: Stores, owner: int | None = None
) -> tuple[Staged, ...]:
    """Write every frame to the staging folder, forced to the disk."""
    place = partition.staging(owner or os.getpid())
    folder = stores.lake.staging / place
    shutil.rmtree(folder, ignore_errors=True)
    staged = []
    for each in written:
        relative = stores.lake.relative(each.table, each.session, each.vintage)
        staged.append(Staged(stores.lake.stage(each.table, each.frame, relative, folder), f"{place}/{relative}"))
    faultpoint("staged")
    return tuple(staged)


def publish(partition: Partition, begun: Attempt, staged: Sequence[Staged], stores: Stores) -> Outcome:
    """Make the staged files the partition's, and the ledger say so; the same bytes again change no file."""
    before = last_published(partition, stores)
    same = (
        before is not None and {each.file for each in before.files} == {each.file for each in staged} and bool(staged)
    )
    if not same:
        stores.ledger.prepare(begun, staged)
        faultpoint("prepared")
        for each in staged:
            stores.lake.put(stores.lake.staging / each.staging, each.file.path)
            faultpoint("renamed")
    stores.ledger.publish(begun, staged)
    faultpoint("published")
    discard(staged, stores)
    ended = outcome(partition, "unchanged" if same else "published", staged)
    log.info(ended.status, rows=ended.rows)
    return ended


def outcome(partition: Partition, status: Literal["published", "unchanged"], staged: Sequence[Staged]) -> Outcome:
    """What a caller wants to know of an attempt's files."""
    hashes = sorted(each.file.sha256 for each in staged)
    sha = hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()
    return Outcome(partition.session, status, sha, sum(each.file.rows for each in staged))


def discard(staged: Sequence[Staged], stores: Stores) -> None:
    """Remove the staging folders of files that are not needed any more."""
    for job, folder in {tuple(each.staging.split("/")[:2]) for each in staged}:
        shutil.rmtree(stores.lake.staging / job / folder, ignore_errors=True)


def _recover(partition: Partition, stores: Stores) -> None:
    """Finish a prepared attempt whose files are all there, give up any other that still looks alive, and clean up."""
    last = stores.ledger.latest(partition.job, partition.name)
    if last is not None and last.status == "prepared" and _finish(last, stores):
        log.warning("finished a killed attempt", of_attempt=last.attempt)
    elif last is not None and last.status in ("running", "prepared"):
        stores.ledger.fail(last, "failed", "interrupted", prepared=True)
        log.warning("gave up a killed attempt", of_attempt=last.attempt)
    _remove_the_dead(partition, stores)


def _finish(last: Attempt, stores: Stores) -> bool:
    places = [(stores.lake.staging / each.staging, stores.lake.root / each.file.path, each.file) for each in last.files]
    to_rename = [(staging, file) for staging, target, file in places if not _is(target, file.sha256)]
    if not all(_is(staging, file.sha256) for staging, file in to_rename):
        return False
    for staging, target, file in places:
        if (staging, file) in to_rename:
            stores.lake.put(staging, file.path)
        else:
            stores.lake.sync(target)  # renamed by the dead owner, perhaps not yet on the disk
        faultpoint("renamed")
    stores.ledger.publish(last, last.files)
    faultpoint("published")
    discard(last.files, stores)
    return True


def _is(path: Path, sha: str) -> bool:
    return path.is_file() and sha256_of(path) == sha


def _remove_the_dead(partition: Partition, stores: Stores) -> None:
    """Staging folders of processes that are no more; another machine's processes must not share this home."""
    prefix = Path(partition.staging(0)).stem
    for folder in (stores.lake.staging / partition.job).glob(f"{prefix}.*"):
        if not _is_alive(int(folder.suffix[1:])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _give_up(partition: Partition, begun: Attempt, wrong: BaseException, stores: Stores) -> None:
    """Record why; a prepared attempt is left as it is, for the next owner to finish."""
    status: Literal["waiting", "failed"] = "waiting" if isinstance(wrong, TryLater) else "failed"
    try:
        if stores.ledger.fail(begun, status, f"{type(wrong).__name__}: {wrong}"):
            shutil.rmtree(stores.lake.staging / partition.staging(os.getpid()), ignore_errors=True)
    except TryLater as later:
        log.warning("the ledger could not be told", why=str(later))
    (log.info if status == "waiting" else log.error)(status, error=str(wrong))


def _decide(stores: Stores) -> None:
    """The first attempt in a home fixes its market and preset."""
    decided = stores.ledger.deployment()
    for key in ("market", "preset"):
        if key not in decided:
            stores.ledger.decide(key, getattr(stores.settings, key))
