"""Rank correlation (RankIC) of scores and forward returns, session by session, and summaries of the series.

Spearman's coefficient with average ranks, in numpy alone and in one fixed order, all sessions at once.
Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpm.panels import Floats, mean

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SortedPanel:
    """A panel sorted once, so that ranks within any subset of a session need no further sorting.

    Positions run through the whole panel, session after session, from the lowest value to the highest; ties are in
    symbol order, unavailable values come last. `order`: index in the flat panel of the value at each position.
    `first` and `beyond`: for each value of the flat panel, the first position of its run of equal values and the
    position after that run.
    """

    available_TN: Flags
    order: NDArray[np.intp]
    first: NDArray[np.intp]
    beyond: NDArray[np.intp]


def sort(values_TN: Floats) -> SortedPanel:
    """Sort every session of a panel (T, N); values that are not finite are unavailable."""
    available_TN, (sessions, symbols) = np.isfinite(values_TN), values_TN.shape
    filled_TN = np.where(
        available_TN, values_TN, np.inf
    )  # argsort takes six times as long where there are NaN (numpy 2.4)
    order_TN = np.argsort(filled_TN, axis=1) + np.arange(sessions)[:, None] * symbols
    sorted_TN = filled_TN.take(order_TN)
    new_TN = np.ones(values_TN.shape, dtype=np.bool_)
    new_TN[:, 1:] = sorted_TN[:, 1:] != sorted_TN[:, :-1]
    starts = np.flatnonzero(new_TN)
    lengths = np.diff(starts, append=new_TN.size)
    run_TN = np.repeat(starts, lengths).reshape(values_TN.shape)
    order = (np.sort(run_TN * new_TN.size + order_TN, axis=1) - run_TN * new_TN.size).ravel()  # ties in symbol order
    first, length = np.empty_like(order), np.empty_like(order)
    first[order], length[order] = run_TN.ravel(), np.repeat(lengths, lengths)
    return SortedPanel(available_TN, order, first, first + length)


def restrict(panel: SortedPanel, mask_TN: Flags) -> SortedPanel:
    """The panel with only the symbols of the mask available."""
    return replace(panel, available_TN=panel.available_TN & mask_TN)


def ranks_within(panel: SortedPanel, mask_TN: Flags) -> Floats:
    """Average ranks of each session's selected symbols, less their mean; 0 for all others (T, N).

    Let c values be selected before the session, b before a value's run of ties and e up to the end of that run. Its
    average rank is (b + e + 1) / 2 - c; the mean of n ranks is (n + 1) / 2.
    """
    before, edges = _counts(panel, mask_TN)
    twice_TN = (before.take(panel.first) + before.take(panel.beyond)).reshape(mask_TN.shape)
    return np.where(mask_TN, (twice_TN - (edges[:-1] + edges[1:])[:, None]) / 2, 0.0)


def tie_places(panel: SortedPanel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last place of every available symbol's tie in its session, 0 = lowest (T, N each).

    Without ties both are the symbol's place. Cells of unavailable symbols have no meaning.
    """
    before, edges = _counts(panel, panel.available_TN)
    shape, start_T1 = panel.available_TN.shape, edges[:-1, None].astype(np.int64)
    first_TN, beyond_TN = (before.take(edge).reshape(shape) for edge in (panel.first, panel.beyond))
    return first_TN - start_T1, beyond_TN - 1 - start_T1


def _counts(panel: SortedPanel, mask_TN: Flags) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number of selected values before each position and before each session; the last entry is the total."""
    before = np.zeros(mask_TN.size + 1, np.int32)
    np.cumsum(mask_TN.ravel().take(panel.order), dtype=np.int32, out=before[1:])
    return before, before[np.arange(len(mask_TN) + 1) * mask_TN.shape[1]]


def centred_ranks(panel: SortedPanel) -> Floats:
    """Average ranks of each session less their mean; NaN where unavailable (T, N)."""
    return np.where(panel.available_TN, ranks_within(panel, panel.available_TN), np.nan)


def rank_ic(score_TN: Floats, label_TN: Floats, minimum_symbols: int = 3) -> Floats:
    """Spearman correlation of each session over the symbols with a score and a label (T,).

    NaN with fewer than `minimum_symbols` pairs, or where all scores or all labels are equal. Ranks 1 2 3 4 against
    2 1 4 3 give 1 - 6 * 4 / (4 * 15):

    >>> rank_ic(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[0.02, 0.01, 0.04, 0.03]])).round(6).tolist()
    [0.6]
    """
    return rank_correlations(sort(score_TN), sort(label_TN), minimum_symbols)


def rank_correlations(left: SortedPanel, right: SortedPanel, minimum_symbols: int = 3) -> Floats:
    """`rank_ic` of two sorted panels (T,)."""
    both_TN = left.available_TN & right.available_TN
    return _correlations(ranks_within(left, both_TN), ranks_within(right, both_TN), both_TN, minimum_symbols)


def ic(score_TN: Floats, label_TN: Floats, minimum_symbols: int = 3) -> Floats:
    """Pearson correlation of each session over the symbols with a score and a label (T,); NaN where undefined."""
    both_TN = np.isfinite(score_TN) & np.isfinite(label_TN)
    return _correlations(_centred(score_TN, both_TN), _centred(label_TN, both_TN), both_TN, minimum_symbols)


def _centred(values_TN: Floats, both_TN: Flags) -> Floats:
    """Values less the mean of the selected symbols, 0 for others; equal values leave no rounding error behind."""
    filled_TN = np.where(both_TN, values_TN, 0.0)
    count_T1 = np.maximum(both_TN.sum(axis=1, keepdims=True), 1)
    centred_TN = np.where(both_TN, filled_TN - filled_TN.sum(axis=1, keepdims=True) / count_T1, 0.0)
    flat_T1 = np.abs(centred_TN).max(axis=1, keepdims=True, initial=0.0) <= 1e-12 * np.abs(filled_TN).max(
        axis=1, keepdims=True, initial=0.0
    )
    return np.where(flat_T1, 0.0, centred_TN)


def _correlations(left_TN: Floats, right_TN: Floats, both_TN: Flags, minimum_symbols: int) -> Floats:
    norm_T = np.sqrt(_products(left_TN, left_TN) * _products(right_TN, right_TN))
    defined_T = (both_TN.sum(axis=1) >= minimum_symbols) & (norm_T > 0)
    return np.where(defined_T, _products(left_TN, right_TN) / np.where(defined_T, norm_T, 1.0), np.nan)


def _products(left_TN: Floats, right_TN: Floats) -> Floats:
    return np.asarray(np.einsum("tn,tn->t", left_TN, right_TN))


def path_mean(series_T: Floats, horizon: int) -> float | None:
    """Mean over the `horizon` start-day paths (sessions k, k + horizon, ...) of each path's mean; None without any."""
    means = [path for k in range(horizon) if (path := mean(series_T[k::horizon])) is not None]
    return float(np.mean(means)) if means else None


def icir(weekly: Floats) -> float | None:
    """Mean over standard deviation (ddof 1) of weekly RankIC; None with fewer than two weeks or without spread."""
    finite = weekly[np.isfinite(weekly)]
    spread = float(finite.std(ddof=1)) if len(finite) > 1 else 0.0
    return float(finite.mean()) / spread if spread > 0 else None


def decay_series(score_TN: Floats, close_TN: Floats, lags: int, minimum_symbols: int = 3) -> list[Floats]:
    """RankIC per session of score(t) with the one-session return close(t+lag) -> close(t+lag+1), lag 1 to `lags`.

    Both panels cover the same T consecutive sessions. Lag 1 is the first session earned after a fill at the close of
    t+1. Each series is as long as the closes reach.
    """
    score, change = sort(score_TN[:-1]), sort(close_TN[1:] / close_TN[:-1] - 1)
    return [lagged_correlations(score, change, lag, minimum_symbols) for lag in range(1, lags + 1)]


def lagged_correlations(left: SortedPanel, right: SortedPanel, lag: int, minimum_symbols: int = 3) -> Floats:
    """`rank_correlations` of session t of `left` and session t + lag of `right`, as long as both reach (T - lag,)."""
    skip = min(lag, len(right.available_TN))
    both_TN = left.available_TN[: len(left.available_TN) - skip] & right.available_TN[skip:]
    left_TN = ranks_within(left, np.pad(both_TN, ((0, skip), (0, 0))))[: len(both_TN)]
    right_TN = ranks_within(right, np.pad(both_TN, ((skip, 0), (0, 0))))[skip:]
    return _correlations(left_TN, right_TN, both_TN, minimum_symbols)


def rank_correlations_within(
    left: SortedPanel, right: SortedPanel, group_TN: NDArray[np.int64], groups: int, minimum_symbols: int = 3
) -> Floats:
    """`rank_correlations` among the symbols of each group (T, G). `group_TN`: number of the group, -1 = none.

    One stable sort of whole numbers a panel does for all groups: its positions are in order of value already.
    """
    inside_TN = left.available_TN & right.available_TN & (group_TN >= 0)
    cells, shape = np.arange(len(inside_TN))[:, None] * groups + group_TN, (len(inside_TN), groups)
    own = np.flatnonzero(inside_TN)
    cell, left_rank, right_rank = (
        cells.ravel()[own],
        *(_ranks_of(panel, inside_TN, cells)[own] for panel in (left, right)),
    )

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(cell, weights=values, minlength=shape[0] * groups).reshape(shape), np.float64)

    norm_TG = np.sqrt(total(left_rank * left_rank) * total(right_rank * right_rank))
    defined_TG = (total(np.ones(len(own))) >= minimum_symbols) & (norm_TG > 0)
    return np.where(defined_TG, total(left_rank * right_rank) / np.where(defined_TG, norm_TG, 1.0), np.nan)


def _ranks_of(panel: SortedPanel, inside_TN: Flags, cells: NDArray[np.int64]) -> Floats:
    """Average ranks among the selected symbols of the same cell, less their mean, in the flat panel; 0 for others."""
    order = panel.order[inside_TN.ravel()[panel.order]]
    order = order[np.argsort(cells.ravel()[order], kind="stable")]
    cell, run = cells.ravel()[order], panel.first[order]

    def middles(new: Flags) -> Floats:
        starts = np.flatnonzero(new)
        lengths = np.diff(starts, append=len(order))
        return np.repeat(starts + (lengths - 1) / 2, lengths)

    other_cell = np.diff(cell, prepend=-1) != 0
    ranks = np.zeros(inside_TN.size)
    ranks[order] = middles(other_cell | (np.diff(run, prepend=-1) != 0)) - middles(other_cell)
    return ranks


def decay(score_TN: Floats, close_TN: Floats, lags: int, minimum_symbols: int = 3) -> list[float | None]:
    """Mean of each series of `decay_series`; None where the closes do not reach."""
    return [mean(series_T) for series_T in decay_series(score_TN, close_TN, lags, minimum_symbols)]
