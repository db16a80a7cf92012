"""The second solver agrees with optima, contradicts what is none, and leaves a bad start behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from fpm.panels import Floats
from fpm.portfolio import program, sifting
from fpm.portfolio.duality import duality_gap
from fpm.portfolio.lots import optimise_lots
from fpm.portfolio.problem import Bounds, Problem, limits_of
from fpm.portfolio.program import ConeProgram, Optimum
from fpm.portfolio.second_solver import (
    ACCEPTED,
    AGREES,
    DIFFERS,
    LARGE,
    PROVEN,
    SILENT,
    UNIT,
    is_sampled,
    proof,
    second_solution,
    solved,
)
from fpm.portfolio.solve import excesses
from tests.fpm.portfolio.instances import cp, cvxpy_problem, instance

WIDE = Bounds(active=0.03, active_share=0.0, industry=0.05, size=0.4, style=1.0, tracking_error=0.06)
TIGHT = Bounds(active=0.02, active_share=0.0, industry=0.015, size=0.1, style=0.3, tracking_error=0.025, turnover=0.4)
KINDS = ((WIDE, 0.0), (TIGHT, 0.0), (TIGHT, 0.05))  # a quadratic program, a cone that binds, 3/2-power impact too


def from_nothing_both_solvers_agree(seed: int) -> None:
    bounds, impact = KINDS[seed % 3]
    problem = instance(40, seed, impact)
    limits = limits_of(problem, bounds)
    first = program.solve(problem, limits, problem.range_2N)
    second_N = solved(program.assembled(problem, limits, problem.range_2N))
    if first.status == "PrimalInfeasible":
        assert second_N is None
        return
    assert first.status == "Solved"
    assert second_N is not None
    one, other = problem.objective(first.weight_N), problem.objective(second_N)
    assert abs(one - other) <= ACCEPTED * max(abs(one), UNIT)


@pytest.mark.parametrize("seed", range(12))
def test_from_nothing_both_solvers_agree(seed: int) -> None:
    from_nothing_both_solvers_agree(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 212))
def test_from_nothing_both_solvers_agree_on_many(seed: int) -> None:
    from_nothing_both_solvers_agree(seed)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_loss_of_a_millionth_is_contradicted_by_that_much(seed: int) -> None:
    """Weights between the optimum and the book held are allowed and worth less; how much is the objective's word."""
    bounds, impact = KINDS[seed]
    problem = instance(40, seed, impact)
    limits = limits_of(problem, bounds)
    best_N = sifting.solve(problem, limits, problem.range_2N).weight_N
    second = second_solution(problem, limits, best_N)
    assert (second.verdict, second.difference) == (AGREES, pytest.approx(0, abs=ACCEPTED))
    for share in (0.999, 0.9):
        worse_N = share * best_N + (1 - share) * problem.weight_N
        best, worse = problem.objective(best_N), problem.objective(worse_N)
        loss = (best - worse) / max(abs(best), abs(worse), UNIT)
        assert loss > 1e-6
        contradicted = second_solution(problem, limits, worse_N)
        assert (contradicted.verdict, contradicted.difference) == (DIFFERS, pytest.approx(loss, rel=0.05))


@pytest.fixture(scope="module")
def market() -> Problem:
    """5,300 candidates of an index of 1,000, with impact."""
    everyone = np.ones(5_300, dtype=bool)
    return instance(5_300, 1, 0.05, 1_000, tradable_N=everyone, buyable_N=everyone, sellable_N=everyone)


def test_of_a_whole_market_the_optimum_is_proven_and_a_wrong_weight_contradicted(market: Problem) -> None:
    """A planted portion of the book held, and a purchase that was overlooked: each loses what its objective says."""
    limits = limits_of(market, Bounds(active=0.01, active_share=0.0, industry=0.02))
    assert len(market.symbols) > LARGE
    best_N = sifting.solve(market, limits, market.range_2N).weight_N
    best = market.objective(best_N)
    second = second_solution(market, limits, best_N)
    assert (second.verdict, second.difference) == (PROVEN, pytest.approx(0, abs=ACCEPTED))
    least_N, most_N = market.range_2N
    bought = int(np.argmax(np.where(market.member_N, 0.0, best_N)))
    overlooked_N = program.solve(market, limits, (least_N, np.where(np.arange(5_300) == bought, 0.0, most_N))).weight_N
    for wrong_N in (0.99999 * best_N + 0.00001 * market.weight_N, overlooked_N):
        loss = (best - market.objective(wrong_N)) / best
        assert loss > 1e-6
        contradicted = second_solution(market, limits, wrong_N)
        assert (contradicted.verdict, contradicted.difference) == (DIFFERS, pytest.approx(loss, rel=0.05))


def test_weights_beyond_a_bound_are_no_optimum(market: Problem) -> None:
    """The optimum of wider bounds is worth more than any portfolio within the narrow ones."""
    wide, narrow = (limits_of(market, Bounds(active=a, active_share=0.0, industry=0.02)) for a in (0.02, 0.01))
    beyond_N = sifting.solve(market, wide, market.range_2N).weight_N
    assert second_solution(market, narrow, beyond_N).verdict == DIFFERS


@pytest.mark.parametrize("seed", range(6))
def test_the_proof_says_of_small_programs_what_the_second_solver_says(seed: int) -> None:
    bounds, impact = KINDS[seed % 3]
    problem = instance(40, seed, impact)
    limits = limits_of(problem, bounds)
    best_N = sifting.solve(problem, limits, problem.range_2N).weight_N
    worse_N = 0.999 * best_N + 0.001 * problem.weight_N
    assert proof(problem, limits, best_N).verdict == PROVEN
    assert second_solution(problem, limits, best_N).verdict == AGREES
    one, other = proof(problem, limits, worse_N), second_solution(problem, limits, worse_N)
    assert (one.verdict, one.difference) == (other.verdict, pytest.approx(other.difference, rel=0.01, abs=1e-8))


def test_of_bounds_that_nothing_meets_there_is_no_word() -> None:
    problem = instance(40, 1)
    second = second_solution(problem, {**limits_of(problem, WIDE), "turnover": 0.0, "members": 1.0}, problem.weight_N)
    assert (second.verdict, np.isnan(second.difference)) == (SILENT, True)


def test_a_bad_start_is_left_behind() -> None:
    """It begins at the optimum of other scores: what it ends with is that of its own."""
    problem = instance(40, 2, 0.05)
    limits = limits_of(problem, TIGHT)
    other = replace(problem, score_N=-problem.score_N)
    start = program.optimum(program.assembled(other, limits, other.range_2N))
    found_N = solved(program.assembled(problem, limits, problem.range_2N), start)
    best = problem.objective(program.solve(problem, limits, problem.range_2N).weight_N)
    assert found_N is not None
    assert problem.objective(found_N) == pytest.approx(best, rel=ACCEPTED)
    assert problem.objective(program.solve(other, limits, other.range_2N).weight_N) < best - 0.1


def test_what_differs_at_the_first_stop_is_proven_or_judged_at_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Residuals of 1e-8 may leave an objective off by more than is accepted; only those of 1e-9 contradict."""
    problem = instance(40, 1)
    limits = limits_of(problem, WIDE)
    best_N = sifting.solve(problem, limits, problem.range_2N).weight_N
    stops = []

    def first_stop_off(whole: ConeProgram, start: Optimum | None, accuracy: float) -> Floats | None:
        stops.append(accuracy)
        second_N = solved(whole, start, accuracy)
        return problem.weight_N if accuracy > 1e-9 else second_N

    monkeypatch.setattr("fpm.portfolio.second_solver.solved", first_stop_off)
    second = second_solution(problem, limits, best_N)
    assert (second.verdict, second.difference <= ACCEPTED, stops) == (PROVEN, True, [1e-8])
    monkeypatch.setattr("fpm.portfolio.second_solver.duality_gap", lambda *_: np.inf)  # nothing can be proven
    stops.clear()
    assert second_solution(problem, limits, best_N).verdict == AGREES
    assert stops == [1e-8, 1e-9]
    stops.clear()
    assert second_solution(problem, limits, 0.9 * best_N + 0.1 * problem.weight_N).verdict == DIFFERS
    assert stops == [1e-8, 1e-9]


@pytest.mark.parametrize("seed", range(6))
def test_a_name_whose_range_does_not_reach_its_bound_is_no_reason_for_silence(seed: int) -> None:
    """A holding far above its active bound, of which a session sells a hundredth: what is left breaks the bound."""
    problem = instance(40, seed, 0.02)
    far_N = np.arange(40) == 0
    problem = replace(
        problem,
        weight_N=np.where(far_N, problem.benchmark_N + 0.1, 0.9 * problem.weight_N),
        tradable_N=problem.tradable_N | far_N,
        sellable_N=problem.sellable_N | far_N,
        participation_N=np.where(far_N, 0.001, 0.05),
    )
    bounds = replace(WIDE, industry=0.2, size=2.0, style=3.0, tracking_error=1.0)
    limits = limits_of(problem, bounds)
    best_N = sifting.solve(problem, limits, problem.range_2N).weight_N
    assert excesses(problem, limits, best_N)["active"] > 0.05
    for word in (second_solution(problem, limits, best_N), proof(problem, limits, best_N)):
        assert word.verdict in {AGREES, PROVEN}
        assert word.difference <= ACCEPTED
    beyond_N = best_N.copy()
    beyond_N[int(np.argmin(np.abs(best_N - problem.benchmark_N)))] += 0.05  # its own range reaches its bound
    assert proof(problem, limits, beyond_N).verdict != PROVEN


def test_weights_beyond_a_dear_bound_by_less_than_is_tolerated_are_proven() -> None:
    """At a turnover that barely suffices a unit of it is dear: weights with a millionth of it more are worth more."""
    problem = instance(60, 3, 0.02)
    limits = limits_of(problem, TIGHT)
    narrow, wide = ({**limits, "turnover": least_turnover(problem) + room} for room in (1e-7, 6e-7))
    answer = program.solve(problem, narrow, problem.range_2N)
    beyond_N = program.solve(problem, wide, problem.range_2N).weight_N
    assert answer.multipliers is not None
    assert duality_gap(problem, narrow, beyond_N, answer.multipliers) < -ACCEPTED
    word = proof(problem, narrow, beyond_N)
    assert (word.verdict, word.difference) == (PROVEN, 0.0)


def least_turnover(problem: Problem) -> float:
    """The least turnover that every other bound allows, by cvxpy."""
    task, weight_N, bounds = cvxpy_problem(problem, TIGHT)
    others = [each for each in task.constraints if all(each is not row for row in bounds["turnover"])]
    turnover = cp.norm(weight_N - problem.weight_N, 1)
    return float(cp.Problem(cp.Minimize(turnover), others).solve(solver=cp.CLARABEL))


@pytest.mark.parametrize("turnover", [0.3, 0.001])
def test_a_decision_with_lots_is_checked_within_the_bounds_it_was_solved_in(turnover: float) -> None:
    """With the smaller turnover bounds give way: the program then is the one with slack."""
    problem = instance(60, 3, 0.02)
    price_N = np.full(60, 10.0)
    share_N = (problem.weight_N * 1e7 / 10 / 100).astype(np.int64) * 100
    bounds = replace(TIGHT, turnover=turnover, cash=0.003)
    lots = optimise_lots(problem, bounds, price_N, 1e7, share_N)
    assert (lots.exact.status == "relaxed") == (turnover < 0.1)
    assert lots.exact.within is not None
    second = second_solution(lots.problem, lots.exact.within, lots.exact.weight_N)
    assert (second.verdict, second.difference <= ACCEPTED) == (AGREES, True)


def test_the_sample_is_its_share_of_the_decisions_and_the_same_again() -> None:
    weeks = [date(2015, 1, 2) + timedelta(weeks=week) for week in range(2000)]
    sampled = [week for week in weeks if is_sampled("CSI300", week, 20)]
    assert 70 < len(sampled) < 130  # of Binomial(2000, 1/20) all but one in 400
    assert sampled == [week for week in weeks if is_sampled("CSI300", week, 20)]
    assert sampled != [week for week in weeks if is_sampled("CSI500", week, 20)]
    assert not any(is_sampled("CSI300", week, 0) for week in weeks)
