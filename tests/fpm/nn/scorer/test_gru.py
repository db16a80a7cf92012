"""The gradient of the recurrence against finite differences; `test_network.py` compares its values with torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fpm.nn.scorer.gru import recurrence

K, L, B, H = 2, 5, 4, 6


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_gradients_are_those_of_finite_differences(missing: float) -> None:
    known_LB = torch.rand(L, B, generator=torch.Generator().manual_seed(2)) >= missing
    assert bool(known_LB.all()) == (missing == 0)
    gates, weight, bias = normal(K, L, B, 3 * H), normal(K, H, 3 * H, seed=1) / H, normal(K, 1, 3 * H, seed=2)
    inputs = tuple(tensor.requires_grad_() for tensor in (gates, weight, bias))
    assert torch.autograd.gradcheck(lambda gates, weight, bias: recurrence(gates, weight, bias, known_LB), inputs)


def test_bfloat16_products_keep_the_direction_of_the_gradient() -> None:
    gates, weight, bias = (
        tensor.float()
        for tensor in (normal(K, L, B, 3 * H), normal(K, H, 3 * H, seed=1) / H, normal(K, 1, 3 * H, seed=2))
    )
    known_LB, slopes = torch.ones(L, B, dtype=torch.bool), []
    for half in (False, True):
        parameter = weight.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            states = recurrence(gates, parameter, bias, known_LB)
        assert states.dtype == torch.float32
        states.square().sum().backward()  # type: ignore[no-untyped-call]
        assert parameter.grad is not None
        slopes.append(parameter.grad.flatten())
    assert not torch.equal(*slopes)
    assert torch.cosine_similarity(*slopes, dim=0) > 0.9999
