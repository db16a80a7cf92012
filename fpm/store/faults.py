"""Places where the tests kill a process; without ``FPM_FAULT`` in the environment they do nothing.

``FPM_FAULT=renamed:2`` sends SIGKILL to the process itself at its second passing of `faultpoint("renamed")`,
as a power cut or the kernel's out-of-memory killer would: no handler, no cleanup. The variable is read when a
point is passed. ``FPM_FAULT=*:7`` kills at the seventh passing of any point.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

FAULTPOINTS = ("begun", "staged", "prepared", "renamed", "published")
_passed: Counter[str] = Counter()


def faultpoint(name: str) -> None:
    """Die here if the environment says so."""
    fault = os.environ.get("FPM_FAULT")
    if not fault:
        return
    _passed.update((name, "*"))
    wanted, _, nth = fault.partition(":")
    if _passed[wanted] == int(nth or 1) and wanted in (name, "*"):
        os.kill(os.getpid(), signal.SIGKILL)
