"""The world outside a process, as the store uses it: files, the database, other processes, the time.

Whatever a crash can tear, lose or delay goes through `world()`, so a simulation can stand in its place and deal faults
by a seed. Reading of files does not: what a reader may see is decided by what was written.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg_pool import ConnectionPool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from io import BufferedWriter
    from pathlib import Path

Connection = psycopg.Connection[tuple[Any, ...]]
# Seconds that a question waits for a server that is being restarted. A look that lost its server asks three times (for
# the step, for its failure, for the night) before `fpm schedule` starts it again, and is to be back within a minute.
PATIENCE = 10


class Connections(Protocol):
    """Connections to one database, lent one at a time."""

    def connection(self) -> AbstractContextManager[Connection]:
        """A connection inside one transaction: committed at the end, rolled back by an exception."""

    def close(self) -> None:
        """Give all connections back to the server."""


class World(Protocol):
    """What the store does to the outside. Files raise OSError, the database psycopg's OperationalError."""

    def now(self) -> datetime:
        """The present moment, UTC."""

    def nonce(self) -> str:
        """A word that no other piece of work has, on this host or another: letters, digits and hyphens."""

    def create(self, path: Path) -> BufferedWriter:
        """A new file, or an old one emptied, open for writing; its folder exists."""

    def fsync(self, handle: int) -> None:
        """Force an open file's bytes, or an open folder's entries, to the disk."""

    def make_folder(self, path: Path) -> None:
        """A folder with those above it; one that is there stays."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name, in the place of what bears it, at once."""

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Raises FileExistsError where something bears it."""

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is not there is none."""

    def remove_tree(self, path: Path) -> None:
        """Remove a folder with everything below it; what cannot be removed stays."""

    def connect(self, dsn: str, **options: Any) -> Connection:
        """A connection of its own, with libpq's `options`."""

    def connections(self, dsn: str, patience: float = PATIENCE) -> Connections:
        """Connections that survive a restart of the server; each is waited for that many seconds."""


class Machine:
    """The real world: this machine and the database that it reaches."""

    def now(self) -> datetime:
        """The machine's clock."""
        return datetime.now(UTC)

    def nonce(self) -> str:
        """The host's name, for who looks into a folder, and chance: containers share names and process ids."""
        host = re.sub("[^A-Za-z0-9]+", "-", platform.node())[:32].strip("-") or "host"
        return f"{host}-{secrets.token_hex(6)}"

    def create(self, path: Path) -> BufferedWriter:
        """A file open for writing, empty."""
        return path.open("wb")

    def fsync(self, handle: int) -> None:
        """Force it to the disk by fsync."""
        os.fsync(handle)

    def make_folder(self, path: Path) -> None:
        """Make the folder and those above it."""
        path.mkdir(parents=True, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within one file system."""
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        """Make a hard link."""
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        """Remove it, without an error where there is nothing."""
        path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        """Remove from the leaves up."""
        shutil.rmtree(path, ignore_errors=True)

    def connect(self, dsn: str, **options: Any) -> Connection:
        """Psycopg's connection."""
        return psycopg.connect(dsn, **options)

    def connections(self, dsn: str, patience: float = PATIENCE) -> Connections:
        """Psycopg's pool; it asks a connection whether it lives before it lends it."""
        return ConnectionPool(
            dsn,
            min_size=0,
            max_size=8,
            timeout=patience,
            reconnect_timeout=patience,  # then the next question tries anew, whatever the backoff had come to
            open=True,
            check=ConnectionPool.check_connection,
            kwargs={"autocommit": False, "application_name": "fpm"},
        )


_present: World = Machine()


def world() -> World:
    """The world in which this process lives."""
    return _present


@contextmanager
def inside(other: World) -> Iterator[None]:
    """Let the store live in another world, for a simulation."""
    global _present  # noqa: PLW0603  a process lives in one world
    before, _present = _present, other
    try:
        yield
    finally:
        _present = before
