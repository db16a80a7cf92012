"""RankIC of one factor by year, month, industry, size, lag and basis; of its neutral scores; beside known factors.

Every figure is a mean over sessions with equal weight and its Newey-West interval, in units of a correlation. Shapes:
T sessions, N symbols, G groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.evaluation.execution import BASES, fillable, returns_on
from fpm.evaluation.groups import memberships
from fpm.evaluation.intervals import Estimate, estimate, newey_west, possible
from fpm.evaluation.neutral import neutral
from fpm.evaluation.rank_ic import (
    decay_series,
    lagged_correlations,
    rank_correlations,
    rank_correlations_within,
    restrict,
    sort,
)
from fpm.panels import Floats, pivot, pivots, weekly_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.evaluation.figures import NamedEstimates
    from fpm.evaluation.intervals import Interval
    from fpm.evaluation.labelled_panel import LabelledPanel

PERSISTENCE_LAGS = (1, 5, 10, 20)  # sessions: the next one, a label, two, a month


def by_year(sessions: Sequence[date], series_T: Floats) -> tuple[tuple[int, float, int], ...]:
    """Year, mean RankIC, and number of sessions with a RankIC, for every year with any."""
    year_T = np.array([session.year for session in sessions])
    valid_T = np.isfinite(series_T)
    return tuple(
        (int(year), float(series_T[(year_T == year) & valid_T].mean()), int(((year_T == year) & valid_T).sum()))
        for year in np.unique(year_T[valid_T])
    )


def year_intervals(panel: LabelledPanel, series_T: Floats, years: Sequence[int]) -> tuple[Interval | None, ...]:
    """Interval of each year's mean."""
    config, year_T = panel.config, np.array([session.year for session in panel.sessions])
    parts = (np.where(year_T == year, series_T, np.nan) for year in years)
    return tuple(possible(newey_west(part_T, config.horizon, config.level)) for part_T in parts)


def by_month(panel: LabelledPanel, series_T: Floats) -> NamedEstimates:
    """Mean RankIC of every calendar month with any, by its ISO name (2025-06)."""
    month_T = np.array([f"{session:%Y-%m}" for session in panel.sessions], dtype=str)
    months = np.unique(month_T[np.isfinite(series_T)]).tolist()
    parts = {month: np.where(month_T == month, series_T, np.nan) for month in months}
    return tuple((month, estimate(part_T, panel.config.horizon, panel.config.level)) for month, part_T in parts.items())


def by_industry(panel: LabelledPanel) -> NamedEstimates:
    """Mean RankIC among the names of each industry alone, by industry; those without a session are left out.

    Ranks are taken inside the industry, so that no figure of it comes from moves of whole industries.
    """
    if panel.industries is None:
        return ()
    names, config = panel.industry_names, panel.config
    series_TG = rank_correlations_within(panel.score, panel.label, panel.industries, len(names), config.minimum_symbols)
    parts = [
        (name, estimate(series_T, config.horizon, config.level))
        for name, series_T in zip(names, series_TG.T, strict=True)
    ]
    return tuple((name, part) for name, part in parts if part.value is not None)


def by_size(panel: LabelledPanel) -> NamedEstimates:
    """Mean RankIC among the names of each size group."""
    if panel.surroundings.sizes is None:
        return ()
    groups = panel.config.size_groups
    size_TN = pivot(panel.surroundings.sizes, "size", panel.sessions, panel.symbols)
    numbered = tuple(f"size {i + 1}" for i in range(groups))
    names = {2: ("small", "large"), 3: ("small", "middle", "large")}.get(groups, numbered)
    group_TN = memberships(restrict(sort(size_TN), panel.score.available_TN), groups)
    return tuple(
        (name, panel.estimate(restrict(panel.score, group_TN == group), panel.label))
        for group, name in enumerate(names)
    )


# --- through time -----------------------------------------------------------------------------------------------------


def decay(panel: LabelledPanel) -> list[Estimate]:
    """Mean RankIC with the return of one session, by lag after the fill; empty without closes."""
    closes, config = panel.surroundings.closes, panel.config
    if closes is None or not panel.sessions:
        return []
    close_TN = pivot(closes, "close", panel.calendar, panel.symbols)
    series = decay_series(panel.calendar_scores, close_TN, config.decay_sessions, config.minimum_symbols)
    return [estimate(series_T, 1, config.level) for series_T in series]


def persistence(panel: LabelledPanel) -> NamedEstimates:
    """Autocorrelation of the scores by lag in sessions: mean over t of Spearman(score of t, score of t + lag).

    Over the symbols scored on both sessions. 1: the order of names stays; near 0: it is new. Pairs of a lag overlap, so
    the interval allows for autocorrelation over the longer of lag and label. Lags without a pair are left out.
    """
    config, score = panel.config, sort(panel.calendar_scores)
    parts = []
    for lag in PERSISTENCE_LAGS:
        series_T = lagged_correlations(score, score, lag, config.minimum_symbols)
        parts.append((str(lag), estimate(series_T, max(lag, config.horizon), config.level)))
    return tuple((name, part) for name, part in parts if part.value is not None)


# --- execution, industries and styles -----------------------------------------------------------------------------


def bases(panel: LabelledPanel) -> NamedEstimates:
    """Mean RankIC with the return on every execution basis."""
    prices, horizon = panel.execution, panel.config.horizon
    if prices is None:
        return ()
    return tuple(
        (name, panel.estimate(panel.score, sort(returns_on(name, prices, panel.sessions, horizon)))) for name in BASES
    )


def of_fillable(panel: LabelledPanel) -> Estimate | None:
    """Mean RankIC among the names that could be bought at the next close."""
    if panel.execution is None:
        return None
    return panel.estimate(restrict(panel.score, fillable(panel.execution, panel.sessions)), panel.label)


def of_neutral(panel: LabelledPanel) -> NamedEstimates:
    """Mean RankIC of the score's residual on industries, on styles, on both."""
    styles, industry_TN = list(panel.styles.values()), panel.industries
    residuals = {}
    if industry_TN is not None:
        residuals["industry"] = neutral(panel.score_TN, [], industry_TN)
    if styles:
        residuals["styles"] = neutral(panel.score_TN, styles, None)
    if styles and industry_TN is not None:
        residuals["styles and industry"] = neutral(panel.score_TN, styles, industry_TN)
    return tuple((name, panel.estimate(sort(residual_TN), panel.label)) for name, residual_TN in residuals.items())


def exposures(panel: LabelledPanel) -> NamedEstimates:
    """Mean cross-sectional rank correlation of score and each style, over the weekly grid."""
    return _correlations(panel, panel.surroundings.styles)


def correlations(panel: LabelledPanel) -> NamedEstimates:
    """Mean cross-sectional rank correlation of score and each traditional factor that is no style, over the same."""
    return _correlations(panel, panel.surroundings.factors)


def _correlations(panel: LabelledPanel, frame: pl.DataFrame | None) -> NamedEstimates:
    """By column; those never defined are left out.

    Factors of neighbouring sessions share nearly all of their windows, so the sessions between two weeks would add time
    (15 factors of 2,000 symbols on 240 sessions: 1.6 s instead of 0.3) and next to no information.
    """
    if frame is None:
        return ()
    week, config = weekly_grid(panel.sessions), panel.config
    score, sessions = sort(panel.score_TN[week]), [panel.sessions[i] for i in week]
    names = [name for name in frame.columns if name not in ("session", "symbol")]
    panels = pivots(frame.filter(pl.col("session").is_in(sessions)), names, sessions, panel.symbols)
    series = {name: rank_correlations(score, sort(x_WN), config.minimum_symbols) for name, x_WN in panels.items()}
    parts = [(name, estimate(series_W, 1, config.level)) for name, series_W in series.items()]
    return tuple((name, part) for name, part in parts if part.value is not None)
