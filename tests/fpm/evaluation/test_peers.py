"""The scorer's peers: their inputs, their equations, planted signals, and shuffled targets."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fpm.errors import UsageError
from fpm.evaluation import peers
from fpm.evaluation.peers import PEERS, STRENGTHS, Session, TrainingSessions, TreesConfig

SYMBOLS, INPUTS = 60, 12


def sessions(count: int, seed: int, strength: float = 0.3, bent: bool = False) -> list[Session]:
    """The first input drives the target, by its value or, `bent`, by its size."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        x_BF = rng.normal(size=(SYMBOLS, INPUTS))
        driver_B = np.abs(x_BF[:, 0]) if bent else x_BF[:, 0]
        pairs.append((x_BF, peers.target(strength * driver_B + rng.normal(size=SYMBOLS))))
    return pairs


def training(**settings: Any) -> TrainingSessions:
    return TrainingSessions(sessions(40, 1, **settings), sessions(10, 2, **settings))


def rank_ic(model: peers.FittedModel, test: list[Session]) -> float:
    """Mean RankIC by scipy."""
    return float(np.mean([stats.spearmanr(model.score(x_BF), y_B)[0] for x_BF, y_B in test]))


def test_inputs_are_the_last_session_and_the_mean_of_the_known_ones() -> None:
    x_LBF = np.array([[[1.0], [4.0], [9.0]], [[3.0], [100.0], [3.0]], [[5.0], [0.0], [1.0]]])
    known_LB = np.array([[True, True, False], [True, False, True], [True, True, True]])
    last, mean = np.array([5.0, 0.0, 1.0]), np.array([3.0, 2.0, 2.0])
    expected = np.stack([stats.zscore(last), stats.zscore(mean)], axis=1)
    assert peers.inputs(x_LBF, known_LB) == pytest.approx(expected)


def test_the_target_is_the_rank() -> None:
    assert peers.target(np.array([0.3, -7.0, 0.1])) == pytest.approx(stats.zscore([3.0, 1.0, 2.0]))


def test_the_ridge_solves_its_equations() -> None:
    """The same weights by least squares with the penalty as further rows; the strength is the best on validation."""
    data = training()
    x_NF, y_N = (np.concatenate(parts) for parts in zip(*data.train, strict=True))
    best = {}
    for strength in STRENGTHS:
        further = np.sqrt(strength * len(y_N)) * np.eye(INPUTS)
        weight_F, *_ = np.linalg.lstsq(np.vstack([x_NF, further]), np.append(y_N, np.zeros(INPUTS)), rcond=None)
        best[strength] = weight_F, np.mean([stats.spearmanr(x_BF @ weight_F, y_B)[0] for x_BF, y_B in data.validation])
    fitted = peers.ridge(data)
    assert fitted.setting == max(STRENGTHS, key=lambda strength: (best[strength][1], strength))
    assert fitted.score(np.eye(INPUTS)) == pytest.approx(best[fitted.setting][0])


def test_both_learn_a_linear_signal_and_only_trees_a_bent_one() -> None:
    straight = {name: rank_ic(fit(training()), sessions(40, 3)) for name, fit in PEERS.items()}
    bent = {
        name: rank_ic(fit(training(bent=True, strength=0.6)), sessions(40, 3, 0.6, True)) for name, fit in PEERS.items()
    }
    assert straight["linear"] > 0.2 and straight["LightGBM"] > 0.15
    assert bent["LightGBM"] > 0.15 and abs(bent["linear"]) < 0.1


@pytest.mark.parametrize("name", PEERS)
def test_no_peer_predicts_shuffled_targets(name: str) -> None:
    """Mean of 40 correlations over 60 symbols: deviation 1 / sqrt(40 x 59), Pitman 1937."""
    rng = np.random.default_rng(0)
    data = training()
    parts = (data.train, data.validation)
    shuffled = TrainingSessions(*([(x_BF, rng.permutation(y_B)) for x_BF, y_B in part] for part in parts))
    test = [(x_BF, rng.permutation(y_B)) for x_BF, y_B in sessions(40, 3)]
    assert abs(rank_ic(PEERS[name](shuffled), test)) < 4 / np.sqrt(40 * 59)


@pytest.mark.parametrize("name", PEERS)
def test_the_same_sessions_give_the_same_bits(name: str) -> None:
    x_BF = sessions(1, 4)[0][0]
    first, second = (PEERS[name](training()) for _ in range(2))
    assert np.array_equal(first.score(x_BF), second.score(x_BF)) and first.setting == second.setting


def test_trees_stop_where_validation_says() -> None:
    """Validation with the opposite sign gets worse with every tree after the first ones."""
    data = training()
    opposite = TrainingSessions(data.train, [(x_BF, -y_B) for x_BF, y_B in data.validation])
    config = TreesConfig(rounds=60, patience=10)
    assert peers.boosted_trees(opposite, config).setting < 10 < peers.boosted_trees(data, config).setting


def test_a_constant_is_no_ranking() -> None:
    assert peers.mean_rank_ic([np.zeros(SYMBOLS)] * 2, sessions(2, 5)) == 0.0


def test_without_lightgbm_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(UsageError, match=r"FPM-CFG-070.*pip install 'fpm\[peers\]'"):
        peers.library()


def test_without_openmp_the_system_s_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def failing(name: str, *rest: Any) -> Any:
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")
        return really(name, *rest)

    monkeypatch.setattr(builtins, "__import__", failing)
    with pytest.raises(UsageError, match=r"FPM-CFG-071.*libgomp\.so\.1.*apt-get install libgomp1"):
        peers.library()
