"""`fpm schedule` in processes: several at once, and a database that is stopped in mid-night.

`schedulers`: at each tick a session has come, and four of them look at the same moment. `restarts`: one clock, whose
embedded server is stopped at once (`immediate`) at a random moment of each night; nobody but the clock starts it again.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.json import Jsonb

from fpm.commands.schedule import _Looks, serve
from fpm.sessions import cut_off, sessions_between
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.log import configure
from fpm.store.postgres.server import connect, stop_server
from fpm.store.settings import Settings
from tests.crashes.home import BACK, MOMENT
from tests.simulation import actors
from tests.simulation.actors import Delivery
from tests.simulation.invariants import Invariants
from tests.simulation.turns import Violation
from tests.simulation.week import CN, JOBS, stand_ins

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSIONS = sessions_between(CN, date(2024, 1, 2), date(2026, 6, 30))
SCORER = "INSERT INTO fpm.models (kind, id, born, through, status, manifest, files) VALUES "
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.crashes.clock", "fpm.nn.scorer.network"])
SCHEDULERS = 4
COUNT = "SELECT partition, job, count(*), count(*) FILTER (WHERE status = 'published') FROM fpm.ledger GROUP BY 1, 2"


def settings_of(folder: Path) -> Settings:
    return Settings(home=folder, market="cn", preset="tiny", corrections_back=BACK, log_level="error")


@contextmanager
def home(first: date = SESSIONS[0]) -> Iterator[tuple[Settings, Stores]]:
    """A home with an embedded server of its own, a scorer in force, and its first night."""
    folder = Path(tempfile.mkdtemp(prefix="fpm-clock-"))
    settings = settings_of(folder / "home")
    configure(settings.model_copy(update={"log_level": "critical"}))
    try:
        stores = open_stores(settings)
        born = cut_off(CN, first).replace(year=first.year - 1)
        values = (born, born.date(), Jsonb({"vintage": "v"}))
        with connect(settings) as connection:
            connection.execute(SCORER + "('scorer', 'm', %s, %s, 'promoted', %s, '{}')", values)
        with stand_ins():
            deliver(first, stores)
            _Looks(stores, lambda: moment(first), 1).at(moment(first), Event())
        yield settings, stores
    finally:
        stop_server(settings)
        shutil.rmtree(folder, ignore_errors=True)


def moment(session: date) -> datetime:
    return cut_off(CN, session) + MOMENT


def deliver(session: date, stores: Stores) -> None:
    delivery = Delivery(session, moment(session), (cut_off(CN, session),))
    publish_frames("bars", session, actors.frames(delivery, stores), stores)


# --- several schedulers -------------------------------------------------------------------------------------------
def _scheduler(settings: Settings, going: Any, barrier: Any) -> None:
    configure(settings.model_copy(update={"log_level": "critical"}))
    now = [moment(SESSIONS[0])]
    with stand_ins():
        looks = _Looks(open_stores(settings), lambda: now[0], 1)
        for session in SESSIONS[1:]:
            barrier.wait()  # the session is there
            if not going.is_set():
                break
            now[0] = moment(session)
            looks.at(now[0], Event())
            barrier.wait()


def schedulers(ticks: int, seconds: float) -> tuple[int, int]:
    """Four schedulers at `ticks` sessions, or as many as the time allows: nights, and jobs that ran twice.

    Raises Violation where a job did not run once.
    """
    end, done = time.monotonic() + seconds, 0
    with home() as (settings, stores):
        barrier, going = PROCESSES.Barrier(SCHEDULERS + 1), PROCESSES.Event()
        going.set()
        workers = [PROCESSES.Process(target=_scheduler, args=(settings, going, barrier)) for _ in range(SCHEDULERS)]
        for worker in workers:
            worker.start()
        while done < ticks and time.monotonic() < end:
            done += 1
            deliver(SESSIONS[done], stores)
            barrier.wait(600)
            barrier.wait(600)
        going.clear()
        barrier.wait(600)
        for worker in workers:
            worker.join(60)
        rows = stores.ledger.query(COUNT)
        stores.ledger.close()
    expected = {(str(session), job) for session in SESSIONS[1 : done + 1] for job in JOBS}
    once = {(name, job) for name, job, attempts, published in rows if attempts == published == 1} & expected
    doubled = sum(attempts > 1 for name, job, attempts, _ in rows if (name, job) in expected)
    if once != expected:
        raise Violation(f"{len(once)} of {len(expected)} jobs ran once, {doubled} more than once")
    return done, doubled


# --- a database that stops ----------------------------------------------------------------------------------------
def _clock(settings: Settings, present: str) -> None:
    with stand_ins():
        serve(open_stores(settings), lambda: datetime.fromisoformat(Path(present).read_text()), 1)


def restarts(number: int, seconds: float, seed: int = 1) -> str:
    """The server stopped at once in each of `number` nights. Raises Violation for what is lost, or does not come back.

    A stop counts where it came when the night had begun and had not ended.
    """
    random, back, landed, end = Random(seed), list[float](), 0, time.monotonic() + seconds
    with home() as (settings, stores):
        present = settings.home / "present"
        _set(present, SESSIONS[0])
        clock = PROCESSES.Process(target=_clock, args=(settings, str(present)))
        clock.start()
        for session in SESSIONS[1 : number + 1]:
            if time.monotonic() > end:
                break
            deliver(session, stores)
            with watched(settings) as watch:
                _set(present, session)
                jobs = random.randint(1, len(JOBS))
                await_(lambda watch=watch, session=session, jobs=jobs: begun(watch, session) >= jobs, 60)
                before, first, last = _ledger(watch), begun(watch, session), ended(watch, session)
                landed += first > 0 and last < len(JOBS)
            stopped = time.monotonic()
            os.kill(int((settings.pg / "data/postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
            await_(lambda session=session: _is_back(settings, session), 120)
            back.append(time.monotonic() - stopped)
            print(f"{session}: {first} steps had begun, {last} had ended; whole after {back[-1]:.1f} s", flush=True)
            with watched(settings) as watch:
                if lost := [row for row in before if row[3] == "published" and row not in _ledger(watch)]:
                    raise Violation(f"{session}: committed and lost: {lost}")
                Invariants(settings.lake, watch).check()
        os.kill(clock.pid, signal.SIGTERM)
        clock.join(60)
        stores.ledger.close()
        if clock.exitcode != 0:
            raise Violation(f"the clock ended with {clock.exitcode}")
    return f"{len(back)} stops, {landed} in mid-night, 0 lost; whole again after {max(back):.1f} s at most"


def _set(present: Path, session: date) -> None:
    """The clock's time, in one step."""
    coming = present.with_suffix(".new")
    coming.write_text(moment(session).isoformat())
    coming.rename(present)


def watched(settings: Settings) -> psycopg.Connection[Any]:
    connection = connect(settings)
    connection.autocommit = True
    return connection


def _ledger(watch: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return watch.execute("SELECT job, partition, attempt, status FROM fpm.ledger").fetchall()


def begun(watch: psycopg.Connection[Any], session: date) -> int:
    """Steps of the session's night that have an attempt."""
    query = "SELECT count(DISTINCT job) FROM fpm.ledger WHERE partition = %s AND job = ANY(%s)"
    return watch.execute(query, (str(session), list(JOBS))).fetchone()[0]


def ended(watch: psycopg.Connection[Any], session: date) -> int:
    """Steps of the session's night that have ended."""
    query = "SELECT count(DISTINCT job) FROM fpm.ledger WHERE partition = %s AND status = 'published' AND job = ANY(%s)"
    return watch.execute(query, (str(session), list(JOBS))).fetchone()[0]


def _is_back(settings: Settings, session: date) -> bool:
    """Whether the night is whole; nobody starts a server to ask."""
    if not (settings.pg / "data/postmaster.pid").exists():
        return False
    try:
        with psycopg.connect(_dsn(settings), connect_timeout=5, autocommit=True) as watch:
            return ended(watch, session) == len(JOBS)
    except psycopg.OperationalError:
        return False


def _dsn(settings: Settings) -> str:
    from fpm.store.postgres.cluster import Cluster

    return Cluster(settings).dsn()


def await_(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Violation(f"not within {seconds} s")
        time.sleep(0.002)
