"""The six figures by hand."""

from __future__ import annotations

from datetime import date
from math import sqrt

import numpy as np
import polars as pl
import pytest

from fpm.portfolio.performance import monthly_win_rate, performance
from tests.fpm.evaluation.panels import weekdays

MONDAY = date(2025, 6, 2)
NO_TRADES = pl.DataFrame(schema={"session": pl.Date, "amount": pl.Float64, "cost": pl.Float64})
NONE_BLOCKED = pl.DataFrame(schema={"session": pl.Date, "value": pl.Float64})


def nav_rows(own_T, theirs_T, start: float = 1e8) -> pl.DataFrame:
    """Rows of `nav`: the first close, then one a return."""
    days = weekdays(MONDAY, len(own_T) + 1)
    value_T = start * np.cumprod([1.0, *(1 + np.asarray(own_T))])
    return pl.DataFrame({"session": days, "nav": value_T, "benchmark_return": [0.0, *theirs_T]})


def test_the_six_figures_by_definition() -> None:
    rng = np.random.default_rng(0)
    own_T, theirs_T = rng.normal(0.001, 0.01, 60), rng.normal(0, 0.01, 60)
    figures, gap_T = performance(nav_rows(own_T, theirs_T), NO_TRADES, NONE_BLOCKED), own_T - theirs_T
    excess = np.prod(1 + gap_T) ** (252 / 60) - 1
    assert figures.total_return == pytest.approx(np.prod(1 + own_T) - 1)
    assert figures.annual_return == pytest.approx(np.prod(1 + own_T) ** (252 / 60) - 1)
    assert figures.annual_excess == pytest.approx(excess)
    assert figures.tracking_error == pytest.approx(gap_T.std(ddof=1) * sqrt(252))
    assert figures.information_ratio == pytest.approx(excess / (gap_T.std(ddof=1) * sqrt(252)))
    curve = np.concatenate([[1.0], np.cumprod(1 + gap_T)])
    assert figures.max_drawdown == pytest.approx((1 - curve / np.maximum.accumulate(curve)).max())
    assert [row[3] for row in figures.curve] == pytest.approx(curve)


def test_turnover_cost_and_blocked_by_hand() -> None:
    """Bought for 90 of 100, then 20 traded of 100 while 5 could not be: 20 % turnover, 5 of 115 blocked."""
    nav = nav_rows([0.0] * 4, [0.0] * 4, 100.0)
    days = nav["session"].to_list()
    trades = pl.DataFrame(
        {"session": [days[0], days[2], days[2]], "amount": [90.0, 12.0, 8.0], "cost": [0.3, 0.1, 0.1]}
    )
    blocked = pl.DataFrame({"session": [days[2]], "value": [5.0]})
    figures = performance(nav, trades, blocked)
    assert (figures.rebalances, figures.sessions) == (2, 4)
    assert figures.turnover == pytest.approx(0.2)
    assert figures.blocked == pytest.approx(5 / 115)
    assert figures.cost == pytest.approx(0.005)


def test_monthly_win_rate_by_hand() -> None:
    sessions = [date(2025, 1, 30), date(2025, 1, 31), date(2025, 2, 3), date(2025, 3, 3)]
    gap = np.array([0.02, -0.01, -0.01, 0.01])
    assert monthly_win_rate(sessions, gap) == pytest.approx(2 / 3)
    assert monthly_win_rate([], np.array([])) is None


def test_short_histories_are_not_annualised() -> None:
    figures = performance(nav_rows([0.01, -0.02], [0.0, 0.0]), NO_TRADES, NONE_BLOCKED)
    yearly = (figures.annual_return, figures.annual_excess, figures.tracking_error, figures.information_ratio)
    assert yearly == (None, None, None, None)
    assert figures.total_return == pytest.approx(1.01 * 0.98 - 1)
    assert figures.turnover is None


def test_a_portfolio_of_one_close_has_no_return() -> None:
    figures = performance(nav_rows([], []), NO_TRADES, NONE_BLOCKED)
    assert (figures.sessions, figures.total_return, figures.monthly_win_rate) == (0, None, None)
    assert len(figures.curve) == 1
