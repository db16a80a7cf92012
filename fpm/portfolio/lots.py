"""Whole lots: the weights a rebalance wants as shares that can be ordered, with every bound measured after rounding.

The dearest lots are rounded first and the rest is solved again around them, so that only the cheapest lots leave an
error; a search over single lots (`lot_search`) takes that error off. Shapes: N candidates. Lots of 100 shares; a
remainder below a lot is only sold whole; of the STAR market (688...) an order has 200 shares or more, then any number
(SSE trading rules 2023, 3.3.8; SSE STAR market rules 2019, article 15).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fpm.errors import FpmError
from fpm.portfolio import program
from fpm.portfolio.lot_search import Search, improved
from fpm.portfolio.problem import limits_of, validate
from fpm.portfolio.sifting import outsiders
from fpm.portfolio.solve import Solution, excesses, solution, solve, wider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fpm.panels import Floats
    from fpm.portfolio.problem import Bounds, Problem

    Shares = NDArray[np.int64]

LOT = 100
STAR_LEAST = 200  # least order of a STAR name, except the whole of a smaller holding
SHARE_OF_LOTS = (0.5, 0.85)  # share of the names, dearest lots first, that is rounded before each further solve
ROUNDS = 4  # solves with bounds narrower by what the last rounding broke
NEAR = 1e-6  # of a share: a solver's weight this near below a whole lot is the lot


@dataclass(frozen=True)
class LotSolution:
    """Shares (N,) to hold, and the solution that their weights are; `exact`: the weights before rounding.

    `problem`: the rebalance that `exact` solves, its weights held those of the shares held.
    """

    share_N: Shares
    solution: Solution
    exact: Solution
    problem: Problem


@dataclass(frozen=True)
class LotRules:
    """Which holdings (N,) can be reached by one order from the shares held (N,)."""

    share_N: Shares
    star_N: NDArray[np.bool_]
    lot: int = LOT

    def below(self, wish_N: Floats) -> Shares:
        """Most shares that can be reached and are no more than wished, at least 0."""
        held_N, wish_N = self.share_N, np.maximum(wish_N + NEAR, 0)
        rise_N = np.where(wish_N >= held_N, held_N + (wish_N - held_N) // self.lot * self.lot, 0)
        fall_N = np.maximum(held_N - np.ceil((held_N - wish_N) / self.lot) * self.lot, wish_N // self.lot * self.lot)
        whole_N = np.where(wish_N >= held_N, rise_N, np.maximum(fall_N, 0))
        up_N = np.where(wish_N - held_N < STAR_LEAST, held_N, np.floor(wish_N))
        down_N = np.where(held_N - wish_N < STAR_LEAST, np.maximum(held_N - STAR_LEAST, 0), np.floor(wish_N))
        single_N = np.where(wish_N >= held_N, up_N, down_N)
        return np.where(self.star_N, single_N, whole_N).astype(np.int64)

    def above(self, wish_N: Floats) -> Shares:
        """Fewest shares that can be reached and are no less than wished."""
        held_N, wish_N = self.share_N, np.maximum(wish_N - NEAR, 0)
        rise_N = held_N + np.ceil((wish_N - held_N) / self.lot) * self.lot
        fall_N = np.minimum(held_N - (held_N - wish_N) // self.lot * self.lot, np.ceil(wish_N / self.lot) * self.lot)
        whole_N = np.where(wish_N > held_N, rise_N, np.minimum(fall_N, held_N))
        up_N = np.maximum(np.ceil(wish_N), held_N + STAR_LEAST)
        down_N = np.where((held_N - np.ceil(wish_N) >= STAR_LEAST) | (wish_N <= 0), np.ceil(wish_N), held_N)
        single_N = np.where(wish_N > held_N, up_N, down_N)
        return np.where(self.star_N, single_N, whole_N).astype(np.int64)

    def nearest(self, wish_N: Floats, least_N: Shares, most_N: Shares) -> Shares:
        """The nearer of `below` and `above`, within reachable limits (N,), (N,)."""
        low_N, high_N = self.below(wish_N), self.above(wish_N)
        near_N = np.where(wish_N - low_N <= high_N - wish_N, low_N, high_N)
        near_N = np.where(near_N > most_N, low_N, np.where(near_N < least_N, high_N, near_N))
        return np.clip(near_N, least_N, most_N)


def optimise_lots(
    problem: Problem, bounds: Bounds, price_N: Floats, value: float, share_N: Shares, lot: int = LOT
) -> LotSolution:
    """Shares (N,) of a problem within bounds; `value`: net asset value in the currency of the prices.

    The weights held are those of `share_N` at `price_N`, whatever the problem says. A bound that whole lots cannot meet
    is a relaxation by name. Raises FpmError: as `solve.optimise`, and FPM-PF-041 for prices or a value without meaning.
    """
    _validate_prices(problem, price_N, value, share_N)
    problem = replace(problem, weight_N=share_N * np.nan_to_num(price_N) / value)
    validate(problem)
    limits = limits_of(problem, bounds)
    exact = solve(problem, limits, problem.range_2N)
    rules = LotRules(share_N, np.array([name.startswith("688") for name in problem.symbols]), lot)
    unit_N = np.nan_to_num(price_N) / value
    goal = {name: wider(name, limit, _slack(problem, limits, exact, name)) for name, limit in limits.items()}
    least_N, most_N = _share_range(problem, rules, unit_N, goal["active"])
    rounded_N = _best(problem, goal, exact, _Grid(rules, unit_N, least_N, most_N))
    result = solution(problem, limits, rounded_N * unit_N, exact.shadow, exact.conflict)
    return LotSolution(rounded_N, result, exact, problem)


@dataclass(frozen=True)
class _Grid:
    """Reachable shares and the weight of one share (N,)."""

    rules: LotRules
    unit_N: Floats
    least_N: Shares
    most_N: Shares

    def nearest(self, weight_N: Floats) -> Shares:
        wish_N = weight_N / np.where(self.unit_N > 0, self.unit_N, 1.0)
        return self.rules.nearest(wish_N, self.least_N, self.most_N)


def _best(problem: Problem, goal: Mapping[str, float], exact: Solution, grid: _Grid) -> Shares:
    """The best rounding of a few: each round narrows the bounds that the last one broke."""
    narrow, search = dict(goal), Search(problem, goal, grid.unit_N, grid.least_N, grid.most_N)
    best_N, best = grid.rules.share_N, (np.inf, np.inf)
    for _ in range(ROUNDS):
        start_N = _stages(problem, narrow, exact.weight_N, grid)
        share_N = improved(search, grid.rules, start_N)
        broken, loss = search.merit(share_N)
        if (broken, loss) < best:
            best_N, best = share_N, (broken, loss)
        if broken == 0:
            break
        over = excesses(problem, goal, share_N * grid.unit_N)
        narrow = {name: wider(name, narrow[name], -1.5 * max(0.0, over[name])) for name in narrow}
    return best_N


def _stages(problem: Problem, limits: Mapping[str, float], weight_N: Floats, grid: _Grid) -> Shares:
    """Rounded shares: the dearest lots first, the others solved again around them.

    Names that the exact weights leave out stay out.
    """
    least_N, most_N = problem.range_2N
    most_N = np.where(outsiders(problem, problem.range_2N) & (weight_N == 0), 0.0, most_N)
    lot_N = np.where(grid.rules.star_N, 1, grid.rules.lot) * grid.unit_N
    order = np.argsort(-lot_N, kind="stable")
    kept_N = np.zeros(len(lot_N), dtype=bool)
    wish_N = weight_N
    for part in SHARE_OF_LOTS:
        kept_N[order[: int(part * len(order))]] = True
        fixed_N = grid.nearest(wish_N) * grid.unit_N
        allowed = np.where(kept_N, fixed_N, least_N), np.where(kept_N, fixed_N, most_N)
        answer = program.solve(problem, limits, allowed)
        if answer.status != "Solved":
            break
        wish_N = answer.weight_N
    return grid.nearest(wish_N)


def _share_range(problem: Problem, rules: LotRules, unit_N: Floats, width: float) -> tuple[Shares, Shares]:
    """Fewest and most shares (N,), (N,) within the permitted weights, and within the active bound where a lot is."""
    least_N, most_N = problem.range_2N
    scale_N = np.where(unit_N > 0, unit_N, 1.0)
    least, most = rules.above(least_N / scale_N), rules.below(most_N / scale_N)
    # A name to be sold as far as participation allows: its one permitted weight is seldom a lot.
    most = np.maximum(most, least)
    inner_least = np.maximum(least, rules.above((problem.benchmark_N - width) / scale_N))
    inner_most = np.minimum(most, rules.below((problem.benchmark_N + width) / scale_N))
    inner_N, fixed_N = inner_least <= inner_most, (least_N == problem.weight_N) & (most_N == problem.weight_N)
    least, most = np.where(inner_N, inner_least, least), np.where(inner_N, inner_most, most)
    return np.where(fixed_N, rules.share_N, least), np.where(fixed_N, rules.share_N, most)


def _slack(problem: Problem, limits: Mapping[str, float], exact: Solution, name: str) -> float:
    """Relaxation of a bound that applies to every name: an excused name's excess over the active bound is its own."""
    if name != "active":
        return exact.relaxed.get(name, 0.0)
    own = np.array([symbol in exact.excused for symbol in problem.symbols]) | ~problem.tradable_N
    over_N = np.abs(exact.weight_N - problem.benchmark_N) - limits[name]
    return float(max(0.0, over_N[~own].max(initial=0.0)))


def _validate_prices(problem: Problem, price_N: Floats, value: float, share_N: Shares) -> None:
    known_N = np.isfinite(price_N) & (price_N > 0)
    needed_N = problem.tradable_N | (share_N > 0)
    missing = [problem.symbols[place] for place in np.flatnonzero(needed_N & ~known_N)]
    if missing or not value > 0 or share_N.min() < 0:
        raise FpmError(
            code="FPM-PF-041",
            wrong=f"{len(missing)} names without a price ({', '.join(missing[:3])}), value {value:.6g}, "
            f"fewest shares {share_N.min()}",
            effect="no shares were computed, the book stays as it is",
            todo="give every name held or tradable its last price, and a positive net asset value",
        )
