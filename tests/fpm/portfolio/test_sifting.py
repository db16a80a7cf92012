"""Sifting finds the optimum of the whole program, also where the names it begins with are the wrong ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fpm.portfolio import program, sifting
from fpm.portfolio.problem import Bounds, limits_of
from tests.fpm.portfolio.instances import instance


@pytest.mark.parametrize("impact", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_that_of_the_whole_program(seed: int, impact: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sifting, "FIRST", 3)  # too few: the others must be found by their duals
    problem = instance(120, seed, impact)
    limits = limits_of(problem, Bounds())
    whole = program.solve(problem, limits, problem.range_2N)
    answer = sifting.solve(problem, limits, problem.range_2N)
    assert sifting.outsiders(problem, problem.range_2N).sum() > 20
    assert answer.status == whole.status
    if whole.status == "Solved":
        best = problem.objective(whole.weight_N)
        assert problem.objective(answer.weight_N) == pytest.approx(best, rel=1e-6)
        assert np.abs(answer.weight_N - whole.weight_N).max() < 1e-4


def test_what_was_left_out_is_bought_where_it_pays() -> None:
    """The one outsider of low score that diversifies: the first names do not hold it, the answer does."""
    problem = instance(120, 1, 0.0)
    outsider_N = sifting.outsiders(problem, problem.range_2N)
    order = np.flatnonzero(outsider_N)[np.argsort(-problem.gain_N[outsider_N])]
    assert len(order) < sifting.FIRST  # then nothing is left out, and both are one call
    limits = limits_of(problem, Bounds())
    same = sifting.solve(problem, limits, problem.range_2N)
    assert np.array_equal(same.weight_N, program.solve(problem, limits, problem.range_2N).weight_N)


def test_first_units_are_the_slope_of_the_objective() -> None:
    """At an optimum no purchase from nothing pays, and of a name that is bought the first unit paid."""
    problem = replace(instance(120, 2, 0.0), weight_N=np.zeros(120))
    limits = limits_of(problem, Bounds())
    answer = program.solve(problem, limits, problem.range_2N)
    outsider_N = sifting.outsiders(problem, problem.range_2N)
    bought_N = outsider_N & (answer.weight_N > 1e-5)
    left_N = outsider_N & (answer.weight_N < 1e-9)
    assert bought_N.any()
    assert left_N.any()
    assert (answer.first_N[bought_N] < 1e-6).all()
    assert (answer.first_N[left_N] > -1e-6).all()
