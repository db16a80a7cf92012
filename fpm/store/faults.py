"""Points at which the tests kill a process; without ``FPM_FAULT`` in the environment they do nothing.

With ``FPM_FAULT=renamed:2`` the process sends itself SIGKILL when it reaches `faultpoint("renamed")` for the second
time. As with a power cut or the out-of-memory killer, no handler runs. ``FPM_FAULT=*:7`` kills at the seventh point,
whatever its name; ``FPM_FAULT=renamed:2:SIGINT`` sends another signal. The variable is read at every point.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

FAULTPOINTS = ("begun", "staged", "prepared", "renamed", "published")
_passed: Counter[str] = Counter()


def faultpoint(name: str) -> None:
    """Kill this process if the environment says so."""
    fault = os.environ.get("FPM_FAULT")
    if not fault:
        return
    _passed.update((name, "*"))
    point, count, number = (*fault.split(":"), "", "")[:3]
    if _passed[point] == int(count or 1) and point in (name, "*"):
        os.kill(os.getpid(), signal.Signals[number or "SIGKILL"])
