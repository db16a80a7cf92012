"""What a rebalance allows, and inputs that are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fpm.errors import FpmError
from fpm.portfolio.problem import Bounds, limits_of, validate
from fpm.risk.model import RiskModel
from tests.fpm.portfolio.instances import instance

BASE = instance(20)
FLAT = np.zeros(20)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("FPM-PF-030", {"buy_cost_N": np.zeros(19)}),
        ("FPM-PF-030", {"risk": replace(BASE.risk, symbols=BASE.symbols[::-1])}),
        ("FPM-PF-031", {"benchmark_N": np.where(np.arange(20) == 3, np.nan, BASE.benchmark_N)}),
        ("FPM-PF-031", {"style": BASE.style | {"beta": FLAT * np.nan}}),
        ("FPM-PF-031", {"participation_N": FLAT * np.nan}),
        ("FPM-PF-031", {"risk": replace(BASE.risk, specific_N=FLAT + np.inf)}),
        ("FPM-PF-032", {"benchmark_N": BASE.benchmark_N - 0.01}),
        ("FPM-PF-033", {"benchmark_N": BASE.benchmark_N * 100}),
        ("FPM-PF-034", {"benchmark_N": BASE.benchmark_N * 0.98}),
        ("FPM-PF-035", {"benchmark_N": np.eye(20)[4]}),
        ("FPM-PF-036", {"score_N": FLAT * np.nan}),
        ("FPM-PF-036", {"score_N": FLAT + 0.3}),
        ("FPM-PF-037", {"weight_N": BASE.weight_N - 0.1}),
        ("FPM-PF-037", {"weight_N": BASE.weight_N * 1.2}),
        ("FPM-PF-038", {"tradable_N": FLAT.astype(bool)}),
        ("FPM-PF-038", {"participation_N": FLAT}),
    ],
)
def test_bad_input_has_a_code(code, change):
    validate(BASE)
    with pytest.raises(FpmError, match=code):
        validate(replace(BASE, **change))


def test_permitted_weights_by_hand():
    #             free  no score  member, no score  locked  no sale  restricted  excluded  excluded and large
    problem = instance(
        8,
        score_N=np.array([1, np.nan, np.nan, 1, 1, 1, 1, 2]),
        benchmark_N=np.array([0.0, 0, 0.5, 0.5, 0, 0, 0, 0]),
        weight_N=np.array([0.02, 0.02, 0.02, 0.3, 0.02, 0.02, 0.02, 0.2]),
        tradable_N=np.array([1, 1, 1, 0, 1, 1, 1, 1], dtype=bool),
        buyable_N=np.ones(8, dtype=bool),
        sellable_N=np.array([1, 1, 1, 1, 0, 1, 1, 1], dtype=bool),
        restricted_N=np.arange(8) == 5,
        excluded_N=np.arange(8) >= 6,
    )
    least_N, most_N = problem.range_2N
    assert least_N == pytest.approx([0, 0, 0, 0.3, 0.02, 0, 0, 0.15])
    assert most_N == pytest.approx([0.07, 0.02, 0.07, 0.3, 0.07, 0.02, 0, 0.15])


def test_limits_follow_the_ladder_and_what_there_is():
    names = ["turnover", "size", "beta", "momentum", "residual_volatility", "liquidity", "nonlinear_size", "industry"]
    names += ["tracking_error", "members", "active", "cash left"]
    assert list(limits_of(BASE, Bounds())) == names
    assert list(limits_of(replace(BASE, weight_N=FLAT, style={}), Bounds())) == names[7:]
    # half of an equal weight of 16 members is wider than 1 %
    assert limits_of(BASE, Bounds())["active"] == pytest.approx(0.5 / 16)


def test_unknown_industries_are_one_industry():
    problem = replace(BASE, industry_N=np.array(["", "bank"] * 10))
    assert problem.industries == ("bank", "unclassified")
    np.testing.assert_array_equal(problem.industry_IN, [[0, 1] * 10, [1, 0] * 10])


def test_cost_and_tracking_error_by_hand():
    risk = RiskModel(("A", "B"), ("market",), np.array([[1.0], [2.0]]), np.array([[0.01]]), np.array([0.02, 0.03]))
    problem = instance(
        2,
        symbols=("A", "B"),
        benchmark_N=np.array([0.5, 0.5]),
        weight_N=np.array([0.5, 0.5]),
        impact_N=np.array([0.1, 0.2]),
        buy_cost_N=np.array([0.001, 0.001]),
        sell_cost_N=np.array([0.002, 0.002]),
        risk=risk,
        style={},
    )
    weight_N = np.array([0.54, 0.41])
    assert problem.cost(weight_N) == pytest.approx(0.04 * 0.001 + 0.09 * 0.002 + 0.1 * 0.008 + 0.2 * 0.027)
    # exposure 0.04 - 0.18 = -0.14; 0.0196 x 0.01 + 0.0016 x 0.02 + 0.0081 x 0.03 = 0.000471
    assert problem.tracking_error(weight_N) == pytest.approx(np.sqrt(252 * 0.000471))
