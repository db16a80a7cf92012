"""Stacking: the dual score as a mix of the two streams' scores, in shares that the validation sessions decide.

A joint network must read a stream of noise, and it learns some of it. Here each stream is trained alone, and a stream
enters the mix by as much of its validation RankIC as its noise leaves. The shares are those of the best linear mix of
two scores with these correlations (the solution of the normal equations), so two streams that know the same are not
counted twice. A stream that shows no more than noise gets the share 0, and the dual score is then the other's.

The noise is the standard deviation that the mean RankIC of a score without any knowledge would have over the same
sessions. Labels overlap and scores are slow, so neighbouring sessions say nearly the same: the variance is that of
independent sessions times 1 + 2 sum_l (1 - l/T) a_l b_l, with the autocorrelations a of the score and b of the label
(Bartlett, "Some aspects of the time-correlation problem", 1935).

Shapes: T sessions, S symbols, N streams, K seeds. Missing is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpm import cross_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.cross_section import Array

# An early stop picks the epoch at which validation is best, so a score of noise looks like something there. What is
# below this many times the noise counts as none; of 0, 1 and 1.5 this cost least (docs/LOG.md, 30 November 2026).
DOUBT = 1.5


@dataclass(frozen=True)
class Mix:
    """Shares of the streams in the dual score, which sum to 1, and what they follow from; in order of the streams."""

    share: tuple[float, ...]
    rank_ic: tuple[float, ...]
    noise: tuple[float, ...]


def mix(score_NTS: Sequence[Array], label_TS: Array) -> Mix:
    """The mix of two streams' scores, (T, S) each, over the sessions of `label_TS`.

    Where neither shows more than noise, the better one is taken alone.
    """
    label_TS = _ranked(label_TS)
    ranked_NTS = [_ranked(np.where(np.isfinite(label_TS), score_TS, np.nan)) for score_TS in score_NTS]
    rank_ic_N = np.array([_mean_product(ranked_TS, label_TS) for ranked_TS in ranked_NTS])
    noise_N = np.array([_noise(ranked_TS, label_TS) for ranked_TS in ranked_NTS])
    alike = np.clip(_mean_product(*ranked_NTS), -0.99, 0.99)
    believed_N = np.where(
        rank_ic_N > 0, rank_ic_N - np.square(DOUBT * noise_N) / np.maximum(rank_ic_N, 1e-9), 0.0
    ).clip(0.0)
    weight_N = np.linalg.solve(np.array([[1.0, alike], [alike, 1.0]]), believed_N).clip(0.0)
    if not weight_N.any():
        weight_N = (rank_ic_N == rank_ic_N.max()).astype(np.float64)
    return Mix(*(tuple(float(value) for value in each_N) for each_N in (weight_N / weight_N.sum(), rank_ic_N, noise_N)))


def _ranked(value_TS: Array) -> Array:
    """Ranks within each session, standardised; NaN where there is none."""
    return np.asarray(cross_section.z_score(cross_section.rank(value_TS.T)).T)


def _mean_product(one_TS: Array, other_TS: Array) -> float:
    """Mean over all symbol-sessions in which both have a value; 0 without any."""
    product_TS = one_TS * other_TS
    return float(np.nanmean(product_TS)) if np.isfinite(product_TS).any() else 0.0


def _noise(score_TS: Array, label_TS: Array) -> float:
    """Standard deviation of the mean RankIC of a score that knows nothing, and is as slow as this one."""
    sessions = len(label_TS)
    inflation = 1.0 + 2.0 * sum(
        (1.0 - lag / sessions)
        * _mean_product(score_TS[lag:], score_TS[:-lag])
        * _mean_product(label_TS[lag:], label_TS[:-lag])
        for lag in range(1, sessions)
    )
    symbols = float(np.isfinite(label_TS).sum(axis=1).mean())
    return float(np.sqrt(max(inflation, 1.0) / (max(symbols - 1.0, 1.0) * sessions)))
