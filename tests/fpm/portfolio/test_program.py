"""The cone program against cvxpy's formulation, solved by other solvers, and against closed forms."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from fpm.portfolio import program
from fpm.portfolio.problem import Bounds, limits_of
from fpm.risk.model import RiskModel
from tests.fpm.portfolio.instances import cvxpy_problem, instance

WIDE = Bounds(active=0.03, active_share=0.0, industry=0.05, size=0.4, style=1.0, tracking_error=0.06)
TIGHT = Bounds(active=0.02, active_share=0.0, industry=0.015, size=0.1, style=0.3, tracking_error=0.025, turnover=0.4)


OSQP = {"eps_abs": 1e-10, "eps_rel": 1e-10, "max_iter": 400_000, "polishing": True}


def second_solver(problem, bounds, solver, without_tracking=False, **options):
    reference, weight_N, limits = cvxpy_problem(problem, bounds)
    if without_tracking:
        dropped = limits["tracking_error"][0]
        reference = cp.Problem(reference.objective, [one for one in reference.constraints if one is not dropped])
    reference.solve(solver=solver, **options)
    return reference, np.asarray(weight_N.value), limits


def answer_of(problem, bounds):
    return program.solve(problem, limits_of(problem, bounds), problem.range_2N)


def other_solver_agrees(seed: int) -> None:
    """OSQP for the quadratic program without a tracking-error bound, SCS where the tracking error does.

    With impact, cvxpy's own power cones by Clarabel: SCS takes half a minute for one of these and does not get there.
    """
    kind = seed % 3
    bounds, impact = (WIDE, TIGHT, TIGHT)[kind], (0.0, 0.0, 0.05)[kind]
    problem = instance(40, seed, impact)
    answer = answer_of(problem, bounds)
    if kind == 0:
        loose = replace(bounds, tracking_error=10.0)
        answer = answer_of(problem, loose)
        reference, _, _ = second_solver(problem, loose, "OSQP", without_tracking=True, **OSQP)
    elif kind == 1:
        reference, _, _ = second_solver(problem, bounds, "SCS", eps_abs=1e-9, eps_rel=1e-9, max_iters=100_000)
    else:
        reference, _, _ = second_solver(problem, bounds, "CLARABEL")
    if reference.status == cp.INFEASIBLE:
        assert answer.status == "PrimalInfeasible"
        return
    assert (answer.status, reference.status) == ("Solved", cp.OPTIMAL)
    assert problem.objective(answer.weight_N) == pytest.approx(reference.value, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("seed", range(20))
def test_another_solver_finds_the_same_objective(seed):
    other_solver_agrees(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 220))
def test_another_solver_finds_the_same_objective_on_many(seed):
    other_solver_agrees(seed)


@pytest.mark.parametrize("impact", [0.0, 0.05])
def test_shadow_prices_are_the_gain_of_a_wider_bound(impact):
    problem, bounds = instance(40, 3, impact, tradable_N=np.ones(40, dtype=bool)), TIGHT
    limits, answer = limits_of(problem, bounds), answer_of(problem, bounds)
    step, prices = 1e-5, {}
    for name in limits:
        value = []
        for sign in (1, -1):
            moved = limits | {name: limits[name] + sign * step * (-1 if name == "members" else 1)}
            value.append(problem.objective(program.solve(problem, moved, problem.range_2N).weight_N))
        prices[name] = (value[0] - value[1]) / (2 * step)
    assert sum(price > 0.01 for price in prices.values()) >= 3
    for name, price in prices.items():
        assert answer.dual[name] == pytest.approx(price, rel=0.02, abs=5e-3), name


def one_trade(cost: float, impact: float):
    """Two names of equal weight held as the benchmark has them, variance 1 a year each, the first's score above."""
    risk = RiskModel(("A", "B"), ("none",), np.zeros((2, 1)), np.zeros((1, 1)), np.full(2, 1 / 252))
    problem = instance(
        2,
        symbols=("A", "B"),
        score_N=np.array([0.4, 0.0]),
        benchmark_N=np.full(2, 0.5),
        weight_N=np.full(2, 0.5),
        industry_N=np.array(["", ""]),
        style={},
        risk=risk,
        risk_aversion=1.0,
        buy_cost_N=np.zeros(2),
        sell_cost_N=np.full(2, cost),
        impact_N=np.array([0.0, impact]),
        participation_N=np.full(2, np.inf),
        **{name: np.ones(2, dtype=bool) for name in ("tradable_N", "buyable_N", "sellable_N")},
    )
    return program.solve(problem, {"cash left": 0.5}, problem.range_2N).weight_N - 0.5


def test_a_trade_by_hand():
    # 0.4 u - u² - v² - 0·v with u bought and v sold, u <= v: u = v = 0.1. With 0.1 of cost a unit sold the proceeds pay
    # the cost too: u = 0.9 v, and 0.36 v - 0.81 v² - v² - 0.1 v is largest at v = 0.26 / 3.62.
    assert one_trade(0.0, 0.0) == pytest.approx([0.1, -0.1], abs=1e-6)
    assert one_trade(0.1, 0.0) == pytest.approx([0.9 * 0.26 / 3.62, -0.26 / 3.62], abs=1e-6)


def test_impact_by_hand():
    # u = v - k v^1.5 with k = 0.5; the largest value on a fine grid of v
    v = np.linspace(0, 0.2, 2_000_001)
    u = v - 0.5 * v**1.5
    best = v[np.argmax(0.4 * u - u**2 - v**2 - 0.5 * v**1.5)]
    assert one_trade(0.0, 0.5)[1] == pytest.approx(-best, abs=1e-5)


def test_names_that_may_not_trade_keep_their_weight_and_the_excluded_leave():
    base = instance(60, 5)
    excluded_N = np.arange(60) == 7
    problem = replace(base, excluded_N=excluded_N, tradable_N=base.tradable_N | excluded_N)
    problem = replace(problem, sellable_N=problem.sellable_N | excluded_N)
    weight_N = program.solve(problem, {"cash left": 0.02}, problem.range_2N).weight_N
    np.testing.assert_array_equal(weight_N[~problem.tradable_N], problem.weight_N[~problem.tradable_N])
    assert (weight_N <= problem.weight_N)[~problem.buyable_N].all()
    assert (weight_N >= problem.weight_N)[~problem.sellable_N].all()
    assert weight_N[7] == max(0.0, problem.weight_N[7] - 0.05)
