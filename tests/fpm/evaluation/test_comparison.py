"""Paired differences and oracle shares against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fpm.evaluation.comparison import compare, oracle_share
from tests.fpm.evaluation.panels import factor, long


def test_paired_difference_uses_the_symbol_names_both_only():
    score_TN, label_TN, days = factor(40, 30, strength=0.5)
    other_TN = np.random.default_rng(9).normal(size=score_TN.shape)
    other_TN[:, :10] = np.nan
    labels = long(label_TN, "label", days)
    comparison = compare(long(score_TN, "score", days), long(other_TN, "score", days), labels)
    expected = [
        stats.spearmanr(score_TN[i, 10:], label_TN[i, 10:])[0] - stats.spearmanr(other_TN[i, 10:], label_TN[i, 10:])[0]
        for i in range(40)
    ]
    assert comparison.difference == pytest.approx(np.mean(expected))
    assert comparison.newey_west.low > 0
    assert comparison.independent_periods == 8


def test_a_factor_compared_with_itself_differs_by_nothing():
    score_TN, label_TN, days = factor(20, 10, strength=0.5)
    scores = long(score_TN, "score", days)
    comparison = compare(scores, scores, long(label_TN, "label", days))
    assert (comparison.difference, comparison.newey_west.low, comparison.newey_west.high) == (0.0, 0.0, 0.0)


def test_share_of_the_oracle():
    score_TN, label_TN, days = factor(60, 50, strength=1.0)
    labels, oracle = long(label_TN, "label", days), long(score_TN, "score", days)
    noisy = long(score_TN + np.random.default_rng(2).normal(size=score_TN.shape), "score", days)
    whole, half = oracle_share(oracle, oracle, labels), oracle_share(noisy, oracle, labels)
    assert (whole.share, whole.low, whole.high) == pytest.approx((1.0, 1.0, 1.0))
    assert half.share == pytest.approx(half.rank_ic / half.oracle_rank_ic)
    assert half.low < half.share < half.high < 1
    assert oracle_share(noisy, long(-score_TN, "score", days), labels).share is None  # an oracle with the wrong sign
