"""Newey-West, block bootstrap and permutations against their definitions and known errors."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from fpm.evaluation.intervals import (
    block_bootstrap_error,
    critical_value,
    independent_periods,
    newey_west,
    newey_west_error,
    permuted_error,
)
from fpm.evaluation.rank_ic import centred_ranks, sort
from tests.fpm.evaluation.panels import factor
from tests.fpm.evaluation.slow_newey_west import slow_newey_west


def test_newey_west_equals_its_double_sum_and_widens_with_overlap():
    noise = np.random.default_rng(3).normal(size=204)
    overlapping = np.convolve(noise, np.ones(5) / 5, "valid")
    assert newey_west_error(overlapping, 5) == pytest.approx(slow_newey_west(overlapping.tolist(), 5), rel=1e-12)
    assert newey_west_error(overlapping, 5) > 1.5 * newey_west_error(overlapping, 0)
    assert newey_west_error(np.array([1.0]), 5) is None


def test_block_bootstrap_agrees_with_the_known_error_of_independent_values():
    values = np.random.default_rng(4).normal(size=400)
    assert block_bootstrap_error(values, 5, 2000, 1) == pytest.approx(values.std() / sqrt(400), rel=0.15)
    assert block_bootstrap_error(values[:9], 5, 100, 1) is None
    assert block_bootstrap_error(values, 5, 50, 1) == block_bootstrap_error(values, 5, 50, 1)


def test_independent_periods_are_windows_side_by_side():
    assert independent_periods(np.ones(44, dtype=bool), 5) == 9
    assert independent_periods(np.array([True, True, False, False, False, True, True]), 5) == 2
    assert independent_periods(np.zeros(10, dtype=bool), 5) == 0


def test_interval_of_two_periods_is_wide_and_of_one_is_absent():
    assert critical_value(2, 0.95) == pytest.approx(12.706, abs=1e-3)  # Student's table, one degree of freedom
    assert critical_value(1, 0.95) is None
    assert newey_west(np.array([0.1, 0.2, 0.1]), 5, 0.95) is None


def test_permuted_error_is_that_of_a_random_ranking():
    score_TN, label_TN, _ = factor(50, 30)
    error = permuted_error(centred_ranks(sort(score_TN)), centred_ranks(sort(label_TN)), 400, 1)
    assert error == pytest.approx(1 / sqrt(29 * 50), rel=0.15)  # variance of Spearman's coefficient: 1 / (n - 1)
    assert permuted_error(np.ones((2, 3)), np.ones((2, 3)), 10, 1) is None
