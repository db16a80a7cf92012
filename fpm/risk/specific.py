"""Specific variances: what a name's return may deviate by on its own.

Shapes: T sessions, oldest first; N symbols; S exposures that explain volatility.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpm.risk.covariance import ewma_mean
from fpm.risk.factor_returns import DETERMINED

if TYPE_CHECKING:
    from fpm.panels import Floats

GROUPS = 10  # size groups that shrinkage leads to
BAND = (0.25, 4.0)  # a structural deviation, times the market's median one


def corrected_residuals(residual_TN: Floats, leverage_TN: Floats) -> Floats:
    """Residuals u / √(1 - h): a regression takes the share h of a name's own variance into the factor returns.

    Under weights proportional to inverse variances E[u²] = (1 - h) σ² (MacKinnon and White 1985, HC2).
    """
    return np.asarray(residual_TN / np.sqrt(np.maximum(1 - leverage_TN, 1 - DETERMINED)), dtype=np.float64)


def specific_variance(
    residual_TN: Floats, trait_NS: Floats, half_life: float, between: tuple[int, int], unknown: float
) -> Floats:
    """Variance per session (N,), exponentially weighted about zero; NaN is left out. Every value is finite.

    `between`: a name with at most the first number of residuals has the `structural` variance, one with the second or
    more its own, and in between a mean of both (Menchero, Orr, Wang 2011, section 5.2). `unknown`: daily deviation
    where no name has enough residuals.
    """
    few, enough = between
    count_N = np.isfinite(residual_TN).sum(axis=0)
    own_N = np.nan_to_num(ewma_mean(np.square(residual_TN), half_life)) if len(residual_TN) else np.zeros(len(trait_NS))
    trust_N = np.where(own_N > 0, np.clip((count_N - few) / max(enough - few, 1), 0.0, 1.0), 0.0)
    deviation_N = np.where(trust_N >= 1, np.sqrt(own_N), np.nan)
    if not (trust_N >= 1).any():
        deviation_N = np.where((count_N > few) & (own_N > 0), np.sqrt(own_N), np.nan)
    model_N = np.square(structural(deviation_N, trait_NS, unknown))
    return np.asarray(trust_N * own_N + (1 - trust_N) * model_N, dtype=np.float64)


def structural(deviation_N: Floats, trait_NS: Floats, unknown: float) -> Floats:
    """Deviation (N,) that names of such traits have: regression of log deviations on the traits, scaled to their mean.

    Menchero, Orr, Wang 2011, section 5.2. Kept within `BAND` of the median; the median itself with fewer than five
    names a trait, `unknown` without any.
    """
    known_N = np.isfinite(deviation_N) & (deviation_N > 0)
    if not known_N.any():
        return np.full(len(deviation_N), unknown)
    median = float(np.median(deviation_N[known_N]))
    x_NS = np.column_stack([np.ones(len(trait_NS)), trait_NS])
    if known_N.sum() < 5 * x_NS.shape[1]:
        return np.full(len(deviation_N), median)
    slope_S = np.linalg.lstsq(x_NS[known_N], np.log(deviation_N[known_N]), rcond=None)[0]
    model_N = np.exp(x_NS @ slope_S)
    model_N *= deviation_N[known_N].mean() / model_N[known_N].mean()
    return np.clip(model_N, BAND[0] * median, BAND[1] * median)


def shrunk(variance_N: Floats, cap_N: Floats, weight: float) -> Floats:
    """Variances whose deviations are pulled towards the size-weighted mean of their size group.

    Menchero, Orr, Wang 2011, section 5.3 (Bayesian shrinkage): share = q|s - m| / (D + q|s - m|) with s the
    deviation, q = `weight`, m the group's mean and D the spread of s within the group. Then scaled so that the group's
    mean variance stays, which Menchero's form lowers. Names without a size stay as they are.
    """
    deviation_N, size_N = np.sqrt(variance_N), np.nan_to_num(cap_N)
    shrunk_N = deviation_N.copy()
    for group in np.array_split(np.argsort(size_N, kind="stable")[(size_N <= 0).sum() :], GROUPS):
        if len(group) < 2:
            continue
        own = deviation_N[group]
        mean = float(np.average(own, weights=size_N[group]))
        distance, spread = weight * np.abs(own - mean), float(np.sqrt(np.mean((own - mean) ** 2)))
        share = distance / np.maximum(spread + distance, 1e-300)
        shrunk_N[group] = share * mean + (1 - share) * own
        shrunk_N[group] *= np.sqrt(np.square(own).mean() / np.square(shrunk_N[group]).mean())
    return np.square(shrunk_N)
