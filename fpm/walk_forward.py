"""Walk-forward folds: which sessions train, validate and test, and how far each model may look.

The label of session t is known when session t + 6 has closed, so 6 sessions are purged before
validation and before test. Look-backs overlap too: 5 more sessions are embargoed between train and validation, where
the figure that stops the training would otherwise be flattered. Nothing is chosen by looking at the test, and the
label purge alone makes it out of sample. Folds are data: what runs them is elsewhere.
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

    `least` train sessions are required; an expanding fold uses all there are, a sliding one at most the last `train`.
    `refit` sessions are tested by one fold, then the models are trained anew.
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
    """Label sessions of one scorer, oldest first: `validation` is what early stopping watches."""

    train: tuple[date, ...]
    validation: tuple[date, ...]


@dataclass(frozen=True)
class Fold:
    """One refit: models trained to `encoder_through` and `scorer_through` score the sessions of `test`.

    `embargoed`: left out between train and validation (purge and embargo); `purged`: between validation and test.
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
    """
    start, end = bisect_left(sessions, first), bisect_right(sessions, last)
    if start >= end:
        raise UsageError(
            code="FPM-WF-001",
            wrong=f"no session with features lies between {first} and {last}",
            effect="nothing was trained",
            todo=f"choose a range within {sessions[0]} to {sessions[-1]}" if sessions else "compute features first",
        )
    return [_fold(sessions, at, min(at + config.refit, end), config) for at in range(start, end, config.refit)]


def split(sessions: Sequence[date], through: date, config: FoldConfig) -> Split:
    """Train and validation of a scorer that knows what was known at the cut-off of `through`.

    `sessions`: all sessions with features, oldest first; those after `through` are ignored. Raises UsageError where
    fewer than `config.least` sessions would be left to train on.
    """
    known = bisect_right(sessions, through) - config.purge  # labels of the last `purge` sessions are not complete
    validation = known - config.validation
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
    return Split(tuple(sessions[first:train]), tuple(sessions[validation:known]))


def require_out_of_sample(sessions: Sequence[date], through: date, asked: date, purge: int) -> None:
    """Refuse a session that a model trained through `through` may have seen, or whose neighbours it may have seen.

    `sessions`: the market's sessions, from `through` or before to `asked` or after. At least `purge` sessions must
    lie between the two. Raises LookAhead.
    """
    between = bisect_left(sessions, asked) - bisect_right(sessions, through)
    if asked <= through or between < purge:
        raise LookAhead(
            code="FPM-WF-003",
            wrong=f"session {asked} is not out of sample for a model trained through {through} (purge {purge})",
            effect="nothing was scored",
            todo="use a model that was trained earlier, or ask for a later session",
        )


def span(sessions: Sequence[date]) -> str:
    """First, last and number of consecutive sessions, in words."""
    return f"{sessions[0]} .. {sessions[-1]} ({len(sessions)})" if sessions else "none"


def _fold(sessions: Sequence[date], start: int, end: int, config: FoldConfig) -> Fold:
    parts = split(sessions, sessions[start - 1] if start else date.min, config)
    trained, validated = (bisect_right(sessions, part[-1]) for part in (parts.train, parts.validation))
    return Fold(
        train=parts.train,
        embargoed=tuple(sessions[trained : validated - config.validation]),
        validation=parts.validation,
        purged=tuple(sessions[validated:start]),
        test=tuple(sessions[start:end]),
        encoder_through=sessions[start - 1 - config.purge],
        scorer_through=sessions[start - 1],
    )
