"""Actors as threads of which one runs at a time; the seed says whose turn is next."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from random import Random
from typing import Any
from unittest.mock import patch

MOST_STEPS = 200_000  # no week needs a tenth of it
HANGS = 300.0  # seconds of a single turn: by far the longest takes one


class Killed(BaseException):
    """SIGKILL: no handler of the killed code does anything, because the world no longer answers it."""


class Violation(AssertionError):
    """An invariant does not hold."""


@contextmanager
def properties_of_their_own() -> Iterator[None]:
    """No two actors share a lock: they stand for processes.

    Python 3.11 has one lock for a `cached_property` of all instances, held while it is computed (gone in 3.12,
    https://github.com/python/cpython/issues/87634): an actor that gives its turn back there would stop the others.
    """

    def get(self: cached_property[Any], instance: Any, _owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self.attrname not in instance.__dict__:
            instance.__dict__[self.attrname] = self.func(instance)
        return instance.__dict__[self.attrname]

    with patch.object(cached_property, "__get__", get):
        yield


class Actor:
    """One process: it runs until it gives the turn back, ends, or is killed."""

    def __init__(self, name: str, process: int, work: Callable[[], None], turns: Turns) -> None:
        self.name, self.process, self._work, self._turns = name, process, work, turns
        self.ended = self.dead = self.waits = False
        self.error: BaseException | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self.dead:
                self._work()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  the week judges it
            self.error = None if self.dead else error
        self.ended = True
        self._back.release()

    def step(self) -> None:
        """Let it run until it pauses or ends."""
        self._turns.running = self
        self._go.release()
        if not self._back.acquire(timeout=HANGS):
            where = "".join(traceback.format_stack(sys._current_frames()[self._thread.ident or 0]))
            raise Violation(f"{self.name} has neither ended nor given its turn back in {HANGS:.0f} s:\n{where}")
        self._turns.running = None

    def pause(self) -> None:
        """Give the turn back; called in the actor's own thread. Raises Killed where it was killed meanwhile."""
        self._back.release()
        self._go.acquire()
        self.require_life()

    def require_life(self) -> None:
        if self.dead:
            raise Killed


class Turns:
    """All living actors."""

    def __init__(self, random: Random) -> None:
        self.random, self.actors, self.steps = random, list[Actor](), 0
        self.running: Actor | None = None
        self._processes = 0

    def start(self, name: str, work: Callable[[], None]) -> Actor:
        self._processes += 1
        actor = Actor(name, self._processes, work, self)
        self.actors.append(actor)
        return actor

    def deal(self, among: list[Actor]) -> None:
        """One turn for one of them; whoever waited for a lock that is free now comes first."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Violation("the week does not end")
        free = [actor for actor in among if not actor.waits]
        actor = self.random.choice(free or among)
        actor.step()
        self.actors = [each for each in self.actors if not each.ended]

    def kill(self, actor: Actor) -> None:
        """It never does anything again; its thread unwinds without effect."""
        actor.dead = True
        if actor is not self.running:
            running, self.running = self.running, None
            while not actor.ended:
                actor.step()
            self.running = running
        self.actors = [each for each in self.actors if each is not actor]
