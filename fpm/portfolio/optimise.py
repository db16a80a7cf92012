"""Index enhancement: the weights that follow the scores inside the index's bounds (cvxpy, solved by Clarabel).

max score . w - risk_aversion x (yearly active variance), subject to the bounds below. Names
that cannot be traded keep their weight. What cannot be met is relaxed in a fixed order, by as little as possible, and
said; nothing is ever held silently. Shapes: N candidates, F of them free to trade, I industries.
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
PENALTY = 200.0  # per unit of violation; scores are z-scores, so no score is worth breaking a bound that can be met
DUST = 1e-7  # an interior-point solver leaves such weights where it means zero


@dataclass(frozen=True)
class Bounds:
    """`active` |w - benchmark| per name (at least `active_share` of an equal weight, for universes of a few names),
    `industry` and `size` the same for exposures, `turnover` two-sided, `tracking_error` a year.
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
    """Bounds by index; an index without its own gets `bounds`. `risk_aversion` is per unit of yearly variance."""

    risk_aversion: float = 50.0
    bounds: Bounds = field(default_factory=Bounds)
    by_index: tuple[tuple[str, Bounds], ...] = (("CSI300", Bounds(active=0.005, tracking_error=0.03)),)
    sessions_per_year: int = 252

    def bounds_for(self, index: str) -> Bounds:
        return dict(self.by_index).get(index, self.bounds)


PRESETS = {name: PortfolioConfig() for name in ("default", "demo", "short", "tiny")}


@dataclass(frozen=True)
class Candidates:
    """One rebalance: who may be held and what is known of each at the session's cut-off.

    `score_N`: NaN = no score (a member is then neutral, others may only be sold). `current_N`: weights held now, all 0 at
    the start. `size_N`: exposure (risk.size_exposure). `industry_N`: "" where unknown.
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
    def free_F(self) -> NDArray[np.intp]:
        """Positions of the names that can be traded."""
        return np.flatnonzero(self.tradable_N)

    @cached_property
    def fixed_N(self) -> Floats:
        """Weights of the names that cannot be traded, 0 elsewhere."""
        return np.where(self.tradable_N, 0.0, self.current_N)

    @cached_property
    def industry_IN(self) -> Floats:
        """Membership (0 or 1) of every known industry, in name order."""
        names = sorted(set(self.industry_N.tolist()) - {""})
        belongs = [self.industry_N == name for name in names]
        return np.array(belongs, dtype=np.float64).reshape(len(names), len(self.symbols))


@dataclass(frozen=True)
class Solution:
    """`relaxed`: bound -> by how much it had to give ("tradable": nothing could be traded).
    `shadow`: bound -> gain in the objective per unit of slack. `turnover` two-sided, `tracking_error` a year.
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
    """The best weights, relaxing one more bound of the ladder each time there is no solution.

    Raises FpmError when nothing can be traded at the start, or when even the last rung has no solution.
    """
    if len(candidates.free_F) == 0 and candidates.current_N.sum() > 0:
        return _solution(candidates, candidates.current_N, {"tradable": 0.0}, {}, config)
    for rung in range(len(RELAXATION_LADDER) + 1 if len(candidates.free_F) else 0):
        solved = _solve(candidates, bounds, config, RELAXATION_LADDER[:rung])
        if solved is not None:
            return solved
    raise FpmError(
        code="FPM-PF-001",
        wrong=f"no portfolio of {len(candidates.free_F)} tradable names satisfies even the relaxed bounds",
        effect="no weights were written",
        todo="check scores and benchmark weights of the session",
    )


def _solve(
    candidates: Candidates, bounds: Bounds, config: PortfolioConfig, relaxed: tuple[str, ...]
) -> Solution | None:
    """Solve with the bounds in `relaxed` soft; None where infeasible."""
    cp = _cvxpy()
    free_F = candidates.free_F
    weight_F = cp.Variable(len(free_F), nonneg=True)
    slack = {name: cp.Variable(nonneg=True) for name in relaxed}
    limits = {
        name: [expression <= bound + slack.get(name, 0.0) for expression, bound in pairs]
        for name, pairs in _limits(candidates, bounds, weight_F, config).items()
    }
    whole = cp.sum(weight_F) == 1 - candidates.fixed_N.sum()
    closed = weight_F <= _ceiling(candidates)
    score_F = np.nan_to_num(z_score(candidates.score_N))[free_F]
    risk = config.risk_aversion * config.sessions_per_year * cp.sum_squares(_active_risk(candidates, weight_F))
    value = score_F @ weight_F - risk - PENALTY * sum(slack.values(), cp.Constant(0.0))
    problem = cp.Problem(cp.Maximize(value), [whole, closed, *(limit for group in limits.values() for limit in group)])
    problem.solve(solver=cp.CLARABEL)
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        return None
    given = {name: float(slack[name].value) for name in relaxed if float(slack[name].value) > DUST}
    shadow = {name: _dearest(group) for name, group in limits.items()}
    return _solution(candidates, _weights(candidates, weight_F.value), given, shadow, config)


def _limits(
    candidates: Candidates, bounds: Bounds, weight_F: Any, config: PortfolioConfig
) -> dict[str, list[tuple[Any, Any]]]:
    """Every bound that can be relaxed, as (expression, largest value), by its name in the ladder."""
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
    """Vector whose squared length is the active variance of one session."""
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
    """1 for names that may be bought; what is held for those that may only be sold (no score, not a member)."""
    may_buy_N = np.isfinite(candidates.score_N) | (candidates.benchmark_N > 0)
    return np.where(may_buy_N, 1.0, candidates.current_N)[candidates.free_F]


def _dearest(limits: list[Any]) -> float:
    """Largest dual value of a bound over its names and sides."""
    return max(float(np.max(np.abs(limit.dual_value))) for limit in limits)


def _weights(candidates: Candidates, weight_F: Floats) -> Floats:
    """Solver's answer without dust and summing to one; names that cannot be traded exactly as held."""
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
    """Weights after one session's returns without trading; a missing return counts as zero (no trade, no move)."""
    grown_N = weight_N * (1 + np.nan_to_num(return_N))
    total = float(grown_N.sum())
    return np.asarray(grown_N / total if total > 0 else weight_N, dtype=np.float64)
