"""What a scorer is held against: a linear model and boosted trees that learn from the same sessions.

Both read of a symbol its last session and the mean of its look-back, z-scored across the session, and learn the rank
of the session's processed label. How much the linear model is shrunk and how many trees are grown is chosen as the
scorer's epochs are: by RankIC over the validation sessions.

Shapes: L look-back, B symbols of one session, F inputs, N rows of all sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.cross_section import Array, rank, rank_correlation, z_score
from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # of the ridge, times the rows: inputs have variance one
Session = tuple[Array, Array]  # x_BF, y_B


@dataclass(frozen=True)
class TreesConfig:
    """LightGBM's own names are in `boosted_trees`. `least`: rows in a leaf; `columns`: share of the inputs a tree may
    use; `patience`: rounds without a better validation.
    """

    rounds: int = 500
    patience: int = 50
    rate: float = 0.05
    leaves: int = 15
    least: int = 20
    columns: float = 0.5
    seed: int = 20260116


@dataclass(frozen=True)
class TrainingSessions:
    """Inputs and targets of one session after another; `validation` chooses, it is not learnt from."""

    train: Sequence[Session]
    validation: Sequence[Session]


@dataclass(frozen=True)
class FittedModel:
    """`score`: x_BF -> score_B; `chosen`: strength of the ridge, or number of trees."""

    score: Callable[[Array], Array]
    setting: float


def inputs(x_LBF: NDArray[Any], known_LB: NDArray[np.bool_]) -> Array:
    """The last session and the mean over the known ones of a look-back, each z-scored across the symbols: (B, 2 F).

    A whole look-back side by side would be L F columns, thousands under the published sizes.
    """
    known_LB1 = known_LB[:, :, None]
    x_LBF = np.where(known_LB1, x_LBF.astype(np.float64), 0.0)
    mean_BF = x_LBF.sum(axis=0) / np.maximum(known_LB1.sum(axis=0), 1)
    return z_score(np.concatenate([x_LBF[-1], mean_BF], axis=1))


def target(label_B: Array) -> Array:
    """Ranks of a session's labels, z-scored; NaN where there is none."""
    return z_score(rank(label_B))


def mean_rank_ic(scores: Iterable[Array], sessions: Sequence[Session]) -> float:
    """Of scores by session with the targets; a session that cannot be ranked counts as 0: a constant never wins."""
    parts = zip(scores, sessions, strict=True)
    return float(np.mean([np.nan_to_num(rank_correlation(score_B, y_B)) for score_B, (_, y_B) in parts]))


def ridge(lesson: TrainingSessions) -> FittedModel:
    """Least squares with a penalty on squared weights: (X'X + strength N) w = X'y; of equal strengths the larger."""
    rows = sum(len(y_B) for _, y_B in lesson.train)
    gram_FF = np.sum([x_BF.T @ x_BF for x_BF, _ in lesson.train], axis=0)
    moment_F = np.sum([x_BF.T @ y_B for x_BF, y_B in lesson.train], axis=0)
    size_F, turn_FF = np.linalg.eigh(gram_FF)
    turned_F = turn_FF.T @ moment_F
    tried = []
    for strength in STRENGTHS:
        weight_F = turn_FF @ (turned_F / (np.maximum(size_F, 0.0) + strength * rows))
        judged = mean_rank_ic((x_BF @ weight_F for x_BF, _ in lesson.validation), lesson.validation)
        tried.append((judged, strength, weight_F))
    _, strength, best_F = max(tried, key=lambda each: each[:2])
    return FittedModel(lambda x_BF: x_BF @ best_F, strength)


def boosted_trees(lesson: TrainingSessions, config: TreesConfig = TreesConfig()) -> FittedModel:
    """LightGBM on squared error, stopped by the validation's RankIC; the same bits every time."""
    lightgbm = library()
    x_NF, y_N = _rows(lesson.train)
    train = lightgbm.Dataset(x_NF, y_N)
    validation = lightgbm.Dataset(*_rows(lesson.validation), reference=train)
    ends = np.cumsum([len(y_B) for _, y_B in lesson.validation])[:-1]

    def rank_ic(score_N: Array, _: object) -> tuple[str, float, bool]:
        return "rank_ic", mean_rank_ic(np.split(score_N, ends), lesson.validation), True

    parameters = {
        "objective": "regression",
        "metric": "none",
        "learning_rate": config.rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.least,
        "feature_fraction": config.columns,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    booster = lightgbm.train(
        parameters,
        train,
        config.rounds,
        [validation],
        feval=rank_ic,
        callbacks=[lightgbm.early_stopping(config.patience, verbose=False)],
    )
    best = booster.best_iteration
    return FittedModel(
        lambda x_BF: np.asarray(booster.predict(x_BF, num_iteration=best), dtype=np.float64), float(best)
    )


PEERS: dict[str, Callable[[TrainingSessions], FittedModel]] = {"linear": ridge, "LightGBM": boosted_trees}


def library() -> ModuleType:
    """LightGBM, an extra. Raises UsageError where it cannot be imported."""
    done = "nothing was computed"
    try:
        import lightgbm
    except ImportError:
        raise UsageError(
            code="FPM-CFG-070", wrong="LightGBM is not installed", effect=done, todo="pip install 'fpm[peers]'"
        ) from None
    except OSError as wrong:  # its wheel leaves OpenMP to the system
        todo = "install the system's OpenMP library (Debian and Ubuntu: apt-get install libgomp1)"
        raise UsageError(
            code="FPM-CFG-071", wrong=f"LightGBM cannot be loaded: {wrong}", effect=done, todo=todo
        ) from None
    return lightgbm


def _rows(sessions: Sequence[Session]) -> Session:
    return np.concatenate([x_BF for x_BF, _ in sessions]), np.concatenate([y_B for _, y_B in sessions])
