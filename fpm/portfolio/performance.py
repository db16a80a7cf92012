"""The six figures of a portfolio against its index, from its value at every close.

The source report's columns: return, excess (compounded daily differences), tracking error, information ratio, monthly
win rate, drawdown of the excess.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fpm.evaluation.groups import geometric_annual, max_drawdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.panels import Floats


@dataclass(frozen=True)
class PerformanceConfig:
    """`annualise_from`: sessions that yearly figures need."""

    sessions_per_year: int = 252
    annualise_from: int = 20


@dataclass(frozen=True)
class Performance:
    """The six figures of the source report's table and those behind them; yearly ones are None for short histories.

    Excess figures compound the daily differences to the benchmark. `curve`: session, portfolio, benchmark and excess,
    each starting at 1 at the first close after the first purchase. `turnover`: two-sided traded value per rebalance,
    the first purchase apart. `blocked`: share of the ordered value that could not be traded. `cost`: paid in all, as a
    share of the first value.
    """

    sessions: int
    rebalances: int
    total_return: float | None
    total_excess: float | None
    annual_return: float | None
    annual_excess: float | None
    tracking_error: float | None
    information_ratio: float | None
    monthly_win_rate: float | None
    max_drawdown: float | None
    turnover: float | None
    blocked: float | None
    cost: float | None
    curve: tuple[tuple[date, float, float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values of the fields, dates as ISO text."""
        figures = asdict(self)
        return {**figures, "curve": [[session.isoformat(), *values] for session, *values in self.curve]}


def performance(
    nav: pl.DataFrame, trades: pl.DataFrame, blocked: pl.DataFrame, config: PerformanceConfig | None = None
) -> Performance:
    """Figures of one index's portfolio.

    `nav`: session, nav, benchmark_return. `trades`: session, amount, cost. `blocked`: session, value of what was
    ordered and not filled.
    """
    config, nav = config or PerformanceConfig(), nav.sort("session")
    value_T, sessions = nav["nav"].to_numpy(), nav["session"].to_list()
    own = value_T[1:] / value_T[:-1] - 1
    theirs = nav["benchmark_return"].to_numpy()[1:]
    gap, enough = own - theirs, len(own) >= config.annualise_from
    excess = geometric_annual(gap, config.sessions_per_year) if enough else None
    deviation = float(gap.std(ddof=1)) * sqrt(config.sessions_per_year) if enough else None
    traded = trades.group_by("session").agg(pl.col("amount").sum()).join(nav, on="session").sort("session")
    turnover = (traded["amount"] / traded["nav"]).to_list()
    missed, amount = float(blocked["value"].sum()), float(trades["amount"].sum())
    curves = [np.concatenate([[1.0], np.cumprod(1 + series)]).tolist() for series in (own, theirs, gap)]
    return Performance(
        sessions=len(own),
        rebalances=len(turnover),
        total_return=float(np.prod(1 + own) - 1) if len(own) else None,
        total_excess=float(np.prod(1 + gap) - 1) if len(own) else None,
        annual_return=geometric_annual(own, config.sessions_per_year) if enough else None,
        annual_excess=excess,
        tracking_error=deviation,
        information_ratio=excess / deviation if excess is not None and deviation else None,
        monthly_win_rate=monthly_win_rate(sessions[1:], gap),
        max_drawdown=max_drawdown(gap),
        turnover=float(np.mean(turnover[1:])) if len(turnover) > 1 else None,
        blocked=missed / (missed + amount) if missed + amount > 0 else None,
        cost=float(trades["cost"].sum()) / float(value_T[0]) if len(value_T) else None,
        curve=tuple(zip(sessions, *curves, strict=True)) if sessions else (),
    )


def realised_tracking_error(nav: pl.DataFrame, sessions_per_year: int, least: int = 20) -> float | None:
    """Yearly deviation of the daily differences to the benchmark (nav: session, nav, benchmark_return).

    None for fewer than `least` of them.
    """
    rows = nav.sort("session")
    value_T = rows["nav"].to_numpy()
    gap = value_T[1:] / value_T[:-1] - 1 - rows["benchmark_return"].to_numpy()[1:]
    return float(gap.std(ddof=1)) * sqrt(sessions_per_year) if len(gap) >= least else None


def monthly_win_rate(sessions: Sequence[date], gap: Floats) -> float | None:
    """Share of calendar months with compounded daily differences `gap` above zero; None without sessions."""
    months: dict[tuple[int, int], float] = {}
    for session, difference in zip(sessions, gap.tolist(), strict=True):
        key = (session.year, session.month)
        months[key] = months.get(key, 1.0) * (1 + difference)
    return float(np.mean([growth > 1 for growth in months.values()])) if months else None
