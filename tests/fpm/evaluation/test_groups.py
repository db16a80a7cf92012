"""Score groups, their returns and turnover, and drawdowns, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fpm.evaluation.groups import geometric_annual, group_count, group_returns, max_drawdown, memberships, turnovers
from fpm.evaluation.rank_ic import sort


def test_groups_and_their_returns_by_hand():
    score_TN = np.array([[4.0, 1.0, 3.0, 2.0, np.nan]])
    label_TN = np.array([[0.04, 0.01, 0.02, 0.03, 0.9]])
    group_TN = memberships(sort(score_TN), 2)
    assert group_TN.tolist() == [[1, 0, 1, 0, -1]]
    assert group_returns(group_TN, label_TN, 2).tolist() == [[pytest.approx(0.02), pytest.approx(0.03)]]


def test_groups_are_equal_in_size_up_to_one_and_fewer_in_small_universes():
    assert np.bincount(memberships(sort(np.arange(23.0)[None]), 10)[0]).tolist() == [3, 2, 2, 3, 2, 2, 3, 2, 2, 2]
    assert group_count(np.ones((3, 4)), np.ones((3, 4)), 10) == 2
    assert group_count(np.ones((3, 100)), np.ones((3, 100)), 10) == 10
    assert (memberships(sort(np.array([[1.0, np.nan, np.nan]])), 2) == -1).all()


def test_compounding_and_drawdown_by_hand():
    returns = np.array([0.1, -0.2, 0.05])
    assert geometric_annual(returns, 52) == pytest.approx((1.1 * 0.8 * 1.05) ** (52 / 3) - 1)
    assert max_drawdown(returns) == pytest.approx(0.2)
    assert max_drawdown(np.array([-0.1, -0.1])) == pytest.approx(0.19)  # from the start, which is 1
    assert geometric_annual(np.array([-1.5]), 52) is None
    assert max_drawdown(np.array([])) is None


def test_turnover_counts_replaced_names_of_both_outer_groups():
    # top keeps one of two names, bottom keeps both: (1/2 + 0) / 2
    changed = turnovers(np.array([[1, 1, 0, 0, -1], [1, -1, 0, 0, 1]]), 2)
    assert np.isnan(changed[0]) and changed[1] == pytest.approx(0.25)
    assert np.isnan(turnovers(np.array([[0, 1]]), 2)).all()
