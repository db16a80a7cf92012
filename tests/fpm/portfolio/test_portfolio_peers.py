"""The optimum and the attribution are skfolio's where both compute the same thing (`ask_portfolio_peers.py`)."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from fpm.portfolio import program
from fpm.portfolio.attribution import Day, attribution
from fpm.portfolio.problem import Bounds, Problem, limits_of
from fpm.risk.model import RiskModel
from tests.fpm.portfolio import ask_portfolio_peers as peers

ANSWERS = json.loads(peers.ANSWERS.read_text(encoding="utf-8"))["skfolio"]
BOUNDS = Bounds(
    active=peers.ACTIVE, active_share=0, industry=peers.INDUSTRY, size=peers.STYLE, cash=peers.CASH, members=0
)


def rebalance(seed: int) -> Problem:
    """The inputs of skfolio's rebalance as ours: nothing is held, nothing costs."""
    given, count = peers.inputs(seed), peers.NAMES
    symbols, all_N = tuple(f"S{number:02d}" for number in range(count)), np.ones(count, dtype=bool)
    factors = tuple(f"factor {number}" for number in range(peers.FACTORS))
    return Problem(
        symbols=symbols,
        score_N=given["score_N"],
        benchmark_N=given["benchmark_N"],
        weight_N=np.zeros(count),
        tradable_N=all_N,
        buyable_N=all_N,
        sellable_N=all_N,
        restricted_N=~all_N,
        excluded_N=~all_N,
        industry_N=given["industry_N"].astype(np.str_),
        style={"size": given["style_N"]},
        risk=RiskModel(symbols, factors, given["exposure_NK"], given["covariance_KK"], given["specific_N"]),
        buy_cost_N=np.zeros(count),
        sell_cost_N=np.zeros(count),
        impact_N=np.zeros(count),
        participation_N=np.full(count, np.inf),
        risk_aversion=peers.AVERSION,
        sessions_per_year=peers.YEAR,
    )


@pytest.mark.parametrize("theirs", ANSWERS["rebalances"], ids=lambda each: str(each["seed"]))
def test_the_optimum_is_skfolios(theirs: dict) -> None:
    problem = rebalance(theirs["seed"])
    limits = {name: limit for name, limit in limits_of(problem, BOUNDS).items() if name != "tracking_error"}
    answer = program.solve(problem, limits, problem.range_2N)
    assert answer.status == "Solved"
    assert problem.objective(answer.weight_N) == pytest.approx(theirs["utility"], rel=1e-7)
    assert answer.weight_N == pytest.approx(np.array(theirs["weights"]), abs=1e-4)
    # an instance that feels no bound would say little
    assert sum(answer.dual[name] > 1e-3 for name in ("industry", "size", "active", "cash left")) >= 1


def test_mean_contributions_are_skfolios() -> None:
    """Its factors, idiosyncratic and unattributed means are our factor lines, `specific`, and what trading leaves."""
    given, names = peers.walk(), [f"S{number:02d}" for number in range(peers.NAMES)]
    factors = tuple(f"factor {number}" for number in range(peers.FACTORS))
    zeros_KK, zeros_N = np.zeros((peers.FACTORS, peers.FACTORS)), np.zeros(peers.NAMES)
    lines = []
    for t in range(peers.SESSIONS):
        weight_N, return_N = given["weight_TN"][t], given["return_TN"][t]
        columns = {"weight": weight_N, "benchmark_weight": zeros_N, "blocked": zeros_N, "return": return_N}
        excess = float(weight_N @ return_N + given["rest_T"][t])
        day = Day(date(2024, 1, 1) + timedelta(days=t), pl.DataFrame({"symbol": names, **columns}), excess, 0.0)
        model = RiskModel(tuple(names), factors, given["exposure_TNK"][t], zeros_KK, zeros_N)
        lines.append(attribution(day, model, dict(zip(factors, given["factor_TK"][t].tolist(), strict=True))))
    mean = dict(pl.concat(lines).group_by("line").agg(pl.col("contribution").mean()).iter_rows())
    theirs = ANSWERS["attribution"]
    assert [mean[name] for name in factors] == pytest.approx([theirs[name] for name in factors], abs=1e-15)
    assert mean["specific"] == pytest.approx(theirs["specific"], abs=1e-15)
    assert mean["trading and cash"] == pytest.approx(theirs["rest"], abs=1e-15)
    assert mean["costs"] == mean["blocked trades"] == 0
