"""Operations across the symbols of one session: winsorising, z-scores, ranks, correlations.

The first axis is always the symbols (N); further axes (factors, horizons) are treated independently.
NaN means "unavailable": it never enters a statistic and stays NaN in the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826  # standard deviation of a normal over its median absolute deviation: Rousseeuw and Croux 1993


def mad_winsorise(x_N: Array, width: float = 3.0) -> Array:
    """`x_N` clipped to its median ± `width` robust standard deviations.

    Where the median absolute deviation is 0 (more than half the symbols equal) the values are returned as they are.
    """
    centre = _nan_median(x_N)
    spread = _nan_median(np.abs(x_N - centre)) * MAD_TO_SIGMA * width
    clipped = np.clip(x_N, centre - spread, centre + spread)
    return np.where(spread > 0, clipped, x_N)


def z_score(x_N: Array) -> Array:
    """`x_N` less its mean over its population standard deviation; all 0 where every available value is equal."""
    available = np.isfinite(x_N)
    count = np.maximum(available.sum(axis=0), 1)
    centred = np.where(available, x_N, 0.0)
    centred = np.where(available, centred - centred.sum(axis=0) / count, 0.0)
    scale = np.sqrt(np.square(centred).sum(axis=0) / count)
    # Equal values leave a rounding error of their size, not a spread.
    flat = scale <= 1e-12 * np.max(np.abs(np.where(available, x_N, 0.0)), axis=0, initial=0.0)
    scored = centred / np.where(flat, 1.0, scale)
    return np.where(available, np.where(flat, 0.0, scored), np.nan)


def rank(x_N: Array) -> Array:
    """Ranks 1 … n of the available values, ties sharing their mean rank (as in Spearman's correlation)."""
    if x_N.ndim > 1:
        flat = x_N.reshape(len(x_N), -1)
        return np.stack([rank(column) for column in flat.T], axis=1).reshape(x_N.shape)
    available = np.isfinite(x_N)
    _, inverse, counts = np.unique(x_N[available], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = np.full(len(x_N), np.nan)
    ranks[available] = (last - (counts - 1) / 2)[inverse]
    return ranks


def uniform_rank(x_N: Array) -> Array:
    """Ranks as (rank - 0.5)/n, in the open interval (0, 1) whatever the number n of available values."""
    centred: Array = (rank(x_N) - 0.5) / np.maximum(np.isfinite(x_N).sum(axis=0), 1)
    return centred


def correlation(x_N: Array, y_N: Array) -> float:
    """Pearson correlation over the symbols available in both; NaN below three symbols or where a side is constant."""
    both = np.isfinite(x_N) & np.isfinite(y_N)
    if both.sum() < 3:
        return float("nan")
    x, y = z_score(x_N[both]), z_score(y_N[both])
    return float(np.mean(x * y)) if x.any() and y.any() else float("nan")


def rank_correlation(x_N: Array, y_N: Array) -> float:
    """Spearman correlation over the symbols available in both; NaN below three symbols or where a side is constant."""
    both = np.isfinite(x_N) & np.isfinite(y_N)
    return correlation(rank(x_N[both]), rank(y_N[both]))


def _nan_median(x_N: Array) -> Array:
    """Median along the symbols; NaN where no symbol is available (numpy would warn)."""
    if not len(x_N):
        return np.full(x_N.shape[1:], np.nan)
    ordered = np.sort(np.where(np.isfinite(x_N), x_N, np.nan), axis=0)
    count = np.isfinite(x_N).sum(axis=0, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0), axis=0)
    high = np.take_along_axis(ordered, np.minimum(count // 2, max(len(x_N) - 1, 0)), axis=0)
    median: Array = np.where(count > 0, (low + high) / 2, np.nan)[0]
    return median
