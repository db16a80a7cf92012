"""How sure a mean is: errors that survive overlapping labels, few periods and shared market moves.

A label of `horizon` sessions overlaps its next `horizon - 1` neighbours, so T sessions are far fewer than T
observations. Every interval here is mean +- t x error with (independent periods - 1) degrees of freedom: with two
periods the factor is 12.7, with one there is no interval at all. Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fpm.panels import Floats


@dataclass(frozen=True)
class Interval:
    """Two-sided confidence interval of a mean; `error` is the standard error it was built from."""

    low: float
    high: float
    error: float
    method: str

    def to_dict(self) -> dict[str, float | str]:
        return asdict(self)


def independent_periods(valid_T: NDArray[np.bool_], horizon: int) -> int:
    """How many label windows fit side by side without overlap, taken greedily from the first valid session.

    `valid_T` says which of T consecutive sessions have a value; the windows of two sessions are disjoint when these are
    at least `horizon` sessions apart.
    """
    count, free_from = 0, 0
    for position in np.flatnonzero(valid_T):
        if position >= free_from:
            count, free_from = count + 1, int(position) + horizon
    return count


def critical_value(periods: int, level: float) -> float | None:
    """Two-sided Student t factor for `periods` independent observations; None where there are fewer than two."""
    from scipy.stats import t

    return None if periods < 2 else float(t.ppf(0.5 + level / 2, periods - 1))


def newey_west_error(values_T: Floats, lags: int) -> float | None:
    """Standard error of the mean under autocorrelation up to `lags`, Bartlett weights (Newey and West 1987, eq. 5).

    None with fewer than two values. The sum of weighted autocovariances is never negative with these weights.
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

    Circular blocks give every session the same weight. None where not even two blocks fit.
    """
    count = len(values_T)
    if count < 2 * block:
        return None
    starts = np.random.default_rng(seed).integers(0, count, (draws, -(-count // block)))
    picked = (starts[:, :, None] + np.arange(block)) % count
    return float(values_T[picked.reshape(draws, -1)[:, :count]].mean(axis=1).std(ddof=1))


def interval(values_T: Floats, error: float | None, periods: int, level: float, method: str) -> Interval | None:
    """mean +- t x error, or None where error or degrees of freedom are missing."""
    factor = critical_value(periods, level)
    if error is None or factor is None:
        return None
    mean = float(values_T.mean())
    return Interval(mean - factor * error, mean + factor * error, error, method)


def newey_west(series_T: Floats, horizon: int, level: float) -> Interval | None:
    """Newey-West interval of the mean of a per-session series (NaN = no value that session)."""
    valid_T = np.isfinite(series_T)
    values_T = series_T[valid_T]
    return interval(
        values_T, newey_west_error(values_T, horizon), independent_periods(valid_T, horizon), level, "newey-west"
    )


def block_bootstrap(series_T: Floats, horizon: int, level: float, draws: int, seed: int) -> Interval | None:
    """Block-bootstrap interval of the mean of a per-session series, blocks of one label's length."""
    valid_T = np.isfinite(series_T)
    values_T = series_T[valid_T]
    error = block_bootstrap_error(values_T, horizon, draws, seed)
    return interval(values_T, error, independent_periods(valid_T, horizon), level, "block-bootstrap")


def permuted_error(score_rank_TN: Floats, label_rank_TN: Floats, draws: int, seed: int) -> float | None:
    """Spread of the mean correlation when symbols are exchanged: what a score that knows nothing would show.

    One permutation of the symbols per draw for the whole history, so that whatever persists in scores and labels still
    persists. Inputs are centred ranks, NaN where unavailable. None with fewer than four symbols (six orders).
    """
    symbols = score_rank_TN.shape[1]
    if symbols < 4:
        return None
    generator = np.random.default_rng(seed)
    score_here_TN, label_here_TN = np.isfinite(score_rank_TN), np.isfinite(label_rank_TN)
    score_TN, label_TN = np.nan_to_num(score_rank_TN), np.nan_to_num(label_rank_TN)
    means = np.empty(draws)
    for draw in range(draws):
        order = generator.permutation(symbols)
        moved_TN = score_TN[:, order]
        norm_T = (moved_TN**2 * label_here_TN).sum(axis=1) * (label_TN**2 * score_here_TN[:, order]).sum(axis=1)
        usable_T = norm_T > 0
        product_T = (moved_TN * label_TN).sum(axis=1)[usable_T]
        means[draw] = (product_T / np.sqrt(norm_T[usable_T])).mean() if usable_T.any() else np.nan
    means = means[np.isfinite(means)]
    return float(np.sqrt((means**2).mean())) if len(means) else None
