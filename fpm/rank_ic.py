"""Rank correlation of scores and forward returns, session by session, and what is read off its series.

Spearman with average ranks, numpy alone, in one fixed order, all sessions at once. Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpm.panels import Floats, mean

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sorted:
    """A panel sorted once, so that ranks within any part of each session need no further sorting.

    `order_TN`: the symbols of each session from the lowest value to the highest, unavailable ones last; `tie_TN`: the
    number of the run of equal values that each place belongs to, over the whole panel; `starts`: where the runs begin.
    """

    here_TN: Flags
    order_TN: NDArray[np.intp]
    tie_TN: NDArray[np.intp]
    starts: NDArray[np.intp]


def sort(values_TN: Floats) -> Sorted:
    """Sort every session; NaN is unavailable."""
    order_TN = np.argsort(values_TN, axis=1)
    sorted_TN = np.take_along_axis(values_TN, order_TN, axis=1)
    new_TN = np.ones(values_TN.shape, dtype=np.bool_)
    new_TN[:, 1:] = sorted_TN[:, 1:] != sorted_TN[:, :-1]
    tie_TN = (np.cumsum(new_TN.ravel()) - 1).reshape(values_TN.shape)
    return Sorted(np.isfinite(values_TN), order_TN, tie_TN, np.flatnonzero(new_TN))


def ranks_within(panel: Sorted, kept_TN: Flags) -> Floats:
    """Average ranks of the symbols kept in each session, less their mean; 0 for all others."""
    if not kept_TN.size:
        return np.zeros(kept_TN.shape)
    inside_TN = np.take_along_axis(kept_TN, panel.order_TN, axis=1)
    below_TN: NDArray[np.int64] = np.cumsum(inside_TN, axis=1) - inside_TN
    tied = np.add.reduceat(inside_TN.ravel(), panel.starts, dtype=np.int64)
    rank = below_TN.ravel()[panel.starts] + (tied + 1) / 2
    centred_TN = rank[panel.tie_TN] - (inside_TN.sum(axis=1, keepdims=True) + 1) / 2
    ranked_TN = np.empty(kept_TN.shape)
    np.put_along_axis(ranked_TN, panel.order_TN, np.where(inside_TN, centred_TN, 0.0), axis=1)
    return ranked_TN


def centred_ranks(values_TN: Floats) -> Floats:
    """Average ranks of each session minus their mean; NaN where unavailable."""
    panel = sort(values_TN)
    return np.where(panel.here_TN, ranks_within(panel, panel.here_TN), np.nan)


def rank_ic(score_TN: Floats, label_TN: Floats, minimum_symbols: int = 3) -> Floats:
    """Spearman correlation of each session over the symbols that have both (T,); NaN where undefined.

    Undefined: fewer than `minimum_symbols` pairs, or all scores or all labels alike.
    """
    return rank_correlations(sort(score_TN), sort(label_TN), minimum_symbols)


def rank_correlations(left: Sorted, right: Sorted, minimum_symbols: int = 3) -> Floats:
    """`rank_ic` of two sorted panels."""
    both_TN = left.here_TN & right.here_TN
    return _correlations(ranks_within(left, both_TN), ranks_within(right, both_TN), both_TN, minimum_symbols)


def ic(score_TN: Floats, label_TN: Floats, minimum_symbols: int = 3) -> Floats:
    """Pearson correlation of each session over the symbols that have both (T,); NaN where undefined."""
    both_TN = np.isfinite(score_TN) & np.isfinite(label_TN)
    return _correlations(_centred(score_TN, both_TN), _centred(label_TN, both_TN), both_TN, minimum_symbols)


def _centred(values_TN: Floats, both_TN: Flags) -> Floats:
    """Less the mean of the symbols kept, 0 for others; equal values leave no rounding error behind."""
    kept_TN = np.where(both_TN, values_TN, 0.0)
    count_T1 = np.maximum(both_TN.sum(axis=1, keepdims=True), 1)
    centred_TN = np.where(both_TN, kept_TN - kept_TN.sum(axis=1, keepdims=True) / count_T1, 0.0)
    flat_T1 = np.abs(centred_TN).max(axis=1, keepdims=True, initial=0.0) <= 1e-12 * np.abs(kept_TN).max(
        axis=1, keepdims=True, initial=0.0
    )
    return np.where(flat_T1, 0.0, centred_TN)


def _correlations(left_TN: Floats, right_TN: Floats, both_TN: Flags, minimum_symbols: int) -> Floats:
    product_T = (left_TN * right_TN).sum(axis=1)
    norm_T = np.sqrt(np.square(left_TN).sum(axis=1) * np.square(right_TN).sum(axis=1))
    defined_T = (both_TN.sum(axis=1) >= minimum_symbols) & (norm_T > 0)
    return np.where(defined_T, product_T / np.where(defined_T, norm_T, 1.0), np.nan)


def path_mean(series_T: Floats, horizon: int) -> float | None:
    """Mean over the `horizon` start-day paths (sessions k, k + horizon, ...) of each path's own mean."""
    paths = [own for k in range(horizon) if (own := mean(series_T[k::horizon])) is not None]
    return float(np.mean(paths)) if paths else None


def icir(weekly: Floats) -> float | None:
    """Mean over standard deviation (ddof 1) of the weekly RankIC; None with fewer than two weeks or no spread."""
    finite = weekly[np.isfinite(weekly)]
    spread = float(finite.std(ddof=1)) if len(finite) > 1 else 0.0
    return float(finite.mean()) / spread if spread > 0 else None


def decay_series(score_TN: Floats, close_TN: Floats, lags: int, minimum_symbols: int = 3) -> list[Floats]:
    """RankIC per session of score(t) with the single-session return close(t+lag) -> close(t+lag+1), lag 1 to `lags`.

    Both panels have the same T consecutive sessions. Lag 1 is the first session earned after a fill at the close of
    t+1. A series is as long as the closes reach.
    """
    score, moved = sort(score_TN), sort(close_TN[1:] / close_TN[:-1] - 1 if len(close_TN) else close_TN)
    series = []
    for lag in range(1, lags + 1):
        usable = max(0, len(close_TN) - lag - 1)
        series.append(
            rank_correlations(_part(score, 0, usable), _part(moved, lag, lag + usable), minimum_symbols)
        )  # fmt: skip
    return series


def decay(score_TN: Floats, close_TN: Floats, lags: int, minimum_symbols: int = 3) -> list[float | None]:
    """Mean of each of the series of `decay_series`; None where the closes do not reach."""
    return [mean(series_T) for series_T in decay_series(score_TN, close_TN, lags, minimum_symbols)]


def _part(panel: Sorted, first: int, end: int) -> Sorted:
    """Some consecutive sessions of a sorted panel."""
    tie_TN = panel.tie_TN[first:end]
    if not tie_TN.size:
        return Sorted(panel.here_TN[first:end], panel.order_TN[first:end], tie_TN, panel.starts[:0])
    low, high = int(tie_TN[0, 0]), int(tie_TN[-1, -1])
    starts = panel.starts[low : high + 1] - first * tie_TN.shape[1]
    return Sorted(panel.here_TN[first:end], panel.order_TN[first:end], tie_TN - low, starts)
