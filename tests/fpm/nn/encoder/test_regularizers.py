"""The penalties against numbers by hand, and against known figures of independent and identical dimensions."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from fpm.nn.encoder import regularizers
from fpm.nn.encoder.regularizers import penalties

B, D = 512, 128


def normal(rows: int = B, columns: int = D) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def identical_dimensions() -> torch.Tensor:
    return normal(columns=1).expand(B, D)


def test_the_papers_orthogonality_cannot_tell_independent_from_identical() -> None:
    assert regularizers.paper_orthogonality(normal()).item() == pytest.approx(11.292, abs=5e-4)
    assert regularizers.paper_orthogonality(identical_dimensions()).item() == pytest.approx(11.294, abs=5e-4)


def test_the_fixed_orthogonality_can() -> None:
    assert regularizers.fixed_orthogonality(normal()).item() < 3 / B  # squared correlation of noise: about 1 / B
    assert regularizers.fixed_orthogonality(identical_dimensions()).item() == pytest.approx(1.0, abs=1e-5)


def test_only_the_paper_lets_half_the_dimensions_die_without_penalty() -> None:
    half_dead = normal() * (torch.arange(D) < D // 2)
    assert regularizers.paper_diversity(half_dead).item() == 0.0
    assert regularizers.fixed_diversity(half_dead).item() == pytest.approx(0.5, abs=0.03)


def test_two_antipodal_clusters_pass_only_the_paper() -> None:
    signs = torch.where(torch.arange(B) % 2 == 0, 1.0, -1.0)
    antipodal = signs[:, None] * torch.ones(D)
    assert regularizers.paper_uniformity(antipodal).item() == 0.0
    assert regularizers.fixed_uniformity(antipodal).item() > -1.0
    assert regularizers.fixed_uniformity(normal()).item() < -3.5


def test_the_papers_diversity_and_uniformity_by_hand() -> None:
    z = torch.tensor([[0.0, 0.0], [0.02, 0.06]])  # standard deviations 0.02 / sqrt 2 and 0.06 / sqrt 2
    assert regularizers.paper_diversity(z).item() == pytest.approx(-math.log(0.04 / math.sqrt(2)), rel=1e-5)
    z = torch.tensor([[1.0, 0.0], [1.0, 1.0]])  # cosine 1 / sqrt 2
    assert regularizers.paper_uniformity(z).item() == pytest.approx(1 / math.sqrt(2), rel=1e-5)


def test_the_fixed_uniformity_is_wang_and_isolas() -> None:
    z = normal(40, 6)
    unit = z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True)
    expected = math.log(np.exp(-2 * pdist(unit) ** 2).mean())
    assert regularizers.fixed_uniformity(z).item() == pytest.approx(expected, rel=1e-4)


def test_the_fixed_orthogonality_is_the_mean_squared_correlation() -> None:
    z = normal(50, 5)
    correlation = np.corrcoef(z.numpy().T)
    expected = np.square(correlation[~np.eye(5, dtype=bool)]).mean()
    assert regularizers.fixed_orthogonality(z).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", regularizers.FORMS)
@pytest.mark.parametrize("z", [torch.zeros(4, 3), torch.ones(4, 3), normal(1, 3), normal(2, 3)])
def test_every_penalty_and_gradient_is_finite_where_vectors_collapse(form: str, z: torch.Tensor) -> None:
    z = z.clone().requires_grad_()
    values = penalties(z, form)
    assert values.keys() == {"diversity", "orthogonality", "uniformity"}
    torch.stack(list(values.values())).sum().backward() if len(z) > 1 else None
    assert all(torch.isfinite(value) for value in values.values())
    assert z.grad is None or torch.isfinite(z.grad).all()


def test_a_batch_of_one_has_no_penalty() -> None:
    assert all(value.item() == 0.0 for value in penalties(normal(1, 3), "fixed").values())
