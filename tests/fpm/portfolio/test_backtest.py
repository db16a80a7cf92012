"""Fills, costs and the six figures, by hand."""

from __future__ import annotations

from datetime import date
from math import sqrt

import numpy as np
import polars as pl
import pytest

from fpm.portfolio.backtest import BacktestConfig, backtest, monthly_win_rate, prices
from tests.fpm.evaluation.panels import long, symbol_names, weekdays

MONDAY = date(2025, 6, 2)
FREE = BacktestConfig(cost=0.0)


def daily(close_TN, days, **columns) -> pl.DataFrame:
    """daily_bars rows: open = close = vwap, wide range, no limits; `columns` replace the columns of their names."""
    close_TN = np.asarray(close_TN, dtype=float)
    panels = {
        "close": close_TN,
        "open": close_TN,
        "low": close_TN * 0.9,
        "high": close_TN * 1.1,
        "volume": np.full_like(close_TN, 100.0),
        "amount": close_TN * 100,
        "adj_factor": np.ones_like(close_TN),
        "limit_up": close_TN * 2,
        "limit_down": close_TN / 2,
    }
    panels |= {name: np.asarray(values, dtype=float) for name, values in columns.items() if name != "suspended"}
    frame = long(panels["close"], "close", days)
    for name, values in panels.items():
        frame = frame.with_columns(long(values, name, days)[name])
    suspended = np.asarray(columns.get("suspended", np.zeros_like(close_TN)), dtype=bool)
    return frame.with_columns(pl.Series("suspended", suspended.ravel()))


def weights(rows, days) -> pl.DataFrame:
    return long(np.asarray(rows, dtype=float), "weight", days)


def test_fills_are_at_the_next_sessions_vwap_not_at_the_close_of_the_rebalance():
    """Target set at 10, filled at vwap 11, closes 12 then 15: from the first close on it earns 25 %."""
    days = weekdays(MONDAY, 3)
    bars = daily([[10], [12], [15]], days, amount=[[1000], [1100], [1500]], low=[[9], [11], [14]])
    performance = backtest(weights([[1]], days[:1]), weights([[1]] * 3, days), bars, FREE)
    assert performance.total_return == pytest.approx(15 / 12 - 1)
    assert [row[0] for row in performance.curve] == days[1:]
    assert performance.rebalances == 1


def test_a_rebalance_by_hand_with_costs():
    """Half and half; at the second rebalance all goes to the second name. Prices stand still, 0.15 % a side."""
    days = weekdays(MONDAY, 4)
    bars = daily(np.full((4, 2), 10.0), days)
    targets = weights([[0.5, 0.5], [0.0, 1.0]], [days[0], days[2]])
    performance = backtest(targets, weights(np.full((4, 2), 0.5), days), bars)
    after = 0.5 + (0.5 * (1 - 0.0015)) / (1 + 0.0015)
    assert performance.total_return == pytest.approx(after - 1)
    assert performance.turnover == pytest.approx(0.5 + 0.5 * (1 - 0.0015) / (1 + 0.0015))
    assert performance.blocked == pytest.approx(0, abs=1e-3)


def test_suspended_names_stay_and_the_purchase_waits():
    days = weekdays(MONDAY, 4)
    halted = np.zeros((4, 2))
    halted[3, 0] = 1
    bars = daily([[10, 10], [10, 10], [10, 10], [10, 20]], days, suspended=halted)
    targets = weights([[0.5, 0.5], [0.0, 1.0]], [days[0], days[2]])
    performance = backtest(targets, weights(np.full((4, 2), 0.5), days), bars, FREE)
    # 0.5 in each; the second doubles to 1.0; all 1.5 should go there, but the first cannot be sold: no cash to buy
    assert performance.total_return == pytest.approx(0.5)
    assert performance.blocked == pytest.approx(1.0 / 1.5 / (1.0 + 1.0 / 1.5))


@pytest.mark.parametrize(("locked", "buyable", "sellable"), [("up", False, True), ("down", True, False)])
def test_a_session_locked_at_its_limit_trades_one_way_only(locked, buyable, sellable):
    days = weekdays(MONDAY, 1)
    bars = daily([[10.0]], days, low=[[10.0]], high=[[10.0]], **{f"limit_{locked}": [[10.0]]})
    market = prices(bars)
    assert (market.buyable_TN.item(), market.sellable_TN.item()) == (buyable, sellable)


def test_touching_the_limit_is_not_being_locked():
    market = prices(daily([[10.0]], weekdays(MONDAY, 1), low=[[9.5]], high=[[10.0]], limit_up=[[10.0]]))
    assert market.buyable_TN.item()


@pytest.mark.parametrize("amount", [np.nan, 100_000.0])
def test_the_open_where_amounts_are_missing_or_in_other_units(amount):
    market = prices(daily([[10.0]], weekdays(MONDAY, 1), amount=[[amount]], open=[[9.5]]))
    assert market.fill_TN.item() == 9.5


def test_no_volume_no_trade():
    market = prices(daily([[10.0]], weekdays(MONDAY, 1), volume=[[0.0]], amount=[[0.0]]))
    assert not market.buyable_TN.item()
    assert not market.sellable_TN.item()


def test_a_split_earns_nothing():
    days = weekdays(MONDAY, 4)
    close = [[10.0], [10.0], [5.0], [5.0]]
    bars = daily(close, days, adj_factor=[[1], [1], [2], [2]])
    performance = backtest(weights([[1]], days[:1]), weights([[1]] * 4, days), bars, FREE)
    assert performance.total_return == pytest.approx(0.0)
    assert performance.total_excess == pytest.approx(0.0)


def test_holding_the_index_earns_the_index():
    generator = np.random.default_rng(1)
    days = weekdays(MONDAY, 40)
    close_TN = 10 * np.exp(np.cumsum(generator.normal(0, 0.02, (40, 5)), axis=0))
    value_TN = close_TN / close_TN[1] / 5  # bought in equal parts at the close of the second session, then left alone
    index = weights(value_TN / value_TN.sum(axis=1, keepdims=True), days)
    performance = backtest(weights([[0.2] * 5], days[:1]), index, daily(close_TN, days), FREE)
    assert performance.total_excess == pytest.approx(0.0, abs=1e-12)
    assert performance.total_return == pytest.approx((close_TN[-1] / close_TN[1]).mean() - 1)


def test_the_six_figures_by_definition():
    generator = np.random.default_rng(2)
    days = weekdays(MONDAY, 80)
    close_TN = 10 * np.exp(np.cumsum(generator.normal(0, 0.02, (80, 3)), axis=0))
    performance = backtest(weights([[1, 0, 0]], days[:1]), weights([[0, 1, 0]] * 80, days), daily(close_TN, days), FREE)
    own = close_TN[2:, 0] / close_TN[1:-1, 0] - 1
    theirs = close_TN[2:, 1] / close_TN[1:-1, 1] - 1
    gap, curve = own - theirs, np.cumprod([1, *(1 + own - theirs)])
    excess, error = curve[-1] ** (252 / 78) - 1, gap.std(ddof=1) * sqrt(252)
    assert performance.sessions == 78
    assert performance.annual_return == pytest.approx(np.prod(1 + own) ** (252 / 78) - 1)
    assert performance.annual_excess == pytest.approx(excess)
    assert performance.tracking_error == pytest.approx(error)
    assert performance.information_ratio == pytest.approx(excess / error)
    assert performance.max_drawdown == pytest.approx(max(1 - min(curve[i:]) / curve[i] for i in range(79)))
    assert performance.total_excess == pytest.approx(curve[-1] - 1)
    assert performance.curve[-1][3] == pytest.approx(curve[-1])


def test_monthly_win_rate_by_hand():
    sessions = [date(2025, 6, 30), date(2025, 7, 1), date(2025, 7, 31), date(2025, 8, 1)]
    # June +1 %; July +1 % then -2 %; August 0
    assert monthly_win_rate(sessions, np.array([0.01, 0.01, -0.02, 0.0])) == pytest.approx(1 / 3)
    assert monthly_win_rate([], np.array([])) is None


def test_short_histories_are_not_annualised():
    days = weekdays(MONDAY, 10)
    performance = backtest(weights([[1]], days[:1]), weights([[1]] * 10, days), daily(np.full((10, 1), 10.0), days))
    assert (
        performance.annual_return
        is performance.annual_excess
        is performance.tracking_error
        is performance.information_ratio
        is None
    )
    assert performance.total_return == pytest.approx(0.0)


def test_targets_of_the_last_session_have_no_performance_yet():
    days = weekdays(MONDAY, 2)
    performance = backtest(weights([[1]], days[1:]), weights([[1]] * 2, days), daily([[10], [10]], days))
    assert (performance.sessions, performance.rebalances, performance.total_return, performance.curve) == (
        0,
        0,
        None,
        (),
    )


def test_a_name_that_stops_trading_keeps_its_last_price():
    days = weekdays(MONDAY, 4)
    bars = daily([[10, 10], [10, 10], [10, 10], [10, 10]], days).filter(
        ~((pl.col("symbol") == symbol_names(2)[0]) & (pl.col("session") >= days[2]))
    )
    performance = backtest(weights([[0.5, 0.5]], days[:1]), weights(np.full((4, 2), 0.5), days), bars, FREE)
    assert performance.total_return == pytest.approx(0.0)
