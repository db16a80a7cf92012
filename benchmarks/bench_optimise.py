"""CPU of one rebalance, set-up and solve, beside cvxpy on the same problem in the same run.

Run `python benchmarks/bench_optimise.py [--sizes 300 1800] [--impact 0.1]`. Risk by country, 30 industries, six styles
and a score; a tracking-error cone, every bound of SCIENCE.md section 10, linear costs, and 3/2-power impact where
`--impact` is not 0. An index has at most 1,000 members, a market the other names. "whole" is the program with every
name in it, `sifting` leaves out what would not be bought. cvxpy compiles anew and calls the same solver. One thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import measure
import numpy as np

from fpm.portfolio import program, sifting
from fpm.portfolio.problem import Bounds, limits_of
from tests.fpm.portfolio.instances import cvxpy_problem, instance

BOUNDS = Bounds(active=0.01, active_share=0.0, industry=0.02)
MEMBERS = 1_000
SLOW = 3_000  # names above which cvxpy takes more than ten seconds: one run of it


def cpu(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Least CPU seconds of some calls, and what the last one returned."""
    spent, result = [], None
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        spent.append(time.process_time() - start)
    return min(spent), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1800])
    parser.add_argument("--impact", type=float, default=0.0)
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        everyone = np.ones(size, dtype=bool)
        members = min(MEMBERS, int(0.8 * size))
        problem = instance(
            size, 1, options.impact, members, tradable_N=everyone, buyable_N=everyone, sellable_N=everyone
        )
        limits = limits_of(problem, BOUNDS)
        own, answer = cpu(lambda: sifting.solve(problem, limits, problem.range_2N), 3)  # noqa: B023  called at once
        whole, _ = cpu(lambda: program.solve(problem, limits, problem.range_2N), 2)  # noqa: B023  called at once

        def peer() -> float:
            reference, _, _ = cvxpy_problem(problem, BOUNDS)  # noqa: B023  called at once
            return float(reference.solve(solver="CLARABEL"))

        other, value = cpu(peer, 1 if size > SLOW else 2)
        gap = abs(problem.objective(answer.weight_N) - value) / abs(value)
        rows.append((size, members, answer.status, own, whole, other, own / other, f"{gap:.1e}"))
    heads = ("names", "members", "status", "CPU s", "whole", "cvxpy", "ratio", "difference in objective")
    measure.show(f"One rebalance, impact {options.impact}", heads, rows)


if __name__ == "__main__":
    main()
