"""Points at which the tests hurt a process; without ``FPM_FAULT`` in the environment they do nothing.

With ``FPM_FAULT=renamed:2`` the process sends itself SIGKILL when it reaches `faultpoint("renamed")` for the second
time. As with a power cut or the out-of-memory killer, no handler runs. ``FPM_FAULT=*:7`` kills at the seventh point,
whatever its name; ``FPM_FAULT=renamed:2:SIGINT`` sends another signal, ``renamed:2:ENOSPC`` raises that OSError and
``renamed:2:BUG`` an exception that nobody expects. The variable is read at every point.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter

FAULTPOINTS = ("begun", "staged", "prepared", "renamed", "published")
_passed: Counter[str] = Counter()


def faultpoint(name: str) -> None:
    """Hurt this process if the environment says so. Raises OSError or RuntimeError where it names one."""
    fault = os.environ.get("FPM_FAULT")
    if not fault:
        return
    _passed.update((name, "*"))
    point, count, kind = (*fault.split(":"), "", "")[:3]
    if _passed[point] != int(count or 1) or point not in (name, "*"):
        return
    if kind == "BUG":
        raise RuntimeError(f"a planted fault at {name}")
    if kind.startswith("E"):
        number = getattr(errno, kind)
        raise OSError(number, os.strerror(number), name)
    os.kill(os.getpid(), signal.Signals[kind or "SIGKILL"])


def passed(name: str) -> int:
    """How often this process has reached a point (`*`: any) while ``FPM_FAULT`` was set."""
    return _passed[name]
