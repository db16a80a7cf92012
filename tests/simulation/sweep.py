"""`python -m tests.simulation.sweep FIRST LAST [FILE]`: many weeks; FILE remembers them, so a stopped sweep goes on."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from tests.simulation import mutations, week
from tests.simulation.place import opened
from tests.simulation.turns import Violation
from tests.simulation.week import Place


def verdict(seed: int, place: Place) -> dict[str, object]:
    """What came of a week: the violation or "", turns, checks, faults, seconds of processor time here and there."""
    before = _seconds(place)
    try:
        done = week.run(seed, place)
    except Violation as violation:
        return {"seed": seed, "violation": str(violation)}
    spent = [round(now - then, 3) for now, then in zip(_seconds(place), before, strict=True)]
    return {
        "seed": seed,
        "violation": "",
        "turns": done.turns.steps,
        "checks": done.invariants.checks,
        "faults": done.world.faults,
        "seconds": spent,
    }


def _seconds(place: Place) -> tuple[float, float]:
    """Processor time of this process and of the server's processes that serve it."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    rows = place.server.watch.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()").fetchall()
    ticks = sum(sum(map(int, _stat(pid)[11:13])) for (pid,) in rows)
    return own.ru_utime + own.ru_stime, ticks / 100


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ["0"] * 20


def main() -> int:
    first, last = int(sys.argv[1]), int(sys.argv[2])
    file = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    done = {json.loads(line)["seed"] for line in file.read_text().splitlines()} if file and file.exists() else set()
    failures = 0
    with opened() as place, mutations.planted():
        for seed in range(first, last + 1):
            if seed in done:
                continue
            row = verdict(seed, place)
            failures += bool(row["violation"])
            print(json.dumps(row), flush=True)
            if file:
                with file.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
