"""Portfolios by score group: membership, returns and turnover, and drawdowns of a curve.

Shapes: T sessions, N symbols, G groups, E the two outer groups, R resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.rank_ic import SortedPanel, tie_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpm.panels import Floats


def group_count(score_TN: Floats, label_TN: Floats, maximum: int) -> int:
    """At most `maximum` groups, with two symbols each in the median cross-section; at least two groups."""
    pairs_T = (np.isfinite(score_TN) & np.isfinite(label_TN)).sum(axis=1)
    typical = float(np.median(pairs_T[pairs_T > 0])) if (pairs_T > 0).any() else 0.0
    return int(max(2, min(maximum, typical // 2)))


def memberships(score: SortedPanel, groups: int) -> NDArray[np.int64]:
    """Group of every symbol by score (T, N), 0 = lowest; -1 without a score or with fewer symbols than groups.

    Sizes differ by one at most. Where an edge between two groups falls inside a tie, the session has no groups: no
    symbol's name may decide on which side of the edge it stands.
    """
    count_T1 = score.available_TN.sum(axis=1, keepdims=True)
    lowest_TN, highest_TN = (place_TN * groups // np.maximum(count_T1, 1) for place_TN in tie_places(score))
    whole_T1 = ((lowest_TN == highest_TN) | ~score.available_TN).all(axis=1, keepdims=True)
    return np.where(score.available_TN & (count_T1 >= groups) & whole_T1, lowest_TN, -1)


def tied_sessions(group_TN: NDArray[np.int64], score: SortedPanel, groups: int) -> int:
    """Number of sessions with symbols enough for `groups` and, because of a tie at an edge, without any."""
    enough_T = score.available_TN.sum(axis=1) >= groups
    return int((enough_T & (group_TN < 0).all(axis=1)).sum())


def group_returns(group_TN: NDArray[np.int64], label_TN: Floats, groups: int) -> Floats:
    """Equal-weight mean label of each group (T, G); NaN where no symbol of the group has a label."""
    returns_TG = np.full((len(label_TN), groups), np.nan)
    for group in range(groups):
        inside_TN = (group_TN == group) & np.isfinite(label_TN)
        count_T = inside_TN.sum(axis=1)
        total_T = np.where(inside_TN, label_TN, 0.0).sum(axis=1)
        returns_TG[count_T > 0, group] = total_T[count_T > 0] / count_T[count_T > 0]
    return returns_TG


def geometric_annual(returns: Floats, per_year: int) -> float | None:
    """Compounded return per year; None without returns or where the curve reaches zero."""
    growth = float(np.prod(1 + returns)) if len(returns) else 0.0
    return growth ** (per_year / len(returns)) - 1 if growth > 0 else None


def max_drawdown(returns: Floats) -> float | None:
    """Deepest fall from a peak of the compounded curve, as a positive share; None without returns.

    The curve starts at 1, so a loss in the first period counts.

    >>> round(max_drawdown(np.array([0.1, -0.2, 0.05])), 6)
    0.2
    """
    return float(drawdowns(returns[None])[0]) if len(returns) else None


def drawdowns(returns_RT: Floats) -> Floats:
    """`max_drawdown` of each of several series (R,)."""
    curve_RT = np.concatenate([np.ones((len(returns_RT), 1)), np.cumprod(1 + returns_RT, axis=1)], axis=1)
    return np.asarray((1 - curve_RT / np.maximum.accumulate(curve_RT, axis=1)).max(axis=1))


def turnovers(group_TN: NDArray[np.int64], groups: int) -> Floats:
    """Share of the outer groups' symbols replaced since the previous session of the grid (T,).

    It is the mean over top and bottom group; NaN for the first session and where neither group can be compared.
    """
    replaced_TE = np.full((len(group_TN), 2), np.nan)
    for column, group in enumerate((0, groups - 1)):
        inside_TN = group_TN == group
        count_T, common_T = inside_TN[1:].sum(axis=1), (inside_TN[1:] & inside_TN[:-1]).sum(axis=1)
        known_T = (count_T > 0) & inside_TN[:-1].any(axis=1)
        replaced_TE[1:, column][known_T] = 1 - common_T[known_T] / count_T[known_T]
    known_TE = np.isfinite(replaced_TE)
    count_T = known_TE.sum(axis=1)
    total_T = np.where(known_TE, replaced_TE, 0.0).sum(axis=1)
    return np.where(count_T > 0, total_T / np.maximum(count_T, 1), np.nan)
