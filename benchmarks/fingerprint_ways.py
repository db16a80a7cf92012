"""Ways to turn a symbol's session into one vector: our encoder, the untrained encoder, and peers on the same inputs.

Every way uses the sessions before the test and returns the vectors of all sessions, z_ND.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from exchange_rows import PROFILE, ExchangeRows
from torch import Tensor, nn
from torch.nn import functional

from fpm.features.intraday_statistics import intraday_statistics
from fpm.nn.compute import Compute
from fpm.nn.encoder.batches import Split, split, to_tensor
from fpm.nn.encoder.history import survey
from fpm.nn.encoder.masking import draw_veil, families
from fpm.nn.encoder.network import Encoder, EncoderConfig, embed
from fpm.nn.encoder.pretraining import Pretraining, PretrainingConfig, Recipe, pretrain, samples
from fpm.nn.fit import Loss, Watch, deterministic, fit
from fpm.schema import FEATURES, FINGERPRINT_SIZE

COMPONENTS = 128
TEMPERATURE = 0.1
ALL_IN_MEMORY = 10**12


@dataclass(frozen=True)
class Way:
    """Settings of a way: the network's shape, its training, its device."""

    shape: EncoderConfig
    config: PretrainingConfig
    compute: Compute


def trained(exchange: ExchangeRows, way: Way) -> np.ndarray:
    """Return the vectors of our encoder after pre-training."""
    parts = training_split(exchange, way.config)
    history = survey(exchange.rows.rows_of, samples(parts, way.config), ALL_IN_MEMORY, lambda *_: None)
    training = pretrain(history, parts, Recipe(PROFILE, way.shape, way.config), Watch(), way.compute)
    return embedded(training.encoder, exchange, way)


def untrained(exchange: ExchangeRows, way: Way) -> np.ndarray:
    """Return the vectors of our encoder before training."""
    return embedded(fresh(exchange, way).encoder, exchange, way)


def principal(exchange: ExchangeRows, way: Way) -> np.ndarray:
    """Return principal components of the 32 x T matrix, fitted on the training sessions.

    Flows are logarithms, columns standardised, unavailable values at their mean.
    """
    tokens, device = fresh(exchange, way).encoder.tokens.to(way.compute.torch_device), way.compute.torch_device
    blocks = [
        torch.nan_to_num(tokens.standardise(to_tensor(np.array(block), device))).flatten(1).half().cpu()
        for block in np.array_split(exchange.rows.features, max(1, len(exchange.rows) // 512))
    ]
    flat_ND = torch.cat(blocks)
    train_rows = (
        flat_ND[torch.from_numpy(~exchange.unseen_N)][:: max(1, int((~exchange.unseen_N).sum()) // 16_384)]
        .float()
        .to(device)
    )
    mean_D = train_rows.mean(dim=0)
    _, _, axes = torch.svd_lowrank(train_rows - mean_D, q=COMPONENTS + 32, niter=4)
    return np.concatenate(
        [((block.float().to(device) - mean_D) @ axes[:, :COMPONENTS]).cpu().numpy() for block in flat_ND.split(4096)]
    )


def statistics(exchange: ExchangeRows, _way: Way) -> np.ndarray:
    """Return hand-made statistics of the session: standardised, unavailable values at their mean, padded with 0."""
    parts = [
        np.column_stack(list(intraday_statistics(block, FEATURES[PROFILE]).values()))
        for block in np.array_split(exchange.rows.features, max(1, len(exchange.rows) // 2048))
    ]
    value_ND = np.concatenate(parts)
    train_ND = value_ND[~exchange.unseen_N]
    standard_ND = np.nan_to_num((value_ND - np.nanmean(train_ND, axis=0)) / (np.nanstd(train_ND, axis=0) + 1e-9))
    whole_ND = np.zeros((len(standard_ND), FINGERPRINT_SIZE), np.float32)
    whole_ND[:, : standard_ND.shape[1]] = standard_ND
    return whole_ND


def contrastive(exchange: ExchangeRows, way: Way) -> np.ndarray:
    """Return the vectors of the same network after contrastive training.

    It learns to identify the other veiled view of a session within the batch (InfoNCE, as in TS2Vec, arXiv 2106.10466,
    at the level of instances).
    """
    with deterministic(way.config.fit.seed):
        model = Contrast(fresh(exchange, way).encoder, way.config).to(way.compute.torch_device)
    names = set(training_split(exchange, way.config).train)
    rows_N = np.flatnonzero([session in names for session in exchange.rows.sessions])
    batches = Shuffled(exchange.rows.features, rows_N, way.config.batch, way.compute.torch_device)
    fit(model, lambda model, x: model(x), batches, way.config.fit, None, way.compute)
    return embedded(model.encoder.eval(), exchange, way)


WAYS: dict[str, Callable[[ExchangeRows, Way], np.ndarray]] = {
    "trained": trained,
    "untrained": untrained,
    "contrastive": contrastive,
    "pca": principal,
    "statistics": statistics,
}


class Contrast(nn.Module):
    """InfoNCE of two veiled views, on a projection that is thrown away (SimCLR, arXiv 2002.05709)."""

    family_G: Tensor

    def __init__(self, encoder: Encoder, config: PretrainingConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.register_buffer("family_G", torch.tensor(families(PROFILE)))
        width = encoder.config.width
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x_BTF: Tensor) -> Loss:
        one_BD, other_BD = (functional.normalize(self.head(self._view(x_BTF)).float(), dim=1) for _ in range(2))
        alike_BB = one_BD @ other_BD.T / TEMPERATURE
        self_B = torch.arange(len(x_BTF), device=x_BTF.device)
        return Loss((functional.cross_entropy(alike_BB, self_B) + functional.cross_entropy(alike_BB.T, self_B)) / 2)

    def _view(self, x_BTF: Tensor) -> Tensor:
        tokens = self.encoder.tokens
        veil = draw_veil(len(x_BTF), tokens.config.count, self.family_G, 0.5, self.config.by_family)
        parts = tokens(veil.over(x_BTF, tokens.flows, tokens.config.minutes))
        return self.encoder.pool(self.encoder.contextualise(parts, veil.whole_BN))


@dataclass(frozen=True)
class Shuffled:
    """Batches of the rows in a new order every epoch, without validation."""

    x_NTF: np.ndarray
    rows_N: np.ndarray
    size: int
    device: str

    @property
    def steps(self) -> int:
        return len(self.rows_N) // self.size

    def train(self, epoch: int) -> Iterator[Tensor]:
        order = np.random.default_rng(epoch).permutation(self.rows_N)
        for step in range(self.steps):
            rows_B = order[step * self.size : (step + 1) * self.size]
            yield to_tensor(np.array(self.x_NTF[rows_B]), self.device)

    def validation(self) -> Iterator[Tensor]:
        return iter(())


def training_split(exchange: ExchangeRows, config: PretrainingConfig) -> Split:
    return split([day for day in exchange.days if day < exchange.first_test], config.validation_sessions, config.purge)


def fresh(exchange: ExchangeRows, way: Way) -> Pretraining:
    """Return the network before training, with scales from the training sessions."""
    train_rows = np.flatnonzero(~exchange.unseen_N)
    with deterministic(way.config.fit.seed):
        model = Pretraining(Encoder(way.shape, PROFILE), way.config)
        model.calibrate(exchange.rows.features[train_rows[:: max(1, len(train_rows) // way.config.calibrated)]])
    return model


def embedded(encoder: Encoder, exchange: ExchangeRows, way: Way) -> np.ndarray:
    encoder = encoder.to(way.compute.torch_device)
    with deterministic(0):
        return np.concatenate(
            [embed(encoder, block) for block in np.array_split(exchange.rows.features, len(exchange.days))]
        )
