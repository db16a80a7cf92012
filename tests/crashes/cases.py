"""Which fault: a named point of the store x {SIGKILL, exception, full disk}, the Nth system call by strace, the Nth
question to the database by a proxy, a disk with room for N pages.

A family counts upwards until its fault is no longer met: then the night is over.
"""

from __future__ import annotations

from dataclasses import dataclass

from fpm.store.faults import FAULTPOINTS
from tests.crashes import proxy
from tests.crashes.home import Hurt
from tests.crashes.proxy import Break

KINDS = ("SIGKILL", "BUG", "ENOSPC")
CALLS = {  # system calls that write: to files, and to the database's socket
    "fsync": ("signal=KILL", "error=EIO"),
    "rename": ("signal=KILL", "error=ENOSPC"),
    "mkdir": ("signal=KILL", "error=ENOSPC"),
    "rmdir": ("signal=KILL",),
    "unlinkat": ("signal=KILL",),
    "write": ("signal=KILL", "error=ENOSPC"),
    "sendto": ("signal=KILL", "error=ECONNRESET"),
}


@dataclass(frozen=True)
class Family:
    """Faults that differ in their number alone; `again`: the recovery meets one, too, at its first point."""

    name: str
    point: str = ""
    kind: str = ""
    call: str = ""
    line: str = ""
    disk: bool = False
    again: bool = False

    def hurt(self, number: int) -> Hurt:
        if self.line:
            return Hurt(line=Break(self.kind, number, only_commits=self.line == "COMMIT"))
        if self.disk:
            return Hurt(pages=number - 1)
        if self.call:
            return Hurt(call=f"{self.call}:{self.kind}:when={number}")
        return Hurt(point=f"{self.point}:{number}:{self.kind}")


POINTS = tuple(Family(f"{point} {kind}", point, kind) for point in FAULTPOINTS for kind in KINDS)
TWICE = tuple(Family(f"any point {kind}, again in the recovery", "*", kind, again=True) for kind in KINDS)
SYSTEM = tuple(Family(f"{call} {kind}", call=call, kind=kind) for call, kinds in CALLS.items() for kind in kinds)
LINES = tuple(Family(f"COMMIT {kind}", line="COMMIT", kind=kind) for kind in proxy.KINDS)
QUESTIONS = tuple(Family(f"question {kind}", line="question", kind=kind) for kind in ("before", "after"))
SIZES = Family("a disk with room for N pages", disk=True)  # in a home on a disk of its own
FAMILIES = (*POINTS, *TWICE, *SYSTEM, *LINES, *QUESTIONS)
