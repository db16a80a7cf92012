"""Costs and capacity by hand, by a slow book of weights, and by scipy's root finder."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.optimize import brentq

from fpm.evaluation.costs import FILLED, PARTICIPATIONS, capacities, costs, trades, weights
from fpm.evaluation.evaluate import EvaluationConfig, evaluate
from fpm.evaluation.figures import Surroundings
from fpm.evaluation.long_short import LongShortConfig
from tests.fpm.evaluation.panels import factor, long
from tests.fpm.report.sample_report import daily

CONFIG = LongShortConfig(weeks_per_year=52, annualise_from=2, level=0.95, draws=10, seed=1)


def test_weights_and_trades_by_hand():
    """Four names in two groups; in the second week one name of each side changes places with one of the other."""
    weight_WN = weights(np.array([[0, 0, 1, 1], [0, 1, 0, 1]]), 2)
    assert weight_WN.tolist() == [[-0.5, -0.5, 0.5, 0.5], [-0.5, 0.5, -0.5, 0.5]]
    assert trades(weight_WN).tolist() == [[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 1.0, 0.0]]


def test_figures_after_costs_by_hand():
    """Traded 2 in each week: 10 bp a trade are 0.002 a week."""
    trade_WN = np.array([[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 1.0, 0.0]])
    paid = costs(np.array([0.03, 0.001]), trade_WN, None, CONFIG)
    ten = {net.basis_points: net for net in paid.net}[10]
    assert (paid.weekly, paid.traded) == (pytest.approx(0.0155), 2.0)
    assert paid.break_even == pytest.approx(0.0155 / 2 * 1e4)
    assert (ten.weekly, ten.win_rate) == (pytest.approx(0.0135), 0.5)
    assert ten.total_return == pytest.approx(1.028 * 0.999 - 1)
    assert ten.annual_return == pytest.approx((1.028 * 0.999) ** 26 - 1)
    assert ten.information_ratio == pytest.approx(ten.annual_return / (np.std([0.028, -0.001], ddof=1) * sqrt(52)))
    assert ten.max_drawdown == pytest.approx(0.001)
    assert paid.capacity == () and costs(np.array([]), np.zeros((0, 4)), None, CONFIG) is None


def test_at_the_break_even_cost_the_mean_week_earns_nothing():
    generator = np.random.default_rng(3)
    trade_WN, spread_W = generator.random((30, 8)), generator.normal(0.004, 0.02, 30)
    points = costs(spread_W, trade_WN, None, CONFIG).break_even
    assert (spread_W - points / 1e4 * trade_WN.sum(axis=1)).mean() == pytest.approx(0, abs=1e-15)


def test_a_whole_factor_pays_what_a_slow_book_of_weights_pays():
    score_TN, label_TN, days = factor(60, 23, strength=0.3)
    label_TN[5:9, 3] = np.nan  # a name without a label is in no group
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), EvaluationConfig(groups=5))
    book: dict[int, float] = {}
    paid, gross = [], dict(figures.long_short.weeks)
    for session, spread in gross.items():
        t = days.index(session)
        names = sorted(np.flatnonzero(np.isfinite(label_TN[t])).tolist(), key=lambda name: float(score_TN[t, name]))
        groups = [place * 5 // len(names) for place in range(len(names))]
        bottom = [name for name, group in zip(names, groups, strict=True) if group == 0]
        top = [name for name, group in zip(names, groups, strict=True) if group == 4]
        target = {name: -1 / len(bottom) for name in bottom} | {name: 1 / len(top) for name in top}
        paid.append(sum(abs(target.get(name, 0) - book.get(name, 0)) for name in {*book, *target}))
        book = target
        assert spread == pytest.approx(sum(weight * label_TN[t, name] for name, weight in target.items()))
    after = figures.costs
    assert after.traded == pytest.approx(np.mean(paid)) and paid[0] == pytest.approx(2)
    assert after.weekly == pytest.approx(np.mean(list(gross.values())))
    returns = np.array(list(gross.values()))
    for net in after.net:
        left = returns - net.basis_points / 1e4 * np.array(paid)
        assert net.total_return == pytest.approx(np.prod(1 + left) - 1)
    assert [net.basis_points for net in after.net] == [5, 10, 20]
    assert after.net[0].total_return > after.net[1].total_return > after.net[2].total_return


def test_capacity_is_the_root_that_scipy_finds():
    generator = np.random.default_rng(0)
    for _ in range(100):
        count = int(generator.integers(2, 15))
        trade_N, amount_N = generator.choice([0.05, 0.1, 0.2], count), generator.exponential(1e6, count)

        def lacking(money: float, d: np.ndarray = trade_N, a: np.ndarray = amount_N) -> float:
            return float(np.minimum(money * d, a).sum() - FILLED * money * d.sum())

        root = brentq(lacking, 1e-3, 1e13, xtol=1e-6, rtol=1e-14)
        rows = capacities(trade_N[None], amount_N[None])
        assert [row.participation for row in rows] == list(PARTICIPATIONS)
        for row in rows:
            assert (row.median, row.cautious) == (pytest.approx(row.participation * root), pytest.approx(row.median))


def test_capacity_by_hand():
    """Two equal trades of 1/2: at K the amount 10 is full, and 10 + K / 2 = 0.9 K gives K = 25."""
    (one, *_) = capacities(np.array([[0.5, 0.5]]), np.array([[10.0, 1000.0]]))
    assert one.median == pytest.approx(0.01 * 25)
    (none, *_) = capacities(np.array([[0.5, 0.5]]), np.array([[np.nan, 1000.0]]))
    assert none.median == 0.0  # half of the value cannot be traded at all
    assert capacities(np.zeros((2, 2)), np.ones((2, 2))) == ()  # nothing to trade has no limit


def test_capacity_of_a_factor_reads_the_amounts_of_the_day_of_the_fill():
    score_TN, label_TN, days = factor(40, 20)
    close_TN = np.ones((40, 20))
    amounts = np.tile(np.arange(1, 41)[:, None] * 1e6, (1, 20))
    bars = daily(close_TN, days, amount=amounts)
    surroundings = Surroundings(daily=bars)
    scores, labels = long(score_TN, "score", days), long(label_TN, "label", days)
    figures = evaluate(scores, labels, EvaluationConfig(groups=2), surroundings)
    held = dict(figures.long_short.weeks)
    assert figures.costs.capacity
    later = [days.index(session) + 1 for session in held][1:]  # amounts of t + 1, after the first week
    doubled = daily(close_TN, days, amount=np.where(np.isin(np.arange(40), later)[:, None], 2 * amounts, amounts))
    again = evaluate(scores, labels, EvaluationConfig(groups=2), Surroundings(daily=doubled))
    for before, after in zip(figures.costs.capacity, again.costs.capacity, strict=True):
        assert after.median == pytest.approx(2 * before.median)
        assert after.cautious == pytest.approx(2 * before.cautious)
