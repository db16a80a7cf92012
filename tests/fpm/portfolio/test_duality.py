"""The duality gap bounds what cvxpy's optimum is worth, closes at an optimum, and no price makes it too small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fpm.portfolio import program
from fpm.portfolio.duality import BUDGET, Multipliers, duality_gap
from fpm.portfolio.problem import Bounds, limits_of
from tests.fpm.portfolio.instances import cvxpy_problem, instance

WIDE = Bounds(active=0.03, active_share=0.0, industry=0.05, size=0.4, style=1.0, tracking_error=0.06)
TIGHT = Bounds(active=0.02, active_share=0.0, industry=0.015, size=0.1, style=0.3, tracking_error=0.025, turnover=0.4)
KINDS = ((WIDE, 0.0), (TIGHT, 0.0), (TIGHT, 0.05))  # a quadratic program, a cone that binds, 3/2-power impact too


@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_of_another_program_is_within_the_gap_at_any_prices(seed: int) -> None:
    """Weak duality: from any weights, prices that are random numbers and signs leave the bound above the optimum."""
    bounds, impact = KINDS[seed % 3]
    problem = instance(20, seed, impact)
    limits = limits_of(problem, bounds)
    reference, _, _ = cvxpy_problem(problem, bounds)
    best = float(reference.solve(solver="CLARABEL"))
    generator = np.random.default_rng(seed)
    exposures = len(problem.exposure_rows[0])
    for scale in (0.0, 0.01, 1.0, 30.0):
        prices = Multipliers(
            {name: scale * generator.random() for name in (*limits, BUDGET)}, scale * generator.normal(size=exposures)
        )
        somewhere_N = problem.weight_N * generator.uniform(0.5, 1.5, 20)
        bound = problem.objective(somewhere_N) + duality_gap(problem, limits, somewhere_N, prices)
        assert bound >= best - 1e-7


@pytest.mark.parametrize("seed", range(9))
def test_the_gap_closes_at_an_optimum(seed: int) -> None:
    bounds, impact = KINDS[seed % 3]
    problem = instance(40, seed, impact)
    limits = limits_of(problem, bounds)
    answer = program.solve(problem, limits, problem.range_2N)
    assert answer.multipliers is not None
    assert duality_gap(problem, limits, answer.weight_N, answer.multipliers) == pytest.approx(0, abs=1e-7)


def test_every_price_has_a_part() -> None:
    """Each bound is made to bind in turn; without its price the gap opens."""
    problem = instance(40, 2, 0.05)
    loose = Bounds(
        active=0.5, active_share=0.0, industry=1.0, size=9.0, style=9.0, members=0.0, turnover=9.0, tracking_error=1.0
    )
    binding = {"industry": 0.001, "size": 0.001, "turnover": 0.05, "tracking_error": 0.01, "members": 0.999}
    for name, value in binding.items():
        limits = limits_of(problem, replace(loose, **{name: value}))
        answer = program.solve(problem, limits, problem.range_2N)
        assert answer.status == "Solved"
        assert answer.multipliers is not None
        prices = answer.multipliers
        assert duality_gap(problem, limits, answer.weight_N, prices) == pytest.approx(0, abs=1e-7)
        without = Multipliers({**prices.bounds, name: 0.0}, 0.0 * prices.exposure_G)
        assert duality_gap(problem, limits, answer.weight_N, without) > 1e-4, name
