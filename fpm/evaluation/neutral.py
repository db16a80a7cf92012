"""Neutral scores: the residual of a score on industries and styles, session by session.

Ordinary least squares across the symbols of each session (the cross-section of Fama and MacBeth 1973). Score and styles
are first centred within each industry, which gives the same residual as industry dummies beside the styles (Frisch and
Waugh 1933, Lovell 1963). Shapes: T sessions, N symbols, K columns (the score and its styles), G groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.panels import Floats

Groups = NDArray[np.int64]


def neutral(score_TN: Floats, styles: Sequence[Floats], group_TN: Groups | None) -> Floats:
    """Residual of each session's scores (T, N); NaN where the score, a style or the industry is unavailable.

    `styles`: panels (T, N). `group_TN`: industry of every symbol as a number, -1 = unknown; None leaves industries in.
    """
    known_TN = np.isfinite(score_TN) & (np.ones(score_TN.shape, np.bool_) if group_TN is None else group_TN >= 0)
    for style_TN in styles:
        known_TN = known_TN & np.isfinite(style_TN)
    residual_TN = np.full(score_TN.shape, np.nan)
    for t in range(len(score_TN)):
        rows = np.flatnonzero(known_TN[t])
        if len(rows):
            design_NK = np.column_stack([score_TN[t, rows], *(style_TN[t, rows] for style_TN in styles)])
            groups_N = np.zeros(len(rows), np.int64) if group_TN is None else group_TN[t, rows]
            residual_TN[t, rows] = _residual(within(design_NK, groups_N))
    return residual_TN


def within(values_NK: Floats, group_N: Groups) -> Floats:
    """Every column less its mean within each group (N, K)."""
    count_G = np.maximum(np.bincount(group_N), 1)
    means_GK = np.column_stack([np.bincount(group_N, weights=column_N) / count_G for column_N in values_NK.T])
    return np.asarray(values_NK - means_GK[group_N])


def _residual(centred_NK: Floats) -> Floats:
    """First column less its projection on the others; collinear columns do no harm."""
    score_N, style_NK = centred_NK[:, 0], centred_NK[:, 1:]
    if not style_NK.shape[1]:
        return score_N
    slope_K = np.linalg.lstsq(style_NK.T @ style_NK, style_NK.T @ score_N, rcond=1e-12)[0]
    return np.asarray(score_N - style_NK @ slope_K)
