"""One estimate from several independent ones: each weighs by the inverse of its squared error.

The fixed-effect estimate of meta-analysis (Hedges and Olkin 1985): mean = sum(w x) / sum(w), error = 1 / sqrt(sum(w)),
w = 1 / error^2. Degrees of freedom are those of all estimates together.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from fpm.evaluation.intervals import Interval, critical_value

if TYPE_CHECKING:
    from collections.abc import Sequence


def pooled(estimates: Sequence[tuple[float, float, int]], level: float) -> tuple[float, Interval | None] | None:
    """Pooled mean and interval of `estimates` as (mean, standard error, independent periods).

    None without an estimate that has a positive error; no interval without degrees of freedom.

    >>> mean, interval = pooled([(0.04, 0.01, 400), (0.01, 0.02, 400)], 0.95)
    >>> round(mean, 4), round(interval.error, 5)
    (0.034, 0.00894)
    """
    usable = [(mean, error, periods) for mean, error, periods in estimates if error > 0]
    if not usable:
        return None
    weight = sum(1 / error**2 for _, error, _ in usable)
    mean, error = sum(mean / error**2 for mean, error, _ in usable) / weight, 1 / sqrt(weight)
    factor = critical_value(1 + sum(periods - 1 for _, _, periods in usable), level)
    interval = None if factor is None else Interval(mean - factor * error, mean + factor * error, error, "pooled")
    return mean, interval
