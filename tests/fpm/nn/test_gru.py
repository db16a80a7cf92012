"""The recurrence against torch.nn.GRU and against differences of its own values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fpm.nn.gru import recurrence

K, L, B, F, H = 2, 5, 4, 3, 6


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def theirs(x_LBF: Tensor, own: nn.GRU) -> Tensor:
    states_LBH: Tensor = own(x_LBF)[0]
    return states_LBH


def ours(x_LBF: Tensor, own: nn.GRU, known_LB: Tensor) -> Tensor:
    gates_LBG = x_LBF @ own.weight_ih_l0.T + own.bias_ih_l0
    return recurrence(gates_LBG[None], own.weight_hh_l0.T[None], own.bias_hh_l0[None, None], known_LB)[0]


def test_states_and_gradients_are_those_of_torch() -> None:
    own, x_LBF, weight_LBH = nn.GRU(F, H).double(), drawn(L, B, F), drawn(L, B, H, seed=1)
    found = []
    for states in (theirs(x_LBF, own), ours(x_LBF, own, torch.ones(L, B, dtype=torch.bool))):
        own.zero_grad()
        (states * weight_LBH).sum().backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad.clone() for parameter in own.parameters() if parameter.grad is not None]
        found.append([states.detach(), *gradients])
    assert len(found[0]) == 5
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_gradients_are_what_small_changes_make(missing: float) -> None:
    known_LB = torch.rand(L, B, generator=torch.Generator().manual_seed(2)) >= missing
    assert bool(known_LB.all()) == (missing == 0)
    gates, weight, bias = drawn(K, L, B, 3 * H), drawn(K, H, 3 * H, seed=1) / H, drawn(K, 1, 3 * H, seed=2)
    of = tuple(each.requires_grad_() for each in (gates, weight, bias))
    assert torch.autograd.gradcheck(lambda *of: recurrence(*of, known_LB), of)


def test_a_step_not_known_keeps_the_state_whatever_its_inputs_are() -> None:
    known_LB = torch.ones(L, B, dtype=torch.bool)
    known_LB[2, 1] = False
    own, x_LBF = nn.GRU(F, H).double(), drawn(L, B, F)
    states_LBH = ours(x_LBF, own, known_LB)
    assert torch.equal(states_LBH[2, 1], states_LBH[1, 1])
    left_out = x_LBF[[0, 1, 3, 4], 1:2]
    torch.testing.assert_close(states_LBH[-1, 1], theirs(left_out, own)[-1, 0], rtol=1e-12, atol=1e-12)


def test_lanes_share_nothing() -> None:
    gates, weight, bias = drawn(K, L, B, 3 * H), drawn(K, H, 3 * H, seed=1), drawn(K, 1, 3 * H, seed=2)
    known_LB = torch.ones(L, B, dtype=torch.bool)
    together = recurrence(gates, weight, bias, known_LB)
    for k in range(K):
        lane = slice(k, k + 1)
        torch.testing.assert_close(together[lane], recurrence(gates[lane], weight[lane], bias[lane], known_LB))


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
