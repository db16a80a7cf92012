"""`fpm schedule` under a clock that jumps: libfaketime (Debian's package of this name) before one real process.

At each night the clock is in the day before; then it jumps to the session's evening, in the middle of the night hours
or days away, and back. `python -m tests.crashes.jumps HOME` is the process: it asks the machine for the time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import TYPE_CHECKING
from unittest.mock import patch

from fpm.commands.schedule import _Looks, serve
from fpm.store.ledger.stores import open_stores
from fpm.store.world import world
from tests.crashes import clock
from tests.crashes.clock import COUNT, await_, begun, deliver, ended, home, moment, settings_of, watched
from tests.simulation.invariants import Invariants
from tests.simulation.turns import Violation
from tests.simulation.week import JOBS, stand_ins

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
SESSIONS = clock.SESSIONS[-60:]  # the exchange's calendar ends a year after the time of the clock
JUMPS = tuple(timedelta(hours=hours) for hours in (-72, -8, -1, 1, 8, 72))


def nights(number: int, seed: int = 1) -> str:
    """So many nights, each of which runs once whatever the clock does. Raises Violation."""
    random, slowest = Random(seed), 0.0
    with home(SESSIONS[0]) as (settings, stores):
        offset = settings.home / "offset"
        _set(offset, moment(SESSIONS[0]))
        with _clock(settings.home, offset) as process, watched(settings) as watch:
            for session in SESSIONS[1 : number + 1]:
                _set(offset, moment(session) + random.choice(JUMPS))  # and a look comes, or not
                time.sleep(random.uniform(0, 6))
                deliver(session, stores)
                _set(offset, moment(session))
                jobs = random.randint(1, len(JOBS))
                await_(lambda session=session, jobs=jobs: begun(watch, session) >= jobs, 120)
                _set(offset, moment(session) + random.choice(JUMPS))
                since = time.monotonic()
                await_(lambda session=session: ended(watch, session) == len(JOBS), 120)
                slowest = max(slowest, time.monotonic() - since)
                Invariants(settings.lake, watch).check()
            process.send_signal(signal.SIGTERM)
            if code := process.wait(60):
                raise Violation(f"the clock ended with {code}")
            jumped = Invariants(settings.lake, watch).bytes()
        rows = stores.ledger.query(COUNT)
        stores.ledger.close()
    expected = {(str(session), job) for session in SESSIONS[1 : number + 1] for job in JOBS}
    if once := expected - {(name, job) for name, job, attempts, published in rows if attempts == published == 1}:
        raise Violation(f"did not run exactly once: {sorted(once)}")
    if other := sorted(path for path, content in _undisturbed(number).items() if jumped.get(path) != content):
        raise Violation(f"other bytes than under a clock that goes on: {other}")
    return f"{number} nights, {2 * number} jumps, each job once; whole {slowest:.1f} s after the last jump at most"


def _undisturbed(number: int) -> dict[str, str]:
    """The bytes of nights under a clock that goes on."""
    with home(SESSIONS[0]) as (settings, stores), stand_ins(), watched(settings) as watch:
        now = [moment(SESSIONS[0])]
        looks = _Looks(stores, lambda: now[0], 1)
        for session in SESSIONS[1 : number + 1]:
            deliver(session, stores)
            now[0] = moment(session)
            looks.at(now[0], Event())
        stores.ledger.close()
        return Invariants(settings.lake, watch).bytes()


def _set(offset: Path, present: datetime) -> None:
    """What libfaketime adds to the machine's clock, in one step."""
    coming = offset.with_suffix(".new")
    coming.write_text(f"{(present - datetime.now(UTC)).total_seconds():+.0f}")
    coming.rename(offset)


@contextmanager
def _clock(folder: Path, offset: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process; libfaketime leaves its monotonic clock and the times of files alone: a set clock moves no file."""
    variables = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    words = [sys.executable, "-m", "tests.crashes.jumps", str(folder)]
    process = subprocess.Popen(words, env=os.environ | variables)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def main() -> int:
    # libfaketime 0.9.10 takes its offset from the absolute, monotonic moment until which Python sleeps: EINVAL
    with stand_ins(), patch.object(time, "sleep", lambda seconds: Event().wait(seconds)):
        return serve(open_stores(settings_of(Path(sys.argv[1]))), world().now, 1)


if __name__ == "__main__":
    sys.exit(main())
