"""Models trained walk-forward: the folds, and each fold's encoder, fingerprints, scorer and scores."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date

from fpm import walk_forward as folding
from fpm.errors import LookAhead, UsageError
from fpm.progress import Progress
from fpm.schema import STREAMS
from fpm.store.jobs import runner
from fpm.store.jobs.ahead import ahead
from fpm.store.ledger.retirements import retired
from fpm.store.ledger.stores import Stores
from fpm.store.retrieval.dual_stream import OUTSIDE
from fpm.store.settings import Settings

Bar = Callable[[str], AbstractContextManager[Progress]]  # a stage's title -> its progress


def plan(
    stores: Stores, first: date, last: date, refit: int | None, sessions: Sequence[date] | None = None
) -> list[folding.Fold]:
    """The folds whose test sessions cover `first` to `last`; `refit` overrides the preset's sessions per fold.

    `sessions`: those with features (default: all that are stored).
    """
    config = stores.settings.folds
    config = replace(config, refit=refit) if refit else config
    return folding.folds(stores.sessions("minute_features") if sessions is None else sessions, first, last, config)


def earliest(sessions: Sequence[date], config: folding.FoldConfig) -> date:
    """The first session that a fold can test: the one after as many as it needs.

    Raises UsageError for a history that is no longer than that.
    """
    needed = config.least + config.validation + 2 * config.purge + config.embargo
    if len(sessions) <= needed:
        raise UsageError(
            code="FPM-WF-004",
            wrong=f"there are {len(sessions)} sessions with features, a first test needs {needed} before it",
            effect="nothing was trained",
            todo="ingest more history, or use a preset or a model file with shorter folds",
        )
    return sessions[needed]


def reach(settings: Settings) -> int | None:
    """Sessions with features, the last included, that the trainings of one refit read; None for all there are."""
    from fpm.model_file import chosen
    from fpm.nn.encoder.pretraining import PRESETS
    from fpm.nn.scorer.network import scorer_config

    rules, choices = settings.folds, settings.model_choices
    if rules.window == "expanding":
        return None
    look_back = scorer_config(settings.preset, choices.scorer).look_back
    lesson = rules.train + rules.embargo + 2 * rules.purge + rules.validation + look_back
    return max(chosen(PRESETS[settings.preset], choices.encoder).sessions + rules.purge, lesson)


def require_history(folds: Sequence[folding.Fold], stores: Stores) -> None:
    """Refuse a walk-forward whose folds would learn from less than they once did: sessions were removed since.

    Raises UsageError.
    """
    gone, count = retired(stores.ledger).get("minute_features"), reach(stores.settings)
    if gone is None or count is None:
        return
    sessions = stores.sessions("minute_features")
    short = [fold for fold in folds if bisect_right(sessions, fold.scorer_through) < count]
    if short:
        raise UsageError(
            code="FPM-RET-002",
            wrong=f"the fold from {short[0].test[0]} learns from sessions before {gone}, which were removed",
            effect="nothing was trained",
            todo="choose a later first session, or deliver the removed ones again and compute their features",
        )


def describe(fold: folding.Fold) -> dict[str, str]:
    """A fold as a row for people and programs."""
    parts = ("train", "embargoed", "validation", "purged", "test")
    return {name: folding.span(getattr(fold, name)) for name in parts} | {
        "encoder_through": str(fold.encoder_through),
        "scorer_through": str(fold.scorer_through),
    }


def walk_forward(stores: Stores, folds: list[folding.Fold], bar: Bar) -> None:
    """Train fold by fold: each fold's vintage and fingerprints of the whole history under it, then scorers and scores.

    With several workers the folds' trainings run beside each other, ahead of their turn (`fpm.store.jobs.ahead`).
    Raises UsageError as `require_history`.
    """
    require_history(folds, stores)
    from consumers import score_intervals, scorer, scores
    from producers import encoder

    parts = [f"fold {number}/{len(folds)}" for number in range(1, len(folds) + 1)]
    vintages, lessons = [], []
    with ahead(stores.settings) as start:
        trainings = [start(encoder.prepare, fold.encoder_through) for fold in folds]
        for part, fold, wait in zip(parts, folds, trainings, strict=True):
            with bar(f"{part}: encoder") as progress:
                wait()
                vintages.append(encoder.train(fold.encoder_through, stores, progress))
            with bar(f"{part}: fingerprints") as progress:
                _write_fingerprints(vintages[-1], fold.test[-1], stores, progress)
            lessons.append([start(scorer.prepare, fold.scorer_through, vintages[-1], name) for name in STREAMS[::-1]])
        for part, fold, vintage, waits in zip(parts, folds, vintages, lessons, strict=True):
            with bar(f"{part}: scorer") as progress:
                for wait in waits:
                    wait()
                scorer.train(fold.scorer_through, vintage, stores, progress)
            with bar(f"{part}: scores") as progress:
                runner.backfill(scores, fold.test[0], fold.test[-1], stores, progress)
            with bar(f"{part}: intervals") as progress:
                runner.backfill(score_intervals, fold.test[0], fold.test[-1], stores, progress)


# --- vectors from outside -------------------------------------------------------------------------------------------
def require_vintage(vintage: str, first: date, stores: Stores) -> list[date]:
    """The sessions with vectors of a vintage after its birth, in order.

    Raises UsageError for a vintage that the home does not have, LookAhead where `first` is not past its birth.
    """
    born = {model.id: model.through for model in stores.models.list(OUTSIDE.encoder)}
    if vintage not in born:
        raise UsageError(
            code="FPM-ML-360",
            wrong=f"there are no vectors of a vintage {vintage!r}",
            effect="nothing was trained",
            todo=f"use one of {', '.join(sorted(born))}" if born else "ingest them: fpm ingest PATH --vintage NAME",
        )
    if first <= born[vintage]:
        raise LookAhead(
            code="FPM-ML-361",
            wrong=f"the encoder of vintage {vintage} has seen sessions through {born[vintage]}, not before {first}",
            effect="nothing was trained",
            todo="begin after that session",
        )
    return [session for session in stores.sessions(OUTSIDE.table, vintage) if session > born[vintage]]


def walk_forward_beside(vintage: str, stores: Stores, folds: Sequence[folding.Fold], bar: Bar) -> None:
    """Train scorers on a vintage from outside fold by fold, and write their out-of-sample scores beside ours."""
    from consumers import scorer, vector_scores

    for number, fold in enumerate(folds, 1):
        part = f"fold {number}/{len(folds)}"
        with bar(f"{part}: scorer") as progress:
            scorer.train(fold.scorer_through, vintage, stores, progress, OUTSIDE)
        with bar(f"{part}: scores") as progress:
            runner.backfill(vector_scores, fold.test[0], fold.test[-1], stores.for_vintage(vintage), progress)


def train_scorer(through: date, stores: Stores, progress: Progress) -> str:
    """Train a scorer on the vintage in force at `through`, after writing its missing fingerprints; the scorer's id."""
    from consumers import scorer

    vintage = stores.models.in_force("encoder", through).id
    _write_fingerprints(vintage, through, stores, progress)
    with ahead(stores.settings) as start:
        for wait in [start(scorer.prepare, through, vintage, name) for name in STREAMS[::-1]]:
            wait()
    return scorer.train(through, vintage, stores, progress)


def _write_fingerprints(vintage: str, last: date, stores: Stores, progress: Progress) -> None:
    from producers import fingerprints

    first = stores.sessions("minute_features")[0]
    runner.backfill(fingerprints, first, last, stores.for_vintage(vintage), progress)
