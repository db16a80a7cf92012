"""A GRU over the bars themselves, trained end to end on the label: a peer without a fingerprint.

It reads every bar of a symbol's last sessions in order, or means over neighbouring bars where a session has many, and
learns from the same batches and the same loss as the scorer.

Shapes: L sessions of a window, B symbols of one session, S symbols, T bars, N bins of a session, F features, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fpm.errors import ModelRefused
from fpm.nn.fit import FitConfig, FitResult, Loss, Watch, deterministic, fit
from fpm.nn.scorer.losses import rank_correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpm.nn.scorer.panel import Batch, SessionBatches

MOST_BINS = 30  # of a session: a recurrence over 240 bars a session costs hours and forgets the morning


@dataclass(frozen=True)
class MinuteGruConfig:
    """Settings of the network. `sessions`: those it reads, the scored one last."""

    sessions: int = 5
    hidden: int = 32
    dropout: float = 0.3
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=30, rate=1e-3, warm_up_epochs=1, patience=5))


PRESETS = {
    "default": MinuteGruConfig(),
    "demo": MinuteGruConfig(),
    "short": MinuteGruConfig(),
    "tiny": MinuteGruConfig(sessions=2, hidden=8, fit=FitConfig(epochs=8, rate=1e-2, warm_up_epochs=0.5, patience=3)),
}


class MinuteGru(nn.Module):
    """`forward(batch) -> score_B`: the batch's factors are the bins of each session, side by side (L, B, N F)."""

    def __init__(self, features: int, config: MinuteGruConfig) -> None:
        super().__init__()
        self.features, self.sessions = features, config.sessions
        self.gru = nn.GRU(features, config.hidden, batch_first=True)
        self.head = nn.Sequential(nn.LayerNorm(config.hidden), nn.Dropout(config.dropout), nn.Linear(config.hidden, 1))

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the symbols of one session, of no fixed scale."""
        x_LBF = batch.factor_LBF[-self.sessions :]
        x_BTF = x_LBF.transpose(0, 1).reshape(x_LBF.shape[1], -1, self.features)
        states_BTH, _ = self.gru(x_BTF)
        score_B1: Tensor = self.head(states_BTH[:, -1])
        return score_B1.squeeze(-1)


def bins(x_STF: NDArray[np.floating[Any]], most: int = MOST_BINS) -> NDArray[np.float64]:
    """Means of equally many neighbouring bars, at most `most` bins, side by side (S, N F); NaN without a value.

    The last bin is shorter where the bars do not divide.

    >>> bins(np.array([[[1.0], [3.0], [np.nan], [8.0], [5.0]]]), most=3).tolist()
    [[2.0, 8.0, 5.0]]
    """
    bars = x_STF.shape[1]
    starts = np.arange(0, bars, -(-bars // most))
    finite_STF = np.isfinite(x_STF)
    total_SNF = np.add.reduceat(np.where(finite_STF, x_STF, 0.0).astype(np.float64), starts, axis=1)
    count_SNF = np.add.reduceat(finite_STF.astype(np.int64), starts, axis=1)
    mean_SNF = np.where(count_SNF > 0, total_SNF / np.maximum(count_SNF, 1), np.nan)
    return mean_SNF.reshape(len(x_STF), len(starts) * x_STF.shape[2])


def train(batches: SessionBatches, features: int, config: MinuteGruConfig, watch: Watch) -> tuple[MinuteGru, FitResult]:
    """Train the network on batches whose factors are bins; the validation sessions decide the epoch.

    Raises ModelRefused without a session to train or to validate on.
    """
    if not batches.train_sessions or not batches.validation_sessions:
        raise ModelRefused(
            code="FPM-ML-362",
            wrong="no session of the training or of the validation has two labels",
            effect="no GRU over the bars was trained",
            todo="compute the labels first: fpm backfill labels FIRST LAST",
        )
    with deterministic(config.fit.seed):
        model = MinuteGru(features, config)
    return model, fit(model, _loss, batches, config.fit, watch)


def score(model: MinuteGru, batch: Batch) -> NDArray[np.float64]:
    """Scores of a batch's symbols (B,), without dropout."""
    model.eval()
    with deterministic(0), torch.no_grad():
        return model(batch).double().numpy()  # type: ignore[no-any-return]  # a module's call is Any


def _loss(model: nn.Module, batch: Batch) -> Loss:
    assert batch.label_B is not None
    return Loss(rank_correlation(model(batch)[None], batch.label_B)[0])
