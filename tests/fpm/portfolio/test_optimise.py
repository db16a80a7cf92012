"""The optimiser against closed forms, its own bounds, and scipy on a small problem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from fpm.cross_section import z_score
from fpm.errors import FpmError
from fpm.portfolio.optimise import Bounds, Candidates, PortfolioConfig, Solution, drift, optimise
from fpm.portfolio.risk import Risk, covariance

LOOSE = Bounds(active=1, industry=1, size=100, members=0, turnover=2, tracking_error=10)
CONFIG = PortfolioConfig()


def market(symbols: int = 30, seed: int = 1, **replacements: object) -> Candidates:
    """Candidates: members are the first four fifths, at unequal weights; four industries; all can be traded."""
    generator = np.random.default_rng(seed)
    benchmark_N = np.where(np.arange(symbols) < 0.8 * symbols, generator.uniform(0.5, 1.5, symbols), 0.0)
    fields = {
        "symbols": tuple(f"60{i:04d}.SH" for i in range(symbols)),
        "score_N": generator.normal(size=symbols),
        "benchmark_N": benchmark_N / benchmark_N.sum(),
        "current_N": np.zeros(symbols),
        "tradable_N": np.ones(symbols, dtype=bool),
        "industry_N": np.array([f"industry {i % 4}" for i in range(symbols)]),
        "size_N": generator.normal(size=symbols),
        "risk": covariance(generator.normal(0, 0.02, (60, symbols))),
    }
    return Candidates(**(fields | replacements))


def violations(solution: Solution, candidates: Candidates, bounds: Bounds) -> dict[str, float]:
    """Violation of each bound, computed from the weights alone."""
    active_N = solution.weight_N - candidates.benchmark_N
    width = max(bounds.active, bounds.active_share / (candidates.benchmark_N > 0).sum())
    industry = [abs(active_N[candidates.industry_N == name].sum()) for name in set(candidates.industry_N) - {""}]
    traded = np.abs(solution.weight_N - candidates.current_N).sum()
    return {
        "sum": abs(solution.weight_N.sum() - 1),
        "short": -solution.weight_N.min(),
        "active": np.abs(active_N[candidates.tradable_N]).max() - width,
        "industry": max(industry) - bounds.industry,
        "size": abs(candidates.size_N @ active_N) - bounds.size,
        "members": bounds.members - solution.weight_N[candidates.benchmark_N > 0].sum(),
        "turnover": traded - bounds.turnover if candidates.current_N.any() else 0.0,
        "tracking_error": np.sqrt(candidates.risk.variance(active_N) * 252) - bounds.tracking_error,
    }


def test_every_bound_holds_and_the_score_gains():
    candidates = market(60)
    solution = optimise(candidates, Bounds(), CONFIG)
    assert max(violations(solution, candidates, Bounds()).values()) < 1e-6
    assert solution.relaxed == {}
    assert candidates.score_N @ solution.weight_N > candidates.score_N @ candidates.benchmark_N + 0.1


def test_from_week_to_week_turnover_holds_too():
    first = market(60)
    current_N = optimise(first, Bounds(), CONFIG).weight_N
    second = replace(market(60, seed=2), benchmark_N=first.benchmark_N, current_N=current_N)
    solution = optimise(second, Bounds(), CONFIG)
    assert max(violations(solution, second, Bounds()).values()) < 1e-6
    assert solution.turnover == pytest.approx(0.30, abs=1e-6)
    assert solution.shadow["turnover"] > 0.01


def test_equal_to_scipy_on_a_small_problem():
    candidates = market(5, size_N=np.zeros(5))
    solution = optimise(candidates, LOOSE, CONFIG)
    score_N, variance = z_score(candidates.score_N), candidates.risk.variance

    def loss(weight_N):
        return 252 * 50 * variance(weight_N - candidates.benchmark_N) - score_N @ weight_N

    whole = {"type": "eq", "fun": lambda weight_N: weight_N.sum() - 1}
    reference = minimize(loss, candidates.benchmark_N, bounds=[(0, 1)] * 5, constraints=whole, tol=1e-14)
    assert loss(solution.weight_N) == pytest.approx(reference.fun, abs=1e-6)
    assert solution.weight_N == pytest.approx(reference.x, abs=1e-3)


def test_two_names_by_hand():
    """Scores +1 and -1, equal benchmark, independent risk s2 each: active = 1 / (2 * aversion * 252 * s2), capped."""
    variance = 0.02**2
    risk = Risk(np.zeros((0, 2)), np.full(2, variance))
    pair = market(2, score_N=np.array([3.0, 1.0]), benchmark_N=np.array([0.5, 0.5]), size_N=np.zeros(2), risk=risk)
    free = optimise(pair, LOOSE, PortfolioConfig(risk_aversion=100.0))
    assert free.weight_N[0] - 0.5 == pytest.approx(1 / (2 * 100 * 252 * variance), abs=1e-5)
    capped = optimise(pair, replace(LOOSE, active=0.01, active_share=0), PortfolioConfig(risk_aversion=100.0))
    assert capped.weight_N == pytest.approx([0.51, 0.49], abs=1e-6)


def test_untradable_names_keep_their_weight_whatever_their_score():
    first = market(40)
    current_N = optimise(first, Bounds(), CONFIG).weight_N
    tradable_N = np.ones(40, dtype=bool)
    tradable_N[:5] = False
    second = replace(first, score_N=-first.score_N, current_N=current_N, tradable_N=tradable_N)
    solution = optimise(second, Bounds(), CONFIG)
    assert solution.weight_N[:5] == pytest.approx(current_N[:5], abs=1e-9)
    assert solution.weight_N.sum() == pytest.approx(1, abs=1e-8)


def test_a_name_without_score_outside_the_index_is_not_bought():
    candidates = market(40)
    score_N = candidates.score_N.copy()
    score_N[-3:] = np.nan
    solution = optimise(replace(candidates, score_N=score_N), Bounds(), CONFIG)
    assert (solution.weight_N[-3:] == 0).all()


def test_turnover_is_relaxed_first_and_by_no_more_than_needed():
    """The portfolio is the first name alone; returning to its active bound takes at least this turnover."""
    current_N = np.zeros(30)
    current_N[0] = 1.0
    candidates = market(30, current_N=current_N)
    bounds = replace(LOOSE, active=0.2, turnover=0.3)
    solution = optimise(candidates, bounds, CONFIG)
    least = 2 * (1 - (candidates.benchmark_N[0] + 0.2))
    assert list(solution.relaxed) == ["turnover"]
    assert solution.relaxed["turnover"] == pytest.approx(least - 0.3, abs=1e-5)
    assert solution.turnover == pytest.approx(least, abs=1e-5)


def test_the_ladder_goes_on_where_turnover_is_not_the_reason():
    """A locked name of half the portfolio breaks its industry bound, which turnover cannot mend."""
    current_N, tradable_N = np.zeros(30), np.ones(30, dtype=bool)
    current_N[:2], tradable_N[0] = 0.5, False
    candidates = market(30, current_N=current_N, tradable_N=tradable_N)
    solution = optimise(candidates, Bounds(), CONFIG)
    assert solution.relaxed["industry"] > 0.1
    assert solution.weight_N[0] == pytest.approx(0.5)
    assert solution.weight_N.sum() == pytest.approx(1, abs=1e-8)


def test_a_session_without_tradable_names_is_reported():
    current_N = np.full(10, 0.1)
    locked = market(10, current_N=current_N, tradable_N=np.zeros(10, dtype=bool))
    assert optimise(locked, Bounds(), CONFIG).relaxed == {"tradable": 0.0}
    with pytest.raises(FpmError, match="FPM-PF-001"):
        optimise(replace(locked, current_N=np.zeros(10)), Bounds(), CONFIG)


@pytest.mark.parametrize("symbols", [2, 4, 12])
def test_universes_of_a_few_names_have_room_to_move(symbols):
    candidates = market(symbols, benchmark_N=np.full(symbols, 1 / symbols), industry_N=np.array([""] * symbols))
    solution = optimise(candidates, Bounds(size=100), CONFIG)
    assert np.abs(solution.weight_N - candidates.benchmark_N).max() > 0.01
    assert solution.weight_N.sum() == pytest.approx(1, abs=1e-8)


def test_same_input_same_weights():
    assert np.array_equal(optimise(market(), Bounds(), CONFIG).weight_N, optimise(market(), Bounds(), CONFIG).weight_N)


def test_shadow_price_is_the_gain_per_unit_of_slack():
    candidates = market(40)
    bounds = replace(LOOSE, size=0.05)
    solution, wider = optimise(candidates, bounds, CONFIG), optimise(candidates, replace(bounds, size=0.051), CONFIG)

    def value(weight_N):
        active = candidates.risk.variance(weight_N - candidates.benchmark_N)
        return z_score(candidates.score_N) @ weight_N - 50 * 252 * active

    gain = (value(wider.weight_N) - value(solution.weight_N)) / 0.001
    assert gain == pytest.approx(solution.shadow["size"], rel=0.05, abs=1e-3)


def test_bounds_by_index():
    assert PortfolioConfig().bounds_for("CSI300").active == 0.005
    assert PortfolioConfig().bounds_for("CSI1000").active == 0.01


def test_drift_by_hand():
    # 0.5 * 1.1 = 0.55, 0.5 * 1 = 0.5 -> 0.55 / 1.05
    assert drift(np.array([0.5, 0.5]), np.array([0.1, np.nan])) == pytest.approx([0.55 / 1.05, 0.5 / 1.05])
    assert drift(np.zeros(2), np.zeros(2)).tolist() == [0.0, 0.0]
