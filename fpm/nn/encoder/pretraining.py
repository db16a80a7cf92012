"""Pre-training of the encoder: two tasks on one session, and penalties against collapse.

forward   predict the prices of token k from tokens < k (the causal pass, shifted by one);
backward  rebuild hidden flows of randomly masked tokens from the whole session (the bidirectional pass);
L = forward_weight * forward + backward_weight * backward + penalty_weight * (diversity + orthogonality + uniformity).

Both losses are in units of a trivial baseline: forward 1.0 = "the last price stays", backward 1.0 = "the mean flow".
The backward task rebuilds a token's flows from the session's pooled vector and the visible part of the token (its
prices, its position, the families of flows that are not hidden). So the fingerprint itself must describe the session,
not only the tokens beside the mask. The loss is a Gaussian likelihood, so the task also asks how regular a flow is.

Shapes: B symbol-sessions of a batch, R rows (symbol-sessions) of a history, T minutes, N tokens of M minutes,
F features (P prices, G flows), K masked tokens, C channels, D vector size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from fpm.errors import ModelRefused
from fpm.nn import distributed
from fpm.nn.checkpoint import load_weights
from fpm.nn.compute import Compute
from fpm.nn.encoder.batches import MixedSessions, Mixture, Share, Split
from fpm.nn.encoder.collapse import collapse_figures, gate
from fpm.nn.encoder.masking import draw_veil, families
from fpm.nn.encoder.network import Encoder, EncoderConfig, embed
from fpm.nn.encoder.regularizers import penalties
from fpm.nn.encoder.tokens import TokenParts, blocks, column_sums, feature_indices, root_mean
from fpm.nn.fit import FitConfig, Loss, Watch, deterministic, fit
from fpm.schema import FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.nn.encoder.history import History, SymbolSessions

LARGEST_LOG_VARIANCE = 5.0
RATIO_FEATURES = ("price_pos", "range_pos")  # price features that are no prices but positions in a range, 0..1


@dataclass(frozen=True)
class PretrainingConfig:
    """Weights of the losses, share of masked tokens, and held-out sessions.

    `mask_ratio`: share of the tokens with hidden flows; `by_family`: of these, the share that hides some families only.
    `likelihood`: the backward task minimises the negative log-likelihood instead of the squared error.
    `sessions`: how many of the newest sessions are used. `mixed_rows`: symbol-sessions that are shuffled with each
    other (about twenty-five sessions of a whole market, 2 GB) while the next ones are read. `calibrated`: training rows
    that the scales are measured on. `judged`: fingerprints that the collapse figures are computed on.
    """

    forward_weight: float = 1.0
    backward_weight: float = 1.0
    penalty_weight: float = 0.3
    penalties: str = "fixed"
    mask_ratio: float = 0.15
    by_family: float = 0.7
    likelihood: bool = True
    decoder: int = 64
    batch: int = 512
    mixed_rows: int = 131_072
    sessions: int = 1250
    validation_sessions: int = 63
    purge: int = 6
    calibrated: int = 8192
    judged: int = 2048
    fit: FitConfig = field(default_factory=lambda: FitConfig(patience=5))


# Measured for "demo" in docs/LOG.md: what ten epochs find of each planted style, with and without likelihood and
# families. The backward weight is 4 rather than 1 because of 0.926 against 0.918 on one exchange, which is no proof.
PRESETS = {
    "default": PretrainingConfig(),
    "demo": PretrainingConfig(
        backward_weight=4.0,
        mask_ratio=0.4,
        batch=64,
        validation_sessions=8,
        calibrated=2048,
        judged=512,
        fit=FitConfig(epochs=3, rate=2e-3, warm_up_epochs=0.3, final_rate=0.05, patience=3),
    ),
    "short": PretrainingConfig(
        backward_weight=4.0,
        mask_ratio=0.4,
        batch=64,
        validation_sessions=3,
        calibrated=2048,
        judged=512,
        fit=FitConfig(epochs=8, rate=2e-3, warm_up_epochs=0.5, final_rate=0.05, patience=3),
    ),
    "tiny": PretrainingConfig(
        batch=16,
        decoder=16,
        validation_sessions=1,
        judged=64,
        fit=FitConfig(epochs=2, rate=2e-3, warm_up_epochs=0.5, patience=2),
    ),
}


@dataclass(frozen=True)
class Recipe:
    """What decides a training besides its sessions: feature profile, shape of the encoder, and training settings."""

    profile: str
    shape: EncoderConfig
    config: PretrainingConfig


@dataclass(frozen=True)
class Reconstruction:
    """How well hidden flows were rebuilt, and the veiled sessions' vectors `z_BD`.

    `error`: mean squared error; `surprise`: Gaussian negative log-likelihood; `baseline`: error of the mean flow.
    """

    error: Tensor
    surprise: Tensor
    baseline: Tensor
    z_BD: Tensor


class FlowDecoder(nn.Module):
    """Hidden flows, minute by minute, from the session's vector and the visible part of the minute."""

    def __init__(self, encoder: Encoder, hidden: int) -> None:
        super().__init__()
        width, tokens = encoder.config.width, encoder.tokens
        self.minutes, self.flows = tokens.config.minutes, tokens.flows
        self.session = nn.Linear(2 * width, self.minutes * hidden)
        self.minute = nn.Linear(len(tokens.prices) + tokens.config.stem + len(self.flows), hidden, bias=False)
        self.told = nn.Linear(hidden, 2 * len(self.flows))  # the output layer; its name stands in checkpoints

    def forward(self, z_BD: Tensor, parts: TokenParts, masked_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Expected standardised flows of the masked tokens and the log of their variances, shape KMG each."""
        session_KD = z_BD.repeat_interleave(masked_BN.sum(dim=1), dim=0)
        context_KC = self.session(torch.cat([session_KD, parts.visible_BND[masked_BN]], dim=-1))
        flows_KMG = torch.nan_to_num(parts.x_BNMF[masked_BN][..., self.flows])
        visible_KMC = torch.cat([parts.visible_BNMC[masked_BN], flows_KMG], dim=-1)
        hidden_KMC = context_KC.reshape(len(context_KC), self.minutes, -1) + self.minute(visible_KMC)
        expected_KMG, variance_KMG = self.told(nn.functional.gelu(hidden_KMC)).chunk(2, dim=-1)
        return expected_KMG, variance_KMG.clamp(-LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)


class Pretraining(nn.Module):
    """An encoder with the heads that only its training needs.

    `change_P`: root mean square of each price feature's change from its last known value, over training sessions.
    """

    change_P: Tensor
    family_G: Tensor

    def __init__(self, encoder: Encoder, config: PretrainingConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.anchors = list(anchors(encoder.profile))
        width, minutes, tokens = encoder.config.width, encoder.config.minutes_per_token, encoder.tokens
        self.price_head = nn.Linear(width, minutes * len(tokens.prices))
        self.flow_decoder = FlowDecoder(encoder, config.decoder)
        self.register_buffer("change_P", torch.ones(len(tokens.prices)))
        self.register_buffer("family_G", torch.tensor(families(encoder.profile)), persistent=False)
        for parameter in self.price_head.parameters():
            nn.init.zeros_(parameter)  # training starts at the baseline

    def forward(self, x_BTF: Tensor) -> Loss:
        """The training loss of a batch of sessions."""
        config, parts = self.config, self.encoder.tokens(x_BTF)
        change_BNMP = self.changes(x_BTF)[:, 1:]
        forward = mean_square(self.predict(parts) - change_BNMP)
        rebuilt = self.rebuild(x_BTF, parts)
        penalty = batch_penalties(rebuilt.z_BD, config.penalties)
        backward = rebuilt.surprise if config.likelihood else rebuilt.error
        total = config.forward_weight * forward + config.backward_weight * backward
        total = total + config.penalty_weight * torch.stack(list(penalty.values())).sum()
        figures = {
            "forward": forward,
            "forward_baseline": mean_square(change_BNMP),
            "backward": rebuilt.error,
            "backward_baseline": rebuilt.baseline,
            "surprise": rebuilt.surprise,
            **penalty,
        }
        return Loss(total, figures, len(x_BTF))

    def rebuild(self, x_BTF: Tensor, parts: TokenParts) -> Reconstruction:
        """Hide flows under a random veil and rebuild them from the veiled sessions; `parts`: the unveiled tokens."""
        config, tokens = self.config, self.encoder.tokens
        veil = draw_veil(len(x_BTF), tokens.config.count, self.family_G, config.mask_ratio, config.by_family)
        veiled = tokens(veil.over(x_BTF, tokens.flows, tokens.config.minutes))
        z_BD = self.encoder.pool(self.encoder.contextualise(veiled, veil.whole_BN))
        hidden_KMG = torch.where(
            veil.flows_BNG[veil.tokens_BN].unsqueeze(1), parts.x_BNMF[veil.tokens_BN][..., tokens.flows], torch.nan
        )
        expected_KMG, variance_KMG = self.flow_decoder(z_BD, veiled, veil.tokens_BN)
        error_KMG = expected_KMG - hidden_KMG
        return Reconstruction(mean_square(error_KMG), surprise(error_KMG, variance_KMG), mean_square(hidden_KMG), z_BD)

    def predict(self, parts: TokenParts) -> Tensor:
        """Predicted `changes` of tokens 1..N-1 (the first has no past), shape B(N-1)MP."""
        h_BND = self.encoder.contextualise(parts, causal=True)
        return _by_minute(self.price_head(h_BND[:, :-1]), len(self.encoder.tokens.prices))

    def changes(self, x_BTF: Tensor) -> Tensor:
        """Change of every price feature from its last known value before the token, in baseline units.

        Shape BNMP; NaN where the value, or every earlier one, is unavailable.
        """
        config = self.encoder.tokens.config
        padding = config.count * config.minutes - x_BTF.shape[1]
        padded_BTF = nn.functional.pad(x_BTF, (0, 0, 0, padding), value=torch.nan)
        x_BNMF = padded_BTF.reshape(len(x_BTF), config.count, config.minutes, -1)
        last_BNP = last_known(x_BNMF[..., self.anchors])
        return (x_BNMF[..., self.encoder.tokens.prices] - last_BNP.unsqueeze(2)) / self.change_P

    @torch.no_grad()
    def calibrate(self, x_RTF: np.ndarray) -> None:
        """Measure every scale on training sessions, never on held-out ones."""
        self.encoder.tokens.calibrate(x_RTF)
        self.change_P.fill_(1.0)
        count_P, square_P = column_sums((self.changes(block) for block in blocks(x_RTF)), 2)
        self.change_P.copy_(root_mean(square_P, count_P))


@dataclass(frozen=True)
class PretrainingResult:
    """A trained encoder with its figures; `refused_because` None means that it may be promoted.

    `figures`: losses in baseline units and collapse figures of the best epoch, on the held-out sessions (where none is
    held out, on the training sessions). `untrained`: the collapse figures before training.
    """

    encoder: Encoder
    history: tuple[dict[str, float], ...]
    figures: dict[str, float]
    untrained: dict[str, float]
    refused_because: str | None


def pretrain(
    history: History,
    split: Split,
    recipe: Recipe,
    watch: Watch,
    compute: Compute | None = None,
) -> PretrainingResult:
    """Train an encoder by `recipe` on the sessions of `split`, whose survey took the `samples` of this split.

    The encoder ends on the CPU, whatever device it was trained on.
    Raises ModelRefused where a loss is not finite; a collapsed encoder is returned, with the reason.
    """
    config, compute = recipe.config, compute or Compute()
    held_out = split.validation if history.rows(split.validation) else split.train
    sample = history.sample(held_out, config.judged)
    with deterministic(config.fit.seed):
        model = Pretraining(Encoder(recipe.shape, recipe.profile), config)
        model.calibrate(history.sample(split.train, config.calibrated).features)
        untrained = _collapse_figures(model.to(compute.torch_device), sample)
    if compute.compiled:
        for block in model.encoder.blocks:
            block.compile(options={"deterministic": True})  # beyond what `deterministic` asks of torch itself
    mixture = Mixture(config.batch, config.mixed_rows, config.fit.seed)
    share = Share(distributed.rank(), distributed.processes())
    batches = MixedSessions(history, split, mixture, share, compute.torch_device)
    with_figures = replace(watch, figures=lambda trained: _collapse_figures(cast("Pretraining", trained), sample))
    result = fit(model, pretext, batches, config.fit, with_figures, compute)
    best = result.history[result.best_epoch]
    collapse = {name: best[name] for name in untrained}
    figures = {**_baseline_units(best), **collapse}
    return PretrainingResult(model.encoder.cpu(), result.history, figures, untrained, gate(collapse, untrained))


def samples(split: Split, config: PretrainingConfig) -> dict[date, int]:
    """Rows of each session that a survey must sample for `pretrain`, which computes scales and figures on them."""
    train = math.ceil(max(config.calibrated, config.judged) / len(split.train))
    held_out = math.ceil(config.judged / max(1, len(split.validation)))
    return dict.fromkeys(split.train, train) | dict.fromkeys(split.validation, held_out)


def pretext(model: Pretraining, x_BTF: Tensor) -> Loss:
    """The loss for `fit`, counted for the whole batch, whatever share of it this process has."""
    loss: Loss = model(x_BTF)
    return replace(loss, count=distributed.batch_rows(len(x_BTF)))


def batch_penalties(z_BD: Tensor, form: str) -> dict[str, Tensor]:
    """The penalties on the vectors of the whole batch, in single precision even under autocast."""
    with torch.autocast(z_BD.device.type, enabled=False):
        return penalties(distributed.batch_vectors(z_BD.float()), form)


def load(manifest: Mapping[str, Any], weights: bytes) -> Encoder:
    """The encoder of a vintage.

    Raises ModelRefused where the manifest describes no encoder, or the weights do not fit its shape.
    """
    names = {item.name for item in fields(EncoderConfig)}
    try:
        config = EncoderConfig(**{name: value for name, value in manifest["encoder"].items() if name in names})
        encoder = Encoder(config, manifest["profile"])
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ModelRefused(
            code="FPM-ML-069",
            wrong=f"the manifest describes no encoder ({type(error).__name__}: {error})",
            effect="the encoder was not loaded",
            todo="restore it from a backup or train it again",
        ) from error
    load_weights(encoder, weights)
    return encoder.eval()


def anchors(profile: str) -> tuple[int, ...]:
    """For each price feature the one whose last value predicts it: the close; a position in a range predicts itself."""
    names = FEATURES[profile]
    prices, _ = feature_indices(profile)
    return tuple(i if names[i] in RATIO_FEATURES else names.index("close") for i in prices)


def last_known(x_BNMP: Tensor) -> Tensor:
    """Last available value before each token, x_BNP; NaN where there is none, as for every first token."""
    x_BTP = x_BNMP.flatten(1, 2)
    steps_T = torch.arange(x_BTP.shape[1], device=x_BTP.device)[None, :, None]
    latest_BTP = torch.where(torch.isnan(x_BTP), -1, steps_T).cummax(dim=1).values
    known_BTP = torch.where(latest_BTP < 0, torch.nan, x_BTP.gather(1, latest_BTP.clamp(min=0)))
    last_BNP = known_BTP.reshape(x_BNMP.shape)[:, :, -1]
    return torch.cat([torch.full_like(last_BNP[:, :1], torch.nan), last_BNP[:, :-1]], dim=1)


def mean_square(error: Tensor) -> Tensor:
    """Mean of squares over the available (not NaN) entries of the whole batch, 0 where there is none."""
    available = ~torch.isnan(error)
    square = torch.where(available, error, 0.0).square().sum()
    return distributed.batch_sum(square) / distributed.batch_sum(available.sum()).clamp(min=1)


def surprise(error: Tensor, log_variance: Tensor) -> Tensor:
    """Mean Gaussian negative log-likelihood of the available entries, without its constant; 0 where there is none.

    It is the whole batch's, in single precision.
    """
    available, log_variance = ~torch.isnan(error), log_variance.float()
    entries = torch.where(available, error, 0.0).square() * torch.exp(-log_variance) + log_variance
    total = torch.where(available, entries, 0.0).sum()
    return 0.5 * distributed.batch_sum(total) / distributed.batch_sum(available.sum()).clamp(min=1)


def _by_minute(out: Tensor, features: int) -> Tensor:
    """A head's output (..., M * features) as (..., M, features)."""
    return out.reshape(*out.shape[:-1], -1, features)


def _collapse_figures(model: Pretraining, sample: SymbolSessions) -> dict[str, float]:
    z_RD = embed(model.encoder, sample.features.astype(np.float32))
    embedded = np.flatnonzero(np.isfinite(z_RD).all(axis=1))
    symbols, sessions = [sample.symbols[i] for i in embedded], [sample.sessions[i] for i in embedded]
    return collapse_figures(z_RD[embedded], symbols, sessions)


def _baseline_units(epoch: Mapping[str, float]) -> dict[str, float]:
    """Both losses as multiples of the trivial baseline's loss on the same entries."""
    part = "validation" if "validation/loss" in epoch else "train"
    return {
        name: epoch[f"{part}/{name}"] / epoch[f"{part}/{name}_baseline"]
        for name in ("forward", "backward")
        if epoch[f"{part}/{name}_baseline"] > 0
    }
