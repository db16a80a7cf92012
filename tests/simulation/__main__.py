"""`python -m tests.simulation SEED [MUTATION]`: replay one week step by step."""

import sys
import time

from tests.simulation import mutations, week
from tests.simulation.place import opened
from tests.simulation.turns import Violation


def main() -> int:
    seed, planted = int(sys.argv[1]), sys.argv[2:]
    with opened() as place:
        begun = time.process_time()
        try:
            week.expected(seed, place)  # of the sound product
            with mutations.planted(*planted):
                done = week.run(seed, place, print)
        except Violation as violation:
            print(f"seed {seed}: {violation}")
            return 1
        print(f"seed {seed}: {done.turns.steps} turns, {done.invariants.checks} checks, faults {done.world.faults}")
        print(f"{time.process_time() - begun:.2f} s of this process, the undisturbed week included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
