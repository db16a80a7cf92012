"""`fpm evaluate peers`: the stored scores beside a linear model and LightGBM, on the same folds, symbols and inputs.

For every scorer that served, the peers train on its training data as known at its cut-off, and score the sessions it
served as known on each night.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from consumers import scorer, scores
from consumers.questions import judgement
from consumers.questions.report import difference, line
from fpm import walk_forward
from fpm.errors import ModelRefused
from fpm.evaluation import comparison, peers
from fpm.evaluation import evaluate as evaluation
from fpm.evaluation.peers import PEERS, FittedModel
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import STREAM_INPUTS
from fpm.nn.scorer.panel import (
    Indices,
    LabelledSession,
    Panel,
    View,
    fingerprint_statistics,
    labelled_sessions,
    scorable,
    window,
)
from fpm.report.figure_text import MINUS
from fpm.schema import STREAMS
from fpm.sessions import cut_off

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from fpm.cross_section import Array
    from fpm.evaluation.figures import Figures
    from fpm.progress import Progress
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

STORED = "GRU"
AnyFold = TypeVar("AnyFold")  # what was learnt of one scorer


@dataclass(frozen=True)
class Fold:
    """One scorer, the sessions it served, and its peers by stream and name, trained on the same panel."""

    model: Model
    served: tuple[date, ...]
    lesson: scorer.ScorerInputs
    view: View
    peers: dict[tuple[str, str], FittedModel]


def evaluate(stores: Stores, progress: Progress) -> dict[str, Any]:
    """RankIC of every stream by every model, the scorer's differences from its peers, and the folds.

    Raises UsageError without LightGBM, TryLater where nothing was scored, ModelRefused where the store now gives other
    training data than a scorer's.
    """
    peers.library()
    evidence, config = judgement.read_evidence(stores), judgement.evaluation_config(stores.settings)
    folds, scored = peer_scores(evidence.scores, stores, progress)
    lines, pairs = [], []
    for stream in STREAMS:
        stored = evidence.stream(stream)
        lines.append(_line(stream, STORED, evaluation.evaluate(stored, evidence.labels, config)))
        for name in PEERS:
            own = scored.filter(pl.col("stream") == stream, pl.col("model") == name)
            lines.append(_line(stream, name, evaluation.evaluate(own, evidence.labels, config)))
            paired = comparison.compare(stored, own, evidence.labels, config)
            pairs.append(difference(f"{stream}: {STORED} {MINUS} {name}", paired))
    settings = [each for fold in folds for each in _settings(fold)]
    return {"rank_ic": lines, "paired": pairs, "folds": [row(fold) for fold in folds], "chosen": settings}


def peer_scores(stored: pl.DataFrame, stores: Stores, progress: Progress) -> tuple[list[Fold], pl.DataFrame]:
    """Train the peers of every scorer in `stored` (session, model, ...) and score the sessions it served.

    Returns the folds, and rows of session, symbol, stream, model, score.
    """
    return learnt_and_scored(stored, learn, score, stores, progress)


def learnt_and_scored(
    stored: pl.DataFrame,
    learn: Callable[[Model, tuple[date, ...], Stores], AnyFold],
    score: Callable[[AnyFold, date, Stores], pl.DataFrame],
    stores: Stores,
    progress: Progress,
) -> tuple[list[AnyFold], pl.DataFrame]:
    """`learn` of each scorer in `stored` (session, model, ...), `score` of its sessions as known on their nights."""
    served = dict(stored.group_by("model").agg(pl.col("session").unique().sort()).iter_rows())
    total, done = sum(map(len, served.values())), 0
    folds, frames = [], []
    for model_id, sessions in sorted(served.items(), key=lambda item: (item[1][0], item[0])):
        progress(done, total, model_id)
        fold = learn(stores.models.record("scorer", model_id), tuple(sessions), stores)
        folds.append(fold)
        for session in sessions:
            progress(done, total, session)
            frames.append(score(fold, session, stores.as_of(cut_off(stores.market, session))))
            done += 1
    progress(total, total, "done")
    return folds, pl.concat(frames)


def learn(model: Model, served: tuple[date, ...], stores: Stores, names: Sequence[str] = STREAMS) -> Fold:
    """Train the peers of one scorer in some of its streams.

    Raises ModelRefused where the store now gives other training data than its own.
    """
    lesson = scorer.training_inputs(model.through, model.manifest["vintage"], stores)
    again = scorer.inputs_manifest(lesson) | {"look_back": lesson.config.look_back}
    taught = model.manifest | {"look_back": model.manifest["config"]["look_back"]}
    differing = [name for name, value in again.items() if taught.get(name) != value]
    if differing:
        raise ModelRefused(
            code="FPM-ML-339",
            wrong=f"scorer {model.id} was trained on other data than the store now gives: {', '.join(differing)}",
            effect="no peer was trained",
            todo="go back to the settings it was trained under, or run fpm walk-forward again",
        )
    view = streams.panel_view(lesson.config, fingerprint_statistics(lesson.panel, lesson.split.train))
    parts = [
        labelled_sessions(lesson.panel, lesson.labels, sessions, view)
        for sessions in (lesson.split.train, lesson.split.validation)
    ]
    models = {}
    for stream in names:
        own = peers.TrainingSessions(*([_session(lesson.panel, day, view, stream) for day in part] for part in parts))
        models.update({(stream, name): fit(own) for name, fit in PEERS.items()})
    return Fold(model, served, lesson, view, models)


def score(fold: Fold, session: date, stores: Stores) -> pl.DataFrame:
    """The scores of every peer of a fold as known to the stores: session, symbol, stream, model, score."""
    panel = scores.look_back_panel(session, fold.lesson.panel.vintage, fold.lesson.config, stores)
    columns_B = scorable(panel, session, fold.view)
    symbols = [panel.symbols[s] for s in columns_B]
    x_BF = {stream: model_inputs(panel, session, columns_B, fold.view, stream) for stream in STREAMS}
    return pl.concat(
        pl.DataFrame({"symbol": symbols, "score": peer.score(x_BF[stream])}).select(
            pl.lit(session).alias("session"), "symbol", stream=pl.lit(stream), model=pl.lit(name), score="score"
        )
        for (stream, name), peer in fold.peers.items()
    )


def _session(panel: Panel, labelled: LabelledSession, view: View, stream: str) -> peers.Session:
    """Inputs of a session's labelled symbols, standardised across all of them, and the ranks of their labels."""
    x_BF = model_inputs(panel, labelled.session, labelled.columns_B, view, stream)
    label_B = labelled.label_B.numpy().astype(np.float64)
    return x_BF[labelled.rows], peers.target(label_B[labelled.rows])


def model_inputs(panel: Panel, session: date, columns_B: Indices, view: View, stream: str) -> Array:
    """What the peers of a stream read of a session's symbols, those of `columns_B` (B, F)."""
    batch = window(panel, session, columns_B, view)
    inputs = {"fingerprint": batch.fingerprint_LBF, "traditional": batch.factor_LBF}
    known_LB = batch.known_LB.numpy()
    return np.concatenate([peers.inputs(inputs[name].numpy(), known_LB) for name in STREAM_INPUTS[stream]], axis=1)


# --- rows of the answer -------------------------------------------------------------------------------------------


def _line(stream: str, name: str, figures: Figures) -> dict[str, Any]:
    """A row of RankIC; `sessions`: those with labels that the model could rank (trees may score all symbols alike)."""
    figured = line(stream, figures)
    return {"stream": figured.pop("stream"), "model": name, **figured, "sessions": figures.labelled_sessions}


def row(fold: Fold) -> dict[str, Any]:
    """A fold as a row; sessions as first .. last (number)."""
    parts = {"train": fold.lesson.split.train, "validation": fold.lesson.split.validation, "served": fold.served}
    return {"scorer": fold.model.id} | {name: walk_forward.span(sessions) for name, sessions in parts.items()}


def _settings(fold: Fold) -> list[dict[str, Any]]:
    """The settings that the validation sessions selected for each stream."""
    return [
        {
            "scorer": fold.model.id,
            "stream": stream,
            "ridge_strength": fold.peers[stream, "linear"].setting,
            "trees": fold.peers[stream, "LightGBM"].setting,
        }
        for stream in STREAMS
    ]
