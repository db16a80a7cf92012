"""What evaluation says of a factor, as plain data, and what it needs to know besides scores and labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from fpm.evaluation.intervals import Estimate, Interval
    from fpm.evaluation.long_short import LongShort
    from fpm.evaluation.sharpe import Sharpe


@dataclass(frozen=True)
class Surroundings:
    """What some figures need besides scores and labels; what is None makes its figures absent.

    `closes`: session, symbol, close, adjusted (decay). `sizes`: session, symbol, size (by size group). `daily`: daily
    bars as stored, to some sessions after the last score (execution bases, fillable, industries). `styles`: session,
    symbol, one column a style (exposures, neutral). `trials`: how many settings were tried (deflated Sharpe ratio).
    """

    closes: pl.DataFrame | None = None
    sizes: pl.DataFrame | None = None
    daily: pl.DataFrame | None = None
    styles: pl.DataFrame | None = None
    trials: int = 1


@dataclass(frozen=True)
class Figures:
    """Every figure of one factor. `rank_ic` is the weekly grid's mean, `rank_ic_paths` the mean of the start-day paths;
    `newey_west`, `bootstrap` and `null_band` (half-width around zero) belong to `rank_ic_paths`, which uses every
    session.

    `hit_rate`: share of sessions whose RankIC is above 0. `coverage`: share of the scores that have a label, of the
    sessions that have any. `ic`: Pearson. `group_weeks`: mean label of every group, lowest first, by session of the
    weekly grid. `turnover_weeks`: share of the outer groups' names replaced. `..._intervals` are in the order of their
    figures.
    `bases`: RankIC with the return of each execution basis; `fillable`: without names that could not be bought at the
    next close; `neutral`: of what is left of the score without industries and styles; `exposures`: rank correlation
    of score and style.
    """

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
    ic: Estimate | None = None
    icir_interval: Interval | None = None
    group_weeks: tuple[tuple[date, tuple[float | None, ...]], ...] = ()
    turnover_weeks: tuple[tuple[date, float], ...] = ()
    decay_intervals: tuple[Interval | None, ...] = ()
    by_size_intervals: tuple[Interval | None, ...] = ()
    by_year_intervals: tuple[Interval | None, ...] = ()
    bases: tuple[tuple[str, Estimate], ...] = ()
    fillable: Estimate | None = None
    neutral: tuple[tuple[str, Estimate], ...] = ()
    exposures: tuple[tuple[str, Estimate], ...] = ()
    sharpe: Sharpe | None = None
    rank_ic_interval: Interval | None = None
    group_intervals: tuple[Interval | None, ...] = ()
    hit_rate: Estimate | None = None
    coverage: float | None = None

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
    bootstrap: Interval | None = None


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
