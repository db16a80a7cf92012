"""A week of nights from one integer: the scenario, the disturbed week, and the bytes of the undisturbed one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import consumers
import producers
from fpm.commands import agenda, jobs
from fpm.sessions import close, cut_off, market, sessions_between
from fpm.store.settings import Settings
from fpm.store.world import inside
from tests.simulation import actors, owners
from tests.simulation.actors import Delivery, Desk, Scheduler
from tests.simulation.database import Server
from tests.simulation.double import Double, Weather
from tests.simulation.invariants import Invariants
from tests.simulation.jobs import hashes
from tests.simulation.turns import Turns, Violation, properties_of_their_own

CN = market("cn")
SESSIONS = sessions_between(CN, date(2026, 1, 5), date(2026, 1, 12))  # one of history, five of the week
SCENARIOS = 100
TICKS = 3  # looks after the last fault within which the bytes of the undisturbed week are there
JOBS = {name: f"tests.simulation.jobs.{name}" for name in ("totals", "scores", "publish", "parity")}
RESET = """
TRUNCATE fpm.ledger, fpm.files, fpm.publications, fpm.absences, fpm.nights, fpm.alerts, fpm.session_holes,
    fpm.accepted_sessions, fpm.overrides, fpm.instructions, fpm.lineage, fpm.vitals, fpm.announcements,
    online.scores, online.score_history
    RESTART IDENTITY;
DELETE FROM fpm.deployment
"""


@dataclass(frozen=True)
class Scenario:
    """What happens to the home whatever the faults: deliveries in time, late, corrected; a session that never comes."""

    deliveries: tuple[Delivery, ...]
    absent: date | None
    declared: datetime
    broken: dict[date, str] = field(default_factory=dict)

    @staticmethod
    def dealt(number: int) -> Scenario:
        random = Random(f"scenario {number}")
        week, moments = SESSIONS[1:], list(moments_of_week())
        absent = random.choice((None, None, *week[1:4]))
        late = random.choice((None, *week))
        corrected = random.choice((None, *week[:4]))
        deliveries = [Delivery(SESSIONS[0], cut_off(CN, SESSIONS[0]), (cut_off(CN, SESSIONS[0]),))]
        for session in week:
            limit = cut_off(CN, session)
            if session == absent:
                continue
            arrives = close(CN, session) + timedelta(hours=1)
            if session == late:
                arrives = random.choice([moment for moment in moments if moment > limit][:7])
            known = (max(limit, arrives),)
            deliveries.append(Delivery(session, arrives, known))
            later = [moment for moment in moments if moment > known[0]]
            if session == corrected and later:
                again = random.choice(later)
                deliveries.append(Delivery(session, again, (*known, again)))
        broken = {random.choice(week): random.choice(("refused", "bug"))} if random.random() < 0.2 else {}
        declared = moments[-1] if absent is None else random.choice([m for m in moments if m > cut_off(CN, absent)])
        return Scenario(tuple(sorted(deliveries, key=lambda each: each.arrives)), absent, declared, broken)


def moments_of_week() -> Iterator[datetime]:
    """The moments at which something happens: after the close, at the cut-off, late in the evening."""
    for session in SESSIONS[1:]:
        yield close(CN, session) + timedelta(hours=1)
        yield cut_off(CN, session) + timedelta(minutes=1)
        yield cut_off(CN, session) + timedelta(hours=3)


END = cut_off(CN, SESSIONS[-1]) + timedelta(hours=4)


@contextmanager
def stand_ins() -> Iterator[None]:
    """The four jobs in place of the real ones."""
    with ExitStack() as stack:
        for owner, name, value in (
            (producers, "JOBS", ("totals",)),
            (consumers, "JOBS", ("scores", "publish", "parity")),
            (jobs, "MODULES", JOBS),
        ):
            stack.enter_context(patch.object(owner, name, value))
        yield


@dataclass
class Place:
    """Where weeks run: a folder, the database of the home, another empty one, and their server."""

    folder: Path
    dsn: str
    other: str
    server: Server
    expected: dict[int, dict[str, str]] = field(default_factory=dict)

    def settings(self) -> Settings:
        return Settings(home=self.folder / "home", market="cn", preset="tiny", database_url=self.dsn, fsync=False)

    def reset(self) -> None:
        for folder in self.folder.iterdir():
            shutil.rmtree(folder)
        (self.folder / "home").mkdir()
        self.server.watch.execute(RESET)


class Week:
    """One run in a fresh home: `calm` without faults, or as the seed deals."""

    def __init__(self, seed: int, place: Place, say: Callable[[str], None] = lambda _: None) -> None:
        self.seed, self.place, self.scenario = seed, place, Scenario.dealt(seed % SCENARIOS)
        self.random = Random(seed)
        place.reset()
        self.settings = place.settings()
        self.turns = Turns(self.random)
        self.world = Double(self.random, place.server, self.turns, place.folder / "attic", self._say(say))
        self.world.clock = close(CN, SESSIONS[0])
        self.invariants = Invariants(self.settings.lake, place.server.watch)
        self.desk, self.schedulers, self.working = Desk(), dict[str, Scheduler](), set[int]()
        self.violation: Violation | None = None

    def _say(self, say: Callable[[str], None]) -> Callable[[str], None]:
        return lambda text: say(f"{self.turns.steps:6} {self.world.clock:%a %H:%M} {text}")

    def run(self, *, calm: bool = False) -> dict[str, str]:
        """The bytes at the end. Raises Violation."""
        try:
            return self._run(calm)
        finally:
            self.world.end()

    def _run(self, calm: bool) -> dict[str, str]:
        with (
            inside(self.world),
            stand_ins(),
            properties_of_their_own(),
            owners.watched(self.world.process, self._is_sound, self._record),
            patch.object(agenda, "run_due", self._run_due),
        ):
            hashes.BROKEN.clear()
            hashes.BROKEN.update(self.scenario.broken)
            self._history()
            if not calm:
                self.world.weather = Weather.dealt(self.random)
                self.world.changed = self._changed
            for number, moment in enumerate(moments_of_week(), 1):
                self._moment(moment, calm)
                if number % 3 == 0 and not calm:
                    self._expected_is_red()
            return self._end(calm)

    def _is_sound(self, process: int) -> bool:
        return process not in self.world.cuts and any(actor.process == process for actor in self.turns.actors)

    def _changed(self) -> None:
        """After every durable change; a violation ends the week, whoever's turn it is."""
        try:
            self.invariants.check()
        except Violation as violation:
            self._record(violation)
            raise

    def _record(self, violation: Violation) -> None:
        self.violation = self.violation or violation

    def _history(self) -> None:
        """The first session and its night, undisturbed: from here on the home owes every night."""
        self.world.clock = cut_off(CN, SESSIONS[0]) + timedelta(hours=1)
        with_identity = {"market": "cn", "preset": "tiny", "hours": CN.hours}
        for key, value in with_identity.items():
            self.place.server.watch.execute("INSERT INTO fpm.deployment (key, value) VALUES (%s, %s)", (key, value))
        self.place.server.watch.execute(IDENTITY, (f'{{"identity": "{"0" * 32}", "home": "{self.settings.home}"}}',))
        (self.settings.home / "identity").write_text("0" * 32)
        self._start("deliverer", self._deliver)
        self._finish()
        self._start("A", self._look_of("A"))
        self._finish()

    # --- a moment -----------------------------------------------------------------------------------
    def _moment(self, moment: datetime, calm: bool) -> None:
        self.world.clock = moment
        if self._due():
            self._start("deliverer", self._deliver)
        if self.scenario.absent and moment >= self.scenario.declared and not self.desk.declared:
            self._start("desk", lambda: actors.declare(self.settings, self.scenario.absent, self.desk))
        if calm:
            self._finish()  # in the undisturbed week each waits for the other
            self._start("A", self._look_of("A"))
            self._finish()
            return
        for name in ("A", "B"):
            if self.random.random() < 0.7:
                self._start(name, self._look_of(name))
        self._visitors()
        stalled = self.random.randint(1, 400) if self.random.random() < 0.15 else None
        self._finish(stalled)

    def _visitors(self) -> None:
        first, last = sorted(self.random.choices(SESSIONS, k=2))
        if self.random.random() < 0.2:
            job = self.random.choice(("totals", "scores"))
            self._start("backfill", lambda: actors.backfill(self.settings, job, first, last))
        if self.random.random() < 0.5:
            self._start("reader", lambda: actors.read(self.settings, last))
        if self.random.random() < 0.05:
            self._start("stranger", lambda: actors.stranger(self.settings, self.place.other))

    def _due(self) -> list[Delivery]:
        return [
            delivery
            for delivery in self.scenario.deliveries
            if delivery.arrives <= self.world.clock and delivery not in self.desk.delivered
        ]

    def _deliver(self) -> None:
        actors.deliver(self.settings, self._due(), self.desk)

    def _look_of(self, name: str) -> Callable[[], None]:
        def look() -> None:
            if name not in self.schedulers:
                self.schedulers[name] = Scheduler(self.settings, lambda: self.world.clock)
            self.schedulers[name].look()

        return look

    def _start(self, name: str, work: Callable[[], None]) -> None:
        """Begin a process, or a look of a scheduler that lives; one that is still at it is not begun twice."""
        if not any(actor.name == name for actor in self.turns.actors):
            self.turns.start(name, work)

    def _finish(self, stalled: int | None = None) -> None:
        """Turns until all have ended; after `stalled` of them one actor sleeps until the next moment."""
        begun, waiting, asleep = self.turns.steps, 0, None
        while awake := [actor for actor in self.turns.actors if actor is not asleep]:
            if stalled is not None and asleep is None and self.turns.steps - begun >= stalled:
                asleep = self.random.choice(awake)
                self.world._say(f"--- {asleep.name}.{asleep.process} sleeps")
                continue
            all_wait = all(actor.waits for actor in awake)
            waiting = waiting + 1 if all_wait else 0
            if waiting > 200:
                if asleep is None:
                    raise Violation(f"{[actor.name for actor in awake]} wait for each other")
                asleep, stalled, waiting = None, None, 0  # they wait for the one asleep
                continue
            before = list(self.turns.actors)
            self.turns.deal(awake)
            self._judge(before)

    def _judge(self, before: list[Any]) -> None:
        """Forget what was killed; an error that no process of ours may end with is a violation."""
        if self.violation:
            raise self.violation
        for actor in before:
            if actor.dead and actor.name in self.schedulers:
                del self.schedulers[actor.name]
            if actor.error is not None:
                if isinstance(actor.error, Violation):
                    raise actor.error
                raise Violation(f"{actor.name} died of {actor.error!r}") from actor.error

    def _run_due(self, *arguments: Any) -> Any:
        """`agenda.run_due`, while no other scheduler may be at work."""
        own = self.world.process()
        living = {actor.process for actor in self.turns.actors}
        rivals = (self.working & living) - self.world.cuts
        if rivals and own not in self.world.cuts:
            self.violation = Violation(f"schedulers {own} and {sorted(rivals)} are at work at once")
            raise self.violation
        self.working.add(own)
        try:
            return RUN_DUE(*arguments)
        finally:
            self.working.discard(own)

    # --- what must be so ----------------------------------------------------------------------------
    def _expected_is_red(self) -> None:
        """A session whose cut-off passed without bars is red, unless it was declared absent."""
        stores, now = actors.open_home(self.settings), self.world.clock
        missing = [
            session
            for session in SESSIONS[1:]
            if cut_off(CN, session) <= now and not stores.lake.files("minute_bars", session, session)
        ]
        nights = {night.session: night.state for night in agenda.agenda(stores, now)} if missing else {}
        for session in set(missing) - self.desk.declared:
            if (state := nights.get(session, "not expected")) not in ("red", "absent"):
                raise Violation(f"{session} was never delivered and is {state}")

    def _end(self, calm: bool) -> dict[str, str]:
        """Faults stop; within TICKS looks every night has ended that can."""
        self.world.settle()
        self.world.clock = END
        self._finish()
        for _ in range(TICKS):
            self.world.clock += timedelta(hours=1)
            self._moment_without_faults()
        stores = actors.open_home(self.settings)
        open_nights = {night.session for night in agenda.agenda(stores, self.world.clock) if night.open}
        if open_nights != self._never_ends():
            raise Violation(
                f"open at the end: {sorted(map(str, open_nights))}, not {sorted(map(str, self._never_ends()))}"
            )
        content = self.invariants.bytes()
        for session in set(SESSIONS) - {self.scenario.absent, *self.scenario.broken}:
            if f"labels/session={session}/part-0.parquet" not in content:
                raise Violation(f"the totals of {session} rest on no other session and were not computed")
        if not calm:
            self._quiescent(content)
        return content

    def _moment_without_faults(self) -> None:
        if self._due():
            self._start("deliverer", self._deliver)
            self._finish()
        if self.scenario.absent and not self.desk.declared:
            self._start("desk", lambda: actors.declare(self.settings, self.scenario.absent, self.desk))
            self._finish()
        for name in ("A", "B"):
            self._start(name, self._look_of(name))
            self._finish()

    def _never_ends(self) -> set[date]:
        """The broken session, and the two whose scores rest on its totals."""
        sessions = [session for session in SESSIONS if session != self.scenario.absent]
        broken = [session for session in self.scenario.broken if session in sessions]
        return {
            session
            for day in broken
            for session in SESSIONS[SESSIONS.index(day) : SESSIONS.index(day) + 3]
            if session in sessions
        }

    def _quiescent(self, content: dict[str, str]) -> None:
        """Another look changes nothing (I5), leaves nothing in staging (I9) or on the server (I10), no secret (I11)."""
        before = self._published()
        self._moment_without_faults()
        if self.invariants.bytes() != content or self._published() != before:
            raise Violation("I5: one more look changed something")
        if left := sorted(self.settings.staging.rglob("*.parquet")):
            raise Violation(f"I9: {left[0].relative_to(self.settings.staging)} is left in staging, of {len(left)}")
        if self.world.leases or self._watched("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND " + OWN):
            raise Violation("I10: a connection or a lock is left")
        secret = self.settings.secrets[-1]
        if self._watched("SELECT count(*) FROM fpm.ledger WHERE strpos(concat(error, note), %s) > 0", secret):
            raise Violation("I11: the ledger holds the password")

    def _published(self) -> int:
        return self._watched("SELECT count(*) FROM fpm.ledger WHERE status = 'published'")

    def _watched(self, query: str, *values: object) -> int:
        return self.place.server.watch.execute(query, values or None).fetchone()[0]


RUN_DUE = agenda.run_due
OWN = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
IDENTITY = "INSERT INTO fpm.deployment (key, value) VALUES ('identity', %s)"


def expected(seed: int, place: Place) -> dict[str, str]:
    """The bytes of the undisturbed week of the seed's scenario."""
    shape = seed % SCENARIOS
    if shape not in place.expected:
        place.expected[shape] = Week(seed, place).run(calm=True)
    return place.expected[shape]


def run(seed: int, place: Place, say: Callable[[str], None] = lambda _: None) -> Week:
    """A disturbed week that ends with the bytes of the undisturbed one. Raises Violation."""
    undisturbed, week = expected(seed, place), Week(seed, place, say)
    content = week.run()
    other = sorted(path for path in {*content, *undisturbed} if content.get(path) != undisturbed.get(path))
    if other:
        raise Violation(f"other bytes than the undisturbed week: {other}")
    return week
