"""The long-short portfolio of a factor: top group minus bottom group on the weekly grid, and how sure its figures are.

Equal weight, not halved, compounded week by week, as the source report counts. Shapes: W weeks, G groups, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.groups import drawdowns, geometric_annual, max_drawdown
from fpm.evaluation.intervals import Interval, percentiles, resampled
from fpm.panels import Floats, mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

BLOCK = 4  # weeks that are resampled together: a month of moves stays one


@dataclass(frozen=True)
class LongShort:
    """`weeks`: returns by session of the grid. `intervals`: of annual_return, information_ratio, win_rate,
    max_drawdown and turnover, by block bootstrap over the weeks; an interval that cannot be had is left out.
    """

    weeks: tuple[tuple[date, float], ...]
    total_return: float | None
    annual_return: float | None
    information_ratio: float | None
    win_rate: float | None
    max_drawdown: float | None
    turnover: float | None
    intervals: tuple[tuple[str, Interval], ...] = ()


@dataclass(frozen=True)
class Grid:
    """How weekly returns are summed up: `annualise_from`: fewer weeks than this are not blown up to a year."""

    weeks_per_year: int
    annualise_from: int
    level: float
    draws: int
    seed: int


def long_short(returns_WG: Floats, turnover_W: Floats, sessions: Sequence[date], grid: Grid) -> LongShort:
    """Figures of the last group's return less the first's over the sessions of the weekly grid."""
    spread_W = returns_WG[:, -1] - returns_WG[:, 0]
    here_W = np.isfinite(spread_W)
    returns = spread_W[here_W]
    enough = len(returns) >= grid.annualise_from
    weeks = [session for session, here in zip(sessions, here_W, strict=True) if here]
    annual = geometric_annual(returns, grid.weeks_per_year) if enough else None
    return LongShort(
        tuple(zip(weeks, returns.tolist(), strict=True)),
        float(np.prod(1 + returns) - 1) if len(returns) else None,
        annual,
        information_ratio(returns, annual, grid.weeks_per_year),
        float((returns > 0).mean()) if len(returns) else None,
        max_drawdown(returns),
        mean(turnover_W),
        intervals(returns, turnover_W[np.isfinite(turnover_W)], grid) if enough else (),
    )


def information_ratio(returns: Floats, annual: float | None, per_year: int) -> float | None:
    """Annual return over annual volatility; None where there is neither."""
    volatility = float(returns.std(ddof=1)) * sqrt(per_year) if len(returns) > 1 else 0.0
    return annual / volatility if annual is not None and volatility > 0 else None


def intervals(returns: Floats, turnover: Floats, grid: Grid) -> tuple[tuple[str, Interval], ...]:
    """Percentile intervals of the figures over circular block resamples of the weeks."""
    drawn_RW = resampled(returns, BLOCK, grid.draws, grid.seed)
    growth_R, volatility_R = np.prod(1 + drawn_RW, axis=1), drawn_RW.std(axis=1, ddof=1) * sqrt(grid.weeks_per_year)
    with np.errstate(divide="ignore", invalid="ignore"):
        annual_R = np.where(growth_R > 0, growth_R, np.nan) ** (grid.weeks_per_year / len(returns)) - 1
        figures = {
            "annual_return": annual_R,
            "information_ratio": annual_R / volatility_R,
            "win_rate": (drawn_RW > 0).mean(axis=1),
            "max_drawdown": drawdowns(drawn_RW),
            "turnover": resampled(turnover, BLOCK, grid.draws, grid.seed).mean(axis=1) if len(turnover) else turnover,
        }
    found = {name: percentiles(values_R, grid.level, "block-bootstrap") for name, values_R in figures.items()}
    return tuple((name, interval) for name, interval in found.items() if interval is not None)
