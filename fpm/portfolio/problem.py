"""One rebalance: what is held, what may be traded, and which bounds the weights keep.

Shapes: N candidates, K factors of risk. Weights are fractions of the net asset value. `score_N` has the unit of the
objective (a z-score, or an expected yearly return); costs are fractions of the value traded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fpm.errors import FpmError

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

    from fpm.panels import Floats
    from fpm.risk.model import RiskModel

STYLES = ("size", "beta", "momentum", "residual_volatility", "liquidity", "nonlinear_size")
UNCLASSIFIED = "unclassified"  # the industry of names that nobody classified
UNPRICED = "never priced"  # the industry of members that never had a bar: nothing can move it (`unpriced`)
MAY_NOT_BE_FINITE = ("score_N", "participation_N", "gain_N")
SUM_TOLERANCE = 1e-6  # weights of an index vendor have six decimals or more


@dataclass(frozen=True)
class Bounds:
    """Bounds of one index (SCIENCE.md section 10).

    `active`: |w - benchmark| per name, but at least `active_share` of an equal weight (universes of a few names).
    `industry`, `size`, `style` (every other style): active exposure. `members`: least weight of the index's members.
    `turnover`: two-sided, per rebalance. `tracking_error`: per year. `cash`: most that may stay uninvested.
    """

    active: float = 0.01
    active_share: float = 0.5
    industry: float = 0.01
    size: float = 0.1
    style: float = 0.5
    members: float = 0.8
    turnover: float = 0.30
    tracking_error: float = 0.05
    cash: float = 0.02


@dataclass(frozen=True)
class Problem:
    """Inputs of one rebalance, as known at the session's cut-off.

    `score_N`: NaN without a score (a member is then neutral, others may only be sold). `weight_N`: held, in total at
    most 1, the rest is cash; all 0 at the start, where no turnover bound applies. `tradable_N`: False keeps the weight
    held. `buyable_N`, `sellable_N`: one side may be closed (limit prices). `restricted_N`: not to be bought;
    `excluded_N`: to be sold, as far as participation allows. `industry_N`: "" where unknown. `style`: exposure (N,) by
    name. `buy_cost_N`, `sell_cost_N`: per unit traded; `impact_N`: coefficient of |Δw|^1.5. `participation_N`: largest
    |Δw|. `risk_aversion`: per unit of yearly active variance; `cost_aversion`: per unit of cost.
    """

    symbols: tuple[str, ...]
    score_N: Floats
    benchmark_N: Floats
    weight_N: Floats
    tradable_N: NDArray[np.bool_]
    buyable_N: NDArray[np.bool_]
    sellable_N: NDArray[np.bool_]
    restricted_N: NDArray[np.bool_]
    excluded_N: NDArray[np.bool_]
    industry_N: NDArray[np.str_]
    style: dict[str, Floats]
    risk: RiskModel
    buy_cost_N: Floats
    sell_cost_N: Floats
    impact_N: Floats
    participation_N: Floats
    risk_aversion: float = 50.0
    cost_aversion: float = 1.0
    sessions_per_year: int = 252

    @cached_property
    def member_N(self) -> NDArray[np.bool_]:  # noqa: N802  shape in the name
        """Members of the index."""
        return np.asarray(self.benchmark_N > 0)

    @cached_property
    def gain_N(self) -> Floats:  # noqa: N802  shape in the name
        """Score of every name; the mean score where there is none."""
        return np.where(np.isfinite(self.score_N), self.score_N, np.nanmean(self.score_N))

    @cached_property
    def range_2N(self) -> tuple[Floats, Floats]:  # noqa: N802  shape in the name
        """Least and largest weight of every name that tradability, restrictions and participation allow."""
        held_N, known_N = self.weight_N, np.isfinite(self.score_N) | self.member_N
        buy_N = self.tradable_N & self.buyable_N & known_N & ~self.restricted_N & ~self.excluded_N
        sell_N = self.tradable_N & self.sellable_N
        least_N = np.where(sell_N, np.maximum(0.0, held_N - self.participation_N), held_N)
        most_N = np.where(buy_N, np.minimum(1.0, held_N + self.participation_N), held_N)
        return least_N, np.where(self.excluded_N, least_N, most_N)

    @cached_property
    def industries(self) -> tuple[str, ...]:
        """Every bounded industry in name order; names that nobody classified have one of their own."""
        return tuple(sorted({name or UNCLASSIFIED for name in self.industry_N.tolist()} - {UNPRICED}))

    @cached_property
    def industry_IN(self) -> Floats:  # noqa: N802  shape in the name
        """Membership (0 or 1) in every bounded industry."""
        label_N = np.where(self.industry_N == "", UNCLASSIFIED, self.industry_N)
        return np.asarray(label_N[None, :] == np.array(self.industries)[:, None], dtype=np.float64)

    @cached_property
    def exposure_rows(self) -> tuple[tuple[str, ...], sp.csc_matrix]:
        """Bound and weights (G, N) of every active exposure that is bounded."""
        import scipy.sparse as sp

        names = (*("industry" for _ in self.industries), *self.style)
        styles = [sp.csr_matrix(value[None, :]) for value in self.style.values()]
        return names, sp.vstack([sp.csr_matrix(self.industry_IN), *styles], format="csc")

    def tracking_error(self, weight_N: Floats) -> float:
        """Yearly tracking error of weights (N,), predicted by the risk model."""
        return float(np.sqrt(self.risk.variance(weight_N - self.benchmark_N) * self.sessions_per_year))

    def cost(self, weight_N: Floats) -> float:
        """Estimated cost of the trades from the weights held to weights (N,), a fraction of the value."""
        trade_N = weight_N - self.weight_N
        linear = np.maximum(trade_N, 0) @ self.buy_cost_N + np.maximum(-trade_N, 0) @ self.sell_cost_N
        return float(linear + self.impact_N @ np.abs(trade_N) ** 1.5)

    def objective(self, weight_N: Floats) -> float:
        """Score less risk aversion times yearly active variance less cost aversion times cost."""
        risk = self.risk_aversion * self.tracking_error(weight_N) ** 2
        return float(self.gain_N @ weight_N) - risk - self.cost_aversion * self.cost(weight_N)


def limits_of(problem: Problem, bounds: Bounds) -> dict[str, float]:
    """Largest value (of members: least weight) of every bound by its name, in the order of the relaxation ladder.

    At the start (nothing held) there is no turnover bound. A style without exposures has none either.
    """
    styles = {name: bounds.size if name == "size" else bounds.style for name in STYLES if name in problem.style}
    limits = {"turnover": bounds.turnover} if problem.weight_N.any() else {}
    limits |= styles | {"industry": bounds.industry, "tracking_error": bounds.tracking_error}
    width = max(bounds.active, bounds.active_share / max(1, int(problem.member_N.sum())))
    return limits | {"members": bounds.members, "active": width, "cash left": bounds.cash}


def validate(problem: Problem) -> None:
    """Refuse inputs from which no portfolio follows.

    Raises FpmError: FPM-PF-030 shapes, 031 a number that is not finite, 032 negative benchmark weights, 033 a benchmark
    in percent, 034 a benchmark that does not sum to one, 035 a one-name index, 036 scores that tell nothing apart, 037
    negative or excessive weights held, 038 every name locked.
    """
    _validate_shapes(problem)
    _validate_benchmark(problem)
    held_N, finite_N = problem.weight_N, np.isfinite(problem.score_N)
    if not finite_N.any() or np.ptp(problem.score_N[finite_N]) == 0:
        raise FpmError(
            code="FPM-PF-036",
            wrong=f"{int(finite_N.sum())} of {len(held_N)} names have a score, and no two scores differ",
            effect="no weights were computed",
            todo="check the stream of scores of this session",
        )
    if held_N.min() < 0 or held_N.sum() > 1 + SUM_TOLERANCE:
        raise FpmError(
            code="FPM-PF-037",
            wrong=f"weights held are between {held_N.min():.4g} and {held_N.max():.4g} and sum to {held_N.sum():.6g}",
            effect="no weights were computed",
            todo="check holdings, cash and net asset value: short positions and debt have no rule here",
        )
    least_N, most_N = problem.range_2N
    if not (most_N > least_N).any():
        raise FpmError(
            code="FPM-PF-038",
            wrong=f"every one of {len(held_N)} names is locked",
            effect="no weights were computed, the book stays as it is",
            todo="check tradability, restrictions and participation; on a day without trading do nothing",
        )


def _validate_shapes(problem: Problem) -> None:
    count = len(problem.symbols)
    arrays = {name: value for name, value in vars(problem).items() if name.endswith("_N")} | problem.style
    wrong = sorted(name for name, value in arrays.items() if value.shape != (count,))
    if problem.risk.symbols != problem.symbols:
        wrong.append("risk")
    if wrong or count == 0:
        raise FpmError(
            code="FPM-PF-030",
            wrong=f"{', '.join(wrong) or 'the list of candidates'} does not hold one value for each of {count} names",
            effect="no weights were computed",
            todo="align every input to the same symbols",
        )
    numbers = {
        name: value for name, value in arrays.items() if value.dtype.kind == "f" and name not in MAY_NOT_BE_FINITE
    } | {name: getattr(problem.risk, name) for name in ("exposure_NK", "covariance_KK", "specific_N")}
    broken = sorted(name for name, value in numbers.items() if not np.isfinite(value).all())
    if not (problem.participation_N >= 0).all():  # infinite: no cap; NaN is not at least 0
        broken.append("participation_N")
    if broken:
        raise FpmError(
            code="FPM-PF-031",
            wrong=f"{', '.join(broken)} holds numbers that are not finite",
            effect="no weights were computed",
            todo="check the inputs of this session; only a score may be missing",
        )


def _validate_benchmark(problem: Problem) -> None:
    benchmark_N = problem.benchmark_N
    total, effect = float(benchmark_N.sum()), "no weights were computed"
    if benchmark_N.min() < 0:
        raise FpmError(
            code="FPM-PF-032",
            wrong=f"the benchmark weight of {problem.symbols[int(benchmark_N.argmin())]} is {benchmark_N.min():.4g}",
            effect=effect,
            todo="check the index weights of this session",
        )
    if 90 < total < 110:
        raise FpmError(
            code="FPM-PF-033",
            wrong=f"benchmark weights sum to {total:.6g}: they are in percent",
            effect=effect,
            todo="divide the weights by 100",
        )
    if abs(total - 1) > SUM_TOLERANCE:
        raise FpmError(
            code="FPM-PF-034",
            wrong=f"benchmark weights sum to {total:.8g}, not to 1",
            effect=effect,
            todo="check the index weights of this session",
        )
    if problem.member_N.sum() < 2:
        raise FpmError(
            code="FPM-PF-035",
            wrong=f"the index has one member, {problem.symbols[int(benchmark_N.argmax())]}",
            effect=effect,
            todo="check the index weights of this session",
        )
