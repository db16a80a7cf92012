"""Score groups, their returns and turnover, and drawdowns, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fpm.evaluation.groups import (
    geometric_annual,
    group_count,
    group_returns,
    max_drawdown,
    memberships,
    tied_sessions,
    turnovers,
)
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


def test_an_edge_inside_a_tie_leaves_no_groups_and_a_tie_inside_a_group_does():
    """Six names, three groups of two: edges after the second and the fourth place."""
    score_TN = np.array(
        [
            [1.0, 1.0, 2.0, 3.0, 4.0, 4.0],  # ties inside the outer groups
            [1.0, 2.0, 2.0, 3.0, 4.0, 5.0],  # the lower edge cuts the two 2s
            [1.0, 2.0, 3.0, 4.0, 4.0, 5.0],  # the upper edge cuts the two 4s
            [7.0, 7.0, 7.0, 7.0, 7.0, 7.0],
            [1.0, np.nan, 2.0, 2.0, np.nan, 3.0],  # four names: edges after places 2 and 3 of 4
            [1.0, np.nan, np.nan, np.nan, 2.0, np.nan],  # too few
        ]
    )
    group_TN = memberships(sort(score_TN), 3)
    assert group_TN[0].tolist() == [0, 0, 1, 1, 2, 2]
    assert (group_TN[1:] == -1).all()
    assert tied_sessions(group_TN, sort(score_TN), 3) == 4
    assert np.isnan(group_returns(group_TN, np.ones(score_TN.shape), 3)[1:]).all()


def test_groups_do_not_depend_on_the_order_of_the_names():
    generator = np.random.default_rng(3)
    score_TN = generator.integers(0, 30, (200, 12)).astype(float)
    order = generator.permutation(12)
    group_TN = memberships(sort(score_TN), 4)
    assert np.array_equal(memberships(sort(score_TN[:, order]), 4), group_TN[:, order])
    with_groups = (group_TN >= 0).all(axis=1)
    assert 20 < with_groups.sum() < 180, "both kinds of session occur"


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
