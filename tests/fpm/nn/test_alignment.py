"""Procrustes against scipy's, and on a rotation that is known."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from fpm.errors import UsageError
from fpm.nn.alignment import rotation

RNG = np.random.default_rng(4)
OLD = RNG.standard_normal((300, 12)).astype(np.float32)


def test_a_turned_space_is_turned_back() -> None:
    turn = ortho_group.rvs(12, random_state=1)
    found = rotation(OLD @ turn, OLD)
    assert found.residual < 1e-3
    assert np.allclose(found.rotation_DD, turn.T, atol=1e-5)
    assert np.allclose(found(OLD @ turn), OLD, atol=1e-4)


def test_the_rotation_is_scipys() -> None:
    new = RNG.standard_normal((300, 12))
    found = rotation(new, OLD)
    expected, _ = orthogonal_procrustes(new, OLD.astype(np.float64))
    assert np.allclose(found.rotation_DD, expected)
    assert np.allclose(found.rotation_DD @ found.rotation_DD.T, np.eye(12))


def test_the_residual_by_its_definition_grows_with_noise() -> None:
    residuals = []
    for noise in (0.0, 0.5, 2.0, 100.0):
        new = OLD + noise * RNG.standard_normal(OLD.shape)
        found = rotation(new, OLD)
        turned = new @ found.rotation_DD
        scale = (turned * OLD).sum() / np.square(turned).sum()
        assert found.residual == pytest.approx(
            np.linalg.norm(scale * turned - OLD) / np.linalg.norm(OLD), rel=1e-4, abs=1e-3
        )
        residuals.append(found.residual)
    assert residuals == sorted(residuals)
    assert residuals[-1] > 0.9


@pytest.mark.parametrize("new", [OLD[:5], OLD[:, :3], np.full_like(OLD, np.nan)])
def test_what_cannot_be_aligned_is_refused(new: np.ndarray) -> None:
    with pytest.raises(UsageError):
        rotation(new, OLD)
    with pytest.raises(UsageError):
        rotation(OLD[:0], OLD[:0])
