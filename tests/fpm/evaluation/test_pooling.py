"""Pooled estimates: weights worked by hand, scipy's factor, and what cannot be pooled."""

from __future__ import annotations

import pytest
from scipy import stats

from fpm.evaluation.pooling import pooled


def test_the_inverse_of_the_squared_error_is_the_weight() -> None:
    """Errors 0.01, 0.02, 0.02: weights 4, 1, 1 of 6; mean (4 x 0.03 + 0.06 - 0.03) / 6 = 0.025; error 0.02 / sqrt 6."""
    answer = pooled([(0.03, 0.01, 11), (0.06, 0.02, 6), (-0.03, 0.02, 6)], 0.95)
    assert answer is not None and answer[1] is not None
    mean, interval = answer
    assert mean == pytest.approx(0.025)
    assert interval.error == pytest.approx(0.02 / 6**0.5)
    reach = stats.t.ppf(0.975, 10 + 5 + 5) * 0.02 / 6**0.5
    assert (interval.low, interval.high) == pytest.approx((0.025 - reach, 0.025 + reach))


def test_equal_errors_give_the_mean() -> None:
    answer = pooled([(0.01, 0.05, 30), (0.05, 0.05, 30)], 0.9)
    assert answer is not None and answer[0] == pytest.approx(0.03)


def test_one_estimate_is_itself() -> None:
    answer = pooled([(0.02, 0.01, 37)], 0.95)
    assert answer is not None and answer[1] is not None
    reach = stats.t.ppf(0.975, 36) * 0.01
    assert (answer[1].low, answer[1].high) == pytest.approx((0.02 - reach, 0.02 + reach))


def test_what_has_no_error_has_no_weight() -> None:
    assert pooled([], 0.95) is None and pooled([(0.1, 0.0, 9)], 0.95) is None
    assert pooled([(0.1, 0.0, 9), (0.02, 0.01, 1)], 0.95) == (pytest.approx(0.02), None), "one period has no interval"
