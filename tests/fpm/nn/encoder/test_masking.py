"""The veil of pre-training: equally many tokens in every session, whole or by family, and nothing else."""

import numpy as np
import pytest
import torch

from fpm.nn.encoder.masking import draw_mask, draw_veil, families
from fpm.nn.encoder.tokens import feature_indices
from fpm.schema import BAR_32, L2_32

FLOWS = feature_indices("l2_32")[1]


def names_by_family(profile: str, names: tuple[str, ...]) -> list[set[str]]:
    flows = [names[i] for i in feature_indices(profile)[1]]
    numbers = families(profile)
    return [
        {name for name, number in zip(flows, numbers, strict=True) if number == family}
        for family in range(max(numbers) + 1)
    ]


def test_a_family_is_what_one_kind_of_event_adds() -> None:
    by_family = names_by_family("l2_32", L2_32)
    assert {"amount", "volume", "trade_count", "avg_trade_amount"} in by_family
    assert {"buy_amount", "buy_volume", "buy_count"} in by_family
    assert {"xl_buy_volume", "xl_buy_count"} in by_family
    assert {"cancel_amount", "cancel_volume", "cancel_count"} in by_family
    assert len(by_family) == 11
    assert {"up_amount", "up_volume", "up_return_amount"} in names_by_family("bar_32", BAR_32)


@pytest.mark.parametrize(("tokens", "ratio", "hidden"), [(16, 0.15, 2), (240, 0.15, 36), (3, 0.15, 1), (2, 0.9, 1)])
def test_the_mask_hides_as_many_tokens_in_every_session(tokens: int, ratio: float, hidden: int) -> None:
    torch.manual_seed(0)
    masked = draw_mask(500, tokens, ratio)
    assert (masked.sum(dim=1) == hidden).all()
    assert masked.float().mean(dim=0) == pytest.approx(np.full(tokens, hidden / tokens), abs=0.1)  # every token alike


def test_a_veil_hides_whole_families_of_its_tokens() -> None:
    torch.manual_seed(0)
    family = torch.tensor(families("l2_32"))
    veil = draw_veil(400, 16, family, 0.25, 0.7)
    assert (veil.tokens_BN.sum(dim=1) == 4).all()
    assert not veil.flows_BNG[~veil.tokens_BN].any()
    assert veil.flows_BNG[veil.whole_BN].all()
    assert (veil.whole_BN <= veil.tokens_BN).all()
    assert veil.whole_BN.sum() / veil.tokens_BN.sum() == pytest.approx(0.3, abs=0.05)
    for number in range(int(family.max()) + 1):
        of_family = veil.flows_BNG[..., family == number]
        assert torch.equal(of_family.all(dim=-1), of_family.any(dim=-1))
    in_part = veil.flows_BNG[veil.tokens_BN & ~veil.whole_BN].float().mean()
    assert in_part.item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("by_family", "whole"), [(0.0, True), (1.0, False)])
def test_the_extremes(by_family: float, whole: bool) -> None:
    veil = draw_veil(50, 8, torch.tensor(families("l2_32")), 0.5, by_family)
    assert torch.equal(veil.whole_BN, veil.tokens_BN) is whole
    assert whole or not veil.whole_BN.any()


def test_hidden_flows_are_unavailable_and_all_else_is_as_it_was() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 20, 32)  # 20 minutes are two tokens of 7 and a ragged one of 6
    veil = draw_veil(6, 3, torch.tensor(families("l2_32")), 0.34, 0.5)
    veiled = veil.over(x, FLOWS, 7)
    for row in range(6):
        for slot in range(20):
            for flow, feature in enumerate(FLOWS):
                if veil.flows_BNG[row, slot // 7, flow]:
                    assert torch.isnan(veiled[row, slot, feature])
                else:
                    assert veiled[row, slot, feature] == x[row, slot, feature]
    prices = feature_indices("l2_32")[0]
    assert torch.equal(veiled[..., prices], x[..., prices])
    assert not torch.isnan(x).any()  # the sessions themselves are untouched
