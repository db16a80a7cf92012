"""The covariance of one session's returns by factors. Shapes: N symbols, K factors. Variances are per session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fpm.panels import Floats


@dataclass(frozen=True)
class RiskModel:
    """Covariance = exposure_NK · covariance_KK · exposure_NKᵀ + diag(specific_N), return variance per session.

    `specific_N` is a variance. Every number is finite: a name that the model knows nothing of has stated fallbacks.
    """

    symbols: tuple[str, ...]
    factors: tuple[str, ...]
    exposure_NK: Floats
    covariance_KK: Floats
    specific_N: Floats

    def variance(self, active_N: Floats) -> float:
        """Variance per session of a portfolio, long or active."""
        exposure_K = active_N @ self.exposure_NK
        return float(exposure_K @ self.covariance_KK @ exposure_K + np.square(active_N) @ self.specific_N)
