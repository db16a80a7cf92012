"""A search over single lots: first the bounds, then the objective.

A move takes one name to its next reachable number of shares, up or down. Every move is measured at once (2N of them),
because all bounds but the tracking error are sums over names. Shapes: N names, M moves, R rows of exposure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fpm.portfolio.problem import STYLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fpm.panels import Floats
    from fpm.portfolio.problem import Problem

    Shares = NDArray[np.int64]

IGNORED = 2e-7  # excess that counts as none
SINGLE_STEPS, PAIR_STEPS, POLISH_STEPS = 400, 40, 6
SHORTLIST = 24  # first moves that a pair is tried with
AFFORDABLE = 1e4  # weight of cash that does not cover the cost: no bound is worth a debt


class Steps(Protocol):
    """Reachable numbers of shares."""

    def below(self, wish_N: Floats) -> Shares:
        """Most shares no more than wished."""

    def above(self, wish_N: Floats) -> Shares:
        """Fewest shares no less than wished."""


@dataclass(frozen=True)
class Search:
    """What a number of shares is worth: bounds by name, weight of one share (N,), permitted shares (N,), (N,)."""

    problem: Problem
    limits: Mapping[str, float]
    unit_N: Floats
    least_N: Shares
    most_N: Shares

    @cached_property
    def edge_2N(self) -> tuple[Floats, Floats]:  # noqa: N802  shape in the name
        """Least and largest weight within the active bound; the nearer end of a range that does not reach it."""
        width, benchmark_N = self.limits.get("active", np.inf), self.problem.benchmark_N
        least_N, most_N = self.problem.range_2N
        return np.minimum(benchmark_N - width, most_N), np.maximum(benchmark_N + width, least_N)

    @cached_property
    def style_RN(self) -> tuple[Floats, Floats]:  # noqa: N802  shape in the name
        """Exposures (R, N) of the bounded styles and their bounds (R,)."""
        names = [name for name in STYLES if name in self.problem.style and name in self.limits]
        rows = np.array([self.problem.style[name] for name in names]).reshape(len(names), len(self.unit_N))
        return rows, np.array([self.limits[name] for name in names])

    @cached_property
    def industry_place_N(self) -> NDArray[np.intp]:  # noqa: N802  shape in the name
        """Row of every name's industry; 0 where it is not bounded (`bounded_N`)."""
        return np.asarray(self.problem.industry_IN.argmax(axis=0))

    @cached_property
    def bounded_N(self) -> Floats:  # noqa: N802  shape in the name
        """1 where the industry of a name is bounded, else 0: such names never move."""
        return np.asarray(self.problem.industry_IN.sum(axis=0))

    def merit(self, share_N: Shares) -> tuple[float, float]:
        """(excess over the bounds, each in its own size; loss of objective) of shares (N,)."""
        broken_M, loss_M = self.moves(share_N, np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.int64))
        return float(broken_M[0]), float(loss_M[0])

    def moves(self, share_N: Shares, name_M: NDArray[np.intp], step_M: Shares) -> tuple[Floats, Floats]:
        """`merit` (M,), (M,) after each of M moves of one name by so many shares."""
        problem, limits = self.problem, self.limits
        weight_N = share_N * self.unit_N
        change_M = step_M * self.unit_N[name_M]
        active_N, after_M = weight_N - problem.benchmark_N, weight_N[name_M] + change_M
        total = float(weight_N.sum())
        cost_N = self._cost(np.arange(len(weight_N)), weight_N)
        cost_M = float(cost_N.sum()) - cost_N[name_M] + self._cost(name_M, after_M)
        variance_M = self._variance(active_N, name_M, change_M)
        broken_M = AFFORDABLE * np.maximum(0.0, total + change_M + cost_M - 1)
        broken_M += self._sums(weight_N, name_M, change_M, after_M)
        if "tracking_error" in limits:
            error_M = np.sqrt(variance_M * problem.sessions_per_year)
            broken_M += _over(error_M - limits["tracking_error"], limits["tracking_error"])
        broken_M += self._exposures(active_N, name_M, change_M)
        low_N, high_N = self.edge_2N
        if "active" in limits:
            over_N = _over(np.maximum(weight_N - high_N, low_N - weight_N), limits["active"])
            own_M = _over(np.maximum(after_M - high_N[name_M], low_N[name_M] - after_M), limits["active"])
            broken_M += over_N.sum() - over_N[name_M] + own_M
        gain_M = float(problem.gain_N @ weight_N) + problem.gain_N[name_M] * change_M
        risk_M = problem.risk_aversion * problem.sessions_per_year * variance_M
        # A sum and its difference leave 1e-16 where nothing is broken.
        return np.where(broken_M < 1e-12, 0.0, broken_M), risk_M + problem.cost_aversion * cost_M - gain_M

    def _cost(self, name_M: NDArray[np.intp], weight_M: Floats) -> Floats:
        problem = self.problem
        trade_M = weight_M - problem.weight_N[name_M]
        linear_M = np.where(trade_M > 0, problem.buy_cost_N[name_M], -problem.sell_cost_N[name_M]) * trade_M
        return np.asarray(linear_M + problem.impact_N[name_M] * np.abs(trade_M) ** 1.5)

    def _variance(self, active_N: Floats, name_M: NDArray[np.intp], change_M: Floats) -> Floats:
        """Active variance per session after each move."""
        risk = self.problem.risk
        pull_K = risk.covariance_KK @ (risk.exposure_NK.T @ active_N)
        pull_N = risk.exposure_NK @ pull_K + risk.specific_N * active_N
        after_M = risk.variance(active_N) + 2 * change_M * pull_N[name_M] + change_M**2 * self.own_N[name_M]
        return np.maximum(after_M, 0.0)

    @cached_property
    def own_N(self) -> Floats:  # noqa: N802  shape in the name
        """Variance per session of every name."""
        risk = self.problem.risk
        return np.asarray(((risk.exposure_NK @ risk.covariance_KK) * risk.exposure_NK).sum(axis=1) + risk.specific_N)

    def _sums(self, weight_N: Floats, name_M: NDArray[np.intp], change_M: Floats, after_M: Floats) -> Floats:
        """Excess of cash, turnover and members after each move."""
        problem, limits, over_M = self.problem, self.limits, np.zeros(len(name_M))
        if "cash left" in limits:
            over_M += _over(1 - weight_N.sum() - change_M - limits["cash left"], max(limits["cash left"], 1e-3))
        if "turnover" in limits:
            trade_N = np.abs(weight_N - problem.weight_N)
            trade_M = trade_N.sum() - trade_N[name_M] + np.abs(after_M - problem.weight_N[name_M])
            over_M += _over(trade_M - limits["turnover"], max(limits["turnover"], 1e-3))
        if "members" in limits:
            member_M = weight_N[problem.member_N].sum() + np.where(problem.member_N[name_M], change_M, 0.0)
            over_M += _over(limits["members"] - member_M, 1.0)
        return over_M

    def _exposures(self, active_N: Floats, name_M: NDArray[np.intp], change_M: Floats) -> Floats:
        """Excess of industries and styles after each move."""
        over_M = np.zeros(len(name_M))
        if "industry" in self.limits:
            limit, place_M = self.limits["industry"], self.industry_place_N[name_M]
            own_N, count = active_N * self.bounded_N, len(self.problem.industries)
            active_I = np.bincount(self.industry_place_N, own_N, count)
            over_I = _over(np.abs(active_I) - limit, max(limit, 1e-3))
            own_M = _over(np.abs(active_I[place_M] + change_M) - limit, max(limit, 1e-3))
            over_M += over_I.sum() - over_I[place_M] + own_M
        style_RN, limit_R = self.style_RN
        if len(limit_R):
            value_RM = (style_RN @ active_N)[:, None] + style_RN[:, name_M] * change_M
            over_RM = np.maximum(0.0, np.abs(value_RM) - limit_R[:, None] - IGNORED)
            over_M += (over_RM / np.maximum(limit_R, 1e-3)[:, None]).sum(axis=0)
        return over_M


def _over(excess: Floats, size: float) -> Floats:
    """Excess above what is ignored, in units of the bound's size."""
    return np.asarray(np.maximum(0.0, excess - IGNORED) / size)


def improved(search: Search, steps: Steps, share_N: Shares) -> Shares:
    """Shares (N,) after the best moves, single ones and then pairs, until none helps."""
    for _ in range(SINGLE_STEPS):
        better_N = _single(search, steps, share_N)
        if better_N is None:
            break
        share_N = better_N
    for step in range(PAIR_STEPS):
        if step >= POLISH_STEPS and search.merit(share_N)[0] == 0:
            break
        better_N = _pair(search, steps, share_N)
        if better_N is None:
            break
        share_N = better_N
    return share_N


def _reachable(search: Search, steps: Steps, share_N: Shares) -> tuple[NDArray[np.intp], Shares]:
    """Names (M,) and steps (M,) of every permitted move."""
    held_N = share_N.astype(np.float64)
    up_N, down_N = steps.above(held_N + 1), steps.below(held_N - 1)
    rising = np.flatnonzero(up_N <= search.most_N)
    falling = np.flatnonzero((down_N >= search.least_N) & (down_N < share_N))
    name_M = np.concatenate([rising, falling])
    return name_M, np.concatenate([up_N[rising] - share_N[rising], down_N[falling] - share_N[falling]])


def _better(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether the first merit is better by more than rounding."""
    if abs(first[0] - second[0]) > 1e-10:
        return first[0] < second[0]
    return first[1] < second[1] - 1e-12


def _single(search: Search, steps: Steps, share_N: Shares) -> Shares | None:
    """Shares after the best single move; None where none helps."""
    name_M, step_M = _reachable(search, steps, share_N)
    if len(name_M) == 0:
        return None
    # the first move is none: what the shares are worth now
    broken_M, loss_M = search.moves(share_N, np.concatenate([[0], name_M]), np.concatenate([[0], step_M]))
    best = 1 + int(np.lexsort((loss_M[1:], broken_M[1:]))[0])
    if not _better((float(broken_M[best]), float(loss_M[best])), (float(broken_M[0]), float(loss_M[0]))):
        return None
    best -= 1
    return _moved(share_N, int(name_M[best]), int(step_M[best]))


def _pair(search: Search, steps: Steps, share_N: Shares) -> Shares | None:
    """Shares after the best of the pairs that begin with a shortlisted move; None where none helps."""
    name_M, step_M = _reachable(search, steps, share_N)
    if len(name_M) == 0:
        return None
    broken_M, loss_M = search.moves(share_N, name_M, step_M)
    half = SHORTLIST // 2
    rise, fall = np.flatnonzero(step_M > 0), np.flatnonzero(step_M < 0)
    # The objective alone chooses one half: one move may break a bound that the other mends.
    first = np.unique(
        np.concatenate(
            [part[np.argsort(key[part])[: half // 2 + 1]] for part in (rise, fall) for key in (broken_M, loss_M)]
        )
    )
    best_N, best = None, search.merit(share_N)
    for place in first:
        once_N = _moved(share_N, int(name_M[place]), int(step_M[place]))
        next_N = _single(search, steps, once_N)
        if next_N is not None and _better(merit := search.merit(next_N), best):
            best_N, best = next_N, merit
    return best_N


def _moved(share_N: Shares, name: int, step: int) -> Shares:
    moved_N = share_N.copy()
    moved_N[name] += step
    return moved_N
