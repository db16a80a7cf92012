"""The three streams of one scorer together: how they are trained, kept as tensors, and asked for a session's scores.

Fingerprint, traditional and dual are trained on the same sessions, symbols and labels, so that comparing them is a
paired comparison. A symbol is scored if it has data at the session itself and in at least `minimum_share` of the
look-back; any other gets no score, never a made-up one.
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
from fpm.nn.scorer.losses import LOSSES
from fpm.nn.scorer.network import Scorer, ScorerConfig
from fpm.nn.scorer.panel import (
    Batch,
    Panel,
    SessionBatches,
    Statistics,
    View,
    fingerprint_statistics,
    labelled_sessions,
    scorable,
    window,
)
from fpm.schema import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from fpm.walk_forward import Split


@dataclass(frozen=True)
class Streams:
    """A trained scorer: one network a stream and seed, and the fingerprint statistics they were trained with."""

    config: ScorerConfig
    statistics: Statistics
    scorers: Mapping[str, Scorer]

    @property
    def view(self) -> View:
        return view(self.config, self.statistics)

    def to_bytes(self) -> bytes:
        """Everything learnt, as safetensors."""
        tensors = {"statistics/mean": self.statistics.mean_D, "statistics/scale": self.statistics.scale_D}
        for name, scorer in self.scorers.items():
            tensors |= {f"{name}/{key}": tensor for key, tensor in scorer.state_dict().items()}
        return to_bytes(tensors)


def view(config: ScorerConfig, statistics: Statistics) -> View:
    """How the panel is looked at under a configuration."""
    return View(config.look_back, math.ceil(config.minimum_share * config.look_back), statistics)


def restore(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Streams:
    """The streams of a manifest's config (see `asdict`) and of the tensors written by `to_bytes`."""
    tuples = {name: tuple(config[name]) for name in ("seeds", "factors") if name in config}
    whole = ScorerConfig(**{**config, **tuples, "fit": FitConfig(**config["fit"])})
    scorers = {}
    for name in STREAMS:
        scorers[name] = Scorer(whole, name)
        own = {key.removeprefix(f"{name}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}
        scorers[name].load_state_dict(own)
    return Streams(whole, Statistics(tensors["statistics/mean"], tensors["statistics/scale"]), scorers)


def train(
    of: Panel, labels: pl.DataFrame, split: Split, config: ScorerConfig, watch: Watch, compute: Compute | None = None
) -> tuple[Streams, dict[str, FitResult]]:
    """Train every stream on the split's sessions; `labels`: symbol, session, label, as known.

    `watch.progress` counts over the three streams; `watch.checkpoint` gets one folder a stream. The networks end on the
    CPU, whatever they were trained on.
    Raises ModelRefused where there is nothing to learn from, nothing to validate on, or a loss is not finite.
    """
    compute = compute or Compute()
    statistics = fingerprint_statistics(of, split.train)
    looked_at = view(config, statistics)
    batches = SessionBatches(
        of.to(compute.torch_device),
        looked_at,
        labelled_sessions(of, labels, split.train, looked_at),
        labelled_sessions(of, labels, split.validation, looked_at),
        config.batch,
    )
    _require_sessions(batches, split)
    scorers = {name: Scorer(config, name) for name in STREAMS}
    results = {}
    for number, (name, scorer) in enumerate(scorers.items()):
        results[name] = fit(scorer, _loss(config), batches, config.fit, _of_stream(watch, number, name), compute)
        scorer.to("cpu")
        _require_finite(name, results[name])
    return Streams(config, statistics, scorers), results


def scores(streams: Streams, of: Panel, session: date) -> tuple[pl.DataFrame, list[str]]:
    """Scores of a session in every stream, and the symbols that are there but short of the look-back.

    Columns symbol, stream, score (mean over seeds of the outputs z-scored across the session), spread (population
    standard deviation over seeds of the same; 0 for one seed). Raises TryLater where fewer than two symbols can be
    scored: a rank among one has no meaning.
    """
    columns_B = scorable(of, session, streams.view)
    here = np.flatnonzero(of.known_TS[of.position[session]])
    short = [of.symbols[s] for s in np.setdiff1d(here, columns_B)]
    if len(columns_B) < 2:
        raise TryLater(
            code="FPM-ML-335",
            wrong=f"{len(columns_B)} symbols can be scored at {session}, {len(short)} have too few of the last "
            f"{streams.config.look_back} sessions",
            effect="no score was written",
            todo="score a later session, or bring the fingerprints of the missing ones",
        )
    whole = window(of, session, columns_B, streams.view)
    symbols = [of.symbols[s] for s in columns_B]
    parts = []
    for name in STREAMS:
        scored_BK = cross_section.z_score(outputs(streams.scorers[name], whole).numpy().astype(np.float64).T)
        values = {"score": scored_BK.mean(axis=1), "spread": scored_BK.std(axis=1)}
        parts.append(pl.DataFrame({"symbol": symbols, "stream": [name] * len(symbols), **values}))
    return pl.concat(parts), short


def outputs(scorer: Scorer, whole: Batch) -> Tensor:
    """Raw outputs (K, B) of a session's symbols, in parts of the training's batch size. Raises ModelRefused for NaN."""
    with torch.no_grad(), deterministic(0):
        scorer.eval()
        parts = torch.split(torch.arange(whole.known_LB.shape[1]), scorer.config.batch)
        output_KB = torch.cat([scorer(whole.take(rows_B)) for rows_B in parts], dim=1)
    if not bool(torch.isfinite(output_KB).all()):
        raise _refused("FPM-ML-336", "a score is not finite", "no score was written", "look for non-finite inputs")
    return output_KB


def manifest(streams: Streams, results: Mapping[str, FitResult]) -> dict[str, Any]:
    """What a manifest says of the training: config, and for each stream and seed the best epoch and validation loss."""
    figures = {
        name: {
            "validation_loss": dict(zip(map(str, streams.config.seeds), result.best_K, strict=True)),
            "best_epoch": dict(zip(map(str, streams.config.seeds), result.best_epoch_K, strict=True)),
            "epochs": len(result.history),
        }
        for name, result in results.items()
    }
    return {"config": asdict(streams.config), "seeds": list(streams.config.seeds), "streams": figures}


def _loss(config: ScorerConfig) -> Callable[[nn.Module, Batch], Loss]:
    of_session = LOSSES[config.loss]

    def loss(scorer: nn.Module, batch: Batch) -> Loss:
        assert batch.label_B is not None
        return Loss(of_session(scorer(batch), batch.label_B))

    return loss


def _of_stream(watch: Watch, number: int, name: str) -> Watch:
    """The part of a watch that belongs to one stream of three."""

    def progress(done: int, total: int, what: object) -> None:
        if watch.progress is not None:
            watch.progress(number * total + done, len(STREAMS) * total, f"{name} {what}")

    return Watch(progress, watch.checkpoint / name if isinstance(watch.checkpoint, Path) else None)


def _require_sessions(batches: SessionBatches, split: Split) -> None:
    for code, part, asked, there in (
        ("FPM-ML-332", "train", split.train, batches.train_sessions),
        ("FPM-ML-333", "validation", split.validation, batches.validation_sessions),
    ):
        if not there:
            raise _refused(
                code,
                f"none of {len(asked)} {part} sessions has two labelled symbols with enough of the look-back",
                "nothing was trained; the model in force stays",
                "bring labels and fingerprints of these sessions",
            )


def _require_finite(name: str, result: FitResult) -> None:
    if not all(math.isfinite(best) for best in result.best_K):
        raise _refused(
            "FPM-ML-334",
            f"the validation loss of stream {name} is not finite",
            "nothing was saved; the model in force stays",
            "look for non-finite inputs or labels",
        )


def _refused(code: str, wrong: str, done: str, todo: str) -> ModelRefused:
    return ModelRefused(code=code, wrong=wrong, effect=done, todo=todo)
