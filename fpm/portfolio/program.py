"""A rebalance as a cone program, and its solution by Clarabel (Goulart and Chen 2024, arXiv 2405.12762).

Maximise score less risk less cost, or minimise the slack of soft bounds. The form: minimise ½xᵀPx + qᵀx subject
to Ax + s = b, s in cones; what x holds is said in `rows`. Shapes: N candidates, F free names, K factors, G exposures, B
names that may go both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.portfolio.duality import BUDGET, Multipliers
from fpm.portfolio.duals import Prices, blocks_of, prices
from fpm.portfolio.rows import Entries, Parts, Rows, columns_of, stacked, together

if TYPE_CHECKING:
    from collections.abc import Mapping

    import scipy.sparse as sp

    from fpm.panels import Floats
    from fpm.portfolio.problem import Problem


KINDS = ("w", "y", "e", "d", "t", "v")  # of variables; every other column is the slack of a bound
FAILED = "exception"  # status where the solver raised
CERTAIN = ("Solved", "PrimalInfeasible")  # answers that need no second attempt
ALWAYS = {"verbose": False, "direct_solve_method": "qdldl"}  # one thread: the same answer on every machine
ATTEMPTS: tuple[dict[str, Any], ...] = ({}, {"equilibrate_enable": False}, {"max_step_fraction": 0.9})


@dataclass(frozen=True)
class ConeProgram:
    """Minimise ½xᵀPx + qᵀx subject to Ax + s = b.

    `quadratic`: upper triangle of P. `linear`: q. `matrix`, `value`: A and b. Of s the first `equal` numbers are 0, the
    next `nonnegative` are not negative, and the rest lies in second-order cones of the sizes `cones`, in turn.
    """

    rows: Rows
    parts: Parts
    soft: Mapping[str, float]
    tracking: list[tuple[Entries, Floats]]
    quadratic: sp.csc_matrix
    linear: Floats
    matrix: sp.csc_matrix
    value: Floats
    equal: int
    nonnegative: int
    cones: list[int]

    def weights(self, x: Floats) -> Floats:
        """Weights (N,) of a solution x, within the range of every name."""
        weight_N = self.parts.fixed_N.copy()
        own = x[self.rows.columns["w"]]
        weight_N[self.parts.free_F] = np.clip(own, self.parts.least_F, self.parts.most_F)
        return weight_N


@dataclass(frozen=True)
class Optimum:
    """Clarabel's solution x, slack s and dual z of a program; `status` is its own."""

    status: str
    x: Floats
    s: Floats
    z: Floats


@dataclass(frozen=True)
class Answer:
    """What the solver says. `status` is Clarabel's; `weight_N` and `slack` mean nothing unless it is "Solved".

    `dual`: bound -> sum of its dual values; of an infeasible program, its part in the proof. `prices`: name by name.
    `first_N`: what the first unit of a purchase would add to the objective that is minimised, for names that are
    neither held nor members. `multipliers`: the dual values as `duality` takes them.
    """

    status: str
    weight_N: Floats
    slack: dict[str, float]
    dual: dict[str, float]
    first_N: Floats
    prices: Prices | None = None
    multipliers: Multipliers | None = None


def solve(
    problem: Problem,
    limits: Mapping[str, float],
    weights_allowed: tuple[Floats, Floats],
    soft: Mapping[str, float] | None = None,
) -> Answer:
    """Answer of the program with the bounds in `limits`; a bound that is not in it does not exist.

    `weights_allowed`: least and largest weight (N,), (N,), which no slack widens. Without `soft` the objective is the
    problem's; with it (bound -> weight) it is the least weighted slack.
    """
    program = assembled(problem, limits, weights_allowed, soft)
    optimal = optimum(program)
    if optimal.status.startswith(FAILED):
        return Answer(optimal.status, problem.weight_N, {}, {}, np.zeros(len(problem.symbols)))
    return _answer(program, optimal)


def assembled(
    problem: Problem,
    limits: Mapping[str, float],
    weights_allowed: tuple[Floats, Floats],
    soft: Mapping[str, float] | None = None,
) -> ConeProgram:
    """The program of `solve`."""
    least_N, most_N = weights_allowed
    free_F = np.flatnonzero(most_N > least_N)
    fixed_N = np.where(most_N > least_N, 0.0, least_N)
    soft = soft or {}
    parts = Parts(problem, free_F, fixed_N, least_N[free_F], most_N[free_F])
    rows = Rows(*columns_of(parts, soft))
    _exposures(rows, parts)
    _names(rows, parts, limits)
    _groups(rows, parts, limits)
    tracking = _tracking(rows, parts, limits)
    blocks = [*rows.zero, *rows.nonnegative, *tracking, *_impact(rows, parts)]
    quadratic, linear = _objective(rows, parts, soft)
    cone = sum(len(value) for _, value in tracking)
    return ConeProgram(
        rows,
        parts,
        soft,
        tracking,
        quadratic,
        linear,
        stacked(blocks, rows.width),
        np.concatenate([value for _, value in blocks]),
        sum(len(value) for _, value in rows.zero),
        sum(len(value) for _, value in rows.nonnegative),
        [*([cone] if cone else []), *[3] * (2 * len(parts.impact_T))],
    )


def _exposures(rows: Rows, parts: Parts) -> None:
    """Definitions of the factor exposures y and of the industries' and styles' exposures e."""
    exposure_NK = parts.problem.risk.exposure_NK
    for name, matrix in (("y", exposure_NK.T), ("e", parts.exposure_GN)):
        own = matrix[:, parts.free_F]
        constant = np.asarray(matrix @ parts.rest_N - own @ parts.benchmark_F).ravel()
        rows.equal({"w": own, name: Entries.single(np.arange(matrix.shape[0]), -1.0)}, -constant)


def _names(rows: Rows, parts: Parts, limits: Mapping[str, float]) -> None:
    """Ranges of the weights, |Δw| and the active bound; a bound that another implies has no row."""
    count = len(parts.free_F)
    least_F, most_F, benchmark_F = parts.least_F, parts.most_F, parts.benchmark_F
    soft, width = "active" in rows.columns, limits.get("active", np.inf)
    # A name whose range does not reach its active bound keeps the end of its range that is nearer.
    upper_F, lower_F = np.maximum(benchmark_F + width, least_F), np.minimum(benchmark_F - width, most_F)
    tight_F, tall_F = upper_F < most_F, lower_F > least_F
    range_up, range_down = np.full(count, soft) | ~tight_F, np.full(count, soft) | ~tall_F
    rows.at_most({"w": Entries.single(np.flatnonzero(range_up), 1.0)}, most_F[range_up])
    rows.at_most({"w": Entries.single(np.flatnonzero(range_down), -1.0)}, -least_F[range_down])
    rows.at_most({"w": Entries.single(np.flatnonzero(tight_F), 1.0)}, upper_F[tight_F], "active")
    rows.at_most({"w": Entries.single(np.flatnonzero(tall_F), -1.0)}, -lower_F[tall_F], "active")
    both_B = parts.both_B
    if len(both_B):
        held_B, trade = parts.held_F[both_B], Entries.single(np.arange(len(both_B)), -1.0)
        rows.at_most({"w": Entries.single(both_B, 1.0), "d": trade}, held_B)
        rows.at_most({"w": Entries.single(both_B, -1.0), "d": trade}, -held_B)
    for name in [name for name in rows.columns if name not in KINDS]:
        rows.at_most({name: -np.ones((1, 1))}, np.zeros(1))


def _groups(rows: Rows, parts: Parts, limits: Mapping[str, float]) -> None:
    """Cash, turnover, members and the active exposures to industries and styles."""
    problem, fixed = parts.problem, float(parts.fixed_N.sum())
    one_F = np.ones(len(parts.free_F))
    cost = {
        "w": (one_F + parts.slope_F)[None, :],
        "d": parts.trade_cost_B[None, :],
        "t": _impact_cost(parts)[None, :],
    }
    rows.at_most(_held(rows, cost), np.array([1 - fixed - parts.paid]), BUDGET)
    if "cash left" in limits:
        rows.at_most({"w": -one_F[None, :]}, np.array([fixed - 1 + limits["cash left"]]), "cash left")
    if "turnover" in limits:
        trade = {"w": parts.sign_F[None, :], "d": np.ones((1, len(parts.both_B)))}
        spent = parts.moved - float(parts.sign_F @ parts.held_F)
        rows.at_most(_held(rows, trade), np.array([limits["turnover"] - spent]), "turnover")
    if "members" in limits:
        member_F = problem.member_N[parts.free_F].astype(np.float64)
        own = float(parts.fixed_N[problem.member_N].sum())
        rows.at_most({"w": -member_F[None, :]}, np.array([own - limits["members"]]), "members")
    for name in dict.fromkeys(parts.exposure_names):
        if name in limits:
            which = np.flatnonzero([other == name for other in parts.exposure_names])
            edge = np.full(len(which), limits[name])
            rows.at_most({"e": Entries.single(which, 1.0)}, edge, name)
            rows.at_most({"e": Entries.single(which, -1.0)}, edge, name)


def _held(rows: Rows, parts: dict[str, Any]) -> dict[str, Any]:
    """`parts` without the kinds of variables that this program does not have."""
    return {name: part for name, part in parts.items() if rows.columns[name].stop > rows.columns[name].start}


def _impact_cost(parts: Parts) -> Floats:
    """Cost of one unit of every impact variable."""
    return np.asarray(parts.problem.impact_N[parts.free_F][parts.impact_T] * parts.impact_scale**1.5)


def _factor(covariance_KK: Floats) -> Floats:
    """Matrix L with L Lᵀ = the covariance, which may be singular."""
    value_K, vector_KK = np.linalg.eigh(covariance_KK)
    return np.asarray(vector_KK * np.sqrt(np.maximum(value_K, 0.0)))


def _tracking(rows: Rows, parts: Parts, limits: Mapping[str, float]) -> list[tuple[Entries, Floats]]:
    """The cone (bound; yearly active risk by source), or nothing."""
    if "tracking_error" not in limits:
        return []
    problem = parts.problem
    year, soft = np.sqrt(problem.sessions_per_year), "tracking_error"
    head = rows.block({soft: -np.ones((1, 1))} if soft in rows.columns else {}, 1)
    factor_KK = _factor(problem.risk.covariance_KK)
    own_F = np.sqrt(problem.risk.specific_N[parts.free_F]) * year
    rest = float(np.sqrt(np.square(parts.rest_N) @ problem.risk.specific_N) * year)
    blocks = [
        (head, np.array([limits[soft]])),
        (rows.block({"y": -year * factor_KK.T}, len(factor_KK)), np.zeros(len(factor_KK))),
        (rows.block({"w": Entries.single(np.arange(len(own_F)), -own_F)}, len(own_F)), -own_F * parts.benchmark_F),
    ]
    if rest > 0:
        blocks.append((rows.block({}, 1), np.array([rest])))
    return blocks


def _impact(rows: Rows, parts: Parts) -> list[tuple[Entries, Floats]]:
    """Two cones a name, three rows each: d² <= t · v and v² <= d, so that t is at least d^1.5; d is at least |Δw|.

    One power cone says the same; at 1,800 names it took 0.74 s of CPU against 0.5, at 5,300 it did not converge.
    """
    count = len(parts.impact_T)
    if count == 0:
        return []
    scale, chosen = parts.impact_scale, parts.impact_T
    held_T, sign_T = parts.held_F[chosen] / scale, parts.sign_F[chosen]
    # |Δw|: of a name that may go both ways its variable d, of another the signed trade.
    place_F = np.full(len(parts.free_F), -1)
    place_F[parts.both_B] = np.arange(len(parts.both_B))
    both_T = np.flatnonzero(place_F[chosen] >= 0)
    both = Entries(both_T, place_F[chosen][both_T], np.full(len(both_T), -1 / scale))
    each, zero_T = np.arange(count), np.zeros(count)
    one = Entries.single(each, 1.0)
    size = rows.block(_held(rows, {"w": Entries.single(chosen, -sign_T * (1 / scale)), "d": both}), count)
    # a · b >= c² as the cone (a + b; a - b, 2c), one name after the other
    first = [
        (rows.block({"t": one.times(-1), "v": one.times(-1)}, count), zero_T),
        (rows.block({"t": one.times(-1), "v": one}, count), zero_T),
        (size.times(2), -2 * sign_T * held_T),
    ]
    second = [
        (size, 1 - sign_T * held_T),
        (size, -1 - sign_T * held_T),
        (rows.block({"v": one.times(-2)}, count), zero_T),
    ]
    return [_interleaved(first), _interleaved(second)]


def _interleaved(blocks: list[tuple[Entries, Floats]]) -> tuple[Entries, Floats]:
    """Row 0 of every block, then row 1 of every block, and so on."""
    count = len(blocks[0][1])
    order = np.arange(len(blocks) * count).reshape(count, len(blocks))
    value = np.stack([value for _, value in blocks], axis=1).ravel()
    return together([block.moved(order[:, place]) for place, (block, _) in enumerate(blocks)]), value


def _objective(rows: Rows, parts: Parts, soft: Mapping[str, float]) -> tuple[sp.csc_matrix, Floats]:
    """P (upper triangle) and q: the problem's, or the slack's where there is any."""
    import scipy.sparse as sp

    cost_vector = np.zeros(rows.width)
    if soft:
        for name, weight in soft.items():
            cost_vector[rows.columns[name]] = weight
        return sp.csc_matrix((rows.width, rows.width)), cost_vector
    problem = parts.problem
    twice = 2 * problem.risk_aversion * problem.sessions_per_year
    own_F = twice * problem.risk.specific_N[parts.free_F]
    cost_vector[rows.columns["w"]] = (
        -problem.gain_N[parts.free_F] - own_F * parts.benchmark_F + problem.cost_aversion * parts.slope_F
    )
    cost_vector[rows.columns["d"]] = problem.cost_aversion * parts.trade_cost_B
    cost_vector[rows.columns["t"]] = problem.cost_aversion * _impact_cost(parts)
    factors = Entries.of(np.triu(twice * problem.risk.covariance_KK))
    own = Entries.single(np.arange(len(own_F)), own_F)
    place = rows.columns["y"]
    cells = together([own, factors.moved(np.arange(place.start, place.stop), place.start)])
    quadratic = sp.csc_matrix((cells.value_E, (cells.row_E, cells.column_E)), shape=(rows.width, rows.width))
    return quadratic, cost_vector


def optimum(program: ConeProgram) -> Optimum:
    """Clarabel's solution; one that it is not sure of is tried again by the ways of `ATTEMPTS`."""
    import clarabel

    cones = [clarabel.ZeroConeT(program.equal), clarabel.NonnegativeConeT(program.nonnegative)]
    cones += [clarabel.SecondOrderConeT(size) for size in program.cones]
    terms = (program.quadratic, program.linear, program.matrix, program.value, cones)
    for attempt in ATTEMPTS:
        settings = clarabel.DefaultSettings()
        for name, choice in {**ALWAYS, **attempt}.items():
            setattr(settings, name, choice)
        try:
            raw = clarabel.DefaultSolver(*terms, settings).solve()
        except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
            return Optimum(f"{FAILED} {error}", np.empty(0), np.empty(0), np.empty(0))
        if str(raw.status) in CERTAIN:
            break
    return Optimum(str(raw.status), np.array(raw.x), np.array(raw.s), np.array(raw.z))


def _answer(program: ConeProgram, optimal: Optimum) -> Answer:
    """The solution by name."""
    rows, parts, tracking, equal = program.rows, program.parts, program.tracking, program.equal
    x, z = optimal.x, optimal.z
    names = [*rows.bounds, *("tracking_error" for _ in tracking)]
    blocks = blocks_of(names, [*rows.nonnegative, *tracking], z[equal:])
    dual = {"tracking_error": 0.0}
    for name, _, own in blocks[: len(rows.bounds) + 1]:  # of the tracking cone, its head
        if name and name != BUDGET:
            dual[name] = dual.get(name, 0.0) + float(own.sum())
    slack = {name: max(0.0, float(x[rows.columns[name]][0])) for name in program.soft}
    status = optimal.status if np.isfinite(x).all() else "NaN"
    exposure = {"e": parts.exposure_GN, "y": parts.problem.risk.exposure_NK.T}
    budget = sum(float(own.sum()) for name, _, own in blocks if name == BUDGET)
    first_N = _first_units(parts, z[:equal], budget, dual)
    by_name = prices(blocks, rows.columns, exposure, parts.free_F)
    bounded = [rows_of.pulled(own, rows.width) for name, rows_of, own in blocks if name in parts.exposure_names]
    exposure_G = sum(bounded, np.zeros(rows.width))[rows.columns["e"]]
    multipliers = Multipliers({**dual, BUDGET: budget}, exposure_G)
    return Answer(status, program.weights(x), slack, dual, first_N, by_name, multipliers)


def _first_units(parts: Parts, defined_z: Floats, budget: float, dual: Mapping[str, float]) -> Floats:
    """Reduced cost of a purchase from nothing (N,): the duals of the definitions price its exposures.

    Its impact and its specific risk begin at zero, with slope zero.
    """
    problem = parts.problem
    factors = problem.risk.exposure_NK.shape[1]
    exposure_N = problem.risk.exposure_NK @ defined_z[:factors] + parts.exposure_GN.T @ defined_z[factors:]
    money = budget * (1 + problem.buy_cost_N) - dual.get("cash left", 0.0) + dual.get("turnover", 0.0)
    return np.asarray(exposure_N + money + problem.cost_aversion * problem.buy_cost_N - problem.gain_N)
