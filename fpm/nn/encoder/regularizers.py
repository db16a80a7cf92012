"""Three penalties against collapse on the pooled vectors z_BD of a batch, each in two forms.

`paper` is the source report's form and hardly acts: its orthogonality cannot tell independent from identical
dimensions, and its thresholds let half the dimensions die. `fixed` is our form and the default.

Shapes: B vectors of D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FORMS = ("paper", "fixed")
TINY = 1e-12


def paper_diversity(z_BD: Tensor) -> Tensor:
    """1[s < 0.1] * (-ln s), s the mean standard deviation over dimensions."""
    mean_std = _standard_deviations(z_BD).mean()
    return torch.where(mean_std < 0.1, -torch.log(mean_std + TINY), mean_std.new_zeros(()))


def paper_orthogonality(z_BD: Tensor) -> Tensor:
    """Frobenius norm of E'E / B - I, E with columns of unit length (the division by B is the report's flaw)."""
    columns_BD = functional.normalize(z_BD, dim=0, eps=TINY)
    gram_DD = columns_BD.T @ columns_BD / len(z_BD)
    identity_DD = torch.eye(z_BD.shape[1], dtype=z_BD.dtype, device=z_BD.device)
    return (gram_DD - identity_DD).square().sum().sqrt()


def paper_uniformity(z_BD: Tensor) -> Tensor:
    """1[c > 0.5] * c, c the mean cosine of two different vectors."""
    mean_cosine = _off_diagonal_mean(_unit(z_BD) @ _unit(z_BD).T)
    return torch.where(mean_cosine > 0.5, mean_cosine, mean_cosine.new_zeros(()))


def fixed_diversity(z_BD: Tensor) -> Tensor:
    """Mean over dimensions of relu(1 - std_j): every single dimension must vary (VICReg, arXiv 2105.04906)."""
    return functional.relu(1 - _standard_deviations(z_BD)).mean()


def fixed_orthogonality(z_BD: Tensor) -> Tensor:
    """Mean squared correlation of two different dimensions, 0 (uncorrelated) to 1 (all the same)."""
    centred_BD = z_BD - z_BD.mean(dim=0)
    columns_BD = functional.normalize(centred_BD, dim=0, eps=TINY)
    return _off_diagonal_mean((columns_BD.T @ columns_BD).square())


def fixed_uniformity(z_BD: Tensor) -> Tensor:
    """Log of the mean of exp(-2 d^2) over pairs, d their distance on the unit sphere, from 0 down to about -4.

    Wang and Isola 2020, arXiv 2005.10242.
    """
    cosine_BB = _unit(z_BD) @ _unit(z_BD).T
    return torch.log(_off_diagonal_mean(torch.exp(-4 * (1 - cosine_BB))))


PENALTIES = {
    "paper": {"diversity": paper_diversity, "orthogonality": paper_orthogonality, "uniformity": paper_uniformity},
    "fixed": {"diversity": fixed_diversity, "orthogonality": fixed_orthogonality, "uniformity": fixed_uniformity},
}


def penalties(z_BD: Tensor, form: str) -> dict[str, Tensor]:
    """The three penalties of a form by name, each a scalar; 0 for a batch of one, which has no pairs."""
    if len(z_BD) < 2:
        return dict.fromkeys(PENALTIES[form], z_BD.new_zeros(()))
    return {name: penalty(z_BD) for name, penalty in PENALTIES[form].items()}


def _standard_deviations(z_BD: Tensor) -> Tensor:
    """Standard deviations, (D,), with a gradient even where a dimension is constant."""
    return torch.sqrt(z_BD.var(dim=0) + TINY)


def _unit(z_BD: Tensor) -> Tensor:
    return functional.normalize(z_BD, dim=1, eps=TINY)


def _off_diagonal_mean(matrix: Tensor) -> Tensor:
    """Mean of a square matrix without its diagonal; 0 for a single row."""
    count = len(matrix)
    if count < 2:
        return matrix.new_zeros(())
    return (matrix.sum() - matrix.diagonal().sum()) / (count * (count - 1))
