"""Whether today's vectors come from where a model was trained: squared maximum mean discrepancy, given volatility.

MMD (Gretton et al. 2012, eq. 3, unbiased) compares two samples of vectors through a Gaussian kernel whose width is the
median distance within the reference. A nervous market alone would look like drift: its vectors are those of nervous
stock-days. So the comparison is made within bins of volatility, weighted by today's share of each bin; what is left is
what volatility does not explain. Letters in array names: N reference rows, M rows of today, D vector size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 5
FEWEST = 10  # rows of a bin on either side; with fewer the bin does not count


@dataclass(frozen=True)
class Drift:
    """`value`: today's discrepancy. `band`: the largest of the reference's own sessions against the others.

    `covered`: share of today's rows in bins with enough rows on both sides.
    """

    value: float
    band: float
    covered: float


def drift(
    reference_ND: Floats, volatility_N: Floats, session_N: NDArray[np.int64], today_MD: Floats, volatility_M: Floats
) -> Drift | None:
    """The drift of today's rows from the reference's; None with fewer than two reference sessions or without bins.

    `session_N`: number of the session of each reference row. Rows without a finite volatility or vector are left out.
    """
    good_N = np.isfinite(reference_ND).all(axis=1) & np.isfinite(volatility_N)
    good_M = np.isfinite(today_MD).all(axis=1) & np.isfinite(volatility_M)
    reference_ND, volatility_N, session_N = reference_ND[good_N], volatility_N[good_N], session_N[good_N]
    sessions = np.unique(session_N)
    if len(sessions) < 2 or not good_M.any():
        return None
    edges = np.quantile(volatility_N, np.linspace(0, 1, BINS + 1)[1:-1])
    bin_N, bin_M = np.searchsorted(edges, volatility_N), np.searchsorted(edges, volatility_M[good_M])
    width = _median_distance(reference_ND)
    today = _conditional(reference_ND, bin_N, today_MD[good_M], bin_M, width)
    if today is None:
        return None
    own = [
        _conditional(reference_ND[~its], bin_N[~its], reference_ND[its], bin_N[its], width)
        for its in (session_N == number for number in sessions)
    ]
    usual = [each[0] for each in own if each is not None]
    return Drift(today[0], max(usual), today[1]) if usual else None


def _conditional(
    x_ND: Floats, bin_N: NDArray[np.intp], y_MD: Floats, bin_M: NDArray[np.intp], width: float
) -> tuple[float, float] | None:
    """Mean of the bins' discrepancies by their share of y, and the share of y in bins that count."""
    total, counted = 0.0, 0
    for number in range(BINS):
        x, y = x_ND[bin_N == number], y_MD[bin_M == number]
        if min(len(x), len(y)) >= FEWEST:
            total += len(y) * squared_mmd(x, y, width)
            counted += len(y)
    return (total / counted, counted / len(y_MD)) if counted else None


def squared_mmd(x_ND: Floats, y_MD: Floats, width: float) -> float:
    """Unbiased estimate of the squared discrepancy of two samples; about 0 where both come from one distribution.

    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> round(squared_mmd(x, x + 100, 1.0), 6)
    0.898931
    """
    count, other = len(x_ND), len(y_MD)
    within_x = (_kernel(x_ND, x_ND, width).sum() - count) / (count * (count - 1))
    within_y = (_kernel(y_MD, y_MD, width).sum() - other) / (other * (other - 1))
    return float(within_x + within_y - 2 * _kernel(x_ND, y_MD, width).mean())


def _kernel(x_ND: Floats, y_MD: Floats, width: float) -> Floats:
    return np.asarray(np.exp(-_squared_distances(x_ND, y_MD) / (2 * width**2)))


def _squared_distances(x_ND: Floats, y_MD: Floats) -> Floats:
    x_N, y_M = np.square(x_ND).sum(axis=1), np.square(y_MD).sum(axis=1)
    return np.asarray(np.maximum(x_N[:, None] + y_M[None, :] - 2 * x_ND @ y_MD.T, 0.0))


def _median_distance(x_ND: Floats) -> float:
    """Median distance of two different rows, 1 where all are equal."""
    upper = np.triu_indices(len(x_ND), 1)
    return float(np.sqrt(np.median(_squared_distances(x_ND, x_ND)[upper]))) or 1.0
