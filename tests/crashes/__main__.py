"""`python -m tests.crashes FILE [SECONDS [WORD]]`: the sweep, so long, of families whose names have the word.

FILE remembers the cases that are done, so a stopped sweep goes on.
"""

import json
import sys
import time
from pathlib import Path

from tests.crashes.cases import FAMILIES
from tests.crashes.home import Home
from tests.crashes.sweep import sweep
from tests.simulation.place import opened


def main() -> int:
    file, seconds, word = Path(sys.argv[1]), float((*sys.argv, "inf")[2]), (*sys.argv, "", "", "")[3]
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
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main())
