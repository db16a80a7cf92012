"""Peers of the scorer: a ridge regression and boosted trees trained on the same sessions.

Their inputs are a symbol's last session and the mean of its look-back, z-scored across the symbols; their target is
the rank of the session's processed label. RankIC over the validation sessions selects the ridge's strength and the
number of trees, as it selects the scorer's epochs.

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

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # ridge penalty per row; inputs have variance one
Session = tuple[Array, Array]  # x_BF, y_B


@dataclass(frozen=True)
class TreesConfig:
    """Settings of the trees; `boosted_trees` translates them into LightGBM's names.

    `least`: rows in a leaf, at least. `columns`: share of the inputs a tree may use. `patience`: rounds without a
    better validation before training stops.
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
    """Inputs and targets by session; models train on `train` and select their setting on `validation`."""

    train: Sequence[Session]
    validation: Sequence[Session]


@dataclass(frozen=True)
class FittedModel:
    """A trained model. `score`: x_BF -> score_B. `setting`: strength of the ridge, or number of trees."""

    score: Callable[[Array], Array]
    setting: float


def inputs(x_LBF: NDArray[Any], known_LB: NDArray[np.bool_]) -> Array:
    """Last session and mean of the known sessions of a look-back, z-scored across the symbols (B, 2 F).

    The whole look-back would be L F columns: thousands at the published sizes.
    """
    known_LB1 = known_LB[:, :, None]
    x_LBF = np.where(known_LB1, x_LBF.astype(np.float64), 0.0)
    mean_BF = x_LBF.sum(axis=0) / np.maximum(known_LB1.sum(axis=0), 1)
    return z_score(np.concatenate([x_LBF[-1], mean_BF], axis=1))


def target(label_B: Array) -> Array:
    """Ranks of a session's labels, z-scored (B,); NaN without a label."""
    return z_score(rank(label_B))


def mean_rank_ic(scores: Iterable[Array], sessions: Sequence[Session]) -> float:
    """Mean RankIC of scores by session; a session without a ranking counts as 0, so that a constant never wins."""
    pairs = zip(scores, sessions, strict=True)
    return float(np.mean([np.nan_to_num(rank_correlation(score_B, y_B)) for score_B, (_, y_B) in pairs]))


def ridge(sessions: TrainingSessions) -> FittedModel:
    """Ridge regression: (X'X + strength N) w = X'y; of two strengths equal on validation the larger one."""
    rows = sum(len(y_B) for _, y_B in sessions.train)
    gram_FF = np.sum([x_BF.T @ x_BF for x_BF, _ in sessions.train], axis=0)
    moment_F = np.sum([x_BF.T @ y_B for x_BF, y_B in sessions.train], axis=0)
    eigenvalue_F, basis_FF = np.linalg.eigh(gram_FF)
    rotated_F = basis_FF.T @ moment_F
    candidates = []
    for strength in STRENGTHS:
        weight_F = basis_FF @ (rotated_F / (np.maximum(eigenvalue_F, 0.0) + strength * rows))
        rank_ic = mean_rank_ic((x_BF @ weight_F for x_BF, _ in sessions.validation), sessions.validation)
        candidates.append((rank_ic, strength, weight_F))
    _, strength, best_F = max(candidates, key=lambda candidate: candidate[:2])
    return FittedModel(lambda x_BF: x_BF @ best_F, strength)


def boosted_trees(sessions: TrainingSessions, config: TreesConfig = TreesConfig()) -> FittedModel:
    """LightGBM on squared error, stopped by the RankIC of validation; deterministic.

    Raises UsageError without LightGBM.
    """
    lightgbm = library()
    x_NF, y_N = _stacked(sessions.train)
    train = lightgbm.Dataset(x_NF, y_N)
    validation = lightgbm.Dataset(*_stacked(sessions.validation), reference=train)
    ends = np.cumsum([len(y_B) for _, y_B in sessions.validation])[:-1]

    def rank_ic(score_N: Array, _: object) -> tuple[str, float, bool]:
        return "rank_ic", mean_rank_ic(np.split(score_N, ends), sessions.validation), True

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
    """LightGBM, an optional dependency. Raises UsageError where it cannot be imported."""
    try:
        import lightgbm
    except ImportError:
        raise UsageError(
            code="FPM-CFG-070",
            wrong="LightGBM is not installed",
            effect="nothing was computed",
            todo="pip install 'fpm[peers]'",
        ) from None
    except OSError as error:  # its wheel leaves OpenMP to the system
        raise UsageError(
            code="FPM-CFG-071",
            wrong=f"LightGBM cannot be loaded: {error}",
            effect="nothing was computed",
            todo="install the system's OpenMP library (Debian and Ubuntu: apt-get install libgomp1)",
        ) from None
    return lightgbm


def _stacked(sessions: Sequence[Session]) -> Session:
    return np.concatenate([x_BF for x_BF, _ in sessions]), np.concatenate([y_B for _, y_B in sessions])
