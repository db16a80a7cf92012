"""Whole lots against enumeration: the rules share by share, tiny books lot by lot, bounds from the rounded weights."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.errors import FpmError
from fpm.portfolio.lots import LotRules, optimise_lots
from fpm.portfolio.problem import Bounds
from tests.fpm.portfolio.instances import instance


def reachable(held: int, star: bool, most: int = 1500) -> list[int]:
    """Every holding that one order reaches, order by order."""
    holdings = {held}
    for size in range(1, most + 1):
        if star:
            buy, sell = size >= 200, size >= 200 or size == held
        else:
            # A remainder below a lot is sold whole, alone or with whole lots.
            buy, sell = size % 100 == 0, size % 100 == 0 or size % 100 == held % 100
        holdings |= ({held + size} if buy else set()) | ({held - size} if sell and size <= held else set())
    return sorted(holdings)


@pytest.mark.parametrize("star", [False, True])
@pytest.mark.parametrize("held", [0, 37, 100, 199, 200, 250, 437, 800])
def test_rules_by_enumeration(held, star):
    wish_W, holdings = np.arange(0, 1200, 0.5), np.array(reachable(held, star))
    rules = LotRules(np.full(len(wish_W), held), np.full(len(wish_W), star))
    below, above = np.searchsorted(holdings, wish_W, "right") - 1, np.searchsorted(holdings, wish_W, "left")
    np.testing.assert_array_equal(rules.below(wish_W), holdings[below])
    np.testing.assert_array_equal(rules.above(wish_W), holdings[above])
    nearest = rules.nearest(wish_W, np.zeros(len(wish_W), dtype=np.int64), np.full(len(wish_W), 1300))
    np.testing.assert_array_equal(np.abs(nearest - wish_W), np.abs(holdings[:, None] - wish_W).min(axis=0))


def book(count: int, seed: int, capital: float, **replacements: object):
    """A problem, prices, and shares in lots, one odd, one of STAR."""
    generator = np.random.default_rng(seed)
    problem = instance(count, seed, **({"participation_N": np.full(count, 0.1)} | replacements))
    symbols = ("688001.SH", *problem.symbols[1:])
    problem = replace(problem, symbols=symbols, risk=replace(problem.risk, symbols=symbols))
    price_N = np.round(generator.lognormal(2.7, 0.8, count), 2)
    share_N = (problem.weight_N * 0.98 * capital / price_N / 100).astype(np.int64) * 100
    share_N[1] += 37
    return problem, price_N, share_N


def excess_of(problem, bounds, price_N, capital, held_N, share_N, width):
    """Excess over every bound, from shares alone."""
    weight_N, held = share_N * price_N / capital, held_N * price_N / capital
    active_N = weight_N - problem.benchmark_N
    y_K = problem.risk.exposure_NK.T @ active_N
    variance = y_K @ problem.risk.covariance_KK @ y_K + active_N**2 @ problem.risk.specific_N
    styles = {name: abs(exposure_N @ active_N) - bounds.style for name, exposure_N in problem.style.items()}
    styles["size"] += bounds.style - bounds.size
    return styles | {
        "turnover": np.abs(weight_N - held).sum() - bounds.turnover,
        "industry": max(abs(active_N[problem.industry_N == name].sum()) for name in set(problem.industry_N))
        - bounds.industry,
        "tracking_error": np.sqrt(252 * variance) - bounds.tracking_error,
        "members": bounds.members - weight_N[problem.benchmark_N > 0].sum(),
        "active": np.abs(active_N[problem.tradable_N]).max() - width,
        "cash left": 1 - weight_N.sum() - bounds.cash,
    }


def holds(problem, price_N, capital, held_N, share_N):
    """What every answer keeps: reachable shares, cash that pays the costs, names that may not trade."""
    weight_N, trade_N = share_N * price_N / capital, (share_N - held_N) * price_N / capital
    cost = np.maximum(trade_N, 0) @ problem.buy_cost_N + np.maximum(-trade_N, 0) @ problem.sell_cost_N
    cost += problem.impact_N @ np.abs(trade_N) ** 1.5
    moved = share_N != held_N
    return (
        weight_N.sum() + cost <= 1 + 1e-6
        and not (moved & ~problem.tradable_N).any()
        and not ((share_N > held_N) & ~problem.buyable_N).any()
        and not ((share_N < held_N) & ~problem.sellable_N).any()
        and (np.abs(trade_N) <= problem.participation_N + 1e-9).all()
        and all(
            share == held or share in reachable(int(held), symbol.startswith("688"), int(abs(share - held)))
            for symbol, share, held in zip(problem.symbols[:2], share_N[:2], held_N[:2], strict=True)
        )
        and ((share_N - held_N)[2:] % 100 == 0).all()
    )


CASES = [(300, 1e9), (300, 1e8), (800, 1e9), (800, 1e8)]


@pytest.mark.parametrize(("count", "capital"), CASES)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_bound_holds_after_rounding(count, capital, seed):
    problem, price_N, share_N = book(count, seed, capital, impact_N=np.full(count, 0.05 * (seed - 1)))
    bounds = Bounds(tracking_error=0.014, cash=0.01)
    result = optimise_lots(problem, bounds, price_N, capital, share_N)
    excess = excess_of(problem, bounds, price_N, capital, share_N, result.share_N, 0.01)
    assert result.exact.relaxed == {} and result.solution.relaxed == {}
    assert max(excess.values()) <= 1e-6
    assert holds(problem, price_N, capital, share_N, result.share_N)
    # What whole lots cost: a share of what the rebalance gains
    held = replace(problem, weight_N=share_N * price_N / capital)
    gained = result.exact.objective - held.objective(held.weight_N)
    assert result.exact.objective - result.solution.objective <= 0.01 * gained


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    capital=st.sampled_from([1e6, 1e7, 1e8]),
    turnover=st.sampled_from([0.05, 0.3]),
    tracking_error=st.sampled_from([0.005, 0.02]),
    cash=st.sampled_from([0.001, 0.02]),
)
def test_every_bound_that_lots_break_is_named(seed, capital, turnover, tracking_error, cash):
    problem, price_N, share_N = book(40, seed, capital)
    bounds = Bounds(turnover=turnover, tracking_error=tracking_error, cash=cash, active=0.02, active_share=0)
    result = optimise_lots(problem, bounds, price_N, capital, share_N)
    excess = excess_of(problem, bounds, price_N, capital, share_N, result.share_N, 0.02)
    for name, value in excess.items():
        assert value <= result.solution.relaxed.get(name, 0.0) + 1e-6, name
        assert (name in result.solution.relaxed) == (value > 1e-6), name
    assert holds(problem, price_N, capital, share_N, result.share_N)


@pytest.mark.parametrize("seed", range(12))
def test_tiny_books_by_enumeration(seed):
    """Four names, up to nine lots each: every affordable book within the bounds, and the best of them."""
    count, capital = 4, 40_000.0
    base = instance(count, seed)
    open_N = np.ones(count, dtype=bool)
    problem = replace(
        base,
        participation_N=np.ones(count),
        **dict.fromkeys(("tradable_N", "buyable_N", "sellable_N"), open_N),
        benchmark_N=np.full(count, 0.25),
    )
    price_N = np.random.default_rng(seed).uniform(20, 60, count).round(2)
    share_N = (0.22 * capital / price_N / 100).astype(np.int64) * 100
    bounds = Bounds(active=0.2, active_share=0, industry=0.25, size=0.3, style=0.8, members=0.6, turnover=1, cash=0.2)
    result = optimise_lots(problem, bounds, price_N, capital, share_N)
    held = replace(problem, weight_N=share_N * price_N / capital)
    feasible = {}
    for lots in product(*(range(int(0.5 * capital / price / 100) + 1) for price in price_N)):
        wish_N = np.array(lots) * 100
        excess = excess_of(problem, bounds, price_N, capital, share_N, wish_N, 0.2)
        if max(excess.values()) <= 1e-6 and holds(problem, price_N, capital, share_N, wish_N):
            feasible[tuple(wish_N.tolist())] = held.objective(wish_N * price_N / capital)
    if not feasible:
        assert result.solution.relaxed
        return
    assert result.solution.relaxed == {}
    chosen = feasible[tuple(result.share_N.tolist())]
    best, worst = max(feasible.values()), min(feasible.values())
    assert chosen >= best - 0.05 * (best - worst)


def test_a_missing_price_has_a_code():
    problem, price_N, share_N = book(20, 1, 1e8)
    price_N[4] = np.nan
    with pytest.raises(FpmError, match=r"FPM-PF-041.*600004.SH"):
        optimise_lots(problem, Bounds(), price_N, 1e8, share_N)
    with pytest.raises(FpmError, match="FPM-PF-041"):
        optimise_lots(problem, Bounds(), np.ones(20), 0.0, share_N)
