"""Rank correlation of scores and forward returns, session by session, and what is read off its series.

Spearman with average ranks, numpy alone, in one fixed order, all sessions at once. Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpm.panels import Floats, mean

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sorted:
    """A panel sorted once, so that ranks within any part of each session need no further sorting.

    Places are counted through the whole panel, session after session, from the lowest value to the highest, equal ones
    in symbol order and unavailable ones last. `order`: where in the flat panel the value of each place lies; `first`
    and `beyond`: for each value of the flat panel, the first place of its run of equal values and the one after it.
    """

    here_TN: Flags
    order: NDArray[np.intp]
    first: NDArray[np.intp]
    beyond: NDArray[np.intp]


def sort(values_TN: Floats) -> Sorted:
    """Sort every session; what is not finite is unavailable."""
    here_TN, (sessions, symbols) = np.isfinite(values_TN), values_TN.shape
    filled_TN = np.where(here_TN, values_TN, np.inf)  # argsort takes six times as long where there are NaN (numpy 2.4)
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
    return Sorted(here_TN, order, first, first + length)


def only(panel: Sorted, kept_TN: Flags) -> Sorted:
    """The panel with no other symbols available than those kept."""
    return replace(panel, here_TN=panel.here_TN & kept_TN)


def ranks_within(panel: Sorted, kept_TN: Flags) -> Floats:
    """Average ranks of the symbols kept in each session, less their mean; 0 for all others.

    With c kept before the session, b before a value's run and e up to the end of the run, its average rank is
    (b + e + 1) / 2 - c, and the mean of n ranks (n + 1) / 2.
    """
    before, edges = _counted(panel, kept_TN)
    twice_TN = (before.take(panel.first) + before.take(panel.beyond)).reshape(kept_TN.shape)
    return np.where(kept_TN, (twice_TN - (edges[:-1] + edges[1:])[:, None]) / 2, 0.0)


def places_within(panel: Sorted) -> NDArray[np.int64]:
    """Place of every available symbol in its session, 0 = lowest, ties in symbol order; -1 for others (T, N)."""
    before, edges = _counted(panel, panel.here_TN)
    place_TN = np.empty(panel.here_TN.shape, np.int64)
    place_TN.ravel()[panel.order] = before[:-1]
    return np.where(panel.here_TN, place_TN - edges[:-1, None], -1)


def _counted(panel: Sorted, kept_TN: Flags) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """How many values are kept before each place, and before each session (and at the end of both)."""
    before = np.zeros(kept_TN.size + 1, np.int32)
    np.cumsum(kept_TN.ravel().take(panel.order), dtype=np.int32, out=before[1:])
    return before, before[np.arange(len(kept_TN) + 1) * kept_TN.shape[1]]


def centred_ranks(panel: Sorted) -> Floats:
    """Average ranks of each session minus their mean; NaN where unavailable."""
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
    norm_T = np.sqrt(_products(left_TN, left_TN) * _products(right_TN, right_TN))
    defined_T = (both_TN.sum(axis=1) >= minimum_symbols) & (norm_T > 0)
    return np.where(defined_T, _products(left_TN, right_TN) / np.where(defined_T, norm_T, 1.0), np.nan)


def _products(left_TN: Floats, right_TN: Floats) -> Floats:
    return np.asarray(np.einsum("tn,tn->t", left_TN, right_TN))


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
    score, moved = sort(score_TN[:-1]), sort(close_TN[1:] / close_TN[:-1] - 1)
    series = []
    for lag in range(1, lags + 1):
        gone = min(lag, len(moved.here_TN))
        both_TN = score.here_TN[: len(score.here_TN) - gone] & moved.here_TN[gone:]
        left_TN = ranks_within(score, np.pad(both_TN, ((0, gone), (0, 0))))[: len(both_TN)]
        right_TN = ranks_within(moved, np.pad(both_TN, ((gone, 0), (0, 0))))[gone:]
        series.append(_correlations(left_TN, right_TN, both_TN, minimum_symbols))
    return series


def decay(score_TN: Floats, close_TN: Floats, lags: int, minimum_symbols: int = 3) -> list[float | None]:
    """Mean of each of the series of `decay_series`; None where the closes do not reach."""
    return [mean(series_T) for series_T in decay_series(score_TN, close_TN, lags, minimum_symbols)]
