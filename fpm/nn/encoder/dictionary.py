"""A dictionary of the space of fingerprints: which direction stands for which hand-made statistic, and how surely.

Each statistic is read off the fingerprints by a ridge regression (a linear probe: Alain and Bengio 2016, arXiv
1610.01644), judged on sessions it was not fitted on. What all symbols of a session share is taken out of both sides:
a direction says how a symbol's session differs from its market's.

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
FEW = 30  # symbol-sessions: fewer are no ground for a direction
WINSOR = 5.0  # median absolute deviations; a few wild minutes shall not make a direction
TINY = 1e-12


@dataclass(frozen=True)
class Entry:
    """One statistic. `correlation`: out of sample, of what the probe reads with what was there; None where all is
    of one session. `direction_D`: the unit vector it is read along. `count`: symbol-sessions it rests on.
    """

    statistic: str
    correlation: float | None
    direction_D: Array
    count: int


@dataclass(frozen=True)
class Axis:
    """A coordinate of the space and the statistic it goes along with most. `share`: of the whole variance."""

    name: str
    share: float
    statistic: str
    correlation: float


def dictionary(
    z_ND: NDArray[np.floating], statistics: Mapping[str, Array], session_N: NDArray[np.int64]
) -> list[Entry]:
    """An entry of every statistic that is there often enough; the surest first."""
    entries = []
    for name, value_N in statistics.items():
        there_N = np.isfinite(value_N)
        if there_N.sum() >= FEW:
            entries.append(_entry(name, z_ND[there_N], value_N[there_N], session_N[there_N]))
    return sorted(entries, key=lambda entry: (-(entry.correlation or 0.0), entry.statistic))


def _entry(name: str, z_ND: NDArray[np.floating], value_N: Array, session_N: NDArray[np.int64]) -> Entry:
    z_ND, y_N = apart(z_ND.astype(np.float64), session_N), standing(value_N, session_N)
    read_N, judged_N = np.zeros(len(y_N)), np.zeros(len(y_N), bool)
    for test_N in folds(session_N):
        if test_N.any() and not test_N.all():
            read_N[test_N] = z_ND[test_N] @ ridge(z_ND[~test_N], y_N[~test_N])
            judged_N |= test_N
    direction_D = ridge(z_ND, y_N)
    found = together(read_N[judged_N], y_N[judged_N]) if judged_N.any() else None
    return Entry(name, found, direction_D / max(float(np.linalg.norm(direction_D)), TINY), len(y_N))


def ridge(z_ND: Array, y_N: Array) -> Array:
    """Coefficients, (D,), of y on centred dimensions of unit spread, back in the space's own units.

    The penalty is D: that of a Gaussian prior under which all dimensions together explain half of y.
    """
    scale_D = np.sqrt(np.square(z_ND).mean(axis=0)) + TINY
    unit_ND = z_ND / scale_D
    size = z_ND.shape[1]
    return np.asarray(np.linalg.solve(unit_ND.T @ unit_ND + size * np.eye(size), unit_ND.T @ y_N) / scale_D)


def folds(session_N: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """Which rows are held out, fold by fold: neighbouring sessions together, no session in two folds."""
    sessions = np.unique(session_N)
    place_N = np.searchsorted(sessions, session_N) * min(FOLDS, len(sessions)) // len(sessions)
    return [place_N == fold for fold in range(min(FOLDS, len(sessions)))]


def principal_axes(z_ND: NDArray[np.floating], session_N: NDArray[np.int64]) -> tuple[Array, Array]:
    """Principal directions of the space, (D, D) a row each, and their shares of the variance, (D,), largest first."""
    centred_ND = apart(z_ND.astype(np.float64), session_N)
    value_D, vector_DD = np.linalg.eigh(centred_ND.T @ centred_ND)
    value_D = np.maximum(value_D[::-1], 0.0)
    return vector_DD.T[::-1].copy(), value_D / max(float(value_D.sum()), TINY)


def axes(
    z_ND: NDArray[np.floating], statistics: Mapping[str, Array], session_N: NDArray[np.int64]
) -> tuple[list[Axis], list[Axis]]:
    """Every principal direction, and every dimension as it is, with the statistic it goes along with most."""
    direction_DD, share_D = principal_axes(z_ND, session_N)
    centred_ND = apart(z_ND.astype(np.float64), session_N)
    variance_D = np.square(centred_ND).sum(axis=0)
    turned = _named("direction", centred_ND @ direction_DD.T, share_D, statistics, session_N)
    own = _named("dimension", centred_ND, variance_D / max(float(variance_D.sum()), TINY), statistics, session_N)
    return turned, own


def _named(
    kind: str, c_ND: Array, share_D: Array, statistics: Mapping[str, Array], session_N: NDArray[np.int64]
) -> list[Axis]:
    table: dict[str, Array] = {}
    for name, value_N in statistics.items():
        there_N = np.isfinite(value_N)
        if there_N.sum() >= FEW:
            y_N = standing(value_N[there_N], session_N[there_N])
            table[name] = np.array([together(c_N, y_N) for c_N in c_ND[there_N].T])
    found = []
    for d, share in enumerate(share_D):
        name = max(table, key=lambda each: abs(table[each][d]), default="")
        found.append(Axis(f"{kind} {d + 1}", float(share), name, float(table[name][d]) if name else 0.0))
    return found


def coordinates(z_SD: NDArray[np.floating], direction_D: Array) -> Array:
    """Where one session's symbols lie along a direction, as z-scores across them, (S,)."""
    along_S = z_SD.astype(np.float64) @ direction_D
    return z_scores(along_S)


def z_scores(value_S: Array) -> Array:
    """(value - mean) / standard deviation over the available symbols; 0 where all are equal."""
    there_S = np.isfinite(value_S)
    if not there_S.any():
        return value_S
    spread = float(value_S[there_S].std())
    return np.asarray((value_S - value_S[there_S].mean()) / (spread if spread > TINY else np.inf))


def standing(value_N: Array, session_N: NDArray[np.int64]) -> Array:
    """Each value as a z-score in its session, after what lies beyond `WINSOR` deviations was drawn in."""
    standing_N = np.empty(len(value_N))
    for session in np.unique(session_N):
        rows = session_N == session
        standing_N[rows] = z_scores(_drawn_in(value_N[rows]))
    return standing_N


def _drawn_in(value_S: Array) -> Array:
    middle = np.median(value_S)
    reach = WINSOR * 1.4826 * np.median(np.abs(value_S - middle))
    return value_S if reach <= TINY else value_S.clip(middle - reach, middle + reach)


def apart(z_ND: Array, session_N: NDArray[np.int64]) -> Array:
    """Vectors less the mean of their session."""
    centred_ND = np.empty_like(z_ND)
    for session in np.unique(session_N):
        rows = session_N == session
        centred_ND[rows] = z_ND[rows] - z_ND[rows].mean(axis=0)
    return centred_ND


def together(a_N: Array, b_N: Array) -> float:
    """Pearson correlation; 0 where one of them does not move."""
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    scale = float(np.sqrt((a_N @ a_N) * (b_N @ b_N)))
    return float(a_N @ b_N) / scale if scale > TINY else 0.0
