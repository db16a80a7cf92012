"""Figures of an index's portfolio by year and by month, from its curve."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.groups import max_drawdown
from fpm.report.cells import Row, Table
from fpm.report.figure_text import ABSENT, number, percent

if TYPE_CHECKING:
    from fpm.panels import Floats
    from fpm.portfolio.performance import Performance

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LEAST_SESSIONS = 20  # of a yearly tracking error


def yearly(figures: Performance, sessions_per_year: int) -> Table:
    """Return, index, excess, tracking error and drawdown of every calendar year; the first and last may be parts."""
    columns = ("year", "return", "index", "excess", "tracking|error", "max. excess|drawdown", "sessions")
    days = np.array([session.year for session, *_ in figures.curve[1:]])
    gain_T3 = daily_gains(figures)
    rows = []
    for year in sorted(set(days.tolist())):
        own_T3 = gain_T3[days == year]
        total, gap_T = np.prod(1 + own_T3, axis=0) - 1, own_T3[:, 2]
        spread = float(gap_T.std(ddof=1)) * sqrt(sessions_per_year) if len(gap_T) >= LEAST_SESSIONS else None
        cells = (*map(percent, total.tolist()), percent(spread), percent(max_drawdown(gap_T)), number(len(gap_T), 0))
        rows.append(Row((str(year), *cells)))
    return Table(columns, rows)


def monthly(figures: Performance) -> Table:
    """Excess of every month, one row a year."""
    growth: dict[tuple[int, int], float] = {}
    for (session, *_), gap in zip(figures.curve[1:], daily_gains(figures)[:, 2].tolist(), strict=True):
        key = session.year, session.month
        growth[key] = growth.get(key, 1.0) * (1 + gap)
    years = sorted({year for year, _ in growth})
    rows = [
        Row((str(year), *(percent(growth[year, month] - 1) if (year, month) in growth else ABSENT for month in _all())))
        for year in years
    ]
    return Table(("excess", *MONTHS), rows)


def daily_gains(figures: Performance) -> Floats:
    """Daily returns of portfolio, index and excess (T, 3) behind the curve."""
    curve_T3 = np.array([row[1:] for row in figures.curve], dtype=np.float64).reshape(-1, 3)
    return np.asarray(curve_T3[1:] / curve_T3[:-1] - 1)


def _all() -> range:
    return range(1, len(MONTHS) + 1)
