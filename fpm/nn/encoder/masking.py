"""The flows that pre-training hides from the encoder: all flows of some tokens, or family by family.

A family is what one kind of event adds to a minute (extra-large buys: volume and count). If all flows of a minute were
always hidden together, no task would ask for the ratio of cancels to volume, or of large orders to all, which make up a
session's style. If flows were hidden one by one, amount would reveal volume.

Shapes: B symbol-sessions, T minutes, N tokens, F features, G flows, U families.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fpm.nn.distributed import uniform
from fpm.nn.encoder.tokens import feature_indices
from fpm.schema import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

LEGS = (
    *(f"{size}_{side}_" for size in ("xl", "l", "m") for side in ("buy", "sell")),
    "buy_",
    "sell_",
    "order_",
    "cancel_",
    "up_",
    "down_",
    "flat_",
)
HIDDEN_SHARE = 0.5  # chance of each family to be hidden in a token that hides some only


@dataclass(frozen=True)
class Veil:
    """What is hidden: `tokens_BN` hide some flows, `whole_BN` of them all flows; `flows_BNG`: the hidden flows."""

    tokens_BN: Tensor
    whole_BN: Tensor
    flows_BNG: Tensor

    def over(self, x_BTF: Tensor, flows: Sequence[int], minutes: int) -> Tensor:
        """A copy of the sessions in which the hidden flows are unavailable (NaN)."""
        hidden_BTG = self.flows_BNG.repeat_interleave(minutes, dim=1)[:, : x_BTF.shape[1]]
        veiled_BTF = x_BTF.clone()
        veiled_BTF[..., flows] = torch.where(hidden_BTG, torch.nan, x_BTF[..., flows])
        return veiled_BTF


def draw_veil(batch: int, tokens: int, family_G: Tensor, ratio: float, by_family: float) -> Veil:
    """A veil over `ratio` of each session's tokens; of these, the share `by_family` hides some families only."""
    device = family_G.device
    tokens_BN = draw_mask(batch, tokens, ratio).to(device)
    whole_BN = tokens_BN & (uniform(batch, tokens) >= by_family).to(device)
    some_BNU = (uniform(batch, tokens, int(family_G.max()) + 1) < HIDDEN_SHARE).to(device)
    flows_BNG = (some_BNU[..., family_G] | whole_BN.unsqueeze(-1)) & tokens_BN.unsqueeze(-1)
    return Veil(tokens_BN, whole_BN, flows_BNG)


def draw_mask(batch: int, tokens: int, ratio: float) -> Tensor:
    """Which tokens are masked, (B, N): equally many in every session, at least one, and never all of several."""
    count = min(max(1, round(ratio * tokens)), max(1, tokens - 1))
    rank_BN = uniform(batch, tokens).argsort(dim=1).argsort(dim=1)
    return rank_BN < count


def families(profile: str) -> tuple[int, ...]:
    """The family of each flow of the profile, numbered from 0; flows of no leg (amount, volume, ...) are one family."""
    names = [FEATURES[profile][i] for i in feature_indices(profile)[1]]
    legs = [next((leg for leg in LEGS if name.startswith(leg)), "") for name in names]
    distinct = list(dict.fromkeys(legs))
    return tuple(distinct.index(leg) for leg in legs)
