"""Intervals of a score's forward rank that cover: conformal by score group, adaptive over sessions.

A score's place u and its return's place y lie in [0, 1] across the session's symbols (0 lowest). The interval of a
score is what became of scores of the same group in the labelled sessions of a window: the outer quantiles of their y,
in the finite-sample form of split conformal prediction. Its level follows how often the last sessions' intervals missed
(adaptive conformal inference, Gibbs and Candes 2021, https://arxiv.org/abs/2106.00170, eq. 2, one step a session).

An interval of session t reads labels that were complete at t, and nothing else of the future; it does not depend on
anything stored, so it can be computed again. Shapes: T consecutive sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.rank_ic import centred_ranks, sort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fpm.panels import Floats


@dataclass(frozen=True)
class ConformalConfig:
    """Intervals that cover `level`, from the last `window` labelled sessions in `groups` of scores.

    `step`: how far one session's misses move the level (gamma). `minimum`: labelled sessions without which there is no
    interval. `judged`: sessions whose misses move the level.
    """

    level: float = 0.9
    window: int = 60
    groups: int = 10
    step: float = 0.05
    minimum: int = 20
    judged: int = 30

    def history(self, reach: int) -> int:
        """Sessions, the last included, that the intervals of one session rest on."""
        return self.window + 2 * reach + self.judged + 1


def places(values_TN: Floats) -> Floats:
    """Place of each value among its session's, 0 lowest, 1 highest, ties in their middle; NaN where there is none.

    A session whose values are all equal has no places: they tell no symbol from another.

    >>> places(np.array([[3.0, 1.0, np.nan, 2.0], [5.0, 5.0, 5.0, np.nan]])).tolist()
    [[1.0, 0.0, nan, 0.5], [nan, nan, nan, nan]]
    """
    panel = sort(values_TN)
    count_T1 = panel.available_TN.sum(axis=1, keepdims=True)
    place_TN = np.asarray(centred_ranks(panel) / np.maximum(count_T1 - 1, 1) + 0.5)
    with np.errstate(invalid="ignore"):
        flat_T = ~((np.abs(place_TN - 0.5) > 1e-12) & np.isfinite(place_TN)).any(axis=1)
    return np.where(flat_T[:, None], np.nan, place_TN)


def group_of(place_TN: Floats, groups: int) -> NDArray[np.int64]:
    """Group 0 ... groups - 1 of each place, -1 where there is none."""
    group_TN = np.minimum(np.nan_to_num(place_TN, nan=0.0) * groups, groups - 1).astype(np.int64)
    return np.where(np.isfinite(place_TN), group_TN, -1)


def outer_quantiles(places_M: Floats, miss: float) -> tuple[float, float]:
    """Lower and upper bound that leave out at most `miss` of exchangeable places, half on each side.

    With M sorted places the upper is the ceil((M + 1)(1 - miss / 2))-th, the lower the mirrored one (Vovk, Gammerman
    and Shafer 2005); 0 and 1 where M is too small for them.

    >>> outer_quantiles(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), 0.4)
    (0.2, 0.8)
    """
    count = len(places_M)
    rank = int(np.ceil((count + 1) * (1 - miss / 2) - 1e-9))
    if rank > count:
        return 0.0, 1.0
    ordered_M = np.partition(places_M, (count - rank, rank - 1))
    return float(ordered_M[count - rank]), float(ordered_M[rank - 1])


def intervals(score_TN: Floats, label_TN: Floats, reach: int, config: ConformalConfig) -> tuple[Floats, Floats]:
    """Lower and upper bounds (N,) of the forward places of the last session's scores; NaN where there is no interval.

    `reach`: sessions after its own with which a label is complete, so the last session may read labels of T - 1 - reach
    and before. Of the sessions before, each is judged with what was known at it, and their misses move the level.
    """
    group_TN = group_of(places(score_TN), config.groups)
    place_TN = places(np.where(np.isfinite(score_TN), label_TN, np.nan))
    became = [_by_group(*session, config.groups) for session in zip(group_TN, place_TN, strict=True)]
    last = len(score_TN) - 1
    target, miss = 1 - config.level, 1 - config.level
    complete = last - reach  # the newest session whose label is complete at the last one
    for t in range(max(0, complete - config.judged + 1), complete + 1):
        low_G, high_G = _bounds(became, t - reach, miss, config)
        known_N = (group_TN[t] >= 0) & np.isfinite(place_TN[t])
        if np.isnan(low_G).all() or not known_N.any():
            continue
        group_M, place_M = group_TN[t, known_N], place_TN[t, known_N]
        missed = np.mean((place_M < low_G[group_M]) | (place_M > high_G[group_M]))
        miss = float(np.clip(miss + config.step * (target - missed), 1e-3, 0.5))
    low_G, high_G = _bounds(became, last - reach, miss, config)
    group_N = group_TN[last]
    scored_N = group_N >= 0
    return np.where(scored_N, low_G[group_N], np.nan), np.where(scored_N, high_G[group_N], np.nan)


def _by_group(group_N: NDArray[np.int64], place_N: Floats, groups: int) -> list[Floats]:
    """The known places of one session by the group of their scores."""
    known_N = np.isfinite(place_N)
    return [place_N[known_N & (group_N == group)] for group in range(groups)]


def _bounds(
    became: Sequence[Sequence[Floats]], newest: int, miss: float, config: ConformalConfig
) -> tuple[Floats, Floats]:
    """Bounds of every group from the labelled sessions up to `newest`; NaN with fewer than the minimum.

    `became`: of every session the places of its labels by group.
    """
    span = became[max(0, newest - config.window + 1) : max(0, newest + 1)]
    window = [session for session in span if any(map(len, session))]
    if len(window) < config.minimum:
        return np.full(config.groups, np.nan), np.full(config.groups, np.nan)
    bounds = [outer_quantiles(np.concatenate(places_of), miss) for places_of in zip(*window, strict=True)]
    low_G, high_G = np.array(bounds).T
    return low_G, high_G
