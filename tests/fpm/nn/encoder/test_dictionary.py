"""Probes on clouds with known directions, and against a ridge by least squares on held-out sessions."""

from __future__ import annotations

import numpy as np
import pytest

from fpm.nn.encoder.dictionary import FOLDS, axes, coordinates, dictionary, folds, principal_axes, ridge, z_scores

DAYS, SYMBOLS, SIZE = 20, 50, 8
SESSION = np.repeat(np.arange(DAYS), SYMBOLS)
RNG = np.random.default_rng(2)
TRUE = np.array([3.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0]) / 5
CLOUD = RNG.standard_normal((DAYS * SYMBOLS, SIZE))
MARKET = 50 * RNG.standard_normal((DAYS, SIZE))[SESSION]  # the common move of all symbols on a day


def test_ridge_is_least_squares_with_a_row_for_every_dimension() -> None:
    z_ND = CLOUD[:60] * np.arange(1, SIZE + 1)
    y_N = RNG.standard_normal(60)
    scale_D = np.sqrt((z_ND**2).mean(axis=0))
    padded = np.concatenate([z_ND / scale_D, np.sqrt(SIZE) * np.eye(SIZE)])
    expected = np.linalg.lstsq(padded, np.concatenate([y_N, np.zeros(SIZE)]), rcond=None)[0] / scale_D
    assert ridge(z_ND, y_N) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_planted_direction_is_found_under_a_day_s_common_move() -> None:
    noise = RNG.standard_normal(len(CLOUD))
    entries = dictionary(CLOUD + MARKET, {"planted": CLOUD @ TRUE + 0.5 * noise, "noise": noise[::-1]}, SESSION)
    assert [entry.statistic for entry in entries] == ["planted", "noise"]
    planted, empty = entries
    assert planted.direction_D @ TRUE > 0.99 and np.linalg.norm(planted.direction_D) == pytest.approx(1)
    assert planted.correlation == pytest.approx(1 / np.sqrt(1.25), abs=0.03)
    assert empty.correlation is not None and abs(empty.correlation) < 0.1
    assert planted.count == len(CLOUD)


def test_the_correlation_is_that_of_an_obvious_reference() -> None:
    """Fold by fold with numpy's least squares; nothing needs winsorising, because no value is extreme."""
    y_N = np.tanh(CLOUD @ TRUE)
    predictions, answers = [], []
    centred = np.concatenate([CLOUD[d == SESSION] - CLOUD[d == SESSION].mean(axis=0) for d in range(DAYS)])
    scores = np.concatenate([(y - y.mean()) / y.std() for d in range(DAYS) for y in [y_N[d == SESSION]]])
    for fold in range(FOLDS):
        out = np.isin(SESSION, range(4 * fold, 4 * fold + 4))
        scale = np.sqrt((centred[~out] ** 2).mean(axis=0))
        padded = np.concatenate([centred[~out] / scale, np.sqrt(SIZE) * np.eye(SIZE)])
        slope = np.linalg.lstsq(padded, np.concatenate([scores[~out], np.zeros(SIZE)]), rcond=None)[0]
        predictions.append(centred[out] / scale @ slope)
        answers.append(scores[out])
    expected = np.corrcoef(np.concatenate(predictions), np.concatenate(answers))[0, 1]
    (entry,) = dictionary(CLOUD, {"bent": y_N}, SESSION)
    assert entry.correlation == pytest.approx(expected, rel=1e-9)


def test_a_probe_cannot_succeed_by_memory() -> None:
    """With as many dimensions as rows of a fold anything fits in sample, and nothing predicts out of sample."""
    wide = RNG.standard_normal((200, 160))
    (entry,) = dictionary(wide, {"noise": RNG.standard_normal(200)}, np.repeat(np.arange(10), 20))
    assert entry.correlation is not None and abs(entry.correlation) < 0.25


def test_sessions_stay_together() -> None:
    test_folds = folds(SESSION)
    assert len(test_folds) == FOLDS and (np.sum(test_folds, axis=0) == 1).all()
    for fold in test_folds:
        days = set(SESSION[fold])
        assert not days & set(SESSION[~fold]) and days == set(range(min(days), max(days) + 1))


def test_too_few_values_give_no_entry_or_correlation() -> None:
    some = CLOUD @ TRUE
    some[20:] = np.nan
    assert dictionary(CLOUD, {"rare": some}, SESSION) == []
    (entry,) = dictionary(CLOUD[:50], {"one day": CLOUD[:50] @ TRUE}, SESSION[:50])
    assert entry.correlation is None


def test_axes_name_the_statistic_that_correlates_most() -> None:
    stretched = CLOUD * np.array([1, 9, 1, 1, 1, 5, 1, 1])
    statistics = {"second": stretched[:, 1].copy(), "sixth": -stretched[:, 5]}
    directions, own = axes(stretched + MARKET, statistics, SESSION)
    assert [axis.statistic for axis in directions[:2]] == ["second", "sixth"]
    assert abs(directions[0].correlation) > 0.97 and directions[0].share == pytest.approx(81 / 112, abs=0.03)
    assert own[5].statistic == "sixth" and own[5].correlation == pytest.approx(-1, abs=0.01)
    assert sum(axis.share for axis in directions) == pytest.approx(1) == sum(axis.share for axis in own)
    direction_DD, _ = principal_axes(stretched + MARKET, SESSION)
    assert direction_DD @ direction_DD.T == pytest.approx(np.eye(SIZE), abs=1e-12)


def test_coordinates_are_z_scores() -> None:
    along = coordinates(CLOUD[:50] + 7.0, TRUE)
    assert along.mean() == pytest.approx(0, abs=1e-12) and along.std() == pytest.approx(1)
    assert np.corrcoef(along, CLOUD[:50] @ TRUE)[0, 1] == pytest.approx(1)
    assert (z_scores(np.ones(4)) == 0).all() and np.isnan(z_scores(np.array([1.0, np.nan, 3.0]))[1])
