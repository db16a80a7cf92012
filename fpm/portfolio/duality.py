"""The duality gap of a rebalance: by how much any portfolio within the bounds could beat the one at hand.

For every price of the bounds the largest Lagrangian over the names' ranges is at least the optimum (weak duality: Boyd
and Vandenberghe 2004, "Convex Optimization", section 5.2). Priced, the bounds leave a sum of functions of one weight
each, and the maximum of each is a root in closed form. Factor risk, which ties names together, is replaced by its
tangent at the portfolio at hand, below which a convex function never is. So the gap is a proof whatever the prices are:
bad ones only make it wide. It is computed from the problem over all candidates, and neither a solver nor the cone
program has a part in it. Shapes: N candidates, K factors, G exposures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.panels import Floats
    from fpm.portfolio.problem import Problem

BUDGET = "budget"  # what is invested and paid is at most the value: a row without slack, no bound of the ladder
CURVE = 1.5  # |Δw|^1.5 is the impact


@dataclass(frozen=True)
class Multipliers:
    """Prices of the bounds: `bounds` by name, `BUDGET` among them, of an absent one 0; of exposures, with sign (G,).

    That of the tracking error is per unit of it.
    """

    bounds: Mapping[str, float]
    exposure_G: Floats


@dataclass(frozen=True)
class _Terms:
    """Of the priced objective, by name: slope, curvature about the benchmark, cost per unit bought and sold, impact."""

    slope_N: Floats
    curve_N: Floats
    buy_N: Floats
    sell_N: Floats
    impact_N: Floats
    constant: float


def duality_gap(problem: Problem, limits: Mapping[str, float], weight_N: Floats, prices: Multipliers) -> float:
    """An upper bound of what any weights within `limits` have over the objective of weights (N,).

    Below 0 only by rounding where the weights keep the bounds.
    """
    terms = _terms(problem, limits, weight_N, prices)
    least_N, most_N = reach(problem, limits)
    held_N = problem.weight_N
    bought_N = _best(problem, terms, 1.0, np.maximum(least_N - held_N, 0.0), most_N - held_N)
    sold_N = _best(problem, terms, -1.0, np.maximum(held_N - most_N, 0.0), held_N - least_N)
    return float(np.maximum(bought_N, sold_N).sum() + terms.constant - problem.objective(weight_N))


def reach(problem: Problem, limits: Mapping[str, float]) -> tuple[Floats, Floats]:
    """Least and largest weight; a name whose range does not reach its active bound keeps the range's nearer end."""
    least_N, most_N = problem.range_2N
    width = limits.get("active", np.inf)
    lower_N = np.maximum(least_N, np.minimum(problem.benchmark_N - width, most_N))
    upper_N = np.minimum(most_N, np.maximum(problem.benchmark_N + width, least_N))
    return lower_N, upper_N


def _terms(problem: Problem, limits: Mapping[str, float], weight_N: Floats, prices: Multipliers) -> _Terms:
    price = {name: max(0.0, prices.bounds.get(name, 0.0)) for name in (*limits, BUDGET)}
    risk, benchmark_N = problem.risk, problem.benchmark_N
    # λ(‖s‖ - L) has the slope of λ/(2L) (‖s‖² - L²) where ‖s‖ = L
    track = limits.get("tracking_error", np.inf)
    squared = price.get("tracking_error", 0.0) / (2 * track)
    aversion = (problem.risk_aversion + squared) * problem.sessions_per_year
    exposure_K = risk.exposure_NK.T @ (weight_N - benchmark_N)
    tangent_N = 2 * aversion * (risk.exposure_NK @ (risk.covariance_KK @ exposure_K))
    names, matrix_GN = problem.exposure_rows
    bound_G = np.array([limits.get(name, np.inf) for name in names])
    exposure_G = np.where(np.isfinite(bound_G), prices.exposure_G, 0.0)
    linear_N = tangent_N + matrix_GN.T @ exposure_G
    turnover, members, left = (price.get(name, 0.0) for name in ("turnover", "members", "cash left"))
    room = {"turnover": turnover, "members": -members, "cash left": left}  # price of a unit of the bound
    constant = (
        float(linear_N @ benchmark_N)
        + aversion * float(exposure_K @ risk.covariance_KK @ exposure_K)
        + float(np.abs(exposure_G) @ np.where(np.isfinite(bound_G), bound_G, 0.0))
        + (squared * track**2 if squared else 0.0)
        + sum(value * limits[name] for name, value in room.items() if value)
        + price[BUDGET]
        - left
    )
    money = problem.cost_aversion + price[BUDGET]
    return _Terms(
        problem.gain_N - linear_N + members * problem.member_N + left - price[BUDGET],
        aversion * risk.specific_N,
        money * problem.buy_cost_N + turnover,
        money * problem.sell_cost_N + turnover,
        money * problem.impact_N,
        constant,
    )


def _best(problem: Problem, terms: _Terms, sign: float, least_N: Floats, most_N: Floats) -> Floats:
    """Largest priced value (N,) of trades to one side, of sizes t from `least_N` to `most_N`; -inf where none fits.

    Its slope a - 2qt - 1.5 k √t falls: with r = √t the root is that of 2q r² + 1.5 k r = a.
    """
    held_N, benchmark_N = problem.weight_N, problem.benchmark_N
    cost_N = terms.buy_N if sign > 0 else terms.sell_N
    first_N = sign * (terms.slope_N - 2 * terms.curve_N * (held_N - benchmark_N)) - cost_N
    rises_N = np.maximum(first_N, 0.0)
    half_N = CURVE * terms.impact_N
    below_N = half_N + np.sqrt(np.square(half_N) + 8 * terms.curve_N * rises_N)
    root_N = np.divide(2 * rises_N, below_N, out=np.where(rises_N > 0, np.inf, 0.0), where=below_N > 0)
    trade_N = np.clip(np.square(root_N), least_N, np.maximum(most_N, least_N))
    weight_N = held_N + sign * trade_N
    value_N = terms.slope_N * weight_N - terms.curve_N * np.square(weight_N - benchmark_N) - cost_N * trade_N
    return np.where(most_N >= least_N, value_N - terms.impact_N * trade_N**CURVE, -np.inf)
