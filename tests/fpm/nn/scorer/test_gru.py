"""The gradient of the recurrence against differences of its values; what it computes: `test_scorer.py`, by torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fpm.nn.scorer.gru import recurrence

K, L, B, H = 2, 5, 4, 6


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_gradients_are_what_small_changes_make(missing: float) -> None:
    known_LB = torch.rand(L, B, generator=torch.Generator().manual_seed(2)) >= missing
    assert bool(known_LB.all()) == (missing == 0)
    gates, weight, bias = drawn(K, L, B, 3 * H), drawn(K, H, 3 * H, seed=1) / H, drawn(K, 1, 3 * H, seed=2)
    of = tuple(each.requires_grad_() for each in (gates, weight, bias))
    assert torch.autograd.gradcheck(lambda *of: recurrence(*of, known_LB), of)


def test_half_the_digits_in_products_keep_the_direction_of_the_gradient() -> None:
    gates, weight, bias = (
        each.float() for each in (drawn(K, L, B, 3 * H), drawn(K, H, 3 * H, seed=1) / H, drawn(K, 1, 3 * H, seed=2))
    )
    known_LB, slopes = torch.ones(L, B, dtype=torch.bool), []
    for half in (False, True):
        of = weight.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            states = recurrence(gates, of, bias, known_LB)
        assert states.dtype == torch.float32
        states.square().sum().backward()  # type: ignore[no-untyped-call]
        assert of.grad is not None
        slopes.append(of.grad.flatten())
    assert not torch.equal(*slopes)
    assert torch.cosine_similarity(*slopes, dim=0) > 0.9999
