"""A decision's optimum found again by a second solver, SCS, or proven by its duality gap.

O'Donoghue 2021, "Operator splitting for a homogeneous embedding of the linear complementarity problem", SIAM Journal on
Optimization 31. It shares no code and no method with Clarabel: that one follows a path through the interior, this one
projects and corrects in turns. It gets the whole program, without `sifting`, and begins at Clarabel's point: from
nothing it needs minutes for a thousand names with impact. From there it ends at once where that is the optimum by its
own residuals, and moves away where not.

Of many candidates, and wherever SCS does not soon come to the same objective, the optimum is proven instead: `duality`
bounds, by arithmetic of its own over all of them, what any other portfolio could be worth. Where the gap stays open SCS
goes on to its last digits. Shapes: N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import polars as pl

from fpm.errors import FpmError
from fpm.portfolio import program, sifting
from fpm.portfolio.duality import duality_gap, reach
from fpm.portfolio.solve import TOLERANCE, excesses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.panels import Floats
    from fpm.portfolio.problem import Problem
    from fpm.portfolio.program import ConeProgram, Optimum

AGREES, PROVEN, DIFFERS, SILENT = "agrees", "proven", "differs", "no answer"
ACCEPTED = 1e-7  # relative difference of the objectives, of the same optimum by two solvers, and relative duality gap
LARGE = 2_000  # candidates above which SCS, 2 s at 1,800 names with impact and no end at 5,300, is not asked
UNIT = 0.1  # least objective that a difference is relative to: a book that stands still has one near 0
ACCURACY = 1e-9  # of SCS's residuals, absolute and relative: objectives then agree to 1e-7, wherever it began
ENOUGH = 1e-8  # of them where it begins at an optimum and ends with its objective: a tenth of the steps of `ACCURACY`
ITERATIONS = 20_000  # no limit of time: the same answer on every machine


@dataclass(frozen=True)
class SecondSolution:
    """The word on weights: `AGREES`, `DIFFERS`, `PROVEN` by the duality gap, `SILENT` without an optimum or a proof.

    `difference`: |objective of the weights - the other solver's| or the gap, at least 0, over the larger objective;
    NaN where silent.
    """

    verdict: str
    difference: float


def is_sampled(index: str, session: date, every: int) -> bool:
    """Whether the decision of a session is one of `every` in the sample: by its name alone; 0: none is, 1: all are.

    >>> from datetime import date
    >>> is_sampled("CSI300", date(2024, 1, 5), 0), is_sampled("CSI300", date(2024, 1, 5), 1)
    (False, True)
    """
    return every > 0 and crc32(f"{index} {session.isoformat()}".encode()) % every == 0


def second_solution(problem: Problem, limits: Mapping[str, float], weight_N: Floats) -> SecondSolution:
    """The second word on weights (N,) as the optimum of a problem within the bounds `limits`.

    Other weights count where they keep the bounds, whatever rows a program had for them.
    """
    if len(problem.symbols) > LARGE:
        return proof(problem, limits, weight_N)
    whole = program.assembled(problem, limits, problem.range_2N)
    start = program.optimum(whole)
    first = _scs_word(problem, limits, weight_N, whole, start, ENOUGH)
    if first and first.verdict == AGREES:
        return first
    proven = proof(problem, limits, weight_N)
    if proven.verdict == PROVEN:
        return proven
    return _scs_word(problem, limits, weight_N, whole, start, ACCURACY) or proven


def _scs_word(
    problem: Problem, limits: Mapping[str, float], weight_N: Floats, whole: ConeProgram, start: Optimum, accuracy: float
) -> SecondSolution | None:
    """SCS's word at an accuracy of its residuals; None where it has no optimum within the bounds."""
    second_N = solved(whole, start, accuracy)
    if second_N is None or not _kept(problem, limits, second_N):
        return None
    return _compared(problem, weight_N, second_N)


def proof(problem: Problem, limits: Mapping[str, float], weight_N: Floats) -> SecondSolution:
    """The word of the duality gap, with prices of the program without the names that the weights leave out.

    Where the gap is open, the whole program decides: a better portfolio contradicts, none leaves it `SILENT`. A gap
    below 0 is that of weights which go beyond a bound by less than is tolerated, at a high price of that bound.
    """
    least_N, most_N = problem.range_2N
    left_N = sifting.outsiders(problem, (least_N, most_N)) & (weight_N <= 0)
    for upper_N in (np.where(left_N, least_N, most_N), most_N):
        answer = program.solve(problem, limits, (least_N, upper_N))
        if answer.status != "Solved" or answer.multipliers is None:
            continue
        gap = duality_gap(problem, limits, weight_N, answer.multipliers) / _unit(problem, weight_N, answer.weight_N)
        if gap <= ACCEPTED and _kept(problem, limits, weight_N):
            return SecondSolution(PROVEN, max(gap, 0.0))
        other = _compared(problem, weight_N, answer.weight_N)
        if other.verdict == DIFFERS and _kept(problem, limits, answer.weight_N):
            return other
    return SecondSolution(SILENT, float("nan"))


def _kept(problem: Problem, limits: Mapping[str, float], weight_N: Floats) -> bool:
    """Whether weights (N,) keep the bounds; a name whose range does not reach its active bound need not."""
    least_N, most_N = reach(problem, limits)
    beyond = np.maximum(least_N - weight_N, weight_N - most_N).max(initial=0.0)
    others = {name: value for name, value in excesses(problem, limits, weight_N).items() if name != "active"}
    return max(float(beyond), *others.values(), 0.0) <= TOLERANCE


def _unit(problem: Problem, weight_N: Floats, other_N: Floats) -> float:
    """What a difference of two portfolios' objectives is relative to."""
    return max(abs(problem.objective(weight_N)), abs(problem.objective(other_N)), UNIT)


def _compared(problem: Problem, weight_N: Floats, other_N: Floats) -> SecondSolution:
    first, second = problem.objective(weight_N), problem.objective(other_N)
    difference = abs(first - second) / _unit(problem, weight_N, other_N)
    return SecondSolution(AGREES if difference <= ACCEPTED else DIFFERS, difference)


def solved(whole: ConeProgram, start: Optimum | None = None, accuracy: float = ACCURACY) -> Floats | None:
    """SCS's weights (N,) of a program; None where it finds no optimum.

    `start`: where it begins, by default at 0. `accuracy`: of its residuals.
    """
    import scipy.sparse as sp
    import scs

    quadratic = sp.csc_matrix(whole.quadratic)
    terms = {"P": quadratic, "A": whole.matrix, "b": whole.value, "c": whole.linear}
    cones = {"z": whole.equal, "l": whole.nonnegative, "q": whole.cones}
    is_known = start is not None and np.isfinite(start.x).all() and len(start.x) == len(whole.linear)
    begin = {"x": start.x, "y": start.z, "s": start.s} if start is not None and is_known else {}
    settings = {"eps_abs": accuracy, "eps_rel": accuracy, "max_iters": ITERATIONS, "verbose": False}
    answer = scs.SCS(terms, cones, **settings).solve(warm_start=bool(begin), **begin)
    if answer["info"]["status"] != "solved":
        return None
    return whole.weights(np.asarray(answer["x"], dtype=np.float64))


def refuse_contradicted(decisions: pl.DataFrame) -> None:
    """Raise FpmError for decisions (rows of the table) whose objective the second solver contradicts."""
    if "second_solver" not in decisions.columns:  # of a version that had none
        return
    contradicted = decisions.filter(pl.col("second_solver") == DIFFERS).sort("session", "index")
    if contradicted.height:
        rows = contradicted.select("index", "session", "second_difference").iter_rows()
        named = ", ".join(f"{index} on {session} by {gap:.2g}" for index, session, gap in rows)
        raise FpmError(
            code="FPM-PF-095",
            wrong=f"a second solver finds another objective: {named} (relative, {ACCEPTED:g} is accepted)",
            effect="the decision stands as it was made; its row says second_solver = differs",
            todo="hold the index (fpm enhance --hold INDEX --reason ...) and report the session's inputs as a bug",
        )
