"""The long-short portfolio of a factor: top group minus bottom group on the weekly grid, with intervals.

Equal weight, not halved, compounded week by week, as in the source report. Shapes: W weeks, G groups, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.groups import drawdowns, geometric_annual, max_drawdown
from fpm.evaluation.intervals import Interval, percentiles, resamples
from fpm.panels import Floats, mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

BLOCK = 4  # weeks resampled together: moves of one month stay together


@dataclass(frozen=True)
class LongShort:
    """Figures of the long-short portfolio; None where a history is too short.

    `weeks`: returns by session of the weekly grid. `intervals`: of annual_return, information_ratio, win_rate,
    max_drawdown and turnover, by block bootstrap over the weeks, where one can be computed.
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
class LongShortConfig:
    """Settings of the weekly figures. `annualise_from`: weeks from which on figures are annualised."""

    weeks_per_year: int
    annualise_from: int
    level: float
    draws: int
    seed: int


def long_short(returns_WG: Floats, turnover_W: Floats, sessions: Sequence[date], config: LongShortConfig) -> LongShort:
    """Figures of top minus bottom group. `returns_WG` and `turnover_W` belong to the `sessions` of the weekly grid."""
    spread_W = returns_WG[:, -1] - returns_WG[:, 0]
    finite_W = np.isfinite(spread_W)
    returns = spread_W[finite_W]
    enough = len(returns) >= config.annualise_from
    weeks = [session for session, finite in zip(sessions, finite_W, strict=True) if finite]
    annual = geometric_annual(returns, config.weeks_per_year) if enough else None
    return LongShort(
        tuple(zip(weeks, returns.tolist(), strict=True)),
        float(np.prod(1 + returns) - 1) if len(returns) else None,
        annual,
        information_ratio(returns, annual, config.weeks_per_year),
        float((returns > 0).mean()) if len(returns) else None,
        max_drawdown(returns),
        mean(turnover_W),
        intervals(returns, turnover_W[np.isfinite(turnover_W)], config) if enough else (),
    )


def information_ratio(returns: Floats, annual: float | None, per_year: int) -> float | None:
    """Annual return over annual volatility; None where either is missing."""
    volatility = float(returns.std(ddof=1)) * sqrt(per_year) if len(returns) > 1 else 0.0
    return annual / volatility if annual is not None and volatility > 0 else None


def intervals(returns: Floats, turnover: Floats, config: LongShortConfig) -> tuple[tuple[str, Interval], ...]:
    """Percentile intervals of the figures by name, over circular block resamples of the weeks."""
    resample_RW = resamples(returns, BLOCK, config.draws, config.seed)
    turnover_RW = resamples(turnover, BLOCK, config.draws, config.seed) if len(turnover) else turnover[:, None]
    growth_R = np.prod(1 + resample_RW, axis=1)
    volatility_R = resample_RW.std(axis=1, ddof=1) * sqrt(config.weeks_per_year)
    with np.errstate(divide="ignore", invalid="ignore"):
        annual_R = np.where(growth_R > 0, growth_R, np.nan) ** (config.weeks_per_year / len(returns)) - 1
        figures = {
            "annual_return": annual_R,
            "information_ratio": annual_R / volatility_R,
            "win_rate": (resample_RW > 0).mean(axis=1),
            "max_drawdown": drawdowns(resample_RW),
            "turnover": turnover_RW.mean(axis=1),
        }
    bounds = {name: percentiles(values_R, config.level, "block-bootstrap") for name, values_R in figures.items()}
    return tuple((name, interval) for name, interval in bounds.items() if interval is not None)
