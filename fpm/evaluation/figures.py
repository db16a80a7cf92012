"""Figures of a factor as plain data, and the inputs they need besides scores and labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl

    from fpm.evaluation.costs import Costs
    from fpm.evaluation.intervals import Estimate, Interval
    from fpm.evaluation.long_short import LongShort
    from fpm.evaluation.sharpe import Sharpe

    NamedEstimates = tuple[tuple[str, Estimate], ...]


@dataclass(frozen=True)
class Surroundings:
    """Inputs of some figures besides scores and labels; figures whose input is None are absent.

    `closes`: session, symbol, adjusted close (decay). `sizes`: session, symbol, size (size groups). `daily`: daily bars
    as stored, reaching past the last score (execution bases, fillable names, industries). `styles`: session, symbol and
    one column per style (exposures, neutral scores). `factors`: the same of the other traditional factors
    (correlations). `trials`: number of settings tried (deflated Sharpe ratio).
    """

    closes: pl.DataFrame | None = None
    sizes: pl.DataFrame | None = None
    daily: pl.DataFrame | None = None
    styles: pl.DataFrame | None = None
    factors: pl.DataFrame | None = None
    trials: int = 1


@dataclass(frozen=True)
class Figures:
    """Every figure of one factor; None where it cannot be computed.

    RankIC: `rank_ic` is the mean of the weekly grid, `rank_ic_all_days` the mean over every session with equal
    weight; `newey_west`, `bootstrap` and `null_band` (half-width around zero) belong to the latter, as do all parts
    and variants. `rank_ic_start_days`: the mean over the paths that begin on each day of a week, with equal weight.
    `series`: RankIC by session. `hit_rate`: share of sessions with a RankIC above 0. `coverage`: share of the
    scores with a label, over the sessions with any label. `ic`: Pearson correlation.

    Groups: `groups` has the mean label of each score group, lowest first, `group_weeks` the same by session of the
    weekly grid, `turnover_weeks` the share of the outer groups' names replaced. `tied_sessions` had no groups because
    a group's edge fell inside a tie.

    Variants of RankIC: `by_year` (year, mean, sessions), `by_month`, `by_industry`, `by_size`, `decay` by lag, `bases`
    with the return of each execution basis, `fillable` over the names that could be bought at the next close, `neutral`
    of the score's residual on industries and styles. Rank correlations of the score: `exposures` with each style and
    `correlations` with each other traditional factor, both on the weekly grid; `persistence` with itself so many
    sessions later. `scored`: share of the traded names with a score, by session. `costs`: the long-short portfolio
    after costs, and its capacity.

    Fields named `..._intervals` are in the order of their figures.
    """

    sessions: int
    labelled_sessions: int
    weeks: int
    independent_periods: int
    symbols: int
    rank_ic: float | None
    rank_ic_all_days: float | None
    rank_ic_start_days: float | None
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
    bases: NamedEstimates = ()
    fillable: Estimate | None = None
    neutral: NamedEstimates = ()
    exposures: NamedEstimates = ()
    correlations: NamedEstimates = ()
    persistence: NamedEstimates = ()
    by_month: NamedEstimates = ()
    by_industry: NamedEstimates = ()
    scored: tuple[tuple[date, float], ...] = ()
    costs: Costs | None = None
    sharpe: Sharpe | None = None
    rank_ic_interval: Interval | None = None
    group_intervals: tuple[Interval | None, ...] = ()
    hit_rate: Estimate | None = None
    coverage: float | None = None
    tied_sessions: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON values of the fields: dates as ISO text, absent figures as null; `tied_sessions` where there are any."""
        plain: dict[str, Any] = _plain(asdict(self))
        if not self.tied_sessions:
            del plain["tied_sessions"]
        return plain


@dataclass(frozen=True)
class Comparison:
    """Paired difference of two factors' RankIC over their common sessions and symbols."""

    difference: float | None
    newey_west: Interval | None
    independent_periods: int
    sessions: int
    bootstrap: Interval | None = None


@dataclass(frozen=True)
class Share:
    """Share of an oracle's RankIC that a factor reaches on their common sessions and symbols, with its bounds."""

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
