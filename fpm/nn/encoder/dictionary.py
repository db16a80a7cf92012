"""A dictionary of the fingerprint space: the direction of each hand-made statistic, and how well it predicts.

A ridge regression predicts each statistic from the fingerprints (a linear probe: Alain and Bengio 2016, arXiv
1610.01644) and is evaluated on other sessions than it was fitted on. Session means are removed on both sides:
a direction shows how a symbol's session differs from its market's.

Shapes: N symbol-sessions, D dimensions, S symbols of one session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = NDArray[np.float64]
FOLDS = 5
FEW = 30  # symbol-sessions; with fewer there is no direction
WINSOR = 5.0  # median absolute deviations; keeps a few extreme minutes from deciding a direction
TINY = 1e-12


@dataclass(frozen=True)
class Entry:
    """A statistic and its direction.

    `correlation`: of prediction and value, out of sample; None where all rows are of one session. `direction_D`: the
    unit vector of the probe. `count`: symbol-sessions behind it.
    """

    statistic: str
    correlation: float | None
    direction_D: Array
    count: int


@dataclass(frozen=True)
class Axis:
    """A coordinate of the space and the statistic that correlates with it most; `share`: of the total variance."""

    name: str
    share: float
    statistic: str
    correlation: float


def dictionary(
    z_ND: NDArray[np.floating], statistics: Mapping[str, Array], session_N: NDArray[np.int64]
) -> list[Entry]:
    """The entry of every statistic with at least `FEW` values, the best predicted first."""
    entries = []
    for name, value_N in statistics.items():
        finite_N = np.isfinite(value_N)
        if finite_N.sum() >= FEW:
            entries.append(_entry(name, z_ND[finite_N], value_N[finite_N], session_N[finite_N]))
    return sorted(entries, key=lambda entry: (-(entry.correlation or 0.0), entry.statistic))


def _entry(name: str, z_ND: NDArray[np.floating], value_N: Array, session_N: NDArray[np.int64]) -> Entry:
    z_ND, y_N = less_session_mean(z_ND.astype(np.float64), session_N), session_z_scores(value_N, session_N)
    predicted_N, tested_N = np.zeros(len(y_N)), np.zeros(len(y_N), bool)
    for test_N in folds(session_N):
        if test_N.any() and not test_N.all():
            predicted_N[test_N] = z_ND[test_N] @ ridge(z_ND[~test_N], y_N[~test_N])
            tested_N |= test_N
    direction_D = ridge(z_ND, y_N)
    agreement = correlation(predicted_N[tested_N], y_N[tested_N]) if tested_N.any() else None
    return Entry(name, agreement, direction_D / max(float(np.linalg.norm(direction_D)), TINY), len(y_N))


def ridge(z_ND: Array, y_N: Array) -> Array:
    """Ridge coefficients (D,) of y on centred dimensions scaled to unit spread, in the space's own units.

    The penalty is D, which is a Gaussian prior under which all dimensions together explain half of y.
    """
    scale_D = np.sqrt(np.square(z_ND).mean(axis=0)) + TINY
    unit_ND = z_ND / scale_D
    size = z_ND.shape[1]
    return np.asarray(np.linalg.solve(unit_ND.T @ unit_ND + size * np.eye(size), unit_ND.T @ y_N) / scale_D)


def folds(session_N: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """The held-out rows of each fold; a fold holds neighbouring sessions, and a session is in one fold only."""
    sessions = np.unique(session_N)
    fold_N = np.searchsorted(sessions, session_N) * min(FOLDS, len(sessions)) // len(sessions)
    return [fold_N == fold for fold in range(min(FOLDS, len(sessions)))]


def principal_axes(z_ND: NDArray[np.floating], session_N: NDArray[np.int64]) -> tuple[Array, Array]:
    """Principal directions of the space as rows, (D, D), and their shares of the variance, (D,), largest first."""
    centred_ND = less_session_mean(z_ND.astype(np.float64), session_N)
    value_D, vector_DD = np.linalg.eigh(centred_ND.T @ centred_ND)
    value_D = np.maximum(value_D[::-1], 0.0)
    return vector_DD.T[::-1].copy(), value_D / max(float(value_D.sum()), TINY)


def axes(
    z_ND: NDArray[np.floating], statistics: Mapping[str, Array], session_N: NDArray[np.int64]
) -> tuple[list[Axis], list[Axis]]:
    """Principal directions, and the space's own dimensions, each with the statistic that correlates with it most."""
    direction_DD, share_D = principal_axes(z_ND, session_N)
    centred_ND = less_session_mean(z_ND.astype(np.float64), session_N)
    variance_D = np.square(centred_ND).sum(axis=0)
    share_of_dimension_D = variance_D / max(float(variance_D.sum()), TINY)
    directions = _axes("direction", centred_ND @ direction_DD.T, share_D, statistics, session_N)
    return directions, _axes("dimension", centred_ND, share_of_dimension_D, statistics, session_N)


def _axes(
    kind: str, c_ND: Array, share_D: Array, statistics: Mapping[str, Array], session_N: NDArray[np.int64]
) -> list[Axis]:
    table: dict[str, Array] = {}
    for name, value_N in statistics.items():
        finite_N = np.isfinite(value_N)
        if finite_N.sum() >= FEW:
            y_N = session_z_scores(value_N[finite_N], session_N[finite_N])
            table[name] = np.array([correlation(c_N, y_N) for c_N in c_ND[finite_N].T])
    rows = []
    for d, share in enumerate(share_D):
        name = max(table, key=lambda statistic: abs(table[statistic][d]), default="")
        rows.append(Axis(f"{kind} {d + 1}", float(share), name, float(table[name][d]) if name else 0.0))
    return rows


def coordinates(z_SD: NDArray[np.floating], direction_D: Array) -> Array:
    """Positions of one session's symbols along a direction, as z-scores across them, (S,)."""
    return z_scores(z_SD.astype(np.float64) @ direction_D)


def z_scores(value_S: Array) -> Array:
    """(value - mean) / standard deviation over the available symbols; 0 where all are equal."""
    finite_S = np.isfinite(value_S)
    if not finite_S.any():
        return value_S
    spread = float(value_S[finite_S].std())
    return np.asarray((value_S - value_S[finite_S].mean()) / (spread if spread > TINY else np.inf))


def session_z_scores(value_N: Array, session_N: NDArray[np.int64]) -> Array:
    """Each value as a z-score within its session, winsorised at `WINSOR` deviations first."""
    score_N = np.empty(len(value_N))
    for session in np.unique(session_N):
        rows = session_N == session
        score_N[rows] = z_scores(_winsorise(value_N[rows]))
    return score_N


def _winsorise(value_S: Array) -> Array:
    middle = np.median(value_S)
    reach = WINSOR * 1.4826 * np.median(np.abs(value_S - middle))
    return value_S if reach <= TINY else value_S.clip(middle - reach, middle + reach)


def less_session_mean(z_ND: Array, session_N: NDArray[np.int64]) -> Array:
    """Vectors minus the mean vector of their session."""
    centred_ND = np.empty_like(z_ND)
    for session in np.unique(session_N):
        rows = session_N == session
        centred_ND[rows] = z_ND[rows] - z_ND[rows].mean(axis=0)
    return centred_ND


def correlation(a_N: Array, b_N: Array) -> float:
    """Pearson correlation; 0 where either side is constant."""
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    scale = float(np.sqrt((a_N @ a_N) * (b_N @ b_N)))
    return float(a_N @ b_N) / scale if scale > TINY else 0.0
