"""Case after case: hurt a night, judge what is visible before any recovery, recover, judge the bytes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from tests.crashes.cases import Family
from tests.crashes.home import MET, Home, Hurt
from tests.simulation.turns import Violation

MOST = 2000  # of one family: no night makes so many system calls of a kind


@dataclass(frozen=True)
class Verdict:
    """What came of a case: faults that moved the ledger, a violation or "", seconds of the recovery."""

    family: str
    number: int
    met: bool
    moved: int
    violation: str
    recovery: float


def tried(family: Family, number: int, home: Home) -> Verdict:
    """One case. A fault counts where it left a ledger that is neither that of before nor that of a whole night."""
    session, expected = home.next()
    moved, met, seconds = 0, False, 0.0
    try:
        met, moved = _hurt(home, session, family.hurt(number))
        if met and family.again:
            _, again = _hurt(home, session, Hurt(point=f"*:{1 + number % 3}:{family.kind}"))
            moved += again
        begun = time.monotonic()
        home.run_whole(session)
        seconds = round(time.monotonic() - begun, 3)
        home.judge(expected)
    except Violation as violation:
        home.begin()
        return Verdict(family.name, number, True, moved, str(violation), seconds)
    return Verdict(family.name, number, met, moved, "", seconds)


def _hurt(home: Home, session: date, hurt: Hurt) -> tuple[bool, int]:
    """Whether the fault was met, and 1 where it moved the ledger; the invariants hold right after it."""
    before = home.ledger()
    code = home.run(session, hurt)
    home.invariants.check()
    met = code in (-signal.SIGKILL, MET)
    if not met and code != 0:
        raise Violation(f"the night of {session} ended with {code}")
    return met, int(met and home.ledger() != before and not home.is_whole(session))


def sweep(families: Sequence[Family], home: Home, file: Path | None = None) -> Iterator[Verdict]:
    """Every case of the families that `file` does not know yet."""
    done = [json.loads(line) for line in file.read_text().splitlines()] if file and file.exists() else []
    met = {(row["family"], row["number"]): row["met"] for row in done}
    for family in families:
        for number in range(1, MOST):
            if (family.name, number) in met:
                if not met[family.name, number]:
                    break
                continue
            verdict = tried(family, number, home)
            if file:
                with file.open("a") as stream:
                    stream.write(json.dumps(asdict(verdict)) + "\n")
            yield verdict
            if not verdict.met:
                break
