"""Faults planted into the product, each to be found by some week: the eight of RELIABILITY.md (G5), and six that were.

A plant replaces a function of the product for the length of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from psycopg.sql import SQL, Composed

from fpm.commands import agenda, night, schedule
from fpm.errors import FpmError
from fpm.store.jobs import publishing
from fpm.store.jobs.publishing import Outcome, Partition, discard, last_published, outcome
from fpm.store.lake import files
from fpm.store.lake.files import Lake
from fpm.store.ledger.ledger import Attempt, Ledger, Publication, Staged, _unanswered
from fpm.store.ledger.stores import Stores
from fpm.store.online import publication, tables
from fpm.store.world import world
from tests.simulation import actors


# --- the eight ----------------------------------------------------------------------------------------------------
def no_fsync(plant: Plant) -> None:
    """A staged file is written and not forced to the disk."""

    def write(path: Path, content: bytes | memoryview) -> None:
        world().make_folder(path.parent)
        with world().create(path) as stream:
            stream.write(content)

    plant(files, "write_durably", write)


def in_place_write(plant: Plant) -> None:
    """The lake's file is emptied and written again instead of being renamed into its place."""

    def put(lake: Lake, staged: Path, relative: str) -> None:
        target = lake.root / relative
        world().make_folder(target.parent)
        with world().create(target) as stream:
            stream.write(staged.read_bytes())
            world().fsync(stream.fileno())
        lake.sync(target)

    plant(Lake, "put", put)


def ledger_before_rename(plant: Plant) -> None:
    """The ledger says published, then the files are renamed."""

    def publish(partition: Partition, current: Attempt, staged: Sequence[Staged], stores: Stores) -> Outcome:
        last_published(partition, stores)
        stores.ledger.prepare(current, staged)
        stores.ledger.publish(current, staged, {})
        for each in staged:
            stores.lake.put(stores.lake.staging / each.staging, each.file.path)
        discard(staged, stores)
        return outcome(partition, "published", staged)

    plant(publishing, "publish", publish)
    plant(runner_module(), "publish", publish)


def try_lock(plant: Plant) -> None:
    """The partition's lock is tried and not waited for."""

    @contextmanager
    def lock(ledger: Ledger, job: str, partition: str) -> Iterator[Any]:
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(world().connect(ledger._dsn, autocommit=True))
                connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"{job}/{partition}",))
            except psycopg.OperationalError as wrong:
                raise _unanswered(str(wrong)) from wrong
            yield connection

    plant(Ledger, "lock", lock)


def unguarded_upsert(plant: Plant) -> None:
    """An older session overwrites a newer one online: neither the publication nor the row is guarded."""
    update = tables._update

    def unguarded(table: Any, incoming: Any) -> Composed:
        text = update(table, incoming).as_string().partition(" AND (incoming.event_timestamp")[0]
        return SQL(text).format()  # type: ignore[arg-type]

    plant(tables, "_update", unguarded)
    plant(publication, "_NEWEST", publication._NEWEST.replace("WHERE", "WHERE session < '2026-01-01' AND"))


def delete_then_insert(plant: Plant) -> None:
    """The session's rows are deleted in one transaction and written in the next one."""
    whole = publication.publish_online

    def publish(of: Publication, frames: Any, stores: Stores) -> str:
        stores.ledger.execute("DELETE FROM online.scores")
        return whole(of, frames, stores)

    plant(stand_in_publish(), "publish_online", publish)


def no_folder_fsync(plant: Plant) -> None:
    """A rename is not forced to the disk."""
    plant(Lake, "sync", lambda *_: None)


def marker_before_rows(plant: Plant) -> None:
    """The publication is recorded in a transaction of its own, before its rows."""
    whole = publication.publish_online

    def publish(of: Publication, frames: Any, stores: Stores) -> str:
        with stores.ledger.transaction() as connection:
            stores.ledger.record_publication(connection, of)
        return whole(of, frames, stores)

    plant(stand_in_publish(), "publish_online", publish)


# --- the six that were --------------------------------------------------------------------------------------------
def newest_publication_is_due(plant: Plant) -> None:
    """Due is what is newer than the newest publication: a kill after it leaves the rest of the night undone."""
    whole = agenda.agenda

    def newer(stores: Stores, now: Any) -> list[agenda.Night]:
        newest = max(stores.ledger.published("publish"), default=date.min)
        return [each for each in whole(stores, now) if each.session > newest or not each.open]

    plant(agenda, "agenda", newer)


def head_of_line(plant: Plant) -> None:
    """The first night that fails or waits ends the look."""

    def attempt(session: date, stores: Stores, stop: Callable[[], bool]) -> Any:
        return night.nightly(session, stores, stop)

    plant(agenda, "_attempt", attempt)


def corrections_rerun_nothing(plant: Plant) -> None:
    """A step that has ended once has ended, whatever its inputs are now."""

    def has_ended(step: night.Step, stores: Stores) -> bool:
        return last_published(Partition(step.job, step.session, stores.vintage), stores) is not None

    plant(night, "_has_ended", has_ended)


def nothing_expected(plant: Plant) -> None:
    """A session whose bars did not come is not missed."""
    plant(agenda, "_closed", lambda *_: [])


def every_scheduler_works(plant: Plant) -> None:
    """Each of several schedulers is at work."""

    @contextmanager
    def leadership(_: Ledger) -> Iterator[bool]:
        yield True

    plant(schedule, "leadership", leadership)


def any_database(plant: Plant) -> None:
    """A second, empty database on the same home is accepted."""
    plant(actors, "require_pair", lambda *_: True)


def clock_dies_of_a_refusal(plant: Plant) -> None:
    """An error of the database ends the scheduler's thread."""

    def at(looks: schedule._Looks, now: Any, stop: Any) -> None:
        if getattr(looks, "dead", False) or now < looks._next or stop.is_set():
            return
        try:
            if schedule.tick(looks._stores, now, stop.is_set):
                looks._next = now + looks._every
        except FpmError:
            looks.dead = True  # type: ignore[attr-defined]

    plant(schedule._Looks, "at", at)


Plant = Callable[[Any, str, Any], object]
Fault = Callable[[Plant], None]
PLANTS: tuple[Fault, ...] = (
    no_fsync,
    in_place_write,
    ledger_before_rename,
    try_lock,
    unguarded_upsert,
    delete_then_insert,
    no_folder_fsync,
    marker_before_rows,
    newest_publication_is_due,
    head_of_line,
    corrections_rerun_nothing,
    nothing_expected,
    every_scheduler_works,
    any_database,
    clock_dies_of_a_refusal,
)


def runner_module() -> Any:
    from fpm.store.jobs import runner

    return runner


def stand_in_publish() -> Any:
    from tests.simulation.jobs import publish

    return publish


@contextmanager
def planted(*names: str) -> Iterator[None]:
    """The product with these faults."""
    with ExitStack() as stack:
        for name in names:
            fault = next(each for each in PLANTS if each.__name__ == name)
            fault(lambda owner, attribute, value: stack.enter_context(patch.object(owner, attribute, value)))
        yield
