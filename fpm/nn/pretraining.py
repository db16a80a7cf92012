"""What the encoder is trained on: two tasks on one session, and penalties that keep the vectors apart.

forward   predict the prices of token k from tokens < k (the causal pass, shifted by one);
backward  rebuild the flows of randomly masked tokens from the whole session (the bidirectional pass);
L = forward_weight * forward + backward_weight * backward + penalty_weight * (diversity + orthogonality + uniformity).

Both losses are in units of a trivial baseline: forward 1.0 = "the last price stays", backward 1.0 = "the mean flow".

Shapes: B symbol-sessions, T minutes, N tokens of M minutes, F features (P price features, G flows), D vector size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fpm.nn.encoder import RATIO_FEATURES, Encoder, feature_indices
from fpm.nn.fit import FitConfig, Loss
from fpm.nn.regularizers import penalties
from fpm.schema import FEATURES

SMALLEST_SCALE = 1e-6
ROWS_AT_ONCE = 512
LOG=None


@dataclass(frozen=True)
class PretrainingConfig:
    """Weights of the losses, how much is masked, what is held out; `sessions` bounds the history (newest kept)."""

    forward_weight: float = 1.0
    backward_weight: float = 1.0
    penalty_weight: float = 0.3
    penalties: str = "fixed"
    mask_ratio: float = 0.15
    batch: int = 512
    decoder: str='vector'
    dhidden: int=256
    sessions: int = 1250
    validation_sessions: int = 63
    purge: int = 6
    fit: FitConfig = field(default_factory=lambda: FitConfig(patience=5))


class Pretraining(nn.Module):
    """An encoder with the heads that only its training needs.

    `change_scale_P`: root mean square of each price feature's change from its last known value, on training sessions,
    in the encoder's units.
    """

    change_scale_P: Tensor

    def __init__(self, encoder: Encoder, config: PretrainingConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.anchors = list(anchors(encoder.profile))
        width, minutes = encoder.config.width, encoder.config.minutes_per_token
        self.price_head = nn.Linear(width, minutes * len(encoder.prices))
        self.flow_head = nn.Linear(width, minutes * len(encoder.flows))
        self.dec = nn.Sequential(nn.Linear(2*width,config.dhidden),nn.GELU(),nn.Linear(config.dhidden,minutes*len(encoder.flows)))
        nn.init.zeros_(self.price_head.weight)
        nn.init.zeros_(self.price_head.bias)
        self.register_buffer("change_scale_P", torch.ones(len(encoder.prices)))

    def changes(self, x_BNMF: Tensor) -> Tensor:
        """Change of every price feature from what it was last known to be before its token, in baseline units.

        Shape BNMP; NaN where the value, or any earlier one, is unavailable.
        """
        e = self.encoder
        location_P = e.location_F[self.anchors] 
        raw = x_BNMF * e.scale_F + e.location_F
        last_BNP = last_known(raw[..., self.anchors])
        return (raw[..., e.prices] - last_BNP.unsqueeze(2)) / self.change_scale_P

    def predict_changes(self, parts) -> Tensor:
        """Predicted `changes` of tokens 1..N-1 (the first has no past), shape B(N-1)MP."""
        h_BND = self.encoder.contextualise(parts.price_BND + parts.flow_BND, causal=True)
        return _by_minute(self.price_head(h_BND[:, :-1]), len(self.encoder.prices))

    def forward(self, x_BTF: Tensor) -> Loss:
        """The training loss of a batch of sessions."""
        config, encoder = self.config, self.encoder
        parts = encoder.parts(x_BTF)
        target = self.changes(parts.x_BNMF)[:, 1:]
        forward, forward_baseline = mean_square(self.predict_changes(parts) - target), mean_square(target)
        masked_BN = draw_mask(x_BTF.shape[0], encoder.config.tokens, config.mask_ratio)
        flow_BND = torch.where(masked_BN.unsqueeze(-1), encoder.mask_D, parts.flow_BND)
        h_BND = encoder.contextualise(parts.price_BND + flow_BND)
        z_BD = encoder.pool(h_BND)
        target = parts.x_BNMF[..., encoder.flows][masked_BN]
        losses=[]
        if config.decoder!="token":
            k=int(masked_BN[0].sum())
            query=(parts.price_BND+encoder.place_ND)[masked_BN]
            zz=z_BD.repeat_interleave(k,0)
            losses.append(mean_square(_by_minute(self.dec(torch.cat([zz,query],-1)),len(encoder.flows))-target))
        if config.decoder!="vector":
            losses.append(mean_square(_by_minute(self.flow_head(h_BND[masked_BN]),len(encoder.flows))-target))
        backward, backward_baseline = sum(losses)/len(losses), mean_square(target)
        apart = penalties(z_BD, config.penalties)
        total = config.forward_weight * forward + config.backward_weight * backward
        total = total + config.penalty_weight * torch.stack(list(apart.values())).sum()
        out = {"forward": forward, "forward_baseline": forward_baseline,
                 "backward": backward, "backward_baseline": backward_baseline, **apart}  # fmt: skip
        for i,l in enumerate(losses): out[f"back{i}"]=l
        return Loss(total, out, len(x_BTF))


def pretext(model: Pretraining, x_BTF: Tensor) -> Loss:
    """`fit`'s loss."""
    return cast(Loss, model(x_BTF))


def anchors(profile: str) -> tuple[int, ...]:
    """For every price feature the one whose last value foretells it: the close, for a position in a range itself."""
    names = FEATURES[profile]
    prices, _ = feature_indices(profile)
    return tuple(i if names[i] in RATIO_FEATURES else names.index("close") for i in prices)


def last_known(x_BNMP: Tensor) -> Tensor:
    """Last available value before each token, x_BNP; NaN where there is none (so for every first token)."""
    x_BTP = x_BNMP.flatten(1, 2)
    steps_T = torch.arange(x_BTP.shape[1], device=x_BTP.device)[None, :, None]
    latest_BTP = torch.where(torch.isnan(x_BTP), -1, steps_T).cummax(dim=1).values
    known_BTP = torch.where(latest_BTP < 0, torch.nan, x_BTP.gather(1, latest_BTP.clamp(min=0)))
    last_BNP = known_BTP.reshape(x_BNMP.shape)[:, :, -1]
    return torch.cat([torch.full_like(last_BNP[:, :1], torch.nan), last_BNP[:, :-1]], dim=1)


def draw_mask(batch: int, tokens: int, ratio: float) -> Tensor:
    """Which tokens' flows are hidden, masked_BN: as many in every session, at least one, never all of several."""
    count = min(max(1, round(ratio * tokens)), max(1, tokens - 1))
    order_BN = torch.rand(batch, tokens).argsort(dim=1)
    return order_BN < count


def _by_minute(out: Tensor, features: int) -> Tensor:
    """Heads' outputs (..., M * features) as (..., M, features)."""
    return out.reshape(*out.shape[:-1], -1, features)


def mean_square(error: Tensor) -> Tensor:
    """Mean of squares over the available (not NaN) entries, 0 where there is none."""
    available = ~torch.isnan(error)
    return torch.where(available, error, 0.0).square().sum() / available.sum().clamp(min=1)


def calibrate(model: Pretraining, x_NTF: np.ndarray) -> None:
    """Set the input scales and the baseline's error from training sessions (never from those held out)."""
    encoder = model.encoder
    global LOG
    LOG=None
    if encoder.config.compress:
        def LOG(b):
            b=b.copy(); f=b[...,encoder.flows]; b[...,encoder.flows]=np.sign(f)*np.log1p(np.abs(f)); return b
    count_F, sum_F = _column_sums(x_NTF, np.zeros(x_NTF.shape[-1]), 1)
    mean_F = sum_F / np.maximum(count_F, 1)
    _, square_F = _column_sums(x_NTF, mean_F, 2)
    scale_F = np.sqrt(square_F / np.maximum(count_F, 1))
    encoder.location_F.copy_(torch.from_numpy(mean_F))
    encoder.scale_F.copy_(torch.from_numpy(np.where(scale_F > SMALLEST_SCALE, scale_F, 1.0)))
    model.change_scale_P.fill_(1.0)
    encoder.change_scale_P.copy_(torch.from_numpy(np.nanstd(np.diff(x_NTF[:512][...,encoder.prices].astype(np.float64),axis=1),axis=(0,1))/scale_F[encoder.prices]))
    count_P, square_P = np.zeros(len(model.anchors)), np.zeros(len(model.anchors))
    for block in _blocks(x_NTF):
        changes = model.changes(model.encoder.parts(torch.from_numpy(block)).x_BNMF).flatten(0, 2).numpy().astype(np.float64)
        count_P += np.isfinite(changes).sum(axis=0)
        square_P += np.nansum(np.square(changes), axis=0)
    rms_P = np.sqrt(square_P / np.maximum(count_P, 1))
    model.change_scale_P.copy_(torch.from_numpy(np.where(rms_P > SMALLEST_SCALE, rms_P, 1.0)))


def _column_sums(x_NTF: np.ndarray, centre_F: np.ndarray, power: int) -> tuple[np.ndarray, np.ndarray]:
    """Available entries of each feature, and the sum of their distances from the centre to that power."""
    count_F, sum_F = np.zeros(x_NTF.shape[-1]), np.zeros(x_NTF.shape[-1])
    for block in _blocks(x_NTF):
        if LOG is not None: block=LOG(block)
        values_XF = block.reshape(-1, block.shape[-1]).astype(np.float64) - centre_F
        count_F += np.isfinite(values_XF).sum(axis=0)
        sum_F += np.nansum(values_XF**power, axis=0)
    return count_F, sum_F


def _blocks(x_NTF: np.ndarray) -> Iterator[np.ndarray]:
    """The rows in float32, a few hundred at a time: whole histories do not fit in double precision."""
    for start in range(0, len(x_NTF), ROWS_AT_ONCE):
        yield x_NTF[start : start + ROWS_AT_ONCE].astype(np.float32)
