"""Reasons of orders: the optimality conditions name by name, small problems by hand, costs to the cent."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from fpm.portfolio.costs import Cost
from fpm.portfolio.lots import LotSolution
from fpm.portfolio.problem import Bounds, Problem
from fpm.portfolio.reasons import TERMS, Pushes, order_frame, pushes, reason, with_past
from fpm.portfolio.solve import Solution, optimise
from fpm.risk.model import RiskModel
from tests.fpm.portfolio.instances import instance

WIDE = Bounds(active=1.0, industry=1.0, size=9.0, style=9.0, members=0.0, turnover=2.0, tracking_error=1.0, cash=0.02)
FILL = date(2024, 12, 3)
COSTS = (Cost(date(2024, 1, 1), "buy", 0.0003, 5.0), Cost(date(2024, 1, 1), "sell", 0.0008, 5.0))


def four_names(score: list[float], held: list[float], industry: list[str] | None = None) -> Problem:
    """Four members of equal weight, of specific risk alone (20 % a year), a tenth of a percent a trade."""
    symbols = ("A", "B", "C", "D")
    risk = RiskModel(symbols, ("country",), np.ones((4, 1)), np.zeros((1, 1)), np.full(4, 0.04 / 252))
    flags, costs = np.ones(4, dtype=bool), np.full(4, 0.001)
    return Problem(
        symbols=symbols,
        score_N=np.array(score),
        benchmark_N=np.full(4, 0.25),
        weight_N=np.array(held),
        tradable_N=flags,
        buyable_N=flags,
        sellable_N=flags,
        restricted_N=~flags,
        excluded_N=~flags,
        industry_N=np.array(industry or ["one"] * 4),
        style={},
        risk=risk,
        buy_cost_N=costs,
        sell_cost_N=costs,
        impact_N=np.zeros(4),
        participation_N=np.ones(4),
        risk_aversion=5.0,
    )


def reasons_of(problem: Problem, bounds: Bounds) -> dict[str, tuple[str, str | None]]:
    """Reason of every name that the weights before rounding trade by more than a thousandth."""
    exact = optimise(problem, bounds)
    push, moved_N = pushes(problem, exact), exact.weight_N - problem.weight_N
    return {
        problem.symbols[name]: reason(push, name, int(np.sign(moved_N[name])), 1.0, excluded=False)
        for name in np.flatnonzero(np.abs(moved_N) > 1e-3)
    }


@pytest.mark.parametrize("impact", [0.0, 0.05])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_pushes_of_every_trade_sum_to_its_cost_at_the_optimum(seed: int, impact: float) -> None:
    """Clarabel is asked nothing but the duals: the slope of the cost is the formula's."""
    problem = instance(seed=seed, impact=impact)
    bounds = Bounds(tracking_error=0.01, turnover=0.2)
    exact = optimise(problem, bounds)
    assert exact.status == "optimal" and exact.shadow["turnover"] > 0.01
    trade_N, push = exact.weight_N - problem.weight_N, pushes(problem, exact)
    least_N, most_N = problem.range_2N
    total_N = np.sum([push.terms[term] for term in TERMS], axis=0) * np.sign(trade_N)
    rate_N = np.where(trade_N > 0, problem.buy_cost_N, problem.sell_cost_N)
    # costs are paid out of the value, too: one more unit of the budget's price
    budget = 1 + float(problem.gain_N @ problem.benchmark_N) - float(push.terms["cash"][0])
    cost_N = budget * (rate_N + 1.5 * impact * np.sqrt(np.abs(trade_N))) + exact.shadow["turnover"]
    traded_N = np.abs(trade_N) > 1e-5
    inner_N = traded_N & (exact.weight_N > least_N + 1e-5) & (exact.weight_N < most_N - 1e-5)
    assert inner_N.sum() > 10
    assert total_N[inner_N] == pytest.approx(cost_N[inner_N], abs=2e-4)
    assert (total_N[traded_N] > cost_N[traded_N] - 2e-4).all()


def test_a_constant_added_to_every_score_changes_no_push() -> None:
    problem, bounds = instance(), Bounds(turnover=0.2)
    other = replace(problem, score_N=problem.score_N + 3.0)
    one, two = (pushes(each, optimise(each, bounds)) for each in (problem, other))
    for term in TERMS:
        assert one.terms[term] == pytest.approx(two.terms[term], abs=2e-3)


def test_a_score_moves_a_book_that_lies_on_its_index() -> None:
    """By hand: 2 x 5 x 0.04 x active = score less 0.001 of cost; a hundredth of cash leaves the budget free."""
    problem = four_names([0.04, -0.04, 0.0, 0.0], [0.2475] * 4)
    exact = optimise(problem, WIDE)
    assert exact.weight_N == pytest.approx([0.25 + 0.0975, 0.25 - 0.0975, 0.2475, 0.2475], abs=2e-4)
    assert reasons_of(problem, WIDE) == {"A": ("score", None), "B": ("score", None)}
    push = pushes(problem, exact)
    assert push.terms["score"][:2] == pytest.approx([0.04, -0.04])
    assert push.terms["risk"][:2] == pytest.approx([-0.039, 0.039], abs=1e-4)
    assert push.terms["cash"] == pytest.approx([0.0] * 4, abs=1e-4)


def test_risk_brings_a_book_back_to_its_index() -> None:
    """The scores all but agree: active weights ask for trades until 2 x 5 x 0.04 x active is the cost, 0.001."""
    problem = four_names([1e-6, 0.0, 0.0, 0.0], [0.40, 0.10, 0.245, 0.245])
    assert optimise(problem, WIDE).weight_N == pytest.approx([0.2525, 0.2475, 0.2475, 0.2475], abs=2e-4)
    assert reasons_of(problem, WIDE) == dict.fromkeys("ABCD", ("risk", None))


def test_a_bound_sells_what_the_score_would_keep() -> None:
    """A and B are one industry, 19 points over its weight: 1 point is allowed, and B is the worse of the two.

    What it brings is invested in C and D, although their scores are below the index's.
    """
    problem = four_names([0.6, 0.5, 0.0, 0.0], [0.345, 0.345, 0.15, 0.15], ["one", "one", "two", "three"])
    answer = reasons_of(problem, replace(WIDE, industry=0.01))
    assert answer["B"] == ("bound", "industry")
    assert answer["C"] == answer["D"] == ("cash", None)


def test_value_that_is_worth_more_elsewhere_is_the_reason_of_a_sale() -> None:
    """A may be bought without end of score: money is worth 0.4 less risk, and B, of the index's score, pays for it."""
    problem = four_names([0.4, 0.1, 0.0, -0.1], [0.24, 0.27, 0.24, 0.24])
    answer = reasons_of(problem, WIDE)
    assert answer["A"] == ("score", None) and answer["B"] == ("cash", None)


def test_the_largest_push_in_the_direction_of_the_order_is_its_reason() -> None:
    terms = {"score": [0.3, -0.3], "risk": [-0.2, 0.1], "bound": [0.5, 0.1], "cash": [0.1, -0.4]}
    bounds = {"size": np.array([0.6, 0.3]), "active": np.array([-0.1, -0.2])}
    push = Pushes({name: np.array(value) for name, value in terms.items()}, bounds)
    assert reason(push, 0, 1, 1.0, excluded=False) == ("bound", "size")
    assert reason(push, 0, -1, 1.0, excluded=False) == ("risk", None)
    assert reason(push, 1, -1, 1.0, excluded=False) == ("cash", None)
    assert reason(push, 0, 1, 0.49, excluded=False) == ("cash", None)  # whole lots wanted most of it
    assert reason(push, 1, -1, 0.1, excluded=True) == ("exit", None)


def test_orders_have_their_cost_to_the_cent() -> None:
    """A: 1,000 shares at 10.00, 3 a ten-thousandth, at least 5; its impact 0.02 x 0.01^1.5 x 1,000,000 = 20."""
    problem = replace(four_names([0.4, 0.0, -0.4, 0.1], [0.2] * 4), impact_N=np.full(4, 0.02))
    exact = Solution(np.array([0.21, 0.2, 0.1, 0.2]), 0.0, 0.0, 0.0, 0.0, 0.0, {}, {}, (), {}, "optimal")
    price_N, held_N = np.array([10.0, 20.0, 33.33, 5.0]), np.array([20_000, 10_000, 6_000, 40_000])
    lots = LotSolution(held_N + np.array([1_000, 0, -3_000, 0]), exact, exact, problem)
    rows = order_frame("X", FILL, problem, lots, held_N, price_N, 1e6, COSTS)
    assert rows["symbol"].to_list() == ["A", "C"] and rows["side"].to_list() == ["buy", "sell"]
    assert rows["shares"].to_list() == [1_000, 3_000] and rows["amount"].to_list() == [10_000.0, 99_990.0]
    assert rows["expected_impact"][0] == pytest.approx(20.0)
    fees = (rows["expected_cost"] - rows["expected_impact"]).to_list()
    assert fees == pytest.approx([5.0, 79.99])  # the least fee; 99,990 x 0.0008 = 79.992
    assert rows["fill_session"].to_list() == [FILL, FILL]


def test_what_the_past_says_comes_first() -> None:
    def order(symbol: str, side: str, why: str, bound: str | None) -> dict[str, object]:
        numbers = dict.fromkeys(("close", "amount", "expected_cost", "expected_impact"), 1.0)
        head = {"symbol": symbol, "index": "X", "fill_session": FILL, "side": side, "shares": 100}
        return {**head, **numbers, "reason": why, "bound": bound, **{f"{term}_push": 0.0 for term in TERMS}}

    rows = pl.DataFrame(
        [
            order("A", "sell", "bound", "size"),
            order("B", "buy", "score", None),
            order("C", "sell", "bound", "active"),
            order("D", "buy", "risk", None),
        ],
        schema_overrides={"bound": pl.String},
    )
    answer = with_past(rows, {"A", "D"}, {("B", "buy"), ("C", "buy")})
    assert answer["reason"].to_list() == ["exit", "blocked", "bound", "risk"]
    assert answer["bound"].to_list() == [None, None, "active", None]
    assert answer.columns[:2] == ["symbol", "index"]
