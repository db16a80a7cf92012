"""Index enhancement: weights that follow the scores within the index's bounds (cvxpy, solved by Clarabel).

Maximise score . w - risk_aversion x (yearly active variance), subject to the bounds below. Names that cannot be traded
keep their weight. Bounds that cannot be met are relaxed in a fixed order, by as little as possible, and every
relaxation is reported. Shapes: N candidates, F of them free to trade, I industries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.cross_section import z_score
from fpm.errors import FpmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpm.panels import Floats
    from fpm.portfolio.risk import Risk

RELAXATION_LADDER = ("turnover", "size", "industry", "tracking_error", "members", "active")
PENALTY = 200.0  # per unit of violation: far above any z-score, so that no bound is broken for a score
SHADOW_TOLERANCE = 0.0005  # shadow prices below it are the solver's inaccuracy
DUST = 1e-7  # an interior-point solver leaves weights of this size for zero


@dataclass(frozen=True)
class Bounds:
    """Bounds of one index.

    `active`: |w - benchmark| per name, but at least `active_share` of an equal weight (universes of a few names).
    `industry`, `size`: active exposure. `members`: least weight of the index's members. `turnover`: two-sided, per
    rebalance. `tracking_error`: per year.
    """

    active: float = 0.01
    active_share: float = 0.5
    industry: float = 0.01
    size: float = 0.1
    members: float = 0.8
    turnover: float = 0.30
    tracking_error: float = 0.05


@dataclass(frozen=True)
class PortfolioConfig:
    """Bounds by index, `bounds` for every other index; `risk_aversion` per unit of yearly variance."""

    risk_aversion: float = 50.0
    bounds: Bounds = field(default_factory=Bounds)
    by_index: tuple[tuple[str, Bounds], ...] = (("CSI300", Bounds(active=0.005, tracking_error=0.03)),)
    sessions_per_year: int = 252

    def bounds_for(self, index: str) -> Bounds:
        """Bounds of an index."""
        return dict(self.by_index).get(index, self.bounds)


PRESETS = {name: PortfolioConfig() for name in ("default", "demo", "short", "tiny")}


@dataclass(frozen=True)
class Candidates:
    """Inputs of one rebalance, as known at the session's cut-off.

    `score_N`: NaN without a score (a member is then neutral, others may only be sold). `current_N`: current weights,
    all 0 at the start. `size_N`: exposure (risk.size_exposure). `industry_N`: "" where unknown.
    """

    symbols: tuple[str, ...]
    score_N: Floats
    benchmark_N: Floats
    current_N: Floats
    tradable_N: NDArray[np.bool_]
    industry_N: NDArray[np.str_]
    size_N: Floats
    risk: Risk

    @cached_property
    def free_F(self) -> NDArray[np.intp]:  # noqa: N802  shape in the name
        """Positions of the names that can be traded."""
        return np.flatnonzero(self.tradable_N)

    @cached_property
    def fixed_N(self) -> Floats:  # noqa: N802  shape in the name
        """Weights of the names that cannot be traded, 0 elsewhere."""
        return np.where(self.tradable_N, 0.0, self.current_N)

    @cached_property
    def industry_IN(self) -> Floats:  # noqa: N802  shape in the name
        """Membership (0 or 1) in every known industry, in name order."""
        names = sorted(set(self.industry_N.tolist()) - {""})
        belongs = [self.industry_N == name for name in names]
        return np.array(belongs, dtype=np.float64).reshape(len(names), len(self.symbols))


@dataclass(frozen=True)
class Solution:
    """Optimal weights and what they cost.

    `relaxed`: bound -> its violation ("tradable": nothing could be traded). `shadow`: bound -> gain in the objective
    per unit of slack. `turnover`: two-sided. `tracking_error`: per year.
    """

    weight_N: Floats
    relaxed: dict[str, float]
    shadow: dict[str, float]
    turnover: float
    tracking_error: float


def _cvxpy() -> Any:
    """cvxpy, imported at first use (it takes a second) and untyped."""
    import cvxpy

    return cvxpy


def optimise(candidates: Candidates, bounds: Bounds, config: PortfolioConfig) -> Solution:
    """Optimal weights; each time there is no solution, one more bound of the ladder is relaxed.

    Raises FpmError when nothing can be traded at the start, or when even the fully relaxed problem has no solution.
    """
    if len(candidates.free_F) == 0 and candidates.current_N.sum() > 0:
        return _solution(candidates, candidates.current_N, {"tradable": 0.0}, {}, config)
    for rung in range(len(RELAXATION_LADDER) + 1 if len(candidates.free_F) else 0):
        solution = _solve(candidates, bounds, config, RELAXATION_LADDER[:rung])
        if solution is not None:
            return solution
    raise FpmError(
        code="FPM-PF-001",
        wrong=f"no portfolio of {len(candidates.free_F)} tradable names satisfies even the relaxed bounds",
        effect="no weights were written",
        todo="check scores and benchmark weights of the session",
    )


def _solve(
    candidates: Candidates, bounds: Bounds, config: PortfolioConfig, relaxed: tuple[str, ...]
) -> Solution | None:
    """Solution with the bounds in `relaxed` soft; None where infeasible."""
    cp = _cvxpy()
    free_F = candidates.free_F
    weight_F = cp.Variable(len(free_F), nonneg=True)
    slack = {name: cp.Variable(nonneg=True) for name in relaxed}
    limits = {
        name: [expression <= bound + slack.get(name, 0.0) for expression, bound in pairs]
        for name, pairs in _limits(candidates, bounds, weight_F, config).items()
    }
    budget = cp.sum(weight_F) == 1 - candidates.fixed_N.sum()
    ceiling = weight_F <= _ceiling(candidates)
    score_F = np.nan_to_num(z_score(candidates.score_N))[free_F]
    risk = config.risk_aversion * config.sessions_per_year * cp.sum_squares(_active_risk(candidates, weight_F))
    value = score_F @ weight_F - risk - PENALTY * sum(slack.values(), cp.Constant(0.0))
    problem = cp.Problem(
        cp.Maximize(value), [budget, ceiling, *(limit for group in limits.values() for limit in group)]
    )
    problem.solve(solver=cp.CLARABEL)
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        return None
    violations = {name: float(slack[name].value) for name in relaxed if float(slack[name].value) > DUST}
    shadow = {name: _largest_dual(group) for name, group in limits.items()}
    return _solution(candidates, _weights(candidates, weight_F.value), violations, shadow, config)


def _limits(
    candidates: Candidates, bounds: Bounds, weight_F: Any, config: PortfolioConfig
) -> dict[str, list[tuple[Any, Any]]]:
    """Pairs (expression, largest value) of every bound that can be relaxed, by its name in the ladder."""
    cp = _cvxpy()
    free_F, benchmark_N = candidates.free_F, candidates.benchmark_N
    active_F = weight_F - benchmark_N[free_F]
    rest_N = candidates.fixed_N - np.where(candidates.tradable_N, 0.0, benchmark_N)
    width = max(bounds.active, bounds.active_share / max(1, int((benchmark_N > 0).sum())))
    size = candidates.size_N[free_F] @ active_F + float(candidates.size_N @ rest_N)
    members = cp.sum(weight_F[benchmark_N[free_F] > 0]) + float(candidates.fixed_N[benchmark_N > 0].sum())
    tracking = cp.norm(_active_risk(candidates, weight_F)) * np.sqrt(config.sessions_per_year)
    limits = {
        "size": [(size, bounds.size), (-size, bounds.size)],
        "tracking_error": [(tracking, bounds.tracking_error)],
        "members": [(-members, -bounds.members)],
        "active": [(active_F, width), (-active_F, width)],
    }
    if len(candidates.industry_IN):
        industry = candidates.industry_IN[:, free_F] @ active_F + candidates.industry_IN @ rest_N
        limits["industry"] = [(industry, bounds.industry), (-industry, bounds.industry)]
    if candidates.current_N.sum() > 0:
        limits["turnover"] = [(cp.norm1(weight_F - candidates.current_N[free_F]), bounds.turnover)]
    return limits


def _active_risk(candidates: Candidates, weight_F: Any) -> Any:
    """Vector whose squared norm is the active variance per session."""
    cp = _cvxpy()
    free_F, risk = candidates.free_F, candidates.risk
    active_F = weight_F - candidates.benchmark_N[free_F]
    rest_N = candidates.fixed_N - np.where(candidates.tradable_N, 0.0, candidates.benchmark_N)
    own = cp.multiply(np.sqrt(risk.specific_N[free_F]), active_F)
    rest = np.sqrt(risk.specific_N) * rest_N
    return cp.hstack(
        [risk.factor_TN[:, free_F] @ active_F + risk.factor_TN @ rest_N, own, rest[~candidates.tradable_N]]
    )


def _ceiling(candidates: Candidates) -> Floats:
    """Largest weight of every free name (F,): 1, or the current one of names only to be sold (no score, no member)."""
    may_buy_N = np.isfinite(candidates.score_N) | (candidates.benchmark_N > 0)
    return np.where(may_buy_N, 1.0, candidates.current_N)[candidates.free_F]


def _largest_dual(limits: list[Any]) -> float:
    """Largest dual value of one bound's constraints."""
    return max(float(np.max(np.abs(limit.dual_value))) for limit in limits)


def _weights(candidates: Candidates, weight_F: Floats) -> Floats:
    """Solver's weights without dust, scaled to sum to one; fixed names keep their exact weight."""
    clean_F = np.where(weight_F > DUST, weight_F, 0.0)
    weight_N = candidates.fixed_N.copy()
    weight_N[candidates.free_F] = clean_F * (1 - candidates.fixed_N.sum()) / clean_F.sum()
    return np.round(weight_N, 10)


def _solution(
    candidates: Candidates,
    weight_N: Floats,
    relaxed: dict[str, float],
    shadow: dict[str, float],
    config: PortfolioConfig,
) -> Solution:
    variance = candidates.risk.variance(weight_N - candidates.benchmark_N) * config.sessions_per_year
    return Solution(
        weight_N, relaxed, shadow, float(np.abs(weight_N - candidates.current_N).sum()), float(np.sqrt(variance))
    )


def drift(weight_N: Floats, return_N: Floats) -> Floats:
    """Weights after one session's returns without trading; a missing return counts as zero."""
    grown_N = weight_N * (1 + np.nan_to_num(return_N))
    total = float(grown_N.sum())
    return np.asarray(grown_N / total if total > 0 else weight_N, dtype=np.float64)
