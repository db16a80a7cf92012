"""Random rebalances, and the same rebalance written in cvxpy from the formulas of SCIENCE.md section 10."""

from __future__ import annotations

from typing import Any

import cvxpy
import numpy as np

from fpm.portfolio.problem import STYLES, Bounds, Problem
from fpm.risk.model import RiskModel

cp: Any = cvxpy  # it has types for some of its names only


def instance(
    count: int = 60, seed: int = 1, impact: float = 0.0, members: int | None = None, **replacements: object
) -> Problem:
    """A held book near a benchmark of some names (default: four fifths); styles, industries, a country as factors."""
    generator = np.random.default_rng(seed)
    industries = min(30, max(2, count // 8))
    industry_N, style_NS = generator.integers(0, industries, count), generator.normal(size=(count, len(STYLES)))
    exposure_NK = np.hstack([np.ones((count, 1)), np.eye(industries)[industry_N], style_NS])
    factors = exposure_NK.shape[1]
    factor_KK = generator.normal(size=(factors, factors)) * 0.004 / np.sqrt(factors)
    benchmark_N = np.where(np.arange(count) < (members or 0.8 * count), generator.uniform(0.3, 1.7, count), 0.0)
    benchmark_N /= benchmark_N.sum()
    weight_N = benchmark_N * generator.uniform(0.7, 1.3, count)
    symbols = tuple(f"60{place:04d}.SH" for place in range(count))
    fields: dict[str, object] = {
        "symbols": symbols,
        "score_N": generator.normal(size=count),
        "benchmark_N": benchmark_N,
        "weight_N": weight_N * 0.99 / weight_N.sum(),
        "tradable_N": generator.random(count) > 0.03,
        "buyable_N": generator.random(count) > 0.03,
        "sellable_N": generator.random(count) > 0.03,
        "restricted_N": np.zeros(count, dtype=bool),
        "excluded_N": np.zeros(count, dtype=bool),
        "industry_N": np.array([f"industry {place}" for place in industry_N]),
        "style": dict(zip(STYLES, style_NS.T, strict=True)),
        "risk": RiskModel(
            symbols,
            tuple(f"factor {place}" for place in range(factors)),
            exposure_NK,
            factor_KK @ factor_KK.T + np.eye(factors) * 4e-6,
            generator.uniform(0.01, 0.03, count) ** 2,
        ),
        "buy_cost_N": np.full(count, 0.0008),
        "sell_cost_N": np.full(count, 0.0018),
        "impact_N": np.full(count, impact),
        "participation_N": np.full(count, 0.05),
    }
    return Problem(**(fields | replacements))


def cvxpy_problem(problem: Problem, bounds: Bounds) -> tuple[Any, Any, dict[str, list[Any]]]:
    """The rebalance with every bound hard, its weights, and the constraints by bound."""
    count, held_N = len(problem.symbols), problem.weight_N
    weight_N = cp.Variable(count)
    trade_N, active_N = weight_N - held_N, weight_N - problem.benchmark_N
    risk, year = problem.risk, problem.sessions_per_year
    root_KK = np.linalg.cholesky(risk.covariance_KK)
    source = cp.hstack(
        [root_KK.T @ (risk.exposure_NK.T @ active_N), cp.multiply(np.sqrt(risk.specific_N), active_N)]
    ) * np.sqrt(year)
    cost = problem.buy_cost_N @ cp.pos(trade_N) + problem.sell_cost_N @ cp.neg(trade_N)
    if problem.impact_N.any():
        cost += problem.impact_N @ cp.power(cp.abs(trade_N), 1.5)
    buy_N = problem.tradable_N & problem.buyable_N & ~problem.restricted_N & ~problem.excluded_N
    sell_N = problem.tradable_N & problem.sellable_N
    most_N = np.where(buy_N, problem.participation_N, 0.0)
    least_N = np.where(sell_N, problem.participation_N, 0.0)
    always = [weight_N >= 0, trade_N <= most_N, trade_N >= -least_N, cp.sum(weight_N) + cost <= 1]
    free = np.flatnonzero(problem.tradable_N)
    limits = {
        "turnover": [cp.norm1(trade_N) <= bounds.turnover],
        "members": [cp.sum(weight_N[np.flatnonzero(problem.benchmark_N > 0)]) >= bounds.members],
        "cash left": [cp.sum(weight_N) >= 1 - bounds.cash],
        "tracking_error": [cp.norm(source) <= bounds.tracking_error],
        "active": [cp.abs(active_N[free]) <= bounds.active],
        "industry": [
            cp.abs(cp.sum(active_N[np.flatnonzero(problem.industry_N == name)])) <= bounds.industry
            for name in sorted(set(problem.industry_N.tolist()))
        ],
    } | {
        name: [cp.abs(exposure_N @ active_N) <= (bounds.size if name == "size" else bounds.style)]
        for name, exposure_N in problem.style.items()
    }
    value = problem.score_N @ weight_N - problem.risk_aversion * cp.sum_squares(source) - problem.cost_aversion * cost
    constraints = always + [one for group in limits.values() for one in group]
    return cp.Problem(cp.Maximize(value), constraints), weight_N, limits
