"""The three streams of one scorer together: training, storage as tensors, and the scores of a session.

Fingerprint, traditional and dual are trained on the same sessions, symbols and labels, so that their comparison is
paired. A symbol is scored if it has data at the session itself and in at least `minimum_share` of the look-back; any
other symbol gets no score.

Shapes: K seeds, B symbols of one session.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from fpm import cross_section
from fpm.errors import ModelRefused, TryLater
from fpm.nn.checkpoint import to_bytes
from fpm.nn.compute import Compute
from fpm.nn.fit import FitConfig, FitResult, Loss, Watch, deterministic, fit
from fpm.nn.scorer.fusion import Mix, mix
from fpm.nn.scorer.losses import LOSSES
from fpm.nn.scorer.network import STREAM_INPUTS, Scorer, ScorerConfig, stack
from fpm.nn.scorer.panel import (
    Batch,
    LabelledSession,
    Panel,
    SessionBatches,
    Statistics,
    View,
    fingerprint_statistics,
    labelled_sessions,
    scorable,
    window,
)
from fpm.nn.threads import side_by_side
from fpm.schema import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from fpm.walk_forward import Split

TINY_SCALE = 1e-8  # of outputs that are all equal: they add nothing, whatever their factor


@dataclass(frozen=True)
class Streams:
    """A trained scorer: one network per stream and seed, and the fingerprint statistics of their training.

    `mix`: what a stacked fusion decided, right after the training; the shares themselves are among the weights.
    """

    config: ScorerConfig
    statistics: Statistics
    scorers: Mapping[str, Scorer]
    mix: Mix | None = None

    @property
    def view(self) -> View:
        """How these streams take windows of a panel."""
        return panel_view(self.config, self.statistics)

    def to_bytes(self) -> bytes:
        """All weights and statistics as safetensors."""
        tensors = {"statistics/mean": self.statistics.mean_D, "statistics/scale": self.statistics.scale_D}
        for name, scorer in self.scorers.items():
            tensors |= {f"{name}/{key}": tensor for key, tensor in scorer.state_dict().items()}
        return to_bytes(tensors)


def panel_view(config: ScorerConfig, statistics: Statistics) -> View:
    """How a scorer of this configuration takes windows of a panel."""
    return View(config.look_back, math.ceil(config.minimum_share * config.look_back), statistics)


def restore(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Streams:
    """The streams of a manifest's config (as `asdict` gave it) and of the tensors that `to_bytes` wrote.

    Raises ModelRefused where the two describe no streams.
    """
    try:
        return _restored(config, tensors)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ModelRefused(
            code="FPM-ML-070",
            wrong=f"the manifest and the weights describe no scorer ({type(error).__name__}: {error})",
            effect="the scorer was not loaded",
            todo="restore it from a backup or train it again",
        ) from error


def _restored(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Streams:
    tuples = {name: tuple(config[name]) for name in ("seeds", "factors") if name in config}
    restored = ScorerConfig(**{**config, **tuples, "fit": FitConfig(**config["fit"])})
    scorers = {}
    for name in STREAMS:
        scorers[name] = Scorer(restored, name, len(tensors["statistics/mean"]))
        own = {key.removeprefix(f"{name}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}
        scorers[name].load_state_dict(own)
    return Streams(restored, Statistics(tensors["statistics/mean"], tensors["statistics/scale"]), scorers)


def train(
    panel: Panel, labels: pl.DataFrame, split: Split, config: ScorerConfig, watch: Watch, compute: Compute | None = None
) -> tuple[Streams, dict[str, FitResult]]:
    """Train every stream on the split's sessions; `labels`: rows of symbol, session, label, as known.

    A stacked dual stream has no training of its own and no result.
    `watch.progress` counts over all trained streams; `watch.checkpoint` gets one subfolder per stream. The networks end
    on the CPU, whatever device they were trained on.
    Raises ModelRefused where there is nothing to train or to validate on, or a loss is not finite.
    """
    compute = compute or Compute()
    statistics = fingerprint_statistics(panel, split.train)
    view = panel_view(config, statistics)
    batches = _batches(panel, labels, split, view, config, compute)
    scorers = {name: Scorer(config, name, len(statistics.mean_D)) for name in STREAMS}
    results = {name: _fitted(scorers[name], name, batches, config, watch, compute) for name in trainable(config)}
    stacked = config.fusion == "stack"
    own_mix = stacked_mix(scorers, panel, batches.validation_sessions, view) if stacked else None
    return Streams(config, statistics, scorers, own_mix), results


def trainable(config: ScorerConfig) -> list[str]:
    """The streams that are trained: a stacked one is made of them."""
    return [name for name in STREAMS if config.fusion != "stack" or len(STREAM_INPUTS[name]) == 1]


def train_alone(
    name: str, panel: Panel, labels: pl.DataFrame, split: Split, config: ScorerConfig, watch: Watch, compute: Compute
) -> None:
    """Train one of the streams as `train` does, for its checkpoint alone; none where it is made of others.

    Raises ModelRefused as `train`.
    """
    if name not in trainable(config):
        return
    statistics = fingerprint_statistics(panel, split.train)
    batches = _batches(panel, labels, split, panel_view(config, statistics), config, compute)
    _fitted(Scorer(config, name, len(statistics.mean_D)), name, batches, config, watch, compute)


def _batches(
    panel: Panel, labels: pl.DataFrame, split: Split, view: View, config: ScorerConfig, compute: Compute
) -> SessionBatches:
    batches = SessionBatches(
        panel.to(compute.torch_device),
        view,
        labelled_sessions(panel, labels, split.train, view),
        labelled_sessions(panel, labels, split.validation, view),
        config.batch,
    )
    _require_sessions(batches, split)
    return batches


def _fitted(
    scorer: Scorer, name: str, batches: SessionBatches, config: ScorerConfig, watch: Watch, compute: Compute
) -> FitResult:
    result = fit(scorer, _loss(config), batches, config.fit, _stream_watch(watch, name, trainable(config)), compute)
    scorer.to("cpu")
    _require_finite(name, result)
    return result


def stacked_mix(scorers: Mapping[str, Scorer], panel: Panel, validation: Sequence[LabelledSession], view: View) -> Mix:
    """Decide the mix of the single streams on the validation sessions, and fill the dual stream with it.

    The shares are one for all seeds, by the mean of their scores as `scores` takes it; each seed's outputs are first
    brought to one scale by their standard deviation within a session.
    """
    names = STREAM_INPUTS["dual"]
    label_TS = np.full((len(validation), len(panel.symbols)), np.nan)
    score_NTS = np.full((len(names), *label_TS.shape), np.nan)
    scale_NKT = np.ones((len(names), len(scorers["dual"].config.seeds), len(validation)))
    for t, labelled in enumerate(validation):
        label_TS[t, labelled.columns_B] = labelled.label_B.numpy()
        batch = window(panel, labelled.session, labelled.columns_B, view)
        for n, name in enumerate(names):
            output_KB = outputs(scorers[name], batch).numpy().astype(np.float64)
            score_NTS[n, t, labelled.columns_B] = cross_section.z_score(output_KB.T).mean(axis=1)
            scale_NKT[n, :, t] = output_KB.std(axis=1)
    own = mix(list(score_NTS), label_TS)
    factor_NK = np.array(own.share)[:, None] / np.maximum(scale_NKT.mean(axis=2), TINY_SCALE)
    singles = {name: scorers[name] for name in names}
    stack(scorers["dual"], singles, torch.from_numpy(factor_NK.astype(np.float32))[:, :, None])
    return own


def scores(streams: Streams, panel: Panel, session: date, threads: int = 1) -> tuple[pl.DataFrame, list[str]]:
    """Scores of a session in every stream, and the symbols whose look-back is too short; the same by any `threads`.

    Columns: symbol, stream, score (mean over seeds of the outputs z-scored across the session), spread (their
    population standard deviation over seeds; 0 for one seed). Raises TryLater where fewer than two symbols can be
    scored, because one symbol has no rank.
    """
    columns_B = scorable(panel, session, streams.view)
    present = np.flatnonzero(panel.known_TS[panel.position[session]])
    short = [panel.symbols[s] for s in np.setdiff1d(present, columns_B)]
    if len(columns_B) < 2:
        raise TryLater(
            code="FPM-ML-335",
            wrong=f"{len(columns_B)} symbols can be scored at {session}, {len(short)} have too few of the last "
            f"{streams.config.look_back} sessions",
            effect="no score was written",
            todo="score a later session, or compute the missing fingerprints",
        )
    batch = window(panel, session, columns_B, streams.view)
    symbols = [panel.symbols[s] for s in columns_B]
    parts = []
    for name in STREAMS:
        score_BK = cross_section.z_score(outputs(streams.scorers[name], batch, threads).numpy().astype(np.float64).T)
        values = {"score": score_BK.mean(axis=1), "spread": score_BK.std(axis=1)}
        parts.append(pl.DataFrame({"symbol": symbols, "stream": [name] * len(symbols), **values}))
    return pl.concat(parts), short


def outputs(scorer: Scorer, batch: Batch, threads: int = 1) -> Tensor:
    """Raw outputs (K, B) of a session's symbols, computed in parts of the training's batch size, each by one thread.

    Raises ModelRefused where one is not finite.
    """

    def part_outputs(rows_B: Tensor) -> Tensor:
        with torch.no_grad():
            output_KB: Tensor = scorer(batch.take(rows_B))
        return output_KB

    with deterministic(0):
        scorer.eval()
        parts = torch.split(torch.arange(batch.known_LB.shape[1]), scorer.config.batch)
        output_KB = torch.cat(side_by_side(part_outputs, parts, threads), dim=1)
    if not bool(torch.isfinite(output_KB).all()):
        raise ModelRefused(
            code="FPM-ML-336",
            wrong="a score is not finite",
            effect="no score was written",
            todo="look for non-finite inputs",
        )
    return output_KB


def manifest(streams: Streams, results: Mapping[str, FitResult]) -> dict[str, Any]:
    """The training's part of a manifest: config, and best epoch and validation loss of each stream and seed."""
    figures = {
        name: {
            "validation_loss": dict(zip(map(str, streams.config.seeds), result.best_K, strict=True)),
            "best_epoch": dict(zip(map(str, streams.config.seeds), result.best_epoch_K, strict=True)),
            "epochs": len(result.history),
        }
        for name, result in results.items()
    }
    own = {} if streams.mix is None else {"mix": {"streams": STREAM_INPUTS["dual"], **asdict(streams.mix)}}
    return {"config": asdict(streams.config), "seeds": list(streams.config.seeds), "streams": figures, **own}


def _loss(config: ScorerConfig) -> Callable[[nn.Module, Batch], Loss]:
    session_loss = LOSSES[config.loss]

    def loss(scorer: nn.Module, batch: Batch) -> Loss:
        assert batch.label_B is not None
        return Loss(session_loss(scorer(batch), batch.label_B))

    return loss


def _stream_watch(watch: Watch, name: str, names: Sequence[str]) -> Watch:
    """The watch of one of the streams that are trained."""
    number, count = names.index(name), len(names)

    def progress(done: int, total: int, item: object) -> None:
        if watch.progress is not None:
            watch.progress(number * total + done, count * total, f"{name} {item}")

    return Watch(progress, watch.checkpoint / name if isinstance(watch.checkpoint, Path) else None)


def _require_sessions(batches: SessionBatches, split: Split) -> None:
    if not batches.train_sessions:
        raise ModelRefused(
            code="FPM-ML-332",
            wrong=f"none of {len(split.train)} training sessions has two labelled symbols with enough of the look-back",
            effect="nothing was trained; the model in force stays",
            todo="compute labels and fingerprints of these sessions",
        )
    if not batches.validation_sessions:
        raise ModelRefused(
            code="FPM-ML-333",
            wrong=f"none of {len(split.validation)} validation sessions has two labelled symbols with enough look-back",
            effect="nothing was trained; the model in force stays",
            todo="compute labels and fingerprints of these sessions",
        )


def _require_finite(name: str, result: FitResult) -> None:
    if not all(math.isfinite(best) for best in result.best_K):
        raise ModelRefused(
            code="FPM-ML-334",
            wrong=f"the validation loss of stream {name} is not finite",
            effect="nothing was saved; the model in force stays",
            todo="look for non-finite inputs or labels",
        )
