"""The peers of a scorer: what they read, that they find what is there and nothing else, that they are what they say."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fpm.errors import UsageError
from fpm.evaluation import peers
from fpm.evaluation.peers import PEERS, STRENGTHS, TrainingSessions, Session, TreesConfig

SYMBOLS, INPUTS = 60, 12


def sessions(count: int, seed: int, strength: float = 0.3, bent: bool = False) -> list[Session]:
    """The first input drives the target, by its value or, `bent`, by its size."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        x_BF = rng.normal(size=(SYMBOLS, INPUTS))
        driver_B = np.abs(x_BF[:, 0]) if bent else x_BF[:, 0]
        made.append((x_BF, peers.target(strength * driver_B + rng.normal(size=SYMBOLS))))
    return made


def lesson(**how: Any) -> TrainingSessions:
    return TrainingSessions(sessions(40, 1, **how), sessions(10, 2, **how))


def found(fitted: peers.FittedModel, test: list[Session]) -> float:
    """Mean RankIC by scipy."""
    return float(np.mean([stats.spearmanr(fitted.score(x_BF), y_B)[0] for x_BF, y_B in test]))


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
    of = lesson()
    x_NF, y_N = (np.concatenate(parts) for parts in zip(*of.train, strict=True))
    best = {}
    for strength in STRENGTHS:
        further = np.sqrt(strength * len(y_N)) * np.eye(INPUTS)
        weight_F, *_ = np.linalg.lstsq(np.vstack([x_NF, further]), np.append(y_N, np.zeros(INPUTS)), rcond=None)
        best[strength] = weight_F, np.mean([stats.spearmanr(x_BF @ weight_F, y_B)[0] for x_BF, y_B in of.validation])
    fitted = peers.ridge(of)
    assert fitted.setting == max(STRENGTHS, key=lambda strength: (best[strength][1], strength))
    assert fitted.score(np.eye(INPUTS)) == pytest.approx(best[fitted.setting][0])


def test_both_find_a_planted_signal_and_only_trees_a_bent_one() -> None:
    straight = {name: found(fit(lesson()), sessions(40, 3)) for name, fit in PEERS.items()}
    bent = {
        name: found(fit(lesson(bent=True, strength=0.6)), sessions(40, 3, 0.6, True)) for name, fit in PEERS.items()
    }
    assert straight["linear"] > 0.2 and straight["LightGBM"] > 0.15
    assert bent["LightGBM"] > 0.15 > 0.1 > abs(bent["linear"])


@pytest.mark.parametrize("name", PEERS)
def test_shuffled_targets_are_found_by_none(name: str) -> None:
    """Mean of 40 correlations over 60 symbols: deviation 1 / sqrt(40 x 59), Pitman 1937."""
    rng = np.random.default_rng(0)
    of = lesson()
    dealt = TrainingSessions(
        *([(x_BF, rng.permutation(y_B)) for x_BF, y_B in part] for part in (of.train, of.validation))
    )
    test = [(x_BF, rng.permutation(y_B)) for x_BF, y_B in sessions(40, 3)]
    assert abs(found(PEERS[name](dealt), test)) < 4 / np.sqrt(40 * 59)


@pytest.mark.parametrize("name", PEERS)
def test_the_same_lesson_gives_the_same_bits(name: str) -> None:
    x_BF = sessions(1, 4)[0][0]
    first, second = (PEERS[name](lesson()) for _ in range(2))
    assert np.array_equal(first.score(x_BF), second.score(x_BF)) and first.setting == second.setting


def test_trees_stop_where_validation_says() -> None:
    """Validation with the opposite sign gets worse with every tree after the first ones."""
    of = lesson()
    against = TrainingSessions(of.train, [(x_BF, -y_B) for x_BF, y_B in of.validation])
    config = TreesConfig(rounds=60, patience=10)
    assert peers.boosted_trees(against, config).setting < 10 < peers.boosted_trees(of, config).setting


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
