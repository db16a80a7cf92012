"""Is a factor any good: RankIC, groups, long-short, decay, and how sure one may be of each.

Everything is computed on dense panels in float64 with numpy alone, in one fixed order, so the same input gives the
same bytes. Definitions are the source report's where it has one. Returns are those of the label:
bought at the close of t+1, sold at the close of t+6. Where a figure cannot be computed it is None, never a guess.
Shapes: T sessions, N symbols, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from math import sqrt
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fpm.groups import geometric_annual, group_count, group_returns, max_drawdown, memberships, turnover
from fpm.intervals import (
    Interval,
    block_bootstrap,
    block_bootstrap_error,
    critical_value,
    independent_periods,
    newey_west,
    newey_west_error,
    permuted_error,
)
from fpm.panels import Floats, axes, mean, pivot, weekly_grid
from fpm.rank_ic import centred_ranks, decay, icir, path_mean, rank_ic


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


@dataclass(frozen=True)
class Surroundings:
    """What some figures need besides scores and labels: adjusted closes (decay) and sizes (by size group).

    `closes`: session, symbol, close. `sizes`: session, symbol, size. Either may be None: its figures are then absent.
    """

    closes: pl.DataFrame | None = None
    sizes: pl.DataFrame | None = None


@dataclass(frozen=True)
class LongShort:
    """Top group minus bottom group on the weekly grid, equal weight, not halved, compounded week by week."""

    weeks: tuple[tuple[date, float], ...]
    total_return: float | None
    annual_return: float | None
    information_ratio: float | None
    win_rate: float | None
    max_drawdown: float | None
    turnover: float | None


@dataclass(frozen=True)
class Figures:
    """Every figure of one factor. `rank_ic` is the weekly grid's mean, `rank_ic_paths` the mean of the start-day paths;
    intervals and `null_band` (half-width around zero) belong to `rank_ic_paths`, which uses every session."""

    sessions: int
    labelled_sessions: int
    weeks: int
    independent_periods: int
    symbols: int
    rank_ic: float | None
    rank_ic_paths: float | None
    newey_west: Interval | None
    bootstrap: Interval | None
    null_band: float | None
    icir: float | None
    icir_annual: float | None
    groups: tuple[float | None, ...]
    long_short: LongShort
    decay: tuple[float | None, ...]
    by_size: tuple[tuple[str, float | None], ...]
    by_year: tuple[tuple[int, float, int], ...]
    series: tuple[tuple[date, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: dates as ISO text, absent figures as null."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


@dataclass(frozen=True)
class Comparison:
    """Paired difference of two factors' RankIC over the sessions and symbols that both have."""

    difference: float | None
    newey_west: Interval | None
    independent_periods: int
    sessions: int


@dataclass(frozen=True)
class Share:
    """How much of an oracle's RankIC a factor reached, on the sessions and symbols both have."""

    share: float | None
    rank_ic: float | None
    oracle_rank_ic: float | None
    low: float | None
    high: float | None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def long_short(
    group_TN: NDArray[np.int64], label_TN: Floats, groups: int, sessions: Sequence[date], config: EvaluationConfig
) -> LongShort:
    """Figures of top minus bottom over the given (weekly) sessions. The annual ones need `annualise_from` weeks."""
    returns_TG = group_returns(group_TN, label_TN, groups)
    spread_T = returns_TG[:, -1] - returns_TG[:, 0]
    here_T = np.isfinite(spread_T)
    returns = spread_T[here_T]
    enough = len(returns) >= config.annualise_from
    annual = geometric_annual(returns, config.weeks_per_year) if enough else None
    deviation = float(returns.std(ddof=1)) * sqrt(config.weeks_per_year) if enough else 0.0
    weeks = [session for session, here in zip(sessions, here_T, strict=True) if here]
    return LongShort(
        tuple(zip(weeks, returns.tolist(), strict=True)),
        float(np.prod(1 + returns) - 1) if len(returns) else None,
        annual,
        annual / deviation if annual is not None and deviation > 0 else None,
        float((returns > 0).mean()) if len(returns) else None,
        max_drawdown(returns),
        turnover(group_TN, groups),
    )


def evaluate(
    scores: pl.DataFrame,
    returns: pl.DataFrame,
    config: EvaluationConfig = PRESETS["default"],
    surroundings: Surroundings | None = None,
) -> Figures:
    """Every figure of one factor from `scores` (session, symbol, score) and `returns` (session, symbol, label).

    Labels are forward returns in plain units, not standardised. Sessions without labels count as scored, not labelled.
    """
    around = surroundings or Surroundings()
    sessions, symbols = axes(scores)
    score_TN, label_TN = pivot(scores, "score", sessions, symbols), pivot(returns, "label", sessions, symbols)
    series_T = rank_ic(score_TN, label_TN, config.minimum_symbols)
    valid_T = np.isfinite(series_T)
    week = weekly_grid(sessions)
    groups = group_count(score_TN, label_TN, config.groups)
    group_TN = memberships(np.where(np.isfinite(label_TN), score_TN, np.nan), groups)
    weekly_icir = icir(series_T[week])
    ratio = sqrt(config.weeks_per_year)
    group_mean_TG = group_returns(group_TN, label_TN, groups)
    return Figures(
        sessions=len(sessions),
        labelled_sessions=int(valid_T.sum()),
        weeks=int(np.isfinite(series_T[week]).sum()),
        independent_periods=independent_periods(valid_T, config.horizon),
        symbols=int(np.median(np.isfinite(score_TN).sum(axis=1))) if sessions else 0,
        rank_ic=mean(series_T[week]),
        rank_ic_paths=path_mean(series_T, config.horizon),
        newey_west=_possible(newey_west(series_T, config.horizon, config.level)),
        bootstrap=_possible(block_bootstrap(series_T, config.horizon, config.level, config.draws, config.seed)),
        null_band=null_band(score_TN, label_TN, series_T, config),
        icir=weekly_icir,
        icir_annual=None if weekly_icir is None else weekly_icir * ratio,
        groups=tuple(mean(group_mean_TG[:, group]) for group in range(groups)) if valid_T.any() else (),
        long_short=long_short(group_TN[week], label_TN[week], groups, [sessions[i] for i in week], config),
        decay=_decay(score_TN, sessions, symbols, around, config),
        by_size=_by_size(score_TN, label_TN, sessions, symbols, around, config),
        by_year=by_year(sessions, series_T),
        series=tuple((sessions[i], float(series_T[i])) for i in np.flatnonzero(valid_T)),
    )


def null_band(score_TN: Floats, label_TN: Floats, series_T: Floats, config: EvaluationConfig) -> float | None:
    """Half-width around zero inside which the mean RankIC of a factor that knows nothing falls at `level`.

    The larger of two errors: symbols exchanged at random (few symbols), and Newey-West of the series itself (market and
    industry moves that a score may happen to load on, which exchanging symbols destroys). None under two periods.
    """
    factor = critical_value(independent_periods(np.isfinite(series_T), config.horizon), config.level)
    exchanged = permuted_error(centred_ranks(score_TN), centred_ranks(label_TN), config.null_draws, config.seed)
    own = newey_west_error(series_T[np.isfinite(series_T)], config.horizon)
    errors = [error for error in (exchanged, own) if error is not None]
    return None if factor is None or not errors else min(1.0, factor * max(errors))


def _possible(interval: Interval | None) -> Interval | None:
    """An interval of a correlation, cut to -1 .. 1: two periods can make it wider than the truth can be."""
    return interval and replace(interval, low=max(-1.0, interval.low), high=min(1.0, interval.high))


def by_year(sessions: Sequence[date], series_T: Floats) -> tuple[tuple[int, float, int], ...]:
    """(year, mean RankIC, sessions that have one) for every year with any."""
    years = np.array([session.year for session in sessions])
    valid_T = np.isfinite(series_T)
    return tuple(
        (int(year), float(series_T[(years == year) & valid_T].mean()), int(((years == year) & valid_T).sum()))
        for year in np.unique(years[valid_T])
    )


def _decay(
    score_TN: Floats, sessions: list[date], symbols: list[str], around: Surroundings, config: EvaluationConfig
) -> tuple[float | None, ...]:
    if around.closes is None or not sessions:
        return ()
    # Scores may skip sessions (between folds), so they are laid on the calendar of the closes.
    priced = sorted({*around.closes["session"].unique().to_list(), *sessions})
    close_TN = pivot(around.closes, "close", priced, symbols)
    wide_TN = np.full(close_TN.shape, np.nan)
    wide_TN[[priced.index(session) for session in sessions]] = score_TN
    return tuple(decay(wide_TN, close_TN, config.decay_sessions, config.minimum_symbols))


def _by_size(
    score_TN: Floats,
    label_TN: Floats,
    sessions: list[date],
    symbols: list[str],
    around: Surroundings,
    config: EvaluationConfig,
) -> tuple[tuple[str, float | None], ...]:
    if around.sizes is None:
        return ()
    size_TN = pivot(around.sizes, "size", sessions, symbols)
    size_TN[~np.isfinite(score_TN)] = np.nan
    names = {2: ("small", "large"), 3: ("small", "middle", "large")}.get(
        config.size_groups, tuple(f"size {i + 1}" for i in range(config.size_groups))
    )
    group_TN = memberships(size_TN, config.size_groups)
    return tuple(
        (name, mean(rank_ic(np.where(group_TN == group, score_TN, np.nan), label_TN, config.minimum_symbols)))
        for group, name in enumerate(names)
    )


# --- two factors ------------------------------------------------------------------------------------------------


def paired_series(
    left: pl.DataFrame, right: pl.DataFrame, returns: pl.DataFrame, minimum: int
) -> tuple[Floats, Floats]:
    """RankIC per session of two factors over exactly the symbols that both score, on the sessions of both."""
    sessions, symbols = axes(left, right)
    both = sorted(set(sessions) & set(right["session"].unique().to_list()))
    left_TN, right_TN = pivot(left, "score", both, symbols), pivot(right, "score", both, symbols)
    label_TN = pivot(returns, "label", both, symbols)
    label_TN[~(np.isfinite(left_TN) & np.isfinite(right_TN))] = np.nan
    return rank_ic(left_TN, label_TN, minimum), rank_ic(right_TN, label_TN, minimum)


def compare(
    left: pl.DataFrame, right: pl.DataFrame, returns: pl.DataFrame, config: EvaluationConfig = PRESETS["default"]
) -> Comparison:
    """Mean of RankIC(left) - RankIC(right), session by session, with its Newey-West interval."""
    left_T, right_T = paired_series(left, right, returns, config.minimum_symbols)
    difference_T = left_T - right_T
    valid_T = np.isfinite(difference_T)
    return Comparison(
        mean(difference_T),
        newey_west(difference_T, config.horizon, config.level),
        independent_periods(valid_T, config.horizon),
        int(valid_T.sum()),
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
