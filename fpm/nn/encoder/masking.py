"""What pre-training hides from the encoder: flows of some tokens, all of them or family by family.

A family is what one kind of event adds to a minute (extra-large buys: volume and count). Were all flows of a minute
always hidden together, nothing would ask how cancels stand to volume, or large orders to all: that is what a session's
style shows in. Were they hidden one by one, amount would betray volume.

Shapes: B symbol-sessions, N tokens, F features, G flows, U families.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fpm.nn.distributed import drawn
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
HIDDEN_SHARE = 0.5  # chance of each family to be hidden where not all are


@dataclass(frozen=True)
class Veil:
    """`tokens_BN`: tokens with hidden flows; `whole_BN`: those that hide all; `flows_BNG`: the hidden flows."""

    tokens_BN: Tensor
    whole_BN: Tensor
    flows_BNG: Tensor

    def over(self, x_BTF: Tensor, flows: Sequence[int], minutes: int) -> Tensor:
        """Sessions with the hidden flows unavailable (NaN)."""
        hidden_BTG = self.flows_BNG.repeat_interleave(minutes, dim=1)[:, : x_BTF.shape[1]]
        veiled_BTF = x_BTF.clone()
        veiled_BTF[..., flows] = torch.where(hidden_BTG, torch.nan, x_BTF[..., flows])
        return veiled_BTF


def draw_veil(batch: int, tokens: int, family_G: Tensor, ratio: float, by_family: float) -> Veil:
    """A veil over `ratio` of the tokens of each session; of them the share `by_family` hides some families only."""
    device = family_G.device
    tokens_BN = draw_mask(batch, tokens, ratio).to(device)
    whole_BN = tokens_BN & (drawn(batch, tokens) >= by_family).to(device)
    some_BNU = (drawn(batch, tokens, int(family_G.max()) + 1) < HIDDEN_SHARE).to(device)
    flows_BNG = (some_BNU[..., family_G] | whole_BN.unsqueeze(-1)) & tokens_BN.unsqueeze(-1)
    return Veil(tokens_BN, whole_BN, flows_BNG)


def draw_mask(batch: int, tokens: int, ratio: float) -> Tensor:
    """Which tokens are touched, masked_BN: as many in every session, at least one, never all of several."""
    count = min(max(1, round(ratio * tokens)), max(1, tokens - 1))
    rank_BN = drawn(batch, tokens).argsort(dim=1).argsort(dim=1)
    return rank_BN < count


def families(profile: str) -> tuple[int, ...]:
    """The family of each flow of the profile, numbered from 0; flows of no leg (amount, volume, …) are one family."""
    names = [FEATURES[profile][i] for i in feature_indices(profile)[1]]
    legs = [next((leg for leg in LEGS if name.startswith(leg)), "") for name in names]
    known = list(dict.fromkeys(legs))
    return tuple(known.index(leg) for leg in legs)
