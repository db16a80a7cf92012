"""Groups by score and the long-short portfolio of the outer two. Shapes: T sessions, N symbols, G groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.rank_ic import Sorted, places_within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpm.panels import Floats


def group_count(score_TN: Floats, label_TN: Floats, wanted: int) -> int:
    """`wanted` groups, fewer where the median cross-section could not put two symbols in each; at least two."""
    pairs_T = (np.isfinite(score_TN) & np.isfinite(label_TN)).sum(axis=1)
    typical = float(np.median(pairs_T[pairs_T > 0])) if (pairs_T > 0).any() else 0.0
    return int(max(2, min(wanted, typical // 2)))


def memberships(score: Sorted, groups: int) -> NDArray[np.int64]:
    """Group of every symbol by score, 0 = lowest, -1 = no score or a session with fewer symbols than groups (T, N).

    Equal sizes up to one; ties are cut in symbol order, so that a session always fills every group.
    """
    count_T1 = score.here_TN.sum(axis=1, keepdims=True)
    group_TN = places_within(score) * groups // np.maximum(count_T1, 1)
    return np.where(score.here_TN & (count_T1 >= groups), group_TN, -1)


def group_returns(group_TN: NDArray[np.int64], label_TN: Floats, groups: int) -> Floats:
    """Equal-weight mean label of each group (T, G); NaN where a group has none."""
    returns_TG = np.full((len(label_TN), groups), np.nan)
    for group in range(groups):
        inside_TN = (group_TN == group) & np.isfinite(label_TN)
        count_T = inside_TN.sum(axis=1)
        total_T = np.where(inside_TN, label_TN, 0.0).sum(axis=1)
        returns_TG[count_T > 0, group] = total_T[count_T > 0] / count_T[count_T > 0]
    return returns_TG


def geometric_annual(returns: Floats, per_year: int) -> float | None:
    """Compounded return per year; None for no returns or a curve that reached zero."""
    growth = float(np.prod(1 + returns)) if len(returns) else 0.0
    return growth ** (per_year / len(returns)) - 1 if growth > 0 else None


def max_drawdown(returns: Floats) -> float | None:
    """Deepest fall from a peak of the compounded curve, which starts at 1; a positive share, None for no returns."""
    return float(drawdowns(returns[None])[0]) if len(returns) else None


def drawdowns(returns_RT: Floats) -> Floats:
    """`max_drawdown` of each of several series, (R,)."""
    curve_RT = np.concatenate([np.ones((len(returns_RT), 1)), np.cumprod(1 + returns_RT, axis=1)], axis=1)
    return np.asarray((1 - curve_RT / np.maximum.accumulate(curve_RT, axis=1)).max(axis=1))


def turnovers(group_TN: NDArray[np.int64], groups: int) -> Floats:
    """Per grid session: share of the top and the bottom group's names that were not in it the one before, averaged;
    NaN for the first, and where neither group can be compared.
    """
    changed_TE = np.full((len(group_TN), 2), np.nan)
    for column, group in enumerate((0, groups - 1)):
        inside_TN = group_TN == group
        count_T, kept_T = inside_TN[1:].sum(axis=1), (inside_TN[1:] & inside_TN[:-1]).sum(axis=1)
        known_T = (count_T > 0) & inside_TN[:-1].any(axis=1)
        changed_TE[1:, column][known_T] = 1 - kept_T[known_T] / count_T[known_T]
    known_TE = np.isfinite(changed_TE)
    count_T = known_TE.sum(axis=1)
    total_T = np.where(known_TE, changed_TE, 0.0).sum(axis=1)
    return np.where(count_T > 0, total_T / np.maximum(count_T, 1), np.nan)
