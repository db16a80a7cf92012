"""The encoder: a symbol's session of minutes in, one vector of 128 floats out.

One shared pre-LN Transformer, used in two ways: causally (token k sees tokens <= k) and over the whole session.
It knows nothing of how it is trained; `pretraining.py` wraps it.

Shapes: B symbol-sessions, T minutes, F features, N tokens of `minutes_per_token` minutes, D vector size, H heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fpm.errors import ModelRefused, UsageError
from fpm.schema import FEATURE_COUNT, FEATURES, FINGERPRINT_SIZE, PRICE_FEATURES

POOLINGS = ("last", "mean", "attention")
RATIO_FEATURES = ("price_pos", "range_pos")  # price features that are no price: positions inside a range, 0..1


@dataclass(frozen=True)
class EncoderConfig:
    """Size and shape; the defaults are those of the source report where it names them, else ours."""

    slots: int = 240
    minutes_per_token: int = 1
    width: int = FINGERPRINT_SIZE
    layers: int = 4
    heads: int = 4
    hidden: int = 512
    dropout: float = 0.1
    pooling: str = "last"
    phases: int = 4
    embed_batch: int = 64
    stem: int=0
    pool_heads: int=8
    compress: bool=False

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            known, asked = ", ".join(POOLINGS), repr(self.pooling)
            raise UsageError("FPM-CFG-056", f"unknown pooling {asked}", "nothing was done", f"use one of {known}")

    @property
    def tokens(self) -> int:
        """N: the last token of a session is padded with unavailable minutes where m does not divide T."""
        return math.ceil(self.slots / self.minutes_per_token)


PRESETS = {
    "default": EncoderConfig(),
    "demo": EncoderConfig(minutes_per_token=10, layers=2, hidden=256, dropout=0.0, pooling="mean"),
    "short": EncoderConfig(minutes_per_token=15, layers=2, hidden=256, dropout=0.0, pooling="mean"),
    "tiny": EncoderConfig(minutes_per_token=30, layers=1, hidden=64, dropout=0.0, pooling="mean", embed_batch=8),
}


def feature_indices(profile: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of the profile's price features and of its flows among the 32."""
    names, prices = FEATURES[profile], set(PRICE_FEATURES[profile])
    inside = tuple(i for i, name in enumerate(names) if name in prices)
    return inside, tuple(i for i, name in enumerate(names) if name not in prices)


class Block(nn.Module):
    """Pre-LN Transformer block (Xiong et al. 2020, arXiv 2002.04745)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.attention_norm, self.hidden_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.attention_out = nn.Linear(config.width, config.width)
        self.hidden = nn.Sequential(
            nn.Linear(config.width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.width)
        )

    def forward(self, h_BND: Tensor, causal: bool) -> Tensor:
        h_BND = h_BND + self._drop(self._attend(self.attention_norm(h_BND), causal))
        return h_BND + self._drop(self.hidden(self.hidden_norm(h_BND)))

    def _attend(self, h_BND: Tensor, causal: bool) -> Tensor:
        split = self.query_key_value(h_BND).unflatten(-1, (3, self.heads, -1))
        q_BHNE, k_BHNE, v_BHNE = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed_BHNE = functional.scaled_dot_product_attention(q_BHNE, k_BHNE, v_BHNE, is_causal=causal)
        return cast(Tensor, self.attention_out(mixed_BHNE.transpose(1, 2).flatten(2)))

    def _drop(self, h_BND: Tensor) -> Tensor:
        return functional.dropout(h_BND, self.dropout, self.training)


@dataclass(frozen=True)
class Parts:
    """A batch on its way in: standardised minutes x_BNMF, and what prices and flows each add to the tokens, BND."""

    x_BNMF: Tensor
    price_BND: Tensor
    flow_BND: Tensor


class Encoder(nn.Module):
    """Minutes to tokens to contextual vectors to one pooled vector.

    Values enter centred and scaled by `location_F` and `scale_F`, facts of the training sessions kept with the
    weights; what is unavailable enters as 0, beside a channel a feature that says how much of the token is missing.
    """

    location_F: Tensor
    scale_F: Tensor
    phase_N: Tensor

    def __init__(self, config: EncoderConfig, profile: str) -> None:
        super().__init__()
        self.config, self.profile = config, profile
        prices, flows = feature_indices(profile)
        self.prices, self.flows = list(prices), list(flows)
        self.register_buffer("location_F", torch.zeros(FEATURE_COUNT))
        self.register_buffer("scale_F", torch.ones(FEATURE_COUNT))
        self.register_buffer("change_scale_P", torch.ones(len(prices)))
        self.register_buffer("phase_N", phases(config), persistent=False)
        stem, minutes = config.stem, config.minutes_per_token
        self.price_stem = nn.Linear(2 * len(prices), stem)
        self.flow_stem = nn.Linear(2 * len(prices) + len(flows), stem)
        self.price_projection = nn.Linear(minutes * (len(prices) + stem) + len(prices), config.width)
        self.flow_projection = nn.Linear(minutes * (len(flows) + stem) + len(flows), config.width, bias=False)
        self.position_ND = nn.Parameter(sinusoids(config.tokens, config.width))
        self.phase_PD = nn.Parameter(0.02 * torch.randn(config.phases, config.width))
        self.mask_D = nn.Parameter(0.02 * torch.randn(config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.pooling = AttentionPooling(config)
        nn.init.orthogonal_(self.price_projection.weight)
        nn.init.orthogonal_(self.flow_projection.weight)
        nn.init.zeros_(self.price_projection.bias)

    def forward(self, x_BTF: Tensor, causal: bool = False) -> Tensor:
        """Contextual vectors h_BND of sessions x_BTF (NaN = unavailable)."""
        parts = self.parts(x_BTF)
        return self.contextualise(parts.price_BND + parts.flow_BND, causal)

    def parts(self, x_BTF: Tensor) -> Parts:
        """Minutes cut into tokens, standardised and projected; minutes past the last slot are unavailable."""
        config = self.config
        past = config.tokens * config.minutes_per_token - x_BTF.shape[1]
        if config.compress:
            x_BTF=torch.cat([x_BTF[..., self.prices],signed_log(x_BTF[..., self.flows])],-1)
        standard_BTF = functional.pad((x_BTF - self.location_F) / self.scale_F, (0, 0, 0, past), value=math.nan)
        missing_BTF = torch.isnan(standard_BTF)
        values_BTF = torch.where(missing_BTF, 0.0, standard_BTF)
        p_BTP=values_BTF[..., self.prices]; f=values_BTF[..., self.flows]
        d=functional.pad(p_BTP[:,1:]-p_BTP[:,:-1],(0,0,1,0))/self.change_scale_P
        miss=missing_BTF.reshape(len(x_BTF), config.tokens, config.minutes_per_token, FEATURE_COUNT).to(x_BTF.dtype).mean(dim=2)
        def tok(a): return a.reshape(len(a),config.tokens,-1)
        pin=[tok(p_BTP)]; fin=[tok(f)]
        if config.stem:
            pin.append(tok(functional.gelu(self.price_stem(torch.cat([p_BTP,d],-1)))))
            fin.append(tok(functional.gelu(self.flow_stem(torch.cat([p_BTP,d,f],-1)))))
        price_BND = self.price_projection(torch.cat([*pin,miss[..., self.prices]],-1))
        flow_BND = self.flow_projection(torch.cat([*fin,miss[..., self.flows]],-1))
        return Parts(standard_BTF.reshape(len(x_BTF), config.tokens, config.minutes_per_token, FEATURE_COUNT), price_BND, flow_BND)

    def contextualise(self, h_BND: Tensor, causal: bool = False) -> Tensor:
        """Place the tokens in the session and let them see each other (`causal`: only those before)."""
        h_BND = h_BND + self.place_ND
        for block in self.blocks:
            h_BND = block(h_BND, causal)
        return cast(Tensor, self.norm(h_BND))

    @property
    def place_ND(self) -> Tensor:
        return self.position_ND + self.phase_PD[self.phase_N]

    def pool(self, h_BND: Tensor) -> Tensor:
        """One vector z_BD of a session's contextual vectors."""
        if self.config.pooling == "last":
            return h_BND[:, -1]
        if self.config.pooling == "mean":
            return h_BND.mean(dim=1)
        return self.pooling(h_BND)


class AttentionPooling(nn.Module):
    def __init__(self, config):
        super().__init__()
        H=config.pool_heads
        self.H=H
        self.logit = nn.Linear(config.width, H)
        c=(torch.arange(H)+.5)/H; n=(torch.arange(config.tokens)+.5)/config.tokens
        self.place_NH=nn.Parameter(-((n[:,None]-c)*H).square()/2)
        self.value=nn.Linear(config.width,config.width)
        nn.init.orthogonal_(self.value.weight); nn.init.zeros_(self.logit.weight)
    def forward(self,h):
        w=torch.softmax(self.logit(h)+self.place_NH,1)
        v=self.value(h).unflatten(-1,(self.H,-1))
        return (w.unsqueeze(-1)*v).sum(1).flatten(1)

def signed_log(x): return x.sign()*x.abs().log1p()


def sinusoids(tokens: int, width: int) -> Tensor:
    """Where the learned positions start, (N, D): cosines and sines of the day, slow waves strongest.

    As large as the tokens themselves: from the customary 0.02 a pooled vector learns nothing of when things happened.
    """
    place_N = (torch.arange(tokens) + 0.5) / tokens
    waves = torch.arange(1, width // 2 + 1) / 2
    strength = 1 / waves.sqrt()
    angle = torch.pi * place_N[:, None] * waves
    table_ND = torch.cat([angle.cos() * strength, angle.sin() * strength], dim=1)
    return table_ND / table_ND.square().mean().sqrt()


def phases(config: EncoderConfig) -> Tensor:
    """The part of the session each token lies in, phase_N: first and last eighth, and the middle cut evenly."""
    share_N = (torch.arange(config.tokens, dtype=torch.float64) + 0.5) / config.tokens
    middle_N = 1 + torch.floor((share_N - 0.125) / 0.75 * (config.phases - 2)).long()
    inner_N = middle_N.clamp(1, max(1, config.phases - 2))
    return torch.where(share_N < 0.125, 0, torch.where(share_N > 0.875, config.phases - 1, inner_N))


def embed(encoder: Encoder, x_STF: np.ndarray) -> np.ndarray:
    """Fingerprints z_SD (float32) of one session's symbols x_STF (float32, NaN = unavailable).

    A symbol without any available value gets a row of NaN. Batches have one fixed size, padded, because the shape of a
    matrix product decides its bits: a symbol's vector does not depend on which symbols lie beside it.
    Raises ModelRefused where the session's grid is not the encoder's, or a vector is not finite.
    """
    config = encoder.config
    if x_STF.shape[1:] != (config.slots, FEATURE_COUNT):
        raise ModelRefused(
            "FPM-ML-067", f"features of shape {x_STF.shape[1:]} for an encoder of {(config.slots, FEATURE_COUNT)}",
            "no fingerprint was made", "use an encoder trained on this market and profile",
        )  # fmt: skip
    z_SD = np.full((len(x_STF), config.width), np.nan, dtype=np.float32)
    present = np.flatnonzero(np.isfinite(x_STF).any(axis=(1, 2)))
    encoder.eval()
    with torch.inference_mode():
        for start in range(0, len(present), config.embed_batch):
            rows = present[start : start + config.embed_batch]
            x_BTF = torch.full((config.embed_batch, *x_STF.shape[1:]), math.nan)
            x_BTF[: len(rows)] = torch.from_numpy(x_STF[rows].astype(np.float32))
            z_SD[rows] = encoder.pool(encoder(x_BTF))[: len(rows)].numpy()
    if not np.isfinite(z_SD[present]).all():
        raise ModelRefused(
            "FPM-ML-302", "a fingerprint is not finite", "no fingerprint of the session was written",
            "check the session's features, then the vintage",
        )  # fmt: skip
    return z_SD
