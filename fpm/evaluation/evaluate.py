"""Is a factor any good: RankIC, groups, long-short, decay, and how sure one may be of each.

Everything is computed on dense panels in float64 with numpy alone, in one fixed order, so the same input gives the
same bytes. Definitions are the source report's where it has one. Returns are those of the label:
bought at the close of t+1, sold at the close of t+6. Where a figure cannot be computed it is None, never a guess.
Shapes: T sessions, N symbols, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fpm.cross_section import mad_winsorise
from fpm.evaluation.execution import BASES, executions, fillable
from fpm.evaluation.execution import returns as returns_of
from fpm.evaluation.figures import Comparison, Figures, Share, Surroundings
from fpm.evaluation.groups import group_count, group_returns, memberships, turnovers
from fpm.evaluation.intervals import (
    Estimate,
    block_bootstrap,
    block_bootstrap_error,
    critical_value,
    estimate,
    independent_periods,
    newey_west,
    newey_west_error,
    percentiles,
    permuted_error,
    possible,
    resampled,
)
from fpm.evaluation.long_short import BLOCK as MONTH
from fpm.evaluation.long_short import Grid, LongShort, long_short
from fpm.evaluation.neutral import neutral
from fpm.evaluation.rank_ic import (
    Flags,
    Sorted,
    centred_ranks,
    decay_series,
    ic,
    icir,
    only,
    path_mean,
    rank_correlations,
    sort,
)
from fpm.evaluation.sharpe import Sharpe, sharpe
from fpm.panels import Floats, axes, mean, pivot, pivots, weekly_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray


@dataclass(frozen=True)
class EvaluationConfig:
    """`horizon`: sessions a label spans. `annualise_from`: fewer weeks than this are not blown up to a year."""

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
    asked = Asked(
        tuple(sessions),
        tuple(symbols),
        pivot(scores, "score", sessions, symbols),
        pivot(returns, "label", sessions, symbols),
        config,
        surroundings or Surroundings(),
    )
    series_T = rank_correlations(asked.score, asked.label, config.minimum_symbols)
    valid_T, week = np.isfinite(series_T), weekly_grid(sessions)
    by_group = _by_group(asked, week)
    return Figures(
        sessions=len(sessions),
        labelled_sessions=int(valid_T.sum()),
        weeks=int(valid_T[week].sum()),
        independent_periods=independent_periods(valid_T, config.horizon),
        symbols=int(np.median(np.isfinite(asked.score_TN).sum(axis=1))) if sessions else 0,
        rank_ic=mean(series_T[week]),
        rank_ic_interval=weekly(series_T[week], config).interval,
        rank_ic_paths=path_mean(series_T, config.horizon),
        newey_west=possible(newey_west(series_T, config.horizon, config.level)),
        bootstrap=possible(block_bootstrap(series_T, config.horizon, config.level, config.draws, config.seed)),
        null_band=null_band(asked.score, asked.label, series_T, config),
        series=tuple((sessions[i], float(series_T[i])) for i in np.flatnonzero(valid_T)),
        hit_rate=estimate(np.where(valid_T, series_T > 0, np.nan), config.horizon, config.level, lowest=0.0),
        coverage=coverage(asked.score.here_TN, asked.label.here_TN),
        **_ratios(series_T[week], config),
        **by_group,
        **_by_part(asked, series_T),
        **_around(asked),
        sharpe=_sharpe(by_group["long_short"], asked),
    )


@dataclass(frozen=True)
class Asked:
    """One factor laid out for its figures, its scores and labels sorted once."""

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    score_TN: Floats
    label_TN: Floats
    config: EvaluationConfig
    around: Surroundings

    @cached_property
    def score(self) -> Sorted:
        return sort(self.score_TN)

    @cached_property
    def label(self) -> Sorted:
        return sort(self.label_TN)

    def estimate(self, score: Sorted, label: Sorted) -> Estimate:
        """RankIC of other scores or returns on the same axes."""
        series_T = rank_correlations(score, label, self.config.minimum_symbols)
        return estimate(series_T, self.config.horizon, self.config.level)


def weekly(week_W: Floats, config: EvaluationConfig) -> Estimate:
    """Mean of the weekly grid. Labels of neighbouring weeks overlap where a holiday makes one short: one lag."""
    return estimate(week_W, 1, config.level)


def coverage(score_here_TN: Flags, label_here_TN: Flags) -> float | None:
    """Share of the scores that have a label, over the sessions that have any label."""
    scored_TN = score_here_TN[label_here_TN.any(axis=1)]
    both = (score_here_TN & label_here_TN).sum()
    return float(both / scored_TN.sum()) if scored_TN.any() else None


def _ratios(week_W: Floats, config: EvaluationConfig) -> dict[str, Any]:
    """ICIR of the weekly grid, raw and annual, and the interval of the raw one."""
    ratio, values = icir(week_W), week_W[np.isfinite(week_W)]
    if ratio is None:
        return {"icir": None, "icir_annual": None}
    drawn_RW = resampled(values, MONTH, config.draws, config.seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn_R = drawn_RW.mean(axis=1) / drawn_RW.std(axis=1, ddof=1)
    sure = percentiles(drawn_R, config.level, "block-bootstrap") if len(values) >= config.annualise_from else None
    return {"icir": ratio, "icir_annual": ratio * sqrt(config.weeks_per_year), "icir_interval": sure}


def _by_group(asked: Asked, week: NDArray[np.intp]) -> dict[str, Any]:
    """Groups by score: mean labels over all sessions, and the weekly grid's returns, turnover and long-short."""
    score_TN, label_TN, config = asked.score_TN, asked.label_TN, asked.config
    groups = group_count(score_TN, label_TN, config.groups)
    group_TN = memberships(only(asked.score, asked.label.here_TN), groups)
    mean_TG = group_returns(group_TN, label_TN, groups)
    turnover_W = turnovers(group_TN[week], groups)
    days = [asked.sessions[i] for i in week]
    known_T = np.asarray(np.isfinite(mean_TG).any(axis=1))
    each_GT = mean_TG.T if known_T.any() else mean_TG.T[:0]
    grid = Grid(config.weeks_per_year, config.annualise_from, config.level, config.draws, config.seed)
    return {
        "groups": tuple(map(mean, each_GT)),
        "group_intervals": tuple(newey_west(own_T, config.horizon, config.level) for own_T in each_GT),
        "long_short": long_short(mean_TG[week], turnover_W, days, grid),
        "group_weeks": tuple(
            (day, tuple(None if np.isnan(x) else float(x) for x in mean_TG[i]))
            for day, i in zip(days, week, strict=True)
            if known_T[i]
        ),
        "turnover_weeks": tuple((day, float(x)) for day, x in zip(days, turnover_W, strict=True) if np.isfinite(x)),
    }


def _by_part(asked: Asked, series_T: Floats) -> dict[str, Any]:
    """By year, by size group and by lag, each with its intervals."""
    config, years = asked.config, by_year(asked.sessions, series_T)
    of_year = np.array([session.year for session in asked.sessions])
    kept = (np.where(of_year == year, series_T, np.nan) for year, *_ in years)
    sizes, lags = _by_size(asked), _decay(asked)
    return {
        "by_year": years,
        "by_year_intervals": tuple(possible(newey_west(own_T, config.horizon, config.level)) for own_T in kept),
        "by_size": tuple((name, each.value) for name, each in sizes),
        "by_size_intervals": tuple(each.interval for _, each in sizes),
        "decay": tuple(each.value for each in lags),
        "decay_intervals": tuple(each.interval for each in lags),
    }


def _around(asked: Asked) -> dict[str, Any]:
    """Figures that need daily bars or styles, and Pearson's correlation."""
    config = asked.config
    linear_T = ic(asked.score_TN, asked.label_TN, config.minimum_symbols)
    found: dict[str, Any] = {"ic": estimate(linear_T, config.horizon, config.level)}
    styles, group_TN = _styles(asked), _industries(asked)
    if asked.around.daily is not None and asked.sessions:
        of = executions(asked.around.daily, asked.symbols)
        found["bases"] = tuple(
            (name, asked.estimate(asked.score, sort(returns_of(of, asked.sessions, name, config.horizon))))
            for name in BASES
        )
        found["fillable"] = asked.estimate(only(asked.score, fillable(of, asked.sessions)), asked.label)
    found["exposures"] = tuple((name, asked.estimate(asked.score, sort(style_TN))) for name, style_TN in styles.items())
    ways = {
        "industry": ([], group_TN),
        "styles": ([*styles.values()], None),
        "styles and industry": ([*styles.values()], group_TN),
    }
    found["neutral"] = tuple(
        (name, asked.estimate(sort(neutral(asked.score_TN, panels, groups_TN)), asked.label))
        for name, (panels, groups_TN) in ways.items()
        if (styles or "styles" not in name) and (group_TN is not None or "industry" not in name)
    )
    return found


def _styles(asked: Asked) -> dict[str, Floats]:
    """Styles by name, drawn in to three robust deviations of each session."""
    frame = asked.around.styles
    if frame is None:
        return {}
    names = [name for name in frame.columns if name not in ("session", "symbol")]
    panels = pivots(frame, names, asked.sessions, asked.symbols)
    return {name: mad_winsorise(x_TN.T).T for name, x_TN in panels.items() if np.isfinite(x_TN).any()}


def _industries(asked: Asked) -> NDArray[np.int64] | None:
    """The industry of every symbol of a session as a number, -1 = unknown; None where nothing is known."""
    daily = asked.around.daily
    if daily is None or "industry" not in daily.columns or not daily["industry"].count():
        return None
    names = daily["industry"].drop_nulls().unique().sort()
    number = pl.col("industry").cast(pl.Enum(names)).to_physical()
    numbers_TN = pivot(daily.with_columns(number=number), "number", asked.sessions, asked.symbols)
    return np.where(np.isfinite(numbers_TN), numbers_TN, -1).astype(np.int64)


def _sharpe(of: LongShort, asked: Asked) -> Sharpe | None:
    config, weekly = asked.config, np.array([value for _, value in of.weeks])
    if len(weekly) < config.annualise_from:
        return None
    return sharpe(weekly, asked.around.trials, config.weeks_per_year, config.level)


def null_band(score: Sorted, label: Sorted, series_T: Floats, config: EvaluationConfig) -> float | None:
    """Half-width around zero inside which the mean RankIC of a factor that knows nothing falls at `level`.

    The larger of two errors: symbols exchanged at random (few symbols), and Newey-West of the series itself (market and
    industry moves that a score may happen to load on, which exchanging symbols destroys). None under two periods.
    """
    factor = critical_value(independent_periods(np.isfinite(series_T), config.horizon), config.level)
    exchanged = permuted_error(centred_ranks(score), centred_ranks(label), config.null_draws, config.seed)
    own = newey_west_error(series_T[np.isfinite(series_T)], config.horizon)
    errors = [error for error in (exchanged, own) if error is not None]
    return None if factor is None or not errors else min(1.0, factor * max(errors))


def by_year(sessions: Sequence[date], series_T: Floats) -> tuple[tuple[int, float, int], ...]:
    """(year, mean RankIC, sessions that have one) for every year with any."""
    years = np.array([session.year for session in sessions])
    valid_T = np.isfinite(series_T)
    return tuple(
        (int(year), float(series_T[(years == year) & valid_T].mean()), int(((years == year) & valid_T).sum()))
        for year in np.unique(years[valid_T])
    )


def _decay(asked: Asked) -> list[Estimate]:
    closes, config = asked.around.closes, asked.config
    if closes is None or not asked.sessions:
        return []
    # Scores may skip sessions (between folds), so they are laid on the calendar of the closes.
    priced = sorted({*closes["session"].unique().to_list(), *asked.sessions})
    close_TN = pivot(closes, "close", priced, asked.symbols)
    wide_TN = np.full(close_TN.shape, np.nan)
    place = {session: t for t, session in enumerate(priced)}
    wide_TN[[place[session] for session in asked.sessions]] = asked.score_TN
    series = decay_series(wide_TN, close_TN, config.decay_sessions, config.minimum_symbols)
    return [estimate(series_T, 1, config.level) for series_T in series]


def _by_size(asked: Asked) -> list[tuple[str, Estimate]]:
    if asked.around.sizes is None:
        return []
    groups = asked.config.size_groups
    size_TN = pivot(asked.around.sizes, "size", asked.sessions, asked.symbols)
    numbered = tuple(f"size {i + 1}" for i in range(groups))
    names = {2: ("small", "large"), 3: ("small", "middle", "large")}.get(groups, numbered)
    group_TN = memberships(only(sort(size_TN), asked.score.here_TN), groups)
    return [
        (name, asked.estimate(only(asked.score, group_TN == group), asked.label)) for group, name in enumerate(names)
    ]


# --- two factors ------------------------------------------------------------------------------------------------


def paired_series(
    left: pl.DataFrame, right: pl.DataFrame, returns: pl.DataFrame, minimum: int
) -> tuple[Floats, Floats]:
    """RankIC per session of two factors over exactly the symbols that both score, on the sessions of both."""
    sessions, symbols = axes(left, right)
    both = sorted(set(sessions) & set(right["session"].unique().to_list()))
    first, second = (sort(pivot(frame, "score", both, symbols)) for frame in (left, right))
    label = only(sort(pivot(returns, "label", both, symbols)), first.here_TN & second.here_TN)
    return rank_correlations(first, label, minimum), rank_correlations(second, label, minimum)


def compare(
    left: pl.DataFrame, right: pl.DataFrame, returns: pl.DataFrame, config: EvaluationConfig = PRESETS["default"]
) -> Comparison:
    """Mean of RankIC(left) - RankIC(right), session by session, with its intervals."""
    left_T, right_T = paired_series(left, right, returns, config.minimum_symbols)
    difference_T = left_T - right_T
    valid_T = np.isfinite(difference_T)
    return Comparison(
        mean(difference_T),
        newey_west(difference_T, config.horizon, config.level),
        independent_periods(valid_T, config.horizon),
        int(valid_T.sum()),
        block_bootstrap(difference_T, config.horizon, config.level, config.draws, config.seed),
    )


def oracle_share(
    scores: pl.DataFrame, oracle: pl.DataFrame, returns: pl.DataFrame, config: EvaluationConfig = PRESETS["default"]
) -> Share:
    """Mean RankIC of `scores` over that of `oracle`, same sessions and symbols; interval by the delta method.

    The error of the ratio is that of the mean of RankIC(scores) - share x RankIC(oracle), over the oracle's mean.
    """
    found_T, known_T = paired_series(scores, oracle, returns, config.minimum_symbols)
    found, known = mean(found_T), mean(known_T)
    if found is None or known is None or known <= 0:
        return Share(None, found, known, None, None)
    residual_T = found_T - found / known * known_T
    valid_T = np.isfinite(residual_T)
    error = block_bootstrap_error(residual_T[valid_T], config.horizon, config.draws, config.seed)
    factor = critical_value(independent_periods(valid_T, config.horizon), config.level)
    empty = Share(found / known, found, known, None, None)
    if error is None or factor is None:
        return empty
    return replace(empty, low=found / known - factor * error / known, high=found / known + factor * error / known)
