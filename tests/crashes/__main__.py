"""Long runs, each for so many seconds at most (no limit where none is given).

    python -m tests.crashes sweep FILE [SECONDS [WORD]]    cases of the families whose names have the word
    python -m tests.crashes schedulers TICKS [SECONDS]     four schedulers at each tick
    python -m tests.crashes restarts NUMBER [SECONDS]      a database stopped in mid-night

FILE remembers the cases that are done, so a stopped sweep goes on.
"""

import json
import sys
import time
from pathlib import Path

from tests.crashes import clock
from tests.crashes.cases import FAMILIES
from tests.crashes.home import Home
from tests.crashes.sweep import sweep
from tests.simulation.place import opened


def cases(file: Path, seconds: float, word: str) -> int:
    """Violations in the file, after as many more cases as the time allows."""
    end = time.monotonic() + seconds
    with opened() as place:
        home = Home(place)
        home.learn()
        for _ in sweep([family for family in FAMILIES if word in family.name], home, file):
            if time.monotonic() > end:
                break
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    violations = [row for row in rows if row["violation"]]
    met, moved = (sum(row[name] for row in rows) for name in ("met", "moved"))
    print(f"{len(rows)} cases, {met} faults met, {moved} moved the ledger, {len(violations)} violations")
    print(f"slowest recovery {max(row['recovery'] for row in rows)} s", *violations, sep="\n")
    return len(violations)


def main() -> int:
    what, number, seconds, word = (*sys.argv[1:], "inf", "")[:4] if len(sys.argv) < 5 else sys.argv[1:5]
    if what == "sweep":
        return int(cases(Path(number), float(seconds), word) > 0)
    if what == "restarts":
        print(clock.restarts(int(number), float(seconds)))
        return 0
    done, doubled = clock.schedulers(int(number), float(seconds))
    print(f"{done} ticks, {clock.SCHEDULERS} schedulers: each job of each night ran once, {doubled} doubled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
