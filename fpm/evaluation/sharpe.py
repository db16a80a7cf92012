"""How likely a Sharpe ratio is to be skill: for short and skewed histories, and after many tries.

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
FEWEST = 8  # returns; skewness and kurtosis of fewer say nothing


@dataclass(frozen=True)
class Sharpe:
    """`per_week` and `annual`: mean over standard deviation of the weekly returns; `low`, `high`: bounds of the annual
    one. `probabilistic`: the probability that the true ratio is above 0; `deflated`: that it is above
    `expected_maximum` (per week), what the best of `trials` settings without any skill would show.
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
    """Of weekly returns; None for fewer than eight of them, or returns that do not vary."""
    from scipy.stats import norm

    if len(returns) < FEWEST or np.ptp(returns) == 0:
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
    """Standard error of a Sharpe ratio, given skewness and kurtosis (2012, eq. 8)."""
    standard = (returns - returns.mean()) / returns.std()
    skewness, kurtosis = float((standard**3).mean()), float((standard**4).mean())
    inside = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    return sqrt(max(inside, 1e-12) / (len(returns) - 1))


def expected_maximum(trials: int, returns: int) -> float:
    """The best Sharpe ratio to be expected of so many independent tries without skill (2014, eq. 1).

    The tries' ratios spread as those of returns without skill do: with the variance 1 / (returns - 1).
    """
    from scipy.stats import norm

    if trials < 2:
        return 0.0
    high, higher = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * e))
    return float(((1 - EULER) * high + EULER * higher) / sqrt(returns - 1))
