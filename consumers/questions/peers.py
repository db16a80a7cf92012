"""`fpm evaluate peers`: the stored scores beside a linear model and LightGBM, on the same folds, symbols and inputs.

For every scorer that served, the peers learn from its own lesson, known at its own cut-off, and score the sessions it
served, each as known that night.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers import scorer, scores
from consumers.questions import judgement
from consumers.questions.report import difference, line
from fpm import walk_forward
from fpm.errors import ModelRefused
from fpm.evaluation import evaluate as evaluation
from fpm.evaluation import comparison, peers
from fpm.evaluation.peers import PEERS, FittedModel
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import STREAM_INPUTS
from fpm.nn.scorer.panel import (
    LabelledSession,
    Panel,
    Places,
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
    from datetime import date

    from fpm.cross_section import Array
    from fpm.evaluation.figures import Figures
    from fpm.progress import Progress
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

STORED = "GRU"


@dataclass(frozen=True)
class Fold:
    """One scorer, the sessions it served, and its peers by stream and name, who saw the panel as it did."""

    model: Model
    served: tuple[date, ...]
    lesson: scorer.Lesson
    view: View
    fitted: dict[tuple[str, str], FittedModel]


def evaluate(stores: Stores, progress: Progress) -> dict[str, Any]:
    """RankIC of every stream by every model, the scorer's differences from its peers, and the folds.

    Raises UsageError without LightGBM, TryLater where nothing was scored, ModelRefused where a scorer's lesson is not
    the one it was taught.
    """
    peers.library()
    judged, config = judgement.judge(stores), evaluation.PRESETS[stores.settings.preset]
    folds, scored = learnt_and_scored(judged.scores, stores, progress)
    lines, pairs = [], []
    for stream in STREAMS:
        stored = judged.stream(stream)
        lines.append(_line(stream, STORED, evaluation.evaluate(stored, judged.labels, config)))
        for name in PEERS:
            own = scored.filter(pl.col("stream") == stream, pl.col("model") == name)
            lines.append(_line(stream, name, evaluation.evaluate(own, judged.labels, config)))
            compared = comparison.compare(stored, own, judged.labels, config)
            pairs.append(difference(f"{stream}: {STORED} {MINUS} {name}", compared))
    chosen = [row for fold in folds for row in _chosen(fold)]
    return {"rank_ic": lines, "paired": pairs, "folds": [_told(fold) for fold in folds], "chosen": chosen}


def learnt_and_scored(stored: pl.DataFrame, stores: Stores, progress: Progress) -> tuple[list[Fold], pl.DataFrame]:
    """The peers of every scorer in `stored` (session, model, ...), and what they say of the sessions it served:
    session, symbol, stream, model, score.
    """
    served = dict(stored.group_by("model").agg(pl.col("session").unique().sort()).iter_rows())
    total, done = sum(map(len, served.values())), 0
    folds, frames = [], []
    for model_id, sessions in sorted(served.items(), key=lambda each: (each[1][0], each[0])):
        progress(done, total, model_id)
        fold = learn(stores.models.record("scorer", model_id), tuple(sessions), stores)
        folds.append(fold)
        for session in fold.served:
            progress(done, total, session)
            frames.append(score(fold, session, stores.as_of(cut_off(stores.market, session))))
            done += 1
    progress(total, total, "done")
    return folds, pl.concat(frames)


def learn(model: Model, served: tuple[date, ...], stores: Stores) -> Fold:
    """The peers of one scorer. Raises ModelRefused where the store now gives another lesson than it was taught."""
    lesson = scorer.lesson(model.through, model.manifest["vintage"], stores)
    again = scorer.told(lesson) | {"look_back": lesson.config.look_back}
    taught = model.manifest | {"look_back": model.manifest["config"]["look_back"]}
    other = [name for name, value in again.items() if taught.get(name) != value]
    if other:
        raise ModelRefused(
            code="FPM-ML-339",
            wrong=f"scorer {model.id} was taught otherwise than the store would now: {', '.join(other)}",
            effect="no peer was trained",
            todo="go back to the settings it was trained under, or run fpm walk-forward again",
        )
    view = streams.view(lesson.config, fingerprint_statistics(lesson.panel, lesson.split.train))
    parts = [
        labelled_sessions(lesson.panel, lesson.labels, sessions, view)
        for sessions in (lesson.split.train, lesson.split.validation)
    ]
    fitted = {}
    for stream in STREAMS:
        own = peers.TrainingSessions(*([_session(lesson.panel, day, view, stream) for day in part] for part in parts))
        fitted.update({(stream, name): fit(own) for name, fit in PEERS.items()})
    return Fold(model, served, lesson, view, fitted)


def score(fold: Fold, session: date, known: Stores) -> pl.DataFrame:
    """What every peer of a fold says of a session: session, symbol, stream, model, score."""
    of = scores.seen(session, fold.lesson.panel.vintage, fold.lesson.config, known)
    columns_B = scorable(of, session, fold.view)
    symbols = [of.symbols[s] for s in columns_B]
    x_BF = {stream: _inputs(of, session, columns_B, fold.view, stream) for stream in STREAMS}
    return pl.concat(
        pl.DataFrame({"symbol": symbols, "score": fitted.score(x_BF[stream])}).select(
            pl.lit(session).alias("session"), "symbol", stream=pl.lit(stream), model=pl.lit(name), score="score"
        )
        for (stream, name), fitted in fold.fitted.items()
    )


def _session(of: Panel, labelled: LabelledSession, view: View, stream: str) -> peers.Session:
    """Inputs of a session's labelled symbols, laid out among all of them, and the ranks of their labels."""
    x_BF = _inputs(of, labelled.session, labelled.columns_B, view, stream)
    label_B = labelled.label_B.numpy().astype(np.float64)
    return x_BF[labelled.rows], peers.target(label_B[labelled.rows])


def _inputs(of: Panel, session: date, columns_B: Places, view: View, stream: str) -> Array:
    batch = window(of, session, columns_B, view)
    read = {"fingerprint": batch.fingerprint_LBF, "traditional": batch.factor_LBF}
    known_LB = batch.known_LB.numpy()
    return np.concatenate([peers.inputs(read[name].numpy(), known_LB) for name in STREAM_INPUTS[stream]], axis=1)


# --- what is told -------------------------------------------------------------------------------------------------


def _line(stream: str, name: str, figures: Figures) -> dict[str, Any]:
    """`sessions`: those with labels that the model could rank; trees may say the same of every symbol."""
    told = line(stream, figures)
    return {"stream": told.pop("stream"), "model": name, **told, "sessions": figures.labelled_sessions}


def _told(fold: Fold) -> dict[str, Any]:
    """A fold as a row; sessions as first .. last (how many)."""
    parts = {"train": fold.lesson.split.train, "validation": fold.lesson.split.validation, "served": fold.served}
    return {"scorer": fold.model.id} | {name: walk_forward.span(sessions) for name, sessions in parts.items()}


def _chosen(fold: Fold) -> list[dict[str, Any]]:
    """What the validation sessions chose for each stream."""
    return [
        {
            "scorer": fold.model.id,
            "stream": stream,
            "ridge_strength": fold.fitted[stream, "linear"].setting,
            "trees": fold.fitted[stream, "LightGBM"].setting,
        }
        for stream in STREAMS
    ]
