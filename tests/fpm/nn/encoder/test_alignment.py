"""Procrustes rotation against scipy's, and on a known rotation."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from fpm.errors import UsageError
from fpm.nn.encoder.alignment import residual, rotation

RNG = np.random.default_rng(4)
OLD = RNG.standard_normal((300, 12)).astype(np.float32)


def test_a_rotated_space_is_rotated_back() -> None:
    turn = ortho_group.rvs(12, random_state=1)
    estimate = rotation(OLD @ turn, OLD)
    assert residual(estimate(OLD @ turn), OLD) < 1e-3
    assert np.allclose(estimate.rotation_DD, turn.T, atol=1e-5)
    assert np.allclose(estimate(OLD @ turn), OLD, atol=1e-4)


def test_the_rotation_is_scipys() -> None:
    new = RNG.standard_normal((300, 12))
    estimate = rotation(new, OLD)
    expected, _ = orthogonal_procrustes(new, OLD.astype(np.float64))
    assert np.allclose(estimate.rotation_DD, expected)
    assert np.allclose(estimate.rotation_DD @ estimate.rotation_DD.T, np.eye(12))


def test_the_residual_by_its_definition_grows_with_noise() -> None:
    residuals = []
    for noise in (0.0, 0.5, 2.0, 100.0):
        new = OLD + noise * RNG.standard_normal(OLD.shape)
        estimate = rotation(new, OLD)
        rotated = new @ estimate.rotation_DD
        scale = (rotated * OLD).sum() / np.square(rotated).sum()
        assert residual(estimate(new), OLD) == pytest.approx(
            np.linalg.norm(scale * rotated - OLD) / np.linalg.norm(OLD), rel=1e-4, abs=1e-3
        )
        residuals.append(residual(estimate(new), OLD))
    assert residuals == sorted(residuals)
    assert residuals[-1] > 0.9


def test_vectors_that_point_away_have_nothing_in_common() -> None:
    assert residual(-OLD, OLD) == 1.0
    assert residual(3 * OLD, OLD) < 1e-6


def test_a_vectors_bits_do_not_depend_on_the_other_rows() -> None:
    estimate = rotation(OLD @ ortho_group.rvs(12, random_state=2), OLD)
    whole = estimate(OLD)
    assert all(estimate(OLD[i : i + 1]).tobytes() == whole[i].tobytes() for i in range(0, 300, 7))
    holed = np.concatenate([OLD[:2], np.full((1, 12), np.nan, np.float32), OLD[2:4]])
    assert np.isnan(estimate(holed)[2]).all() and estimate(holed)[[0, 1, 3, 4]].tobytes() == whole[:4].tobytes()


@pytest.mark.parametrize("new", [OLD[:5], OLD[:, :3], np.full_like(OLD, np.nan)])
def test_what_cannot_be_aligned_is_refused(new: np.ndarray) -> None:
    with pytest.raises(UsageError):
        rotation(new, OLD)
    with pytest.raises(UsageError):
        rotation(OLD[:0], OLD[:0])
    with pytest.raises(UsageError):
        residual(new, OLD)
