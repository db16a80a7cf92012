"""Losses of the scorer: functions of one session's scores and labels, one loss per seed, all minimised.

Shapes: K seeds, B symbols of ONE session, among which ranks are taken, U distinct label values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TINY = 1e-8  # keeps the correlation of constant scores at 0 with a finite gradient; scores are of order 1

SessionLoss = Callable[[Tensor, Tensor], Tensor]


def rank_correlation(score_KB: Tensor, label_B: Tensor) -> Tensor:
    """Minus Pearson's correlation of the scores with the ranks of the labels, (K,) in [-1, 1].

    This is Spearman's coefficient without the ranks of the scores, which have no gradient.
    """
    return pearson(score_KB, ranks(label_B))


def pearson(score_KB: Tensor, label_B: Tensor) -> Tensor:
    """Minus Pearson's correlation, (K,) in [-1, 1]; 0 where scores or labels are constant."""
    centred_KB = score_KB - score_KB.mean(-1, keepdim=True)
    centred_B = label_B - label_B.mean()
    covariance_K = (centred_KB * centred_B).sum(-1)
    correlation_K: Tensor = covariance_K / (torch.linalg.vector_norm(centred_KB, dim=-1) * centred_B.norm() + TINY)
    return -correlation_K


def mean_squared_error(score_KB: Tensor, label_B: Tensor) -> Tensor:
    """Mean squared error, (K,); the label is z-scored within the session, so a constant score of 0 costs 1."""
    return (score_KB - label_B).square().mean(-1)


def ranks(values_B: Tensor) -> Tensor:
    """Ranks 1..B; ties share their mean rank (scipy's `rankdata`, method "average").

    >>> ranks(torch.tensor([0.3, 0.1, 0.3, 0.7])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    _, position_B, count_U = torch.unique(values_B, return_inverse=True, return_counts=True)
    last_U = count_U.cumsum(0)
    mean_rank_U: Tensor = last_U - (count_U - 1) / 2
    return mean_rank_U.to(values_B.dtype)[position_B]


LOSSES: dict[str, SessionLoss] = {
    "rank_correlation": rank_correlation,
    "pearson": pearson,
    "mean_squared_error": mean_squared_error,
}
