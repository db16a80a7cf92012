"""Probabilistic and deflated Sharpe ratios: corrected for short and skewed histories, and for many trials.

Bailey and Lopez de Prado 2012 (The Sharpe Ratio Efficient Frontier) and 2014 (The Deflated Sharpe Ratio).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fpm.panels import Floats

EULER = 0.5772156649015329
MINIMUM_RETURNS = 8  # skewness and kurtosis of fewer say nothing


@dataclass(frozen=True)
class Sharpe:
    """A Sharpe ratio of weekly returns with its interval and its probabilities.

    `per_week` and `annual`: mean over standard deviation. `low` and `high`: bounds of the annual ratio.
    `probabilistic`: probability that the true ratio is above 0. `deflated`: probability that it is above
    `expected_maximum` (per week), the expected best ratio of `trials` settings without skill.
    """

    per_week: float
    annual: float
    low: float
    high: float
    probabilistic: float
    deflated: float
    expected_maximum: float
    trials: int


def sharpe(returns: Floats, trials: int, per_year: int, level: float) -> Sharpe | None:
    """Sharpe ratio of weekly returns; None with fewer than `MINIMUM_RETURNS` of them or without variation."""
    from scipy.stats import norm

    if len(returns) < MINIMUM_RETURNS or np.ptp(returns) == 0:
        return None
    ratio = float(returns.mean() / returns.std(ddof=1))
    error, best = ratio_error(returns, ratio), expected_maximum(trials, len(returns))
    bound = float(norm.ppf(0.5 + level / 2)) * error
    return Sharpe(
        ratio,
        ratio * sqrt(per_year),
        (ratio - bound) * sqrt(per_year),
        (ratio + bound) * sqrt(per_year),
        float(norm.cdf(ratio / error)),
        float(norm.cdf((ratio - best) / error)),
        best,
        trials,
    )


def ratio_error(returns: Floats, ratio: float) -> float:
    """Standard error of a Sharpe ratio under skewness and kurtosis (Bailey and Lopez de Prado 2012, eq. 8)."""
    standard = (returns - returns.mean()) / returns.std()
    skewness, kurtosis = float((standard**3).mean()), float((standard**4).mean())
    inside = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    return sqrt(max(inside, 1e-12) / (len(returns) - 1))


def expected_maximum(trials: int, returns: int) -> float:
    """Expected best Sharpe ratio of independent trials without skill (Bailey and Lopez de Prado 2014, eq. 1).

    Without skill the trials' ratios have the variance 1 / (returns - 1).
    """
    from scipy.stats import norm

    if trials < 2:
        return 0.0
    high, higher = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * e))
    return float(((1 - EULER) * high + EULER * higher) / sqrt(returns - 1))
