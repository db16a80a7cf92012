"""The figures of one factor: RankIC, groups, long-short and decay, each with its interval.

Everything is computed on dense panels in float64 with numpy alone and in one fixed order, so the same input gives the
same bytes. Definitions follow the source report where it has one. Returns are those of the label: bought at the close
of t+1, sold at the close of t+6. A figure that cannot be computed is None. Shapes: T sessions, N symbols, G groups,
W weeks, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation import breakdown
from fpm.evaluation.costs import Costs, costs, trades, weights
from fpm.evaluation.execution import shift
from fpm.evaluation.figures import Figures, Surroundings
from fpm.evaluation.groups import group_count, group_returns, memberships, tied_sessions, turnovers
from fpm.evaluation.intervals import (
    Estimate,
    Interval,
    block_bootstrap,
    critical_value,
    estimate,
    independent_periods,
    newey_west,
    newey_west_error,
    percentiles,
    permuted_error,
    possible,
    resamples,
)
from fpm.evaluation.labelled_panel import LabelledPanel
from fpm.evaluation.long_short import BLOCK as MONTH
from fpm.evaluation.long_short import LongShort, LongShortConfig, long_short
from fpm.evaluation.rank_ic import Flags, SortedPanel, centred_ranks, ic, icir, path_mean, rank_correlations, restrict
from fpm.evaluation.sharpe import Sharpe, sharpe
from fpm.panels import Floats, axes, mean, pivot, weekly_grid

if TYPE_CHECKING:
    from datetime import date

    import polars as pl
    from numpy.typing import NDArray


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of the figures. `horizon`: sessions a label spans. `annualise_from`: weeks that yearly figures need."""

    horizon: int = 5
    groups: int = 10
    minimum_symbols: int = 3
    weeks_per_year: int = 52
    annualise_from: int = 13
    decay_sessions: int = 20
    size_groups: int = 3
    level: float = 0.95
    draws: int = 1000
    null_draws: int = 200
    seed: int = 20260116


PRESETS = {
    "default": EvaluationConfig(),
    "demo": EvaluationConfig(),
    "short": EvaluationConfig(),
    "tiny": EvaluationConfig(draws=100, null_draws=50, decay_sessions=5),
}


def evaluate(
    scores: pl.DataFrame,
    returns: pl.DataFrame,
    config: EvaluationConfig = PRESETS["default"],
    surroundings: Surroundings | None = None,
) -> Figures:
    """Every figure of one factor from `scores` (session, symbol, score) and `returns` (session, symbol, label).

    Labels are forward returns in plain units, not standardised. Sessions without labels count as scored, not labelled.
    """
    sessions, symbols = axes(scores)
    panel = LabelledPanel(
        tuple(sessions),
        tuple(symbols),
        pivot(scores, "score", sessions, symbols),
        pivot(returns, "label", sessions, symbols),
        config,
        surroundings or Surroundings(),
    )
    series_T = rank_correlations(panel.score, panel.label, config.minimum_symbols)
    valid_T, week = np.isfinite(series_T), weekly_grid(sessions)
    ratios, groups = _ratios(series_T[week], config), _group_figures(panel, week)
    years, sizes, lags = breakdown.by_year(sessions, series_T), breakdown.by_size(panel), breakdown.decay(panel)
    return Figures(
        sessions=len(sessions),
        labelled_sessions=int(valid_T.sum()),
        weeks=int(valid_T[week].sum()),
        independent_periods=independent_periods(valid_T, config.horizon),
        symbols=int(np.median(np.isfinite(panel.score_TN).sum(axis=1))) if sessions else 0,
        rank_ic=mean(series_T[week]),
        rank_ic_interval=weekly_estimate(series_T[week], config).interval,
        rank_ic_all_days=mean(series_T),
        rank_ic_start_days=path_mean(series_T, config.horizon),
        newey_west=possible(newey_west(series_T, config.horizon, config.level)),
        bootstrap=possible(block_bootstrap(series_T, config.horizon, config.level, config.draws, config.seed)),
        null_band=null_band(panel.score, panel.label, series_T, config),
        series=tuple((sessions[i], float(series_T[i])) for i in np.flatnonzero(valid_T)),
        hit_rate=estimate(np.where(valid_T, series_T > 0, np.nan), config.horizon, config.level, lowest=0.0),
        coverage=coverage(panel.score.available_TN, panel.label.available_TN),
        ic=estimate(
            ic(panel.score_TN, panel.label_TN, config.minimum_symbols),
            config.horizon,
            config.level,
        ),
        icir=ratios.raw,
        icir_annual=ratios.annual,
        icir_interval=ratios.interval,
        groups=groups.means,
        group_intervals=groups.intervals,
        group_weeks=groups.weeks,
        turnover_weeks=groups.turnover_weeks,
        long_short=groups.long_short,
        sharpe=_sharpe(groups.long_short, panel),
        by_year=years,
        by_year_intervals=breakdown.year_intervals(panel, series_T, [year for year, *_ in years]),
        by_size=tuple((name, size.value) for name, size in sizes),
        by_size_intervals=tuple(size.interval for _, size in sizes),
        decay=tuple(lag.value for lag in lags),
        decay_intervals=tuple(lag.interval for lag in lags),
        by_month=breakdown.by_month(panel, series_T),
        by_industry=breakdown.by_industry(panel),
        persistence=breakdown.persistence(panel),
        bases=breakdown.bases(panel),
        fillable=breakdown.of_fillable(panel),
        exposures=breakdown.exposures(panel),
        correlations=breakdown.correlations(panel),
        neutral=breakdown.of_neutral(panel),
        costs=groups.costs,
        scored=_scored(panel),
        tied_sessions=groups.tied,
    )


def weekly_estimate(week_W: Floats, config: EvaluationConfig) -> Estimate:
    """Mean of the weekly grid. A week shortened by a holiday overlaps its neighbour's label, hence one lag."""
    return estimate(week_W, 1, config.level)


def coverage(score_available_TN: Flags, label_available_TN: Flags) -> float | None:
    """Share of the scores with a label, over the sessions with any label."""
    scored_TN = score_available_TN[label_available_TN.any(axis=1)]
    both = (score_available_TN & label_available_TN).sum()
    return float(both / scored_TN.sum()) if scored_TN.any() else None


def _scored(panel: LabelledPanel) -> tuple[tuple[date, float], ...]:
    """Share of the names traded on each session that have a score; sessions without bars are left out."""
    prices = panel.execution
    if prices is None:
        return ()
    both_TN = panel.score.available_TN & (shift(prices.traded_TN, prices.sessions, panel.sessions, 0) == 1)
    traded_T = [prices.universe.get(session, 0) for session in panel.sessions]
    shares = zip(panel.sessions, both_TN.sum(axis=1).tolist(), traded_T, strict=True)
    return tuple((session, count / traded) for session, count, traded in shares if traded)


def null_band(score: SortedPanel, label: SortedPanel, series_T: Floats, config: EvaluationConfig) -> float | None:
    """Half-width around zero that holds the mean RankIC of a factor without information at `level`.

    It uses the larger of two errors: permuted symbols (few symbols), and Newey-West of the series itself (market and
    industry moves that a score happens to load on, which a permutation destroys). None with fewer than two periods.
    """
    factor = critical_value(independent_periods(np.isfinite(series_T), config.horizon), config.level)
    permuted = permuted_error(centred_ranks(score), centred_ranks(label), config.null_draws, config.seed)
    own = newey_west_error(series_T[np.isfinite(series_T)], config.horizon)
    errors = [error for error in (permuted, own) if error is not None]
    return None if factor is None or not errors else min(1.0, factor * max(errors))


# --- groups and the long-short portfolio --------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratios:
    """ICIR of the weekly grid, raw and annual, and the interval of the raw one."""

    raw: float | None = None
    annual: float | None = None
    interval: Interval | None = None


def _ratios(week_W: Floats, config: EvaluationConfig) -> Ratios:
    ratio, values = icir(week_W), week_W[np.isfinite(week_W)]
    if ratio is None:
        return Ratios()
    resample_RW = resamples(values, MONTH, config.draws, config.seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_R = resample_RW.mean(axis=1) / resample_RW.std(axis=1, ddof=1)
    enough = len(values) >= config.annualise_from
    interval = percentiles(ratio_R, config.level, "block-bootstrap") if enough else None
    return Ratios(ratio, ratio * sqrt(config.weeks_per_year), interval)


@dataclass(frozen=True)
class GroupFigures:
    """Mean labels by group over all sessions; returns, turnover and the long-short portfolio on the weekly grid.

    `tied`: number of sessions without groups because a group's edge falls inside a tie.
    """

    means: tuple[float | None, ...]
    intervals: tuple[Interval | None, ...]
    weeks: tuple[tuple[date, tuple[float | None, ...]], ...]
    turnover_weeks: tuple[tuple[date, float], ...]
    long_short: LongShort
    costs: Costs | None
    tied: int


def _group_figures(panel: LabelledPanel, week: NDArray[np.intp]) -> GroupFigures:
    config = panel.config
    groups = group_count(panel.score_TN, panel.label_TN, config.groups)
    labelled = restrict(panel.score, panel.label.available_TN)
    group_TN = memberships(labelled, groups)
    mean_TG = group_returns(group_TN, panel.label_TN, groups)
    turnover_W = turnovers(group_TN[week], groups)
    days = [panel.sessions[i] for i in week]
    known_T = np.asarray(np.isfinite(mean_TG).any(axis=1))
    mean_GT = mean_TG.T if known_T.any() else mean_TG.T[:0]
    weekly = LongShortConfig(config.weeks_per_year, config.annualise_from, config.level, config.draws, config.seed)
    return GroupFigures(
        means=tuple(map(mean, mean_GT)),
        intervals=tuple(newey_west(mean_T, config.horizon, config.level) for mean_T in mean_GT),
        weeks=tuple(
            (day, tuple(None if np.isnan(x) else float(x) for x in mean_TG[i]))
            for day, i in zip(days, week, strict=True)
            if known_T[i]
        ),
        turnover_weeks=tuple((day, float(x)) for day, x in zip(days, turnover_W, strict=True) if np.isfinite(x)),
        long_short=long_short(mean_TG[week], turnover_W, days, weekly),
        costs=_costs(panel, group_TN, week[np.isfinite(mean_TG[week, -1] - mean_TG[week, 0])], mean_TG, weekly),
        tied=tied_sessions(group_TN, labelled, groups),
    )


def _costs(
    panel: LabelledPanel, group_TN: NDArray[np.int64], week: NDArray[np.intp], mean_TG: Floats, config: LongShortConfig
) -> Costs | None:
    """Figures after costs of the long-short portfolio's weeks, with the amounts of the days of their fills."""
    groups, prices = mean_TG.shape[1], panel.execution
    trade_WN = trades(weights(group_TN[week], groups))
    days = [panel.sessions[i] for i in week]
    amount_WN = None if prices is None else shift(prices.amount_TN, prices.sessions, days, 1)
    return costs(mean_TG[week, -1] - mean_TG[week, 0], trade_WN, amount_WN, config)


def _sharpe(portfolio: LongShort, panel: LabelledPanel) -> Sharpe | None:
    config, returns = panel.config, np.array([value for _, value in portfolio.weeks])
    if len(returns) < config.annualise_from:
        return None
    return sharpe(returns, panel.surroundings.trials, config.weeks_per_year, config.level)
