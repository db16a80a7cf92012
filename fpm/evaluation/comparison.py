"""Two factors on the same sessions and symbols: the paired difference of their RankIC, and the share of an oracle's.

Shapes: T sessions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fpm.evaluation.evaluate import PRESETS, EvaluationConfig
from fpm.evaluation.figures import Comparison, Share
from fpm.evaluation.intervals import (
    block_bootstrap,
    block_bootstrap_error,
    critical_value,
    independent_periods,
    newey_west,
)
from fpm.evaluation.rank_ic import rank_correlations, restrict, sort
from fpm.panels import Floats, axes, mean, pivot

if TYPE_CHECKING:
    import polars as pl


def paired_series(
    left: pl.DataFrame, right: pl.DataFrame, returns: pl.DataFrame, minimum_symbols: int
) -> tuple[Floats, Floats]:
    """RankIC of two factors by session (T,), over the sessions and symbols that both score."""
    sessions, symbols = axes(left, right)
    common = sorted(set(sessions) & set(right["session"].unique().to_list()))
    first, second = (sort(pivot(frame, "score", common, symbols)) for frame in (left, right))
    label = restrict(sort(pivot(returns, "label", common, symbols)), first.available_TN & second.available_TN)
    return rank_correlations(first, label, minimum_symbols), rank_correlations(second, label, minimum_symbols)


def compare(
    left: pl.DataFrame, right: pl.DataFrame, returns: pl.DataFrame, config: EvaluationConfig = PRESETS["default"]
) -> Comparison:
    """Mean of RankIC(left) - RankIC(right) over the common sessions, with its intervals."""
    left_T, right_T = paired_series(left, right, returns, config.minimum_symbols)
    difference_T = left_T - right_T
    valid_T = np.isfinite(difference_T)
    return Comparison(
        mean(difference_T),
        newey_west(difference_T, config.horizon, config.level),
        independent_periods(valid_T, config.horizon),
        int(valid_T.sum()),
        block_bootstrap(difference_T, config.horizon, config.level, config.draws, config.seed),
    )


def oracle_share(
    scores: pl.DataFrame, oracle: pl.DataFrame, returns: pl.DataFrame, config: EvaluationConfig = PRESETS["default"]
) -> Share:
    """Mean RankIC of `scores` over that of `oracle` on the same sessions and symbols, with its interval.

    The interval follows the delta method: the error of the ratio is that of the mean of RankIC(scores) - share x
    RankIC(oracle), over the oracle's mean. The share is None where the oracle's mean is not positive.
    """
    score_T, oracle_T = paired_series(scores, oracle, returns, config.minimum_symbols)
    score_mean, oracle_mean = mean(score_T), mean(oracle_T)
    if score_mean is None or oracle_mean is None or oracle_mean <= 0:
        return Share(None, score_mean, oracle_mean, None, None)
    ratio = score_mean / oracle_mean
    residual_T = score_T - ratio * oracle_T
    valid_T = np.isfinite(residual_T)
    error = block_bootstrap_error(residual_T[valid_T], config.horizon, config.draws, config.seed)
    factor = critical_value(independent_periods(valid_T, config.horizon), config.level)
    share = Share(ratio, score_mean, oracle_mean, None, None)
    if error is None or factor is None:
        return share
    reach = factor * error / oracle_mean
    return replace(share, low=ratio - reach, high=ratio + reach)
