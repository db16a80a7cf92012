"""Weights of one rebalance: the optimum, or the bounds that conflict and the least slack that reconciles them.

A conflict is an irreducible set: without any one of its bounds the rest can be met (the deletion filter of Chinneck
and Dravnieks 1991). Of each conflict the bound that stands first on the relaxation ladder gives way, until no conflict
is left; then slack is made small, that of the ladder's last bound first, and the objective is maximised within it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fpm.errors import FpmError
from fpm.portfolio import program, sifting
from fpm.portfolio.problem import STYLES, limits_of, validate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.panels import Floats
    from fpm.portfolio.duals import Prices
    from fpm.portfolio.problem import Bounds, Problem
    from fpm.portfolio.program import Answer

LADDER = ("turnover", *STYLES, "industry", "tracking_error", "members", "active", "cash left")
TOLERANCE = 1e-6  # a bound holds where its excess is below: an interior-point solver leaves 1e-8
MARGINS = (1e-7, 1e-6, 1e-5, 1e-4)  # added in turn to bounds within which the solver finds no interior
ROOM = 1e-4  # share of the least slack that is added to it
PROOF = 1e-6  # share of the largest dual value below which a bound has no part in the proof of infeasibility
DUST = 1e-9  # an interior-point solver leaves weights of this size for zero
LIGHT = 1e-3  # weight of slack whose turn has not come


@dataclass(frozen=True)
class Solution:
    """Optimal weights and what they cost.

    `cash`: uninvested, before costs. `tracking_error`: per year. `turnover`: two-sided. `cost`: estimate, a fraction of
    the value. `relaxed`: bound -> excess over it, only where it is exceeded. `excused`: symbol -> excess over the
    active bound of names whose permitted range does not reach it (locked names among them, which `relaxed` leaves out).
    `conflict`: the first irreducible set of bounds that cannot be met together. `shadow`: bound -> gain in the
    objective per unit of slack. `status`: "optimal" or "relaxed". `prices`: `shadow` name by name, and cash's.
    `within`: the bounds of the program whose optimum the weights are, slack included; None where none was solved.
    """

    weight_N: Floats
    cash: float
    tracking_error: float
    turnover: float
    cost: float
    objective: float
    relaxed: dict[str, float]
    excused: dict[str, float]
    conflict: tuple[str, ...]
    shadow: dict[str, float]
    status: str
    prices: Prices | None = None
    within: Mapping[str, float] | None = None


def optimise(problem: Problem, bounds: Bounds) -> Solution:
    """Optimal weights of a problem within bounds; bounds that conflict are relaxed and named.

    Raises FpmError: what `validate` says, FPM-PF-039 where locked names alone leave no portfolio, FPM-PF-040 where the
    solver finds none.
    """
    validate(problem)
    return solve(problem, limits_of(problem, bounds), problem.range_2N)


def solve(problem: Problem, limits: Mapping[str, float], weights_allowed: tuple[Floats, Floats]) -> Solution:
    """`optimise` for bounds by name and permitted weights (N,), (N,) of one's own."""
    least_N, _ = weights_allowed
    if 1 - MARGINS[1] <= least_N.sum() <= 1 + TOLERANCE:
        # What must be held fills the book: the only portfolio, and an interior-point solver would not find it.
        return solution(problem, limits, least_N, {}, ())
    answer = sifting.solve(problem, limits, weights_allowed)
    if answer.status == "Solved":
        return replace(solution(problem, limits, answer.weight_N, answer.dual, ()), prices=answer.prices, within=limits)
    soft: list[str] = []
    first: tuple[str, ...] = ()
    while names := conflict(problem, _without(limits, soft), weights_allowed):
        first = first or names
        soft.append(min(names, key=LADDER.index))
    wide = _least_slack(problem, limits, weights_allowed, soft)
    answer, within = _widened(problem, limits, wide, weights_allowed)
    optimal = solution(problem, limits, answer.weight_N, answer.dual, first)
    return replace(optimal, prices=answer.prices, within=within)


def conflict(problem: Problem, limits: Mapping[str, float], weights_allowed: tuple[Floats, Floats]) -> tuple[str, ...]:
    """An irreducible set of bounds that cannot be met together, in ladder order; () where all can.

    Raises FpmError FPM-PF-039 where no portfolio exists even without bounds.
    """
    answer = program.solve(problem, limits, weights_allowed)
    if _reached(answer, problem, limits, weights_allowed):
        return ()
    proof = {name: value for name, value in answer.dual.items() if name in limits}
    largest = max(proof.values(), default=0.0)
    # Bounds without a part in the proof of infeasibility are left out at once; then one after the other, the ladder's
    # last first, so that a bound stays that gives way early.
    names = [name for name in LADDER if name in limits and proof.get(name, 0.0) > PROOF * largest]
    if _feasible(problem, {name: limits[name] for name in names}, weights_allowed):
        names = [name for name in LADDER if name in limits]
    for name in reversed(tuple(names)):
        rest = [other for other in names if other != name]
        if not _feasible(problem, {other: limits[other] for other in rest}, weights_allowed):
            names = rest
    if not names:
        least_N, most_N = weights_allowed
        raise FpmError(
            code="FPM-PF-039",
            wrong=f"locked names hold {least_N.sum():.6g} of the value, which leaves no portfolio without debt",
            effect="no weights were computed, the book stays as it is",
            todo=f"check holdings, value and costs; {int((most_N > least_N).sum())} names can be traded",
        )
    return tuple(names)


def excesses(problem: Problem, limits: Mapping[str, float], weight_N: Floats) -> dict[str, float]:
    """Excess of weights (N,) over every bound, negative where there is room.

    Names that cannot be traded have no active bound.
    """
    active_N = weight_N - problem.benchmark_N
    values = {
        "turnover": np.abs(weight_N - problem.weight_N).sum(),
        "industry": np.abs(problem.industry_IN @ active_N).max(initial=0.0),
        "tracking_error": problem.tracking_error(weight_N),
        "active": np.abs(active_N[problem.tradable_N]).max(initial=0.0),
        "cash left": 1 - weight_N.sum(),
    } | {name: abs(exposure_N @ active_N) for name, exposure_N in problem.style.items()}
    excess = {name: float(values[name]) - limit for name, limit in limits.items() if name != "members"}
    if "members" in limits:
        excess["members"] = limits["members"] - float(weight_N[problem.member_N].sum())
    return excess


def broken_bounds(problem: Problem, limits: Mapping[str, float], weight_N: Floats) -> dict[str, float]:
    """Bound -> excess of weights (N,) over it, in the ladder's order, only where the bound does not hold."""
    excess = excesses(problem, limits, weight_N)
    return {name: excess[name] for name in LADDER if excess.get(name, 0.0) > TOLERANCE}


def solution(
    problem: Problem,
    limits: Mapping[str, float],
    weight_N: Floats,
    shadow: Mapping[str, float],
    conflicting: tuple[str, ...],
) -> Solution:
    """Everything that follows from weights (N,) and the duals of the program they solve."""
    clean_N = np.where(np.abs(weight_N) < DUST, 0.0, weight_N)
    relaxed = broken_bounds(problem, limits, clean_N)
    over_N = np.abs(clean_N - problem.benchmark_N) - limits.get("active", np.inf)
    least_N, most_N = problem.range_2N
    width = limits.get("active", np.inf)
    apart_N = (least_N > problem.benchmark_N + width) | (most_N < problem.benchmark_N - width)
    chosen = np.flatnonzero(apart_N & (over_N > TOLERANCE))
    return Solution(
        weight_N=clean_N,
        cash=max(0.0, float(1 - clean_N.sum())),
        tracking_error=problem.tracking_error(clean_N),
        turnover=float(np.abs(clean_N - problem.weight_N).sum()),
        cost=problem.cost(clean_N),
        objective=problem.objective(clean_N),
        relaxed=relaxed,
        excused={problem.symbols[place]: float(over_N[place]) for place in chosen},
        conflict=conflicting,
        shadow={name: max(0.0, shadow.get(name, 0.0)) for name in limits},
        status="relaxed" if relaxed else "optimal",
    )


def _without(limits: Mapping[str, float], names: list[str]) -> dict[str, float]:
    return {name: limit for name, limit in limits.items() if name not in names}


def _units(limits: Mapping[str, float]) -> dict[str, float]:
    """Weight of one unit of slack: a bound's own size counts as one, as does the whole portfolio for members."""
    return {name: 1.0 if name == "members" else 1 / max(limit, 1e-3) for name, limit in limits.items()}


def _feasible(problem: Problem, limits: Mapping[str, float], weights_allowed: tuple[Floats, Floats]) -> bool:
    """Whether some portfolio meets the bounds."""
    return _reached(program.solve(problem, limits, weights_allowed), problem, limits, weights_allowed)


def _reached(
    answer: Answer, problem: Problem, limits: Mapping[str, float], weights_allowed: tuple[Floats, Floats]
) -> bool:
    """Whether an answer means a feasible program; where the solver is not sure, the least total slack decides."""
    if answer.status in ("Solved", "PrimalInfeasible"):
        return answer.status == "Solved"
    units = _units(limits)
    answer = program.solve(problem, limits, weights_allowed, units)
    if answer.status in ("Solved", "AlmostSolved"):
        return sum(units[name] * slack for name, slack in answer.slack.items()) < TOLERANCE
    return False


def _least_slack(
    problem: Problem, limits: Mapping[str, float], weights_allowed: tuple[Floats, Floats], soft: list[str]
) -> dict[str, float]:
    """Bounds of which those in `soft` are as wide as they must be, the ladder's last as narrow as it can be."""
    wide, left = dict(limits), sorted(set(soft), key=LADDER.index)
    units = _units(limits)
    slack: dict[str, float] = {}
    while left:
        name = left[-1]
        weights = {other: units[other] * (1.0 if other == name else LIGHT) for other in left}
        answer = program.solve(problem, wide, weights_allowed, weights)
        if answer.status not in ("Solved", "AlmostSolved"):
            break
        slack = answer.slack
        if name == "active":
            slack = slack | {name: _active_slack(problem, wide[name], weights_allowed, answer.weight_N)}
        wide[name] = wider(name, wide[name], _roomy(slack[name]))
        left.pop()
    # The solver may find no way further; its last answer meets the bounds with the slack it had then.
    return wide | {name: wider(name, limits[name], _roomy(slack.get(name, 0.0))) for name in left}


def _active_slack(problem: Problem, width: float, weights_allowed: tuple[Floats, Floats], weight_N: Floats) -> float:
    """By how much the active bound must be wider for weights (N,): a name at the end of its range needs nothing.

    Slack itself says too little where a name's range does not reach its bound: there it begins at the range's end.
    """
    least_N, most_N = weights_allowed
    active_N = weight_N - problem.benchmark_N
    over_N = np.where(weight_N > least_N + TOLERANCE, active_N - width, 0.0)
    under_N = np.where(weight_N < most_N - TOLERANCE, -active_N - width, 0.0)
    return float(max(0.0, over_N.max(), under_N.max()))


def _widened(
    problem: Problem,
    limits: Mapping[str, float],
    wide: Mapping[str, float],
    weights_allowed: tuple[Floats, Floats],
) -> tuple[Answer, dict[str, float]]:
    """Answer within the bounds `wide`, and these: widened a little more where the solver finds no interior.

    First those that gave way, then all: one that conflicts with none may itself have no interior (members of weight 1).
    """
    changed = [name for name in wide if wide[name] != limits[name]] or list(wide)
    for margin, names in ((0.0, changed), *((each, changed) for each in MARGINS), *((each, wide) for each in MARGINS)):
        looser = {name: wider(name, limit, margin if name in names else 0.0) for name, limit in wide.items()}
        answer = sifting.solve(problem, looser, weights_allowed)
        if answer.status == "Solved":
            return answer, looser
    raise _failure(answer)


def wider(name: str, limit: float, slack: float) -> float:
    """A bound with slack; that of the members is a floor."""
    return limit - slack if name == "members" else limit + slack


def _roomy(slack: float) -> float:
    """Slack and a little more: what the least slack leaves has no interior, and the solver needs some."""
    return slack * (1 + ROOM) + MARGINS[0]


def _failure(answer: Answer) -> FpmError:
    return FpmError(
        code="FPM-PF-040",
        wrong=f"the solver ended with {answer.status}, also with wider bounds",
        effect="no weights were computed, the book stays as it is",
        todo="check exposures, variances, scores and costs for extreme numbers",
    )
