"""The encoder: the minutes of one symbol's session in, one vector of 128 floats out.

One pre-LN Transformer serves two passes: causal (token k sees tokens <= k) and over the whole session.
It knows nothing of its training; `pretraining.py` wraps it.

Shapes: S symbols of a session, B symbol-sessions, T minutes, F features, N tokens, D vector size, H heads of E
dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fpm.errors import ModelRefused, UsageError
from fpm.nn.encoder.tokens import TokenConfig, TokenParts, Tokens
from fpm.nn.threads import side_by_side
from fpm.schema import FEATURE_COUNT, FINGERPRINT_SIZE

POOLINGS = ("last", "mean", "attention")


@dataclass(frozen=True)
class EncoderConfig:
    """Size and shape of an encoder; defaults come from the source report where it names them, else from us.

    `stem`, `spread` and `phases`: see `tokens.py`. With attention pooling, `whole` of the vector's dimensions average
    over the whole session; `pool_heads` share the others, each with its own part of the day. `embed_batch`: the fixed
    batch size of `embed`, which a fingerprint's bits depend on.
    """

    slots: int = 240
    minutes_per_token: int = 1
    width: int = FINGERPRINT_SIZE
    layers: int = 4
    heads: int = 4
    hidden: int = 512
    dropout: float = 0.1
    pooling: str = "last"
    pool_heads: int = 8
    whole: int = 0
    phases: int = 4
    stem: int = 0
    spread: int = 0
    embed_batch: int = 64

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UsageError(
                code="FPM-CFG-056",
                wrong=f"unknown pooling {self.pooling!r}",
                effect="nothing was done",
                todo=f"use one of {', '.join(POOLINGS)}",
            )
        if (self.width - self.whole) % self.pool_heads:
            raise UsageError(
                code="FPM-CFG-056",
                wrong=f"{self.pool_heads} pool heads cannot share {self.width} - {self.whole} dimensions",
                effect="nothing was done",
                todo="choose `whole` so that the rest divides evenly",
            )

    @property
    def tokens(self) -> TokenConfig:
        """The part of the configuration that concerns tokens."""
        return TokenConfig(self.slots, self.minutes_per_token, self.width, self.phases, self.stem, self.spread)


QUARTERS: dict[str, Any] = {
    "minutes_per_token": 15,
    "pooling": "attention",
    "pool_heads": 4,
    "whole": 64,
    "stem": 32,
    "spread": 32,
}
PRESETS = {
    "default": EncoderConfig(),
    "demo": EncoderConfig(**QUARTERS, layers=2, hidden=256, dropout=0.0),
    "short": EncoderConfig(**QUARTERS, layers=2, hidden=256, dropout=0.0),
    "tiny": EncoderConfig(
        minutes_per_token=30, layers=1, hidden=64, dropout=0.0, pooling="attention", stem=4, spread=4, embed_batch=8
    ),
}


def config_for_grid(config: EncoderConfig, slots: int, bar_minutes: int) -> EncoderConfig:
    """The configuration for a grid of `slots` bars of `bar_minutes` each; a token covers the same minutes.

    A token of one bar has no spread within it.
    """
    bars = max(1, config.minutes_per_token // bar_minutes)
    return replace(config, slots=slots, minutes_per_token=bars, spread=config.spread if bars > 1 else 0)


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
        """Tokens h_BND after one block; with `causal`, token k sees tokens <= k only."""
        h_BND = h_BND + self._drop(self._attend(self.attention_norm(h_BND), causal))
        return h_BND + self._drop(self.hidden(self.hidden_norm(h_BND)))

    def last(self, h_BND: Tensor) -> Tensor:
        """The last token h_B1D after the block: of the others, only keys and values are computed."""
        normed_BND, layer, width = self.attention_norm(h_BND), self.query_key_value, h_BND.shape[-1]
        query_B1D = functional.linear(normed_BND[:, -1:], layer.weight[:width], layer.bias[:width])
        pairs_BNG = functional.linear(normed_BND, layer.weight[width:], layer.bias[width:])
        mixed_B1D = self._mix((*self._heads(query_B1D), *self._heads(pairs_BNG)), causal=False)
        last_B1D = h_BND[:, -1:] + self._drop(mixed_B1D)
        return last_B1D + self._drop(self.hidden(self.hidden_norm(last_B1D)))

    def _attend(self, h_BND: Tensor, causal: bool) -> Tensor:
        return self._mix(self._heads(self.query_key_value(h_BND)), causal)

    def _heads(self, x_BNG: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys, values, or some of them, side by side in x_BNG: each by heads, (B, H, N, E)."""
        parts = x_BNG.shape[-1] // self.attention_out.in_features
        return x_BNG.reshape(*x_BNG.shape[:2], parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)

    def _mix(self, parts: tuple[Tensor, ...], causal: bool) -> Tensor:
        q_BHNE, k_BHNE, v_BHNE = parts
        mixed_BHNE = functional.scaled_dot_product_attention(q_BHNE, k_BHNE, v_BHNE, is_causal=causal)
        return cast("Tensor", self.attention_out(mixed_BHNE.transpose(1, 2).flatten(2)))

    def _drop(self, h_BND: Tensor) -> Tensor:
        return functional.dropout(h_BND, self.dropout, self.training)


class AttentionPooling(nn.Module):
    """Weighted means over the session, side by side: one over the whole of it, and H heads of E dimensions each.

    The weights depend on content and, in the heads, on position: each head starts on its own part of the day, so that
    even an untrained vector tells a busy morning from a busy afternoon. What shows only over the whole day (do cancels
    come in bursts) needs more dimensions than one head has.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads, self.whole, tokens = config.pool_heads, config.whole, config.tokens.count
        centre_H, position_N = (torch.arange(self.heads) + 0.5) / self.heads, (torch.arange(tokens) + 0.5) / tokens
        # "place" is its name in every stored vintage
        self.place_NH = nn.Parameter(-((position_N[:, None] - centre_H) * self.heads).square() / 2)
        self.content = nn.Linear(config.width, self.heads + bool(self.whole), bias=False)
        self.value = nn.Linear(config.width, config.width)
        nn.init.zeros_(self.content.weight)
        nn.init.orthogonal_(self.value.weight)

    def forward(self, h_BND: Tensor) -> Tensor:
        """One vector z_BD of the contextual vectors h_BND."""
        content_BNH, value_BND = self.content(h_BND), self.value(h_BND)
        weight_BNH = torch.softmax(content_BNH[..., : self.heads] + self.place_NH, dim=1)
        value_BNHE = value_BND[..., self.whole :].unflatten(-1, (self.heads, -1))
        parts = [(weight_BNH.unsqueeze(-1) * value_BNHE).sum(dim=1).flatten(1)]
        if self.whole:
            weight_BN1 = torch.softmax(content_BNH[..., self.heads :], dim=1)
            parts.insert(0, (weight_BN1 * value_BND[..., : self.whole]).sum(dim=1))
        return torch.cat(parts, dim=-1)


class Encoder(nn.Module):
    """From minutes to tokens, to contextual vectors, to one pooled vector."""

    def __init__(self, config: EncoderConfig, profile: str) -> None:
        super().__init__()
        self.config, self.profile = config, profile
        self.tokens = Tokens(config.tokens, profile)
        self.mask_D = nn.Parameter(0.02 * torch.randn(config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.pooling = AttentionPooling(config) if config.pooling == "attention" else None

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Fingerprints z_BD of whole sessions x_BTF (NaN = unavailable)."""
        parts = self.tokens(x_BTF)
        return self._last(parts) if self.config.pooling == "last" else self.pool(self.contextualise(parts))

    def _last(self, parts: TokenParts) -> Tensor:
        """The last token's contextual vector z_BD, without what the last block would compute of the others."""
        h_BND = parts.visible_BND + parts.flow_BND
        for block in self.blocks[:-1]:
            h_BND = block(h_BND, causal=False)
        return cast("Tensor", self.norm(cast("Block", self.blocks[-1]).last(h_BND))[:, 0])

    def contextualise(self, parts: TokenParts, masked_BN: Tensor | None = None, causal: bool = False) -> Tensor:
        """Contextual vectors h_BND; with `causal`, each token sees only itself and those before it.

        The flows of tokens in `masked_BN` are hidden; their prices stay visible.
        """
        flow_BND = parts.flow_BND
        if masked_BN is not None:
            flow_BND = torch.where(masked_BN.unsqueeze(-1), self.mask_D, flow_BND)
        h_BND = parts.visible_BND + flow_BND
        for block in self.blocks:
            h_BND = block(h_BND, causal)
        return cast("Tensor", self.norm(h_BND))

    def pool(self, h_BND: Tensor) -> Tensor:
        """One vector z_BD of each session's contextual vectors h_BND."""
        if self.pooling is not None:
            return cast("Tensor", self.pooling(h_BND))
        return h_BND[:, -1] if self.config.pooling == "last" else h_BND.mean(dim=1)


def embed(encoder: Encoder, x_STF: np.ndarray, threads: int = 1) -> np.ndarray:
    """Fingerprints z_SD (float32) of one session's symbols x_STF (float32, NaN = unavailable).

    A symbol without any available value gets a row of NaN. All batches are padded to one size, because the bits of a
    matrix product depend on its shape: so a symbol's vector does not depend on its neighbours in the batch, nor on the
    number of `threads`, each of which takes whole batches.
    Raises ModelRefused where the session has another grid than the encoder, or a vector is not finite.
    """
    config = encoder.config
    if x_STF.shape[1:] != (config.slots, FEATURE_COUNT):
        raise ModelRefused(
            code="FPM-ML-067",
            wrong=f"features of shape {x_STF.shape[1:]} for an encoder of {(config.slots, FEATURE_COUNT)}",
            effect="no fingerprint was computed",
            todo="use an encoder trained on this market and profile",
        )
    z_SD = np.full((len(x_STF), config.width), math.nan, dtype=np.float32)
    present = np.flatnonzero(~np.isnan(x_STF).all(axis=(1, 2)))
    encoder.eval()
    device = encoder.mask_D.device

    def embed_batch(start: int) -> None:
        rows = present[start : start + config.embed_batch]
        with torch.inference_mode():
            x_BTF = torch.full((config.embed_batch, *x_STF.shape[1:]), math.nan, device=device)
            x_BTF[: len(rows)] = torch.from_numpy(x_STF[rows].astype(np.float32))
            z_SD[rows] = encoder(x_BTF)[: len(rows)].cpu().numpy()

    side_by_side(embed_batch, range(0, len(present), config.embed_batch), threads)
    if not np.isfinite(z_SD[present]).all():
        raise ModelRefused(
            code="FPM-ML-302",
            wrong="a fingerprint is not finite",
            effect="no fingerprint of the session was written",
            todo="check the session's features, then the vintage",
        )
    return z_SD
