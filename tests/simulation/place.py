"""Where weeks run: one embedded server without fsync, two databases, one folder."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread

import psycopg
import structlog
from psycopg.types.json import Jsonb

from fpm.sessions import cut_off
from fpm.store.postgres import server as postgres
from fpm.store.postgres.migrate import migrate
from fpm.store.settings import Settings
from tests.databases import fresh_database
from tests.simulation.database import Server
from tests.simulation.week import CN, SESSIONS, Place

SCORER = "INSERT INTO fpm.models (kind, id, born, through, status, manifest, files) VALUES "
BORN = cut_off(CN, SESSIONS[0]).replace(year=2025)


@contextmanager
def opened(server: postgres.Server | None = None) -> Iterator[Place]:
    """A place of its own, or one on a server that runs and is migrated."""
    folder = Path(tempfile.mkdtemp(prefix="fpm-weeks-"))
    own = None
    if current_thread() is main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server ends with us
    try:
        if server is None:
            own = Settings(home=folder / "server", fsync=False)
            server = postgres.ensure_server(own)
            migrate(own)
        with _databases(server) as (dsn, other), _silence():
            (folder / "weeks").mkdir()
            watcher = Server(dsn)
            yield Place(folder / "weeks", dsn, other, watcher)
            watcher.close()
    finally:
        if own is not None:
            postgres.stop_server(own)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _databases(server: postgres.Server) -> Iterator[tuple[str, str]]:
    """The home's database with a scorer in force, and another one as it is after `fpm setup`."""
    with fresh_database(server) as first, fresh_database(server) as second:
        with psycopg.connect(first) as home:
            home.execute(
                SCORER + "('scorer', 'm', %s, %s, 'promoted', %s, '{}')", (BORN, BORN.date(), Jsonb({"vintage": "v"}))
            )
        yield first, second


@contextmanager
def _silence() -> Iterator[None]:
    """Weeks log thousands of expected errors."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
