"""Walk-forward folds: the sessions that train, validate and test, and the last session each model may know.

The label of session t, a return over five sessions, is known when session t + 6 has closed, so 6 sessions are purged
before validation and before test; another horizon has another purge (`fpm.model_file`). Look-backs overlap too: 5 more
sessions are embargoed between train and validation, lest they flatter the figure that stops the training. No choice
depends on the test, so the label purge alone makes it out of sample. Folds are data; other modules run them. Purge and
embargo: López de Prado, "Advances in Financial Machine Learning" (2018), 7.4.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from fpm.errors import LookAhead, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class FoldConfig:
    """Lengths in sessions.

    A fold needs at least `least` train sessions; an expanding fold uses all, a sliding one at most the last `train`.
    One fold tests `refit` sessions; then the models are trained anew.
    """

    train: int = 1008
    least: int = 504
    validation: int = 63
    purge: int = 6
    embargo: int = 5
    refit: int = 252
    window: Literal["expanding", "sliding"] = "expanding"


PRESETS: dict[str, FoldConfig] = {
    "default": FoldConfig(),
    "demo": FoldConfig(train=120, least=40, validation=15, refit=60),
    "short": FoldConfig(train=40, least=5, validation=4, embargo=0, refit=60),
    "tiny": FoldConfig(train=20, least=4, validation=2, embargo=1, refit=6),
}


@dataclass(frozen=True)
class Split:
    """Label sessions of one scorer, oldest first: early stopping watches `validation`."""

    train: tuple[date, ...]
    validation: tuple[date, ...]


@dataclass(frozen=True)
class Fold:
    """One refit: models trained to `encoder_through` and `scorer_through` score the sessions of `test`.

    No model uses `embargoed` (purge and embargo, between train and validation) and `purged` (validation to test).
    """

    train: tuple[date, ...]
    embargoed: tuple[date, ...]
    validation: tuple[date, ...]
    purged: tuple[date, ...]
    test: tuple[date, ...]
    encoder_through: date
    scorer_through: date


def folds(sessions: Sequence[date], first: date, last: date, config: FoldConfig) -> list[Fold]:
    """Folds whose tests cover every session from `first` to `last`, each once, in order.

    `sessions`: all sessions with features, oldest first. Raises UsageError where history is too short for the first
    fold, or no session lies between `first` and `last`.

    >>> days = [date(2024, 1, day) for day in range(1, 31)]
    >>> config = FoldConfig(least=5, validation=3, purge=6, embargo=5, refit=4)
    >>> (fold,) = folds(days, days[26], days[29], config)
    >>> print(span(fold.train), span(fold.validation), span(fold.test), sep="; ")
    2024-01-01 .. 2024-01-06 (6); 2024-01-18 .. 2024-01-20 (3); 2024-01-27 .. 2024-01-30 (4)
    """
    start, end = bisect_left(sessions, first), bisect_right(sessions, last)
    if start >= end:
        raise UsageError(
            code="FPM-WF-001",
            wrong=f"no session with features lies between {first} and {last}",
            effect="nothing was trained",
            todo=f"choose a range within {sessions[0]} to {sessions[-1]}" if sessions else "compute features first",
        )
    return [_fold(sessions, test, min(test + config.refit, end), config) for test in range(start, end, config.refit)]


def split(sessions: Sequence[date], through: date, config: FoldConfig) -> Split:
    """Train and validation of a scorer with the knowledge of the cut-off of `through`.

    `sessions`: all sessions with features, oldest first; those after `through` are ignored. Raises UsageError where
    fewer than `config.least` sessions remain for training.
    """
    end = bisect_right(sessions, through) - config.purge  # labels of the last `purge` sessions are not complete
    validation = end - config.validation
    train = validation - config.purge - config.embargo
    if train < config.least:
        needed = config.least + config.validation + 2 * config.purge + config.embargo
        raise UsageError(
            code="FPM-WF-002",
            wrong=f"{bisect_right(sessions, through)} sessions with features up to {through}, a fold needs {needed}",
            effect="nothing was trained",
            todo="choose a later session, ingest more history, or use a preset with shorter folds",
        )
    first = 0 if config.window == "expanding" else max(0, train - config.train)
    return Split(tuple(sessions[first:train]), tuple(sessions[validation:end]))


def require_out_of_sample(sessions: Sequence[date], through: date, session: date, purge: int) -> None:
    """Refuse a session that is not at least `purge` sessions past the last one a model was trained on (`through`).

    `sessions`: the market's sessions, from `through` or before to `session` or after. Raises LookAhead.
    """
    between = bisect_left(sessions, session) - bisect_right(sessions, through)
    if session <= through or between < purge:
        raise LookAhead(
            code="FPM-WF-003",
            wrong=f"session {session} is not out of sample for a model trained through {through} (purge {purge})",
            effect="nothing was scored",
            todo="use a model that was trained earlier, or ask for a later session",
        )


def span(sessions: Sequence[date]) -> str:
    """First, last and number of consecutive sessions, as text."""
    return f"{sessions[0]} .. {sessions[-1]} ({len(sessions)})" if sessions else "none"


def _fold(sessions: Sequence[date], start: int, end: int, config: FoldConfig) -> Fold:
    parts = split(sessions, sessions[start - 1] if start else date.min, config)
    train_end, validation_end = (bisect_right(sessions, part[-1]) for part in (parts.train, parts.validation))
    return Fold(
        train=parts.train,
        embargoed=tuple(sessions[train_end : validation_end - config.validation]),
        validation=parts.validation,
        purged=tuple(sessions[validation_end:start]),
        test=tuple(sessions[start:end]),
        encoder_through=sessions[start - 1 - config.purge],
        scorer_through=sessions[start - 1],
    )
