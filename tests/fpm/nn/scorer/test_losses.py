"""Losses against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from fpm.nn.scorer.losses import mean_squared_error, pearson, rank_correlation, ranks

RNG = np.random.default_rng(3)
SCORES_KB = RNG.normal(size=(3, 40))
LABEL_B = np.round(RNG.normal(size=40), 1)  # rounded: ties


def test_ranks_are_scipys() -> None:
    assert ranks(torch.tensor(LABEL_B)).tolist() == stats.rankdata(LABEL_B).tolist()


def test_pearson_is_scipys() -> None:
    expected = [-stats.pearsonr(score_B, LABEL_B)[0] for score_B in SCORES_KB]
    assert pearson(torch.tensor(SCORES_KB), torch.tensor(LABEL_B)).tolist() == pytest.approx(expected, abs=1e-7)


def test_rank_correlation_is_spearman_where_scores_are_ranks() -> None:
    score_B = RNG.permutation(40).astype(np.float64)
    (value,) = rank_correlation(torch.tensor(score_B)[None], torch.tensor(LABEL_B)).tolist()
    assert value == pytest.approx(-stats.spearmanr(score_B, LABEL_B)[0], abs=1e-7)


def test_rank_correlation_ignores_the_label_size() -> None:
    score_KB, label_B = torch.tensor(SCORES_KB), torch.tensor(LABEL_B)
    assert rank_correlation(score_KB, label_B).tolist() == rank_correlation(score_KB, label_B.exp()).tolist()


def test_mean_squared_error_by_hand() -> None:
    score_KB = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    assert mean_squared_error(score_KB, torch.tensor([0.0, 4.0])).tolist() == [2.5, 8.0]


@pytest.mark.parametrize("loss", [pearson, rank_correlation])
def test_constant_scores_cost_nothing_and_have_a_finite_gradient(loss) -> None:  # type: ignore[no-untyped-def]
    score_KB = torch.ones(2, 40, dtype=torch.float32, requires_grad=True)
    value_K = loss(score_KB, torch.tensor(LABEL_B, dtype=torch.float32))
    value_K.sum().backward()
    assert value_K.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert score_KB.grad is not None and bool(torch.isfinite(score_KB.grad).all())
