"""A rebalance over the whole market at the price of the names that matter.

Most candidates are neither held nor in the index and stay at zero. Those of low score are left out; the optimum without
them is the optimum with them where no first unit of a purchase would pay, by the duals of the program. Names whose
purchase pays come in, and the program is solved again: column generation, for linear programs called sifting (Bixby,
Gregory, Lustig, Marsten, Shanno 1992, "Very large-scale linear programming: a case study"). Shape: N candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpm.portfolio import program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fpm.panels import Floats
    from fpm.portfolio.problem import Problem
    from fpm.portfolio.program import Answer

FIRST = 150  # candidates of the highest score that take part from the beginning
ROUNDS = 8
PAYS = 1e-7  # gain in the objective per unit of weight from which a purchase counts


def solve(problem: Problem, limits: Mapping[str, float], weights_allowed: tuple[Floats, Floats]) -> Answer:
    """`program.solve` without soft bounds, at the cost of a smaller program."""
    least_N, most_N = weights_allowed
    aside_N = outsiders(problem, weights_allowed)
    aside_N[np.argsort(np.where(aside_N, -problem.gain_N, np.inf), kind="stable")[:FIRST]] = False
    for _ in range(ROUNDS):
        if not aside_N.any():
            break
        answer = program.solve(problem, limits, (least_N, np.where(aside_N, least_N, most_N)))
        if answer.status != "Solved":
            break  # the names that are left out may be what a bound needs
        pays_N = aside_N & (answer.first_N < -PAYS)
        if not pays_N.any():
            return answer
        aside_N &= ~pays_N
    return program.solve(problem, limits, weights_allowed)


def outsiders(problem: Problem, weights_allowed: tuple[Floats, Floats]) -> NDArray[np.bool_]:
    """Names (N,) that are neither held nor in the index and may be bought or not."""
    least_N, most_N = weights_allowed
    return np.asarray((problem.weight_N == 0) & ~problem.member_N & (least_N == 0) & (most_N > 0))
