"""Minutes to tokens: standardise, combine the features of each minute, cut, project.

Prices and flows stay separate until the end, so that a token's flows can be hidden while its prices stay visible.

Shapes: B symbol-sessions of a batch, R rows (symbol-sessions) of a history, T minutes, N tokens of M minutes,
F features (P prices, G flows), C channels, D vector size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fpm.schema import FEATURE_COUNT, FEATURES, PRICE_FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALLEST_SCALE = 1e-6
SMALLEST_SPREAD = 0.05  # in standard units; keeps the log of an even flow finite
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class TokenConfig:
    """Grid and size of the tokens.

    With one minute per token the Transformer sees every minute. With several, the projection averages over them and two
    kinds of units keep what the average would lose:

    `stem`: units per minute that join its prices to its flows (volume times the size of the move), 0 for none;
    `spread`: units per token, each the log standard deviation over its minutes of a learned mix of moves and flows (do
    cancels come evenly or in bursts), 0 for none.
    """

    slots: int
    minutes: int
    width: int
    phases: int
    stem: int = 0
    spread: int = 0

    @property
    def count(self) -> int:
        """Number of tokens N; where M does not divide T, unavailable minutes pad the last one."""
        return math.ceil(self.slots / self.minutes)


@dataclass(frozen=True)
class TokenParts:
    """The parts of a batch of tokens; a token is `visible_BND` + `flow_BND`.

    `x_BNMF`: standardised minutes, NaN = unavailable; `visible_BNMC`: each minute's prices and their stem;
    `visible_BND`: prices and position in the session; `flow_BND`: flows.
    """

    x_BNMF: Tensor
    visible_BNMC: Tensor
    visible_BND: Tensor
    flow_BND: Tensor


class Tokens(nn.Module):
    """The layer from minutes to tokens.

    An unavailable value enters as 0; one more channel per feature says which share of the token is missing. Flows enter
    as signed log(1 + |x|), because they are products of noises. `location_F` and `scale_F` (of the features after that)
    and `change_P` (of a price from one minute to the next) are measured on training sessions and stored with the
    weights.
    """

    location_F: Tensor
    scale_F: Tensor
    change_P: Tensor
    phase_N: Tensor

    def __init__(self, config: TokenConfig, profile: str) -> None:
        super().__init__()
        self.config = config
        prices, flows = feature_indices(profile)
        self.prices, self.flows = list(prices), list(flows)
        self.register_buffer("location_F", torch.zeros(FEATURE_COUNT))
        self.register_buffer("scale_F", torch.ones(FEATURE_COUNT))
        self.register_buffer("change_P", torch.ones(len(prices)))
        self.register_buffer("phase_N", phases(config), persistent=False)
        minutes, stem, spread, width = config.minutes, config.stem, config.spread, config.width
        self.price_stem = nn.Linear(3 * len(prices), stem) if stem else None
        self.flow_stem = nn.Linear(len(flows), stem) if stem else None
        self.mix = nn.Linear(2 * len(prices) + len(flows), spread, bias=False) if spread else None
        self.price_projection = nn.Linear(minutes * (len(prices) + stem) + len(prices), width)
        self.flow_projection = nn.Linear(minutes * (len(flows) + stem) + len(flows) + spread, width, bias=False)
        self.position_ND = nn.Parameter(sinusoids(config))
        self.phase_ND = nn.Parameter(0.02 * torch.randn(config.phases, width))
        start_as_mean(self.price_projection, minutes, len(prices) + stem)
        start_as_mean(self.flow_projection, minutes, len(flows) + stem)
        nn.init.zeros_(self.price_projection.bias)

    def forward(self, x_BTF: Tensor) -> TokenParts:
        """The parts of the tokens of sessions x_BTF (NaN = unavailable)."""
        standard_BTF = self.standardise(x_BTF)
        missing_BTF = torch.isnan(standard_BTF)
        prices_BTP, flows_BTG = self._split(torch.where(missing_BTF, 0.0, standard_BTF))
        missing_prices, missing_flows = self._split(self._cut(missing_BTF.to(x_BTF.dtype)).mean(dim=2))
        visible, flow, uneven = [prices_BTP], [flows_BTG], []
        moves_BTP = self._moves(standard_BTF)
        if self.price_stem is not None and self.flow_stem is not None:
            side_BTC = self.price_stem(torch.cat([prices_BTP, moves_BTP, moves_BTP.abs()], dim=-1))
            visible.append(side_BTC)
            flow.append(side_BTC * self.flow_stem(flows_BTG))
        if self.mix is not None:
            mixed_BTC = self.mix(torch.cat([moves_BTP, moves_BTP.abs(), flows_BTG], dim=-1))
            uneven.append(torch.log(self._cut(mixed_BTC).std(dim=2, correction=0) + SMALLEST_SPREAD))
        position_ND = self.position_ND + self.phase_ND[self.phase_N]
        visible_BNMC, flow_BNMC = self._cut(torch.cat(visible, dim=-1)), self._cut(torch.cat(flow, dim=-1))
        visible_BND = self.price_projection(torch.cat([visible_BNMC.flatten(2), missing_prices], dim=-1))
        flow_BND = self.flow_projection(torch.cat([flow_BNMC.flatten(2), missing_flows, *uneven], dim=-1))
        return TokenParts(self._cut(standard_BTF), visible_BNMC, visible_BND + position_ND, flow_BND)

    def standardise(self, x_BTF: Tensor) -> Tensor:
        """Minutes in standard units, padded to whole tokens; NaN stays NaN."""
        x_BTF = x_BTF.clone()
        x_BTF[..., self.flows] = signed_log(x_BTF[..., self.flows])
        padding = self.config.count * self.config.minutes - x_BTF.shape[1]
        return functional.pad((x_BTF - self.location_F) / self.scale_F, (0, 0, 0, padding), value=math.nan)

    def _moves(self, standard_BTF: Tensor) -> Tensor:
        """Changes of the prices from one minute to the next, of unit size; 0 where either is unavailable."""
        prices_BTP = standard_BTF[..., self.prices]
        moves_BTP = functional.pad(prices_BTP[:, 1:] - prices_BTP[:, :-1], (0, 0, 1, 0)) / self.change_P
        return torch.where(torch.isnan(moves_BTP), 0.0, moves_BTP)

    def _cut(self, x_BTC: Tensor) -> Tensor:
        """Minutes cut into tokens, x_BNMC."""
        return x_BTC.reshape(len(x_BTC), self.config.count, self.config.minutes, x_BTC.shape[-1])

    def _split(self, x_BTF: Tensor) -> tuple[Tensor, Tensor]:
        return x_BTF[..., self.prices], x_BTF[..., self.flows]

    @torch.no_grad()
    def calibrate(self, x_RTF: np.ndarray) -> None:
        """Measure the scales on training sessions, never on held-out ones; a feature that never varies keeps 1."""
        for scale, start in ((self.location_F, 0.0), (self.scale_F, 1.0), (self.change_P, 1.0)):
            scale.fill_(start)
        count_F, sum_F = column_sums((self.standardise(block) for block in blocks(x_RTF)), 1)
        mean_F = sum_F / np.maximum(count_F, 1)
        self.location_F.copy_(torch.from_numpy(mean_F))
        count_F, square_F = column_sums((self.standardise(block) for block in blocks(x_RTF)), 2)
        self.scale_F.copy_(root_mean(square_F, count_F))
        moves = (self.standardise(block)[..., self.prices].diff(dim=1) for block in blocks(x_RTF))
        count_P, square_P = column_sums(moves, 2)
        self.change_P.copy_(root_mean(square_P, count_P))


def feature_indices(profile: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of the profile's price features, and of its flows, among the 32 features."""
    names, prices = FEATURES[profile], set(PRICE_FEATURES[profile])
    price_indices = tuple(i for i, name in enumerate(names) if name in prices)
    return price_indices, tuple(i for i, name in enumerate(names) if name not in prices)


def signed_log(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def phases(config: TokenConfig) -> Tensor:
    """The phase of the session that each token lies in, (N,): first eighth, last eighth, and even parts between."""
    share_N = (torch.arange(config.count, dtype=torch.float64) + 0.5) / config.count
    middle_N = 1 + torch.floor((share_N - 0.125) / 0.75 * (config.phases - 2)).long()
    inner_N = middle_N.clamp(1, max(1, config.phases - 2))
    return torch.where(share_N < 0.125, 0, torch.where(share_N > 0.875, config.phases - 1, inner_N))


def start_as_mean(projection: nn.Linear, minutes: int, channels: int) -> None:
    """Initialise a projection to the scaled mean over a token's minutes: orthogonal weights, the same for every minute.

    With weights orthogonal over all inputs of a token, 128 units would keep a random part of each minute and no mean.
    """
    rest = projection.in_features - minutes * channels
    minute = torch.empty(projection.out_features, channels + rest)
    nn.init.orthogonal_(minute)
    repeated = minute[:, :channels].repeat(1, minutes) / minutes**0.5
    with torch.no_grad():
        projection.weight.copy_(torch.cat([repeated, minute[:, channels:]], 1))


def sinusoids(config: TokenConfig) -> Tensor:
    """Initial values of the learned positions, (N, D): cosines and sines over the day, slow waves strongest.

    They are as large as the tokens themselves. With the customary 0.02, a mean-pooled vector hardly showed when things
    happened: its correlation with a latent volume timing was 0.30; with 1.0 it was 0.71 (ideal 0.93).
    """
    position_N = (torch.arange(config.count) + 0.5) / config.count
    waves = torch.arange(1, config.width // 2 + 1) / 2
    angle = torch.pi * position_N[:, None] * waves
    table_ND = torch.cat([angle.cos() / waves.sqrt(), angle.sin() / waves.sqrt()], dim=1)
    return table_ND / table_ND.square().mean().sqrt()


def blocks(x_RTF: np.ndarray) -> Iterator[Tensor]:
    """The rows in single precision, some hundreds at a time: a history is stored in half precision."""
    for start in range(0, len(x_RTF), ROWS_AT_ONCE):
        yield torch.from_numpy(x_RTF[start : start + ROWS_AT_ONCE].astype(np.float32))


def column_sums(parts: Iterator[Tensor], power: int) -> tuple[np.ndarray, np.ndarray]:
    """Per column of the last axis: number of available entries and sum of their powers, in double precision."""
    count, total = np.zeros(()), np.zeros(())
    for part in parts:
        values = part.reshape(-1, part.shape[-1]).double()
        count = count + (~torch.isnan(values)).sum(dim=0).numpy()
        total = total + torch.nan_to_num(values).pow(power).sum(dim=0).numpy()
    return count, total


def root_mean(square: np.ndarray, count: np.ndarray) -> Tensor:
    """Root of the mean square; 1 where it is 0 or nothing is available."""
    root = np.sqrt(square / np.maximum(count, 1))
    return torch.from_numpy(np.where(root > SMALLEST_SCALE, root, 1.0))
