"""Thin risk model: shrunk covariance of daily returns, and exposure to size.

The covariance is stored as factors and a diagonal, so that N = 1,800 symbols never need an N x N matrix.
There is no style model (such as CNE5).
Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpm.cross_section import mad_winsorise, z_score

if TYPE_CHECKING:
    from fpm.panels import Floats


@dataclass(frozen=True)
class RiskConfig:
    """Settings of the covariance.

    `window`: sessions of returns. `minimum`: returns that a symbol's own variance needs. `unknown`: daily volatility
    where no symbol has enough returns.
    """

    window: int = 120
    minimum: int = 20
    unknown: float = 0.02


PRESETS = {
    "default": RiskConfig(),
    "demo": RiskConfig(window=60),
    "short": RiskConfig(window=20, minimum=5),
    "tiny": RiskConfig(window=10, minimum=3),
}


@dataclass(frozen=True)
class Risk:
    """Covariance of one session's returns: `factor_TN`ᵀ `factor_TN` + diag(`specific_N`)."""

    factor_TN: Floats
    specific_N: Floats

    def variance(self, active_N: Floats) -> float:
        """Variance per session of a portfolio, long or active."""
        return float(np.square(self.factor_TN @ active_N).sum() + (self.specific_N * np.square(active_N)).sum())


def shrinkage(x_TN: Floats) -> float:
    """Ledoit-Wolf weight of the scaled identity, 0 to 1, for centred observations `x_TN`.

    Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices", lemma 3.2 to 3.4,
    with norms taken through the T x T Gram matrix.
    """
    sessions, symbols = x_TN.shape
    gram_TT = x_TN @ x_TN.T / sessions
    square_norm = float(np.square(gram_TT).sum())
    distance = square_norm - float(np.trace(gram_TT)) ** 2 / symbols
    noise = float(np.square(np.diag(gram_TT)).sum()) - square_norm / sessions
    return float(np.clip(noise / distance, 0.0, 1.0)) if distance > 0 else 1.0


def covariance(return_TN: Floats, config: RiskConfig = PRESETS["default"]) -> Risk:
    """Covariance with correlations shrunk towards zero and unchanged volatilities.

    Missing returns (NaN) are left out of means and volatilities and add nothing to correlations. A symbol with fewer
    than `minimum` returns gets the median volatility of the others and no correlation.
    """
    known_TN = np.isfinite(return_TN)
    count_N = known_TN.sum(axis=0)
    filled_TN = np.where(known_TN, return_TN, 0.0)
    centred_TN = np.where(known_TN, filled_TN - filled_TN.sum(axis=0) / np.maximum(count_N, 1), 0.0)
    deviation_N = np.sqrt(np.square(centred_TN).sum(axis=0) / np.maximum(count_N, 1))
    own_N = (count_N >= config.minimum) & (deviation_N > 0)
    typical = float(np.median(deviation_N[own_N])) if own_N.any() else config.unknown
    if not own_N.any():
        return Risk(np.zeros((0, return_TN.shape[1])), np.full(return_TN.shape[1], typical**2))
    sessions = len(return_TN)
    unit_TN = centred_TN[:, own_N] / deviation_N[own_N] * np.sqrt(sessions / count_N[own_N])
    weight = shrinkage(unit_TN)
    factor_TN = np.zeros_like(centred_TN)
    factor_TN[:, own_N] = unit_TN * deviation_N[own_N] * np.sqrt((1 - weight) / sessions)
    return Risk(factor_TN, np.where(own_N, weight * np.square(deviation_N), typical**2))


def size_exposure(log_size_N: Floats, benchmark_N: Floats) -> Floats:
    """Size exposure (N,): winsorised z-score of log size, 0 at the benchmark's average and where unknown."""
    score_N = z_score(mad_winsorise(log_size_N))
    known_N = np.isfinite(score_N)
    total = float(benchmark_N[known_N].sum())
    centre = float((score_N[known_N] * benchmark_N[known_N]).sum()) / total if total > 0 else 0.0
    return np.where(known_N, score_N - centre, 0.0)
