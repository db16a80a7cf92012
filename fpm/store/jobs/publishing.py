"""How a partition becomes visible, and how recovery finishes or discards a killed attempt.

Wait for the lock -> ``running``, attempt + 1 -> (compute) -> stage, fsync of files and folders, sha256 -> ``prepared``
-> rename, fsync of the folders -> ``published``. The next owner of the lock first looks at what the last one left: the
ledger knows the files, their hashes and where they are staged. So two runners, a backfill beside the nightly, SIGKILL
or a power cut at any point leave the same bytes.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from polars.exceptions import PanicException

from fpm.errors import TryLater
from fpm.interruption import stop_if_interrupted
from fpm.store.faults import faultpoint
from fpm.store.jobs.staging import attempt_of, dead, of_same_run
from fpm.store.lake.files import has_sha256, sync_folder
from fpm.store.lake.seals import settled_identity
from fpm.store.ledger.ledger import Attempt, Staged, superseded
from fpm.store.log import context, log
from fpm.store.world import world

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fpm.store.ledger.stores import Output, Stores


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `unchanged`: there was nothing to do, or the bytes are the same; `waiting`: inputs are missing, see `reason`.
    `sha256` is the file's, or one over those of several files; `rows` counts all versions in them.
    """

    session: date
    status: Literal["published", "unchanged", "waiting"]
    sha256: str = ""
    rows: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Partition:
    """The unit of a lock: a job at a session, under an encoder vintage or none."""

    job: str
    session: date
    vintage: str | None = None

    @property
    def name(self) -> str:
        """`session` or `vintage/session`."""
        return f"{self.vintage}/{self.session}" if self.vintage else str(self.session)

    def staging(self, attempt: str) -> str:
        """Folder of one `attempt` below the staging root: a killed one leaves its own behind."""
        return f"{self.job}/{self.name.replace('/', '_')}.{attempt}"


_STAGED = re.compile(r"(?:(?P<vintage>.+)_)?(?P<session>\d{4}-\d\d-\d\d)\.[A-Za-z0-9~-]+")  # see `Partition.staging`


@contextmanager
def ownership(partition: Partition, stores: Stores) -> Iterator[None]:
    """Hold the partition's lock, after recovery from a killed owner."""
    with context(job=partition.job, session=str(partition.session)), stores.ledger.lock(partition.job, partition.name):
        _recover(partition, stores)
        yield


def recover_dead(stores: Stores) -> None:
    """Recover every partition of which something is in staging, unless somebody is at work on it.

    Its next owner would do so; but a power cut may bring back a folder that was removed before it, and a session that
    is whole has no next owner. One that fails is logged.
    """
    for folder in sorted(stores.lake.staging.glob("*/*")):
        parts = _STAGED.fullmatch(folder.name)
        if parts is None:
            continue
        partition = Partition(folder.parent.name, date.fromisoformat(parts["session"]), parts["vintage"])
        try:
            if not stores.ledger.is_owned(partition.job, partition.name):
                with ownership(partition, stores):
                    pass
        except Exception as wrong:  # noqa: BLE001  it delays no night: the next owner tries again, and says so
            log.error("not recovered", of=folder.name, job=partition.job, why=f"{type(wrong).__name__}: {wrong}")


def last_published(partition: Partition, stores: Stores) -> Attempt | None:
    """The published attempt if its files are still those that it published, otherwise None.

    They are hashed only where a later attempt failed, which may have renamed some of its files.
    """
    attempts = stores.ledger.last_attempts(partition.job, [partition.name])
    published = next((each for each in attempts if each.status == "published"), None)
    if published is None:
        return None
    touched = attempts[-1].attempt != published.attempt
    for staged in published.files:
        path = stores.lake.root / staged.file.path
        if not (has_sha256(path, staged.file.sha256) if touched else path.is_file()):
            return None
    return published


@contextmanager
def attempt(partition: Partition, inputs_sha: str, stores: Stores) -> Iterator[Attempt]:
    """A new attempt; the ledger records an error inside with its message, and it is raised again."""
    _decide(stores)
    current = stores.ledger.begin(partition.job, partition.name, inputs_sha)
    faultpoint("begun")
    with context(attempt=current.attempt):
        try:
            yield current
        except (Exception, PanicException, KeyboardInterrupt) as wrong:
            if isinstance(wrong, FileNotFoundError) and not _is_current(current, stores):
                raise superseded(current) from wrong  # the lock was lost, and its next owner cleaned up
            _give_up(partition, current, wrong, stores)
            stop_if_interrupted()  # a library may have made this error of Ctrl-C
            if isinstance(wrong, PanicException):  # as what it is, it would stop the nights of all other sessions
                raise RuntimeError(f"native code failed: {wrong}") from wrong  # noqa: TRY004  the type is not wrong
            raise


def stage(partition: Partition, outputs: Sequence[Output], stores: Stores, run: str = "") -> tuple[Staged, ...]:
    """Write every frame into a new staging folder, forced to the disk; `run`: the one that waits for them."""
    name = partition.staging(attempt_of(run))
    folder = stores.lake.staging / name
    files = []
    for output in outputs:
        relative = stores.lake.relative(output.table, output.session, output.vintage)
        files.append(Staged(stores.lake.stage(output.table, output.frame, relative, folder), f"{name}/{relative}"))
    _sync_staging(files, stores)
    faultpoint("staged")
    return tuple(files)


def _sync_staging(files: Sequence[Staged], stores: Stores) -> None:
    """Force the staged files' folders to the disk: what is prepared can be finished after a power cut, too."""
    staging = stores.lake.staging
    above = {folder for staged in files for folder in (staging / staged.staging).parents}
    for folder in sorted((folder for folder in above if folder.is_relative_to(staging.parent)), reverse=True):
        sync_folder(folder)


def publish(partition: Partition, current: Attempt, files: Sequence[Staged], stores: Stores) -> Outcome:
    """Rename the staged files into the lake and record them in the ledger; equal bytes change no file.

    Raises TryLater where a newer attempt has taken over.
    """
    before = last_published(partition, stores)
    same = before is not None and bool(files) and {old.file for old in before.files} == {new.file for new in files}
    if not same:
        stores.ledger.prepare(current, files)
        faultpoint("prepared")
        for staged in files:
            stores.lake.put(stores.lake.staging / staged.staging, staged.file.path)
            faultpoint("renamed")
    stores.ledger.publish(current, files, {} if same else _identities(files, stores))
    faultpoint("published")
    discard(files, stores)
    result = outcome(partition, "unchanged" if same else "published", files)
    log.info(result.status, rows=result.rows)
    return result


def _identities(files: Sequence[Staged], stores: Stores) -> dict[str, str | None]:
    """The identities of files that have just been put into the lake, by path."""
    return {staged.file.path: settled_identity(stores.lake.root / staged.file.path) for staged in files}


def outcome(partition: Partition, status: Literal["published", "unchanged"], files: Sequence[Staged]) -> Outcome:
    """The outcome of an attempt with these files."""
    hashes = sorted(staged.file.sha256 for staged in files)
    sha = hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()
    return Outcome(partition.session, status, sha, sum(staged.file.rows for staged in files))


def discard(files: Sequence[Staged], stores: Stores) -> None:
    """Remove the staging folders of files that are no longer needed."""
    for job, name in {tuple(staged.staging.split("/")[:2]) for staged in files}:
        for folder in of_same_run(stores.lake.staging / job / name):
            world().remove_tree(folder)


def are_staged(files: Sequence[Staged], stores: Stores) -> bool:
    """Whether staged files are still there: who took the partition's lock when the run seemed dead removed them."""
    return all((stores.lake.staging / staged.staging).is_file() for staged in files)


def _recover(partition: Partition, stores: Stores) -> None:
    """Finish a prepared attempt whose files are all there, fail any other that looks alive, and clean up."""
    last = stores.ledger.latest(partition.job, partition.name)
    if last is not None and last.status == "prepared" and _finish(last, stores):
        log.warning("finished a killed attempt", of_attempt=last.attempt)
    elif last is not None and last.status in ("running", "prepared"):
        stores.ledger.fail(last, "failed", "interrupted", prepared=True)
        log.warning("gave up a killed attempt", of_attempt=last.attempt)
    _remove_dead_staging(partition, stores)


def _finish(last: Attempt, stores: Stores) -> bool:
    """Publish a prepared attempt; False where one of its files is neither staged nor renamed."""
    staging, root = stores.lake.staging, stores.lake.root
    to_rename = [staged for staged in last.files if not has_sha256(root / staged.file.path, staged.file.sha256)]
    if not all(has_sha256(staging / staged.staging, staged.file.sha256) for staged in to_rename):
        return False
    for staged in last.files:
        if staged in to_rename:
            stores.lake.put(staging / staged.staging, staged.file.path)
        else:
            stores.lake.sync(root / staged.file.path)  # the dead owner renamed it, perhaps not yet on the disk
        faultpoint("renamed")
    stores.ledger.publish(last, last.files, _identities(last.files, stores))
    faultpoint("published")
    discard(last.files, stores)
    return True


def _remove_dead_staging(partition: Partition, stores: Stores) -> None:
    """Remove staging folders that no living run waits for: their attempt had the lock that is ours now."""
    place = stores.lake.staging / partition.staging("")
    for folder in dead(place.parent, place.name, stores.ledger):
        world().remove_tree(folder)


def _is_current(attempt: Attempt, stores: Stores) -> bool:
    last = stores.ledger.latest(attempt.job, attempt.partition)
    return last is not None and last.attempt == attempt.attempt and last.status in ("running", "prepared")


def _give_up(partition: Partition, current: Attempt, wrong: BaseException, stores: Stores) -> None:
    """Record the reason; a prepared attempt stays as it is, for the next owner to finish."""
    status: Literal["waiting", "failed"] = "waiting" if isinstance(wrong, TryLater) else "failed"
    try:
        if stores.ledger.fail(current, status, f"{type(wrong).__name__}: {wrong}"):
            _remove_dead_staging(partition, stores)
    except TryLater as later:
        log.warning("the ledger did not answer", why=str(later))
    (log.info if status == "waiting" else log.error)(status, error=str(wrong))


def _decide(stores: Stores) -> None:
    """Record market, hours of its grid and preset at the first attempt in a home."""
    decided = stores.ledger.deployment()
    if "hours" not in decided:
        stores.ledger.decide("hours", stores.market.hours)
    for key in ("market", "preset"):
        if key not in decided:
            stores.ledger.decide(key, getattr(stores.settings, key))
