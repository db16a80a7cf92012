"""Rank correlation of scores and forward returns, session by session, and what is read off its series.

Spearman with average ranks, numpy alone, in one fixed order. Shapes: T sessions, N symbols.
"""

from __future__ import annotations

import numpy as np

from fpm.cross_section import rank, rank_correlation
from fpm.panels import Floats, mean


def centred_ranks(values_TN: Floats) -> Floats:
    """Average ranks of each session minus their mean; NaN where unavailable."""
    here_T = np.isfinite(values_TN).sum(axis=1)
    ranks_TN = np.array([rank(values_N) for values_N in values_TN]).reshape(values_TN.shape)
    return np.asarray(ranks_TN - (here_T[:, None] + 1) / 2, dtype=np.float64)


def rank_ic(score_TN: Floats, label_TN: Floats, minimum_symbols: int = 3) -> Floats:
    """Spearman correlation of each session over the symbols that have both (T,); NaN where undefined.

    Undefined: fewer than `minimum_symbols` pairs, or all scores or all labels alike.
    """
    correlations_T = np.full(len(score_TN), np.nan)
    for index, (score_N, label_N) in enumerate(zip(score_TN, label_TN, strict=True)):
        both_N = np.isfinite(score_N) & np.isfinite(label_N)
        if both_N.sum() >= minimum_symbols:
            correlations_T[index] = rank_correlation(score_N[both_N], label_N[both_N])
    return correlations_T


def path_mean(series_T: Floats, horizon: int) -> float | None:
    """Mean over the `horizon` start-day paths (sessions k, k + horizon, ...) of each path's own mean."""
    paths = [own for k in range(horizon) if (own := mean(series_T[k::horizon])) is not None]
    return float(np.mean(paths)) if paths else None


def icir(weekly: Floats) -> float | None:
    """Mean over standard deviation (ddof 1) of the weekly RankIC; None with fewer than two weeks or no spread."""
    finite = weekly[np.isfinite(weekly)]
    spread = float(finite.std(ddof=1)) if len(finite) > 1 else 0.0
    return float(finite.mean()) / spread if spread > 0 else None


def decay(score_TN: Floats, close_TN: Floats, lags: int, minimum_symbols: int = 3) -> list[float | None]:
    """Mean RankIC of score(t) with the single-session return close(t+lag) -> close(t+lag+1), for lag 1 to `lags`.

    Both panels have the same T consecutive sessions. Lag 1 is the first session earned after a fill at the close of
    t+1. None where the closes do not reach.
    """
    means = []
    for lag in range(1, lags + 1):
        usable = max(0, len(close_TN) - lag - 1)
        return_TN = close_TN[lag + 1 : lag + 1 + usable] / close_TN[lag : lag + usable] - 1
        means.append(mean(rank_ic(score_TN[:usable], return_TN, minimum_symbols)))
    return means
