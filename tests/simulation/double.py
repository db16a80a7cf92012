"""The world's double: every touch of a file or the database is a point at which a turn ends or a fault comes.

Which fault is dealt by the seed: a process is killed, the power goes, a connection is refused or cut (before or after
COMMIT, with or without COMMIT's effect), a dead client's lock stays for a while, a disk is full.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from tests.simulation.database import Client, Pool, Server
from tests.simulation.disk import Disk
from tests.simulation.turns import Killed, Turns

DURABLE = ("commit", "committed", "rename", "renamed", "fsync", "fsynced", "create", "write", "link", "remove")


@dataclass(frozen=True)
class Weather:
    """Odds of a fault at a point that changes something durable; a query has a tenth of them."""

    turn: float = 0.0
    kill: float = 0.0
    power: float = 0.0
    cut: float = 0.0
    full: float = 0.0
    refused: float = 0.0  # of a new connection, and of those after it for a while

    @staticmethod
    def dealt(random: Random) -> Weather:
        return Weather(
            turn=random.choice((0.02, 0.1, 0.4)),
            kill=random.choice((0.0, 0.005, 0.02)),
            power=random.choice((0.0, 0.0, 0.004)),
            cut=random.choice((0.0, 0.005, 0.02)),
            full=random.choice((0.0, 0.0, 0.005)),
            refused=random.choice((0.0, 0.0, 0.01)),
        )


@dataclass
class Lease:
    """A client's line; once the client is gone, the server notices `left` points later."""

    client: Client
    dsn: str
    process: int
    left: int | None = None


class Double:
    """A World (`fpm.store.world`). `changed` is called after everything that changed something durable."""

    def __init__(self, random: Random, server: Server, turns: Turns, attic: Path, say: Callable[[str], None]) -> None:
        self.random, self.server, self.turns, self.disk = random, server, turns, Disk(attic)
        self.weather = Weather()
        self.clock: datetime
        self.changed: Callable[[], None] = lambda: None
        self.faults = dict.fromkeys(("kill", "power", "cut", "lost answer", "full", "refused"), 0)
        self.leases: list[Lease] = []
        self.cuts: set[int] = set()  # processes that lost a connection
        self._down, self._nonces = 0, 0
        self._say = say

    # --- faults -------------------------------------------------------------------------------------
    def here(self, point: str, what: object = "", client: Client | None = None) -> None:
        """A point. Raises Killed, OperationalError or OSError as the seed says."""
        actor = self.turns.running
        if actor is None:  # the week itself
            return
        actor.require_life()
        self._linger()
        weather, scale = self.weather, 1.0 if point in DURABLE else 0.1
        if point in DURABLE:
            self._say(f"{actor.name}.{actor.process} {point} {what}")
        draw = self.random.random() / scale
        for fault, odds in (("kill", weather.kill), ("power", weather.power), ("cut", weather.cut)):
            if draw < odds:
                self._strike(fault, point, client)
                return
            draw -= odds
        if point in ("create", "write", "fsync") and draw < weather.full:
            self._note("full", f"{actor.name}.{actor.process}")
            raise OSError(errno.ENOSPC, "No space left on device", str(what))
        if self.random.random() < weather.turn * scale or (point in DURABLE and self._someone_waits()):
            actor.pause()

    def _strike(self, fault: str, point: str, client: Client | None) -> None:
        actor = self.turns.running
        assert actor is not None
        if fault == "power":
            self.power_cut()
            raise Killed
        if fault == "kill":
            self._note("kill", f"{actor.name}.{actor.process}")
            self.kill(actor.process)
            raise Killed
        if client is None:
            return
        self._note("lost answer" if point == "committed" else "cut", f"{actor.name}.{actor.process}")
        self.cuts.add(actor.process)
        lease = next(each for each in self.leases if each.client is client)
        self._abandon(lease)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def _note(self, fault: str, whom: str = "") -> None:
        self.faults[fault] += 1
        self._say(f"--- {fault} {whom}")

    def kill(self, process: int) -> None:
        """SIGKILL; what the server makes of the open connections comes later."""
        for lease in [each for each in self.leases if each.process == process and each.left is None]:
            self._abandon(lease)
        for actor in [each for each in self.turns.actors if each.process == process]:
            self.turns.kill(actor)
        self.changed()

    def power_cut(self) -> None:
        """The machine stops: processes and connections end; of the files only what was forced to the disk is sure."""
        self._note("power")
        for lease in self.leases:
            lease.client.lost = True
        running = self.turns.running
        for actor in list(self.turns.actors):
            if actor is not running:
                self.turns.kill(actor)
        if running is not None:
            self.turns.kill(running)
        for lease in list(self.leases):
            self._release(lease)
        self.disk.lose(self.random)
        self.changed()

    def _abandon(self, lease: Lease) -> None:
        """The client is gone; the server notices at the next point, or after a while."""
        lease.client.lost = True
        lease.left = self.random.choice((1, 1, self.random.randint(2, 60)))

    def _linger(self) -> None:
        for lease in [each for each in self.leases if each.left is not None]:
            lease.left -= 1
            if lease.left <= 0:
                self._release(lease)

    def _release(self, lease: Lease) -> None:
        if lease not in self.leases:  # a slow server: another point has released it meanwhile
            return
        self.leases.remove(lease)
        lease.client.lost = True
        self.server.give_back(lease.dsn, lease.client.line)

    def _someone_waits(self) -> bool:
        return any(actor.waits for actor in self.turns.actors)

    def settle(self) -> None:
        """Faults have stopped: the server knows of every dead client."""
        self.weather, self._down = Weather(turn=self.weather.turn), 0
        for lease in [each for each in self.leases if each.left is not None]:
            self._release(lease)

    def end(self) -> None:
        """The week is over: nothing of it may disturb the next one."""
        self.changed = lambda: None
        for actor in list(self.turns.actors):
            self.turns.kill(actor)
        for lease in list(self.leases):
            self._release(lease)

    # --- World: time and processes ------------------------------------------------------------------
    def now(self) -> datetime:
        return self.clock

    def process(self) -> int:
        return self.turns.running.process if self.turns.running else 0

    def nonce(self) -> str:
        self._nonces += 1
        return f"{self.process()}-{self._nonces}"

    # --- World: files -------------------------------------------------------------------------------
    def create(self, path: Path) -> Torn:
        self.here("create", path.name)
        self.disk.create(path)
        return Torn(path, self)

    def fsync(self, handle: int) -> None:
        self.here("fsync")
        self.disk.fsync(handle)
        self.here("fsynced")

    def make_folder(self, path: Path) -> None:
        self.here("folder")
        self.disk.make_folder(path)

    def rename(self, source: Path, target: Path) -> None:
        self.here("rename", target)
        self.disk.rename(source, target)
        self.changed()
        self.here("renamed", target)

    def link(self, source: Path, target: Path) -> None:
        self.here("link", target)
        self.disk.link(source, target)

    def unlink(self, path: Path) -> None:
        self.here("remove", path)
        self.disk.unlink(path)
        self.changed()

    def remove_tree(self, path: Path) -> None:
        if path.is_dir():
            self.here("remove", path)
            self.disk.remove_tree(path)

    # --- World: the database ------------------------------------------------------------------------
    def connect(self, dsn: str, **options: Any) -> Client:
        self._refuse()
        process = self.process()
        line = self.server.line(dsn, options.get("autocommit", False), self._stuck)
        client = Client(line, lambda point: self._point_of(client, point), self._ended)
        self.leases.append(Lease(client, dsn, process))
        return client

    def connections(self, dsn: str, patience: float = 0) -> Pool:
        return Pool(lambda: self.connect(dsn, autocommit=None))  # the ledger says how it wants each

    def _refuse(self) -> None:
        if self.turns.running is None:
            return
        self.here("connect")
        if self._down == 0 and self.random.random() < self.weather.refused:
            self._down = self.random.randint(1, 30)
        if self._down:
            self._down -= 1
            self._note("refused", self.turns.running.name)
            raise psycopg.OperationalError("connection to server failed: Connection refused")

    def _point_of(self, client: Client, point: str) -> None:
        if point == "committed":
            self.changed()
        self.here(point, "", client)

    def _ended(self, client: Client) -> None:
        lease = next((each for each in self.leases if each.client is client), None)
        if lease is not None and lease.left is None:
            self._release(lease)

    def _stuck(self, backend: int) -> bool:
        """Whether a statement waits for a lock; then others have had a turn."""
        actor = self.turns.running
        if not self.server.is_blocked(backend):  # merely slow: a fast machine would not have asked
            return False
        self._linger()  # the lock may be a dead client's
        if not self.server.is_blocked(backend):
            return False
        if actor is None:
            raise AssertionError("the week itself waits for a lock")
        actor.waits = True
        try:
            actor.pause()
        finally:
            actor.waits = False
        return self.server.is_blocked(backend)


class Torn(FileIO):
    """A file open for writing whose writes can stop in the middle."""

    def __init__(self, path: Path, double: Double) -> None:
        super().__init__(path, "w")
        self._path, self._double = path, double

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        middle = len(view) // 2
        super().write(view[:middle])
        self._double.here("write", self._path.name)
        super().write(view[middle:])
        return len(view)
