"""A home whose nights run in child processes that may be killed; what holds after each, and the undisturbed bytes.

The children are forks of a process with all imports and no threads, so a night takes a fifth of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

from pydantic import SecretStr

from fpm.commands import agenda
from fpm.errors import FpmError, TryLater
from fpm.sessions import cut_off, sessions_between
from fpm.store import faults
from fpm.store.jobs.runner import publish_frames
from fpm.store.log import configure
from fpm.store.settings import Settings
from tests.crashes.proxy import Break, proxy
from tests.crashes.small_disk import room_for
from tests.simulation import actors
from tests.simulation.actors import Delivery
from tests.simulation.invariants import Invariants
from tests.simulation.turns import Violation
from tests.simulation.week import CN, IDENTITY, JOBS, Place, stand_ins

SESSIONS = sessions_between(CN, date(2026, 1, 5), date(2026, 2, 6))
BACK = 2  # sessions that a look goes back: the scores of a night rest on two former ones
MET = 3  # exit code of a child that met its fault and lived
LATER = 75  # of one that could not reach the database
MOMENT = timedelta(minutes=1)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.crashes.home", "fpm.nn.scorer.network"])


@dataclass(frozen=True)
class Hurt:
    """What a child meets: `FPM_FAULT` at a named point, what strace injects (`-e inject=` without the prefix), a break
    of its line to the database, or a disk with room for so many pages."""

    point: str = ""
    call: str = ""
    line: Break | None = None
    pages: int | None = None


def night(settings: Settings, session: date) -> None:
    """Ingest a session and run what is due, as `fpm ingest` and `fpm nightly` do."""
    stores, now = actors.open_home(settings), cut_off(CN, session) + MOMENT
    try:
        bars = actors.frames(Delivery(session, now, (cut_off(CN, session),)), stores)
        publish_frames("bars", session, bars, stores)
    except (FpmError, OSError, RuntimeError):  # refused, a full disk, a bug: it is delivered again
        return
    agenda.run_due(stores, now)


def _child(settings: Settings, session: date, hurt: Hurt) -> None:
    configure(settings)
    if hurt.point:
        os.environ["FPM_FAULT"] = hurt.point
    if hurt.call:
        os.kill(os.getpid(), signal.SIGSTOP)  # until strace is there
    with stand_ins():
        try:
            night(settings, session)
        except TryLater:  # as `fpm nightly` ends
            sys.exit(LATER)
    point, _, count = hurt.point.rpartition(":")[0].partition(":")
    if hurt.point and faults.passed(point) >= int(count):
        sys.exit(MET)  # it raised something, and the night went on or ended


@dataclass
class Home:
    """Nights in order, each by a child; `expected`: the bytes after each undisturbed one."""

    place: Place
    expected: list[dict[str, str]] = field(default_factory=list)
    invariants: Invariants = field(init=False)
    number: int = field(default=0, init=False)  # of the session whose night is next

    @property
    def settings(self) -> Settings:
        return self.place.settings().model_copy(update={"corrections_back": BACK, "log_level": "critical"})

    def begin(self) -> None:
        """An empty home with its first night."""
        self.place.reset()
        settings = self.settings
        for key, value in {"market": "cn", "preset": "tiny", "hours": CN.hours}.items():
            self.place.server.watch.execute("INSERT INTO fpm.deployment (key, value) VALUES (%s, %s)", (key, value))
        self.place.server.watch.execute(IDENTITY, (f'{{"identity": "{"0" * 32}", "home": "{settings.home}"}}',))
        (settings.home / "identity").write_text("0" * 32)
        self.invariants, self.number = Invariants(settings.lake, self.place.server.watch), 0
        self.run_whole(SESSIONS[0])
        self.number = 1

    def learn(self, nights: int = len(SESSIONS) - 1) -> None:
        """The bytes after each of so many undisturbed nights."""
        self.begin()
        for session in SESSIONS[1 : nights + 1]:
            self.run_whole(session)
            self.expected.append(self.invariants.bytes())
        self.begin()

    def next(self) -> tuple[date, dict[str, str]]:
        """A session and the bytes after its night; a fresh home where all had theirs."""
        if self.number > len(self.expected):
            self.begin()
        self.number += 1
        return SESSIONS[self.number - 1], self.expected[self.number - 2]

    def run(self, session: date, hurt: Hurt = Hurt()) -> int:
        """The exit code of a child that ingests a session and runs its night."""
        if hurt.line is not None:
            with proxy(self.place.dsn, hurt.line) as door:
                code = self._run(session, hurt, door.dsn)
            return MET if door.met and code in (0, LATER) else code
        if hurt.pages is not None:
            with room_for(hurt.pages, self.place.folder):
                code = self._run(session, hurt, self.place.dsn)
            return MET if code == 0 and not self.is_whole(session) else code
        return self._run(session, hurt, self.place.dsn)

    def _run(self, session: date, hurt: Hurt, dsn: str) -> int:
        settings = self.settings.model_copy(update={"database_url": SecretStr(dsn)})
        child = PROCESSES.Process(target=_child, args=(settings, session, hurt))
        child.start()
        tracer = _traced(child, hurt.call) if hurt.call else None
        child.join(timeout=300)
        if child.exitcode is None:
            raise Violation(f"the night of {session} does not end")
        if tracer is not None and b"INJECTED" in tracer.communicate(timeout=60)[1] and child.exitcode in (0, LATER):
            return MET
        return child.exitcode

    def run_whole(self, session: date) -> None:
        """An undisturbed child. Raises Violation where it fails."""
        if code := self.run(session):
            raise Violation(f"an undisturbed night of {session} ended with {code}")

    def ledger(self) -> list[tuple[object, ...]]:
        """What a fault may move: every attempt with its status, and the publications."""
        return self.place.server.watch.execute(
            "SELECT job, partition, attempt, status FROM fpm.ledger "
            "UNION ALL SELECT 'online', session::text, id, sha256 FROM fpm.publications ORDER BY 1, 2, 3"
        ).fetchall()

    def is_whole(self, session: date) -> bool:
        """Whether every step of the session's night has ended."""
        return {job for job, name, _, status in self.ledger() if name == str(session) and status == "published"} >= {
            "bars",
            *JOBS,
        }

    def judge(self, expected: dict[str, str]) -> None:
        """After a recovery: the undisturbed bytes, and nothing left. Raises Violation."""
        content = self.invariants.bytes()
        if other := sorted(path for path in {*content, *expected} if content.get(path) != expected.get(path)):
            raise Violation(f"other bytes than the undisturbed night: {other}")
        if alive := [row for row in self.ledger() if row[3] in ("running", "prepared")]:
            raise Violation(f"attempts look alive: {alive}")
        if left := sorted(self.settings.staging.rglob("*.parquet")):
            raise Violation(f"I9: {left[0]} is left in staging, of {len(left)}")


def _traced(child: BaseProcess, call: str) -> subprocess.Popen[bytes]:
    """strace at a child that has stopped itself; then the child goes on."""
    _await(child, lambda status: "\nState:\tT" in status)
    name = call.split(":", maxsplit=1)[0]
    words = ["strace", "-f", "-qq", "-e", f"trace={name}", "-e", f"inject={call}", "-p", str(child.pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE)
    _await(child, lambda status: "\nTracerPid:\t0\n" not in status)
    os.kill(child.pid or 0, signal.SIGCONT)
    return tracer


def _await(child: BaseProcess, condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition(Path(f"/proc/{child.pid}/status").read_text()):  # type: ignore[operator]
        if time.monotonic() > deadline:
            child.kill()
            raise Violation("strace does not attach")
        time.sleep(0.005)
