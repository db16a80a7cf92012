"""Confidence intervals of a mean that hold under overlapping labels, few periods and shared market moves.

A label of `horizon` sessions overlaps its next `horizon - 1` neighbours, so T sessions are far fewer than T
observations. Intervals of a mean are mean +- t x error with (independent periods - 1) degrees of freedom: with two
periods t is 12.7, with one there is no interval. Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpm.panels import Floats


@dataclass(frozen=True)
class Interval:
    """Two-sided confidence interval of a mean; `error` is its standard error."""

    low: float
    high: float
    error: float
    method: str

    def to_dict(self) -> dict[str, float | str]:
        """JSON values of the fields."""
        return asdict(self)


@dataclass(frozen=True)
class Estimate:
    """A mean over sessions, its interval, and the number of sessions."""

    value: float | None
    interval: Interval | None
    sessions: int


def independent_periods(valid_T: NDArray[np.bool_], horizon: int) -> int:
    """Number of label windows that fit side by side, chosen greedily from the first valid session.

    `valid_T`: which of T consecutive sessions have a value. The windows of two sessions are disjoint when the sessions
    lie at least `horizon` apart.

    >>> independent_periods(np.array([True, True, False, False, False, True, True]), horizon=5)
    2
    """
    count, free_from = 0, 0
    for position in np.flatnonzero(valid_T):
        if position >= free_from:
            count, free_from = count + 1, int(position) + horizon
    return count


def critical_value(periods: int, level: float) -> float | None:
    """Two-sided Student t factor for `periods` independent observations; None with fewer than two."""
    from scipy.special import stdtrit  # of scipy.stats, which takes three times as long to import, the same bits

    return None if periods < 2 else float(stdtrit(periods - 1, 0.5 + level / 2))


def newey_west_error(values_T: Floats, lags: int) -> float | None:
    """Standard error of the mean under autocorrelation up to `lags`, Bartlett weights (Newey and West 1987, eq. 5).

    None with fewer than two values. These weights keep the sum of autocovariances from becoming negative.
    """
    count = len(values_T)
    if count < 2:
        return None
    centred_T = values_T - values_T.mean()
    total = float(centred_T @ centred_T)
    for lag in range(1, min(lags, count - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred_T[lag:] @ centred_T[:-lag])
    return sqrt(max(total, 0.0)) / count


def block_bootstrap_error(values_T: Floats, block: int, draws: int, seed: int) -> float | None:
    """Standard deviation of the mean over circular block resamples (Politis and Romano 1992).

    Circular blocks give every session the same weight. None where two blocks do not fit.
    """
    if len(values_T) < 2 * block:
        return None
    return float(resamples(values_T, block, draws, seed).mean(axis=1).std(ddof=1))


def interval(values_T: Floats, error: float | None, periods: int, level: float, method: str) -> Interval | None:
    """Interval mean +- t x error of some values; None without an error or degrees of freedom."""
    factor = critical_value(periods, level)
    if error is None or factor is None:
        return None
    mean = float(values_T.mean())
    return Interval(mean - factor * error, mean + factor * error, error, method)


def newey_west(series_T: Floats, horizon: int, level: float) -> Interval | None:
    """Newey-West interval of the mean of a series by session (NaN = no value)."""
    valid_T = np.isfinite(series_T)
    values_T = series_T[valid_T]
    return interval(
        values_T, newey_west_error(values_T, horizon), independent_periods(valid_T, horizon), level, "newey-west"
    )


def block_bootstrap(series_T: Floats, horizon: int, level: float, draws: int, seed: int) -> Interval | None:
    """Block-bootstrap interval of the mean of a series by session; a block is as long as a label."""
    valid_T = np.isfinite(series_T)
    values_T = series_T[valid_T]
    error = block_bootstrap_error(values_T, horizon, draws, seed)
    return interval(values_T, error, independent_periods(valid_T, horizon), level, "block-bootstrap")


def estimate(series_T: Floats, horizon: int, level: float, lowest: float = -1.0) -> Estimate:
    """Mean and Newey-West interval of a series by session (NaN = no value) of correlations or shares.

    `lowest`: least possible value, -1 for a correlation, 0 for a share.
    """
    finite_T = series_T[np.isfinite(series_T)]
    value = float(finite_T.mean()) if len(finite_T) else None
    return Estimate(value, possible(newey_west(series_T, horizon, level), lowest), len(finite_T))


def possible(interval: Interval | None, lowest: float = -1.0) -> Interval | None:
    """An interval cut to the possible values: with few periods it can reach beyond them.

    `lowest`: -1 for a correlation, 0 for a share.
    """
    return interval and replace(interval, low=max(lowest, interval.low), high=min(1.0, interval.high))


def resamples(values_T: Floats, block: int, draws: int, seed: int) -> Floats:
    """Circular block resamples of a series (draws, T); a block is at most as long as the series."""
    count = len(values_T)
    block = min(block, count)
    starts = np.random.default_rng(seed).integers(0, count, (draws, -(-count // block)))
    positions = (starts[:, :, None] + np.arange(block)) % count
    return np.asarray(values_T[positions.reshape(draws, -1)[:, :count]])


def percentiles(values: Floats, level: float, method: str) -> Interval | None:
    """Percentile interval of resampled figures (Efron 1979); None where any figure is not finite."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high), float(values.std(ddof=1)), method)


def permuted_error(score_rank_TN: Floats, label_rank_TN: Floats, draws: int, seed: int) -> float | None:
    """Standard error of the mean rank correlation of a score without information, by permuting symbols.

    Each draw permutes the symbols once for the whole history, which preserves what persists in scores and labels.
    Inputs are centred ranks (T, N), NaN where unavailable. Where symbols are missing, a session is scaled by the norms
    expected of permuted pairs. None with fewer than four symbols: three have only six orders.
    """
    symbols = score_rank_TN.shape[1]
    if symbols < 4:
        return None
    generator = np.random.default_rng(seed)
    score_NT, label_NT = (np.ascontiguousarray(np.nan_to_num(x_TN).T) for x_TN in (score_rank_TN, label_rank_TN))
    shares = np.isfinite(score_rank_TN).mean(axis=1) * np.isfinite(label_rank_TN).mean(axis=1)
    norm_T = np.sqrt(np.square(score_NT).sum(axis=0) * np.square(label_NT).sum(axis=0) * shares)
    usable_T = norm_T > 0
    if not usable_T.any():
        return None
    label_NT = label_NT / np.where(usable_T, norm_T, np.inf) / usable_T.sum()
    means = [float(np.einsum("nt,nt->", score_NT[generator.permutation(symbols)], label_NT)) for _ in range(draws)]
    return float(np.sqrt(np.mean(np.square(means))))
