"""Conflicts and the ladder on cases worked by hand, and every bound on random ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.errors import FpmError
from fpm.portfolio.problem import Bounds, limits_of
from fpm.portfolio.solve import conflict, excesses, optimise, solve
from fpm.risk.model import RiskModel
from tests.fpm.portfolio.instances import cvxpy_problem, instance

cp: Any = cvxpy

LOOSE = Bounds(active=1, industry=1, size=9, style=9, members=0, turnover=2, tracking_error=9, cash=0.5)


def four(**replacements: object):
    """Members A, B of industry x and C, D of y at 25 %, held so without cash; no cost, no styles, 20 % a year each."""
    symbols, all_N = ("A", "B", "C", "D"), np.ones(4, dtype=bool)
    fields = {
        "symbols": symbols,
        "score_N": np.array([0.4, 0.1, 0.2, 0.3]),
        "benchmark_N": np.full(4, 0.25),
        "weight_N": np.full(4, 0.25),
        "tradable_N": all_N,
        "buyable_N": all_N,
        "sellable_N": all_N,
        "restricted_N": ~all_N,
        "excluded_N": ~all_N,
        "industry_N": np.array(["x", "x", "y", "y"]),
        "style": {},
        "risk": RiskModel(symbols, ("none",), np.zeros((4, 1)), np.zeros((1, 1)), np.full(4, 0.04 / 252)),
        "buy_cost_N": np.zeros(4),
        "sell_cost_N": np.zeros(4),
        "impact_N": np.zeros(4),
        "participation_N": np.full(4, np.inf),
    }
    return instance(4, **(fields | replacements))


def test_without_conflict_nothing_is_relaxed():
    solution = optimise(four(risk_aversion=0.0), replace(LOOSE, active=0.1, active_share=0, cash=0.0))
    assert solution.weight_N == pytest.approx([0.35, 0.15, 0.15, 0.35], abs=1e-6)
    assert (solution.status, solution.relaxed, solution.conflict, solution.excused) == ("optimal", {}, (), {})
    # one unit more on every name: A and D rise, B and C fall
    assert solution.shadow["active"] == pytest.approx(0.4 + 0.3 - 0.1 - 0.2, abs=1e-4)


def test_cash_against_turnover_turnover_gives_way():
    # All cash but 20 % in A: at most 10 % cash needs 70 % of trades or more.
    problem = four(weight_N=np.array([0.2, 0, 0, 0]))
    solution = optimise(problem, replace(LOOSE, turnover=0.3, cash=0.1))
    assert solution.conflict == ("turnover", "cash left")
    assert set(solution.relaxed) == {"turnover"}
    assert solution.relaxed["turnover"] == pytest.approx(0.4, rel=1e-3)


def test_one_bound_alone_can_conflict_with_what_must_be_held():
    # A is locked at 60 %: industry x is 10 % over at least, 60 % - 50 %.
    problem = four(weight_N=np.array([0.6, 0, 0.2, 0.2]), tradable_N=np.array([False, True, True, True]))
    solution = optimise(problem, replace(LOOSE, industry=0.02))
    assert solution.conflict == ("industry",)
    assert set(solution.relaxed) == {"industry"}
    assert solution.relaxed["industry"] == pytest.approx(0.08, rel=1e-3)
    assert solution.weight_N[0] == 0.6
    # Its own active weight of 35 % is excused, and the others keep their bound.
    solution = optimise(problem, replace(LOOSE, active=0.3, active_share=0))
    assert solution.excused == {"A": pytest.approx(0.05)}
    assert solution.status == "optimal"


def test_of_two_conflicts_the_one_that_gives_way_first_is_named():
    # A locked at 60 % breaks its industry's bound alone, and alone that of a style that only A has.
    problem = four(weight_N=np.array([0.6, 0, 0.2, 0.2]), tradable_N=np.array([False, True, True, True]))
    problem = replace(problem, style={"size": np.array([1.0, 0, 0, 0])})
    solution = optimise(problem, replace(LOOSE, industry=0.02, size=0.1))
    assert solution.conflict == ("size",)
    assert solution.relaxed == {"size": pytest.approx(0.25, rel=1e-3), "industry": pytest.approx(0.08, rel=1e-3)}


def test_a_name_that_may_only_fall_is_excused_and_named():
    # At most 5 % may be sold of A's 60 %: 55 % is the nearest to the bound, and only A goes beyond it.
    problem = four(weight_N=np.array([0.6, 0.1, 0.1, 0.2]), participation_N=np.array([0.05, 1, 1, 1]))
    solution = optimise(problem, replace(LOOSE, active=0.2, active_share=0))
    assert solution.weight_N[0] == pytest.approx(0.55, abs=1e-6)
    assert solution.relaxed == {"active": pytest.approx(0.1, abs=1e-6)} and list(solution.excused) == ["A"]
    assert np.abs(solution.weight_N[1:] - 0.25).max() <= 0.2 + 1e-6


def test_two_conflicts_two_bounds_give_way():
    # Members above everything there is, and (by participation) an exclusion that turnover does not allow.
    problem = four(weight_N=np.array([0.4, 0.2, 0.2, 0.2]), excluded_N=np.array([True, False, False, False]))
    solution = optimise(problem, replace(LOOSE, turnover=0.1, members=1.2))
    assert set(solution.relaxed) == {"turnover", "members"}
    # Members are the later rung: all of the value is invested for them, which costs 80 % of turnover.
    assert solution.relaxed["members"] == pytest.approx(0.2, rel=1e-3)
    assert solution.relaxed["turnover"] == pytest.approx(0.7, abs=2e-3)


def test_styles_give_way_after_size_and_before_industries():
    size_N = np.array([1.0, 1, 1, 1])
    problem = four(style={"size": size_N, "beta": 2 * size_N}, weight_N=np.zeros(4))
    # Active exposures are -cash and -2 cash; participation leaves 60 % of cash or more.
    problem = replace(problem, participation_N=np.full(4, 0.1))
    limits = {"size": 0.7, "beta": 0.9, "industry": 1.0, "cash left": 1.0}
    assert conflict(problem, limits, problem.range_2N) == ("beta",)
    solution = solve(problem, limits, problem.range_2N)
    assert solution.relaxed == {"beta": pytest.approx(0.3, rel=1e-3)}


def test_a_locked_name_that_fills_the_book_is_the_answer():
    problem = four(weight_N=np.array([1.0, 0, 0, 0]), tradable_N=np.array([False, True, True, True]))
    solution = optimise(problem, Bounds())
    assert solution.weight_N.tolist() == [1, 0, 0, 0]
    assert {"industry", "tracking_error"} <= set(solution.relaxed)
    nearly = optimise(replace(problem, weight_N=np.array([0.999, 0, 0, 0])), Bounds())
    assert np.isfinite(nearly.weight_N).all() and nearly.weight_N[0] == 0.999


def test_debt_has_no_portfolio():
    problem = four(weight_N=np.array([0.9, 0.2, 0, 0]), tradable_N=np.array([False, False, True, True]))
    with pytest.raises(FpmError, match="FPM-PF-039"):
        solve(problem, {}, problem.range_2N)


def test_numbers_that_the_solver_cannot_take_have_a_code():
    with pytest.raises(FpmError, match=r"FPM-PF-0(39|40)"):
        optimise(four(score_N=np.array([1e300, 1e250, -1e300, 0])), Bounds())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    turnover=st.sampled_from([0.0, 0.05, 0.3]),
    tracking_error=st.sampled_from([0.001, 0.02, 0.05]),
    industry=st.sampled_from([0.0, 0.01]),
    members=st.sampled_from([0.5, 0.95, 1.1]),
    impact=st.sampled_from([0.0, 0.1]),
)
def test_every_bound_holds_or_is_named(seed, turnover, tracking_error, industry, members, impact):
    problem = instance(24, seed, impact)
    bounds = Bounds(
        turnover=turnover,
        tracking_error=tracking_error,
        industry=industry,
        members=members,
        active=0.02,
        active_share=0,
    )
    solution = optimise(problem, bounds)
    weight_N, active_N = solution.weight_N, solution.weight_N - problem.benchmark_N
    industries = [abs(active_N[problem.industry_N == name].sum()) for name in set(problem.industry_N)]
    y_K = problem.risk.exposure_NK.T @ active_N
    variance = y_K @ problem.risk.covariance_KK @ y_K + active_N**2 @ problem.risk.specific_N
    excess = {
        "turnover": np.abs(weight_N - problem.weight_N).sum() - turnover,
        "size": abs(problem.style["size"] @ active_N) - 0.1,
        "beta": abs(problem.style["beta"] @ active_N) - 0.5,
        "industry": max(industries) - industry,
        "tracking_error": np.sqrt(252 * variance) - tracking_error,
        "members": members - weight_N[problem.benchmark_N > 0].sum(),
        "active": np.abs(active_N[problem.tradable_N]).max() - 0.02,
        "cash left": 1 - weight_N.sum() - 0.02,
    }
    for name, value in excess.items():
        assert value <= solution.relaxed.get(name, 0.0) + 1e-6, name
        assert (name in solution.relaxed) == (value > 1e-6), name
    assert weight_N.min() >= 0 and weight_N.sum() + problem.cost(weight_N) <= 1 + 1e-6
    np.testing.assert_array_equal(weight_N[~problem.tradable_N], problem.weight_N[~problem.tradable_N])


@pytest.mark.parametrize("seed", range(12))
def test_books_that_participation_keeps_far_from_the_index_are_solved_and_what_gives_way_is_named(seed: int) -> None:
    """A thin market: many names cannot reach their active bound in one session.

    Slack counted from the bound was too little for them, the widened bounds had no portfolio, and the book stood still.
    """
    count = 50
    generator = np.random.default_rng([seed, 40])
    weight_N = generator.dirichlet(np.full(count, 0.3)) * generator.uniform(0.9, 0.99)
    problem = instance(
        count,
        seed,
        0.1,
        weight_N=weight_N,
        participation_N=generator.lognormal(-5, 1.5, count),
        tradable_N=np.ones(count, dtype=bool),
    )
    solution = optimise(problem, Bounds(turnover=0.3, cash=0.01))
    least_N, most_N = problem.range_2N
    assert (solution.weight_N >= least_N - 1e-7).all()
    assert (solution.weight_N <= most_N + 1e-7).all()
    limits = limits_of(problem, Bounds(turnover=0.3, cash=0.01))
    broken = {name for name, excess in excesses(problem, limits, solution.weight_N).items() if excess > 1e-5}
    assert broken == {name for name, excess in solution.relaxed.items() if excess > 1e-5}
    assert solution.relaxed


def test_a_bound_that_gives_no_way_may_lack_an_interior() -> None:
    """All weight in members and nothing owed is one point: with other bounds wider the solver still found no way in."""
    generator, all_N = np.random.default_rng(1), np.ones(60, dtype=bool)
    problem = instance(60, 1, 0.05, members=16, tradable_N=all_N, buyable_N=all_N, sellable_N=all_N)
    weight_N = problem.benchmark_N * np.exp(generator.normal(0, 0.02, 60))
    problem = replace(problem, weight_N=weight_N / weight_N.sum() * (1 - 0.003 * generator.random()))
    tight = {"size": 0.001, "style": 0.001, "industry": 0.0001, "tracking_error": 0.001, "turnover": 0.01}
    bounds = Bounds(members=1.0, active=0.002, cash=0.01, **tight)
    solution = optimise(problem, bounds)
    broken = excesses(problem, limits_of(problem, bounds), solution.weight_N)
    assert {name for name, excess in broken.items() if excess > 1e-6} == set(solution.relaxed)
    assert solution.weight_N.sum() + problem.cost(solution.weight_N) <= 1 + 1e-6


def feasible_by_another_solver(problem, bounds, names) -> bool:
    """Whether the bounds of these names alone can be met: cvxpy's formulation, the least violation by its solver."""
    reference, _, limits = cvxpy_problem(problem, bounds)
    dropped = {id(one) for name, group in limits.items() if name not in names for one in group}
    kept = [one for one in reference.constraints if id(one) not in dropped]
    answer = cp.Problem(cp.Minimize(0), kept)
    answer.solve(solver="CLARABEL")
    assert answer.status in (cp.OPTIMAL, cp.INFEASIBLE)
    return answer.status == cp.OPTIMAL


SUBSETS = ("turnover", "size", "beta", "industry", "tracking_error", "members", "active", "cash left")
CONTRADICTORY = Bounds(active=0.02, active_share=0, industry=0.004, size=0.02, style=0.05, turnover=0.02, cash=0.002)


@pytest.mark.parametrize("seed", range(8))
def test_the_conflict_is_a_smallest_set_by_trying_every_subset(seed: int) -> None:
    """Ten names, eight bounds, 256 subsets: the named set cannot be met, and without any one of its bounds it can.

    Irreducible is what the filter promises; how far the named set is from the fewest bounds that conflict is asserted
    too: on these instances it is one of the fewest, or at most one bound larger.
    """
    base = instance(10, seed)
    weight_N = np.random.default_rng([seed, 7]).dirichlet(np.full(10, 0.5)) * 0.9
    styles = {name: base.style[name] for name in ("size", "beta")}
    all_N = np.ones(10, dtype=bool)
    problem = replace(base, weight_N=weight_N, style=styles, tradable_N=all_N, buyable_N=all_N, sellable_N=all_N)
    limits = limits_of(problem, CONTRADICTORY)
    assert set(limits) == set(SUBSETS)
    named = conflict(problem, limits, problem.range_2N)
    feasible: dict[frozenset[str], bool] = {}

    def can_be_met(names: frozenset[str]) -> bool:
        # what a subset of an impossible set's superset cannot do need not be asked again
        if names not in feasible:
            if any(not known and other <= names for other, known in feasible.items()):
                feasible[names] = False
            elif any(known and names <= other for other, known in feasible.items()):
                feasible[names] = True
            else:
                feasible[names] = feasible_by_another_solver(problem, CONTRADICTORY, names)
        return feasible[names]

    every = [frozenset(names) for size in range(len(SUBSETS) + 1) for names in combinations(SUBSETS, size)]
    conflicts = [names for names in every if not can_be_met(names)]
    smallest = [names for names in conflicts if not any(other < names for other in conflicts)]
    assert smallest, "the instance has no conflict to find"
    assert frozenset(named) in smallest
    assert len(named) <= min(map(len, smallest)) + 1
