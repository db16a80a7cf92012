"""Rotation of a new vintage's space onto an old one's, so that models on raw vectors keep working.

Shapes: N shared symbol-sessions, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fpm.errors import UsageError

Vectors = NDArray[np.float32] | NDArray[np.float64]

ROWS = 64  # rows of one matrix product


@dataclass(frozen=True)
class Rotation:
    """An orthogonal matrix `rotation_DD`: distances and angles within the new space do not change."""

    rotation_DD: NDArray[np.float64]

    def __call__(self, z_ND: Vectors) -> NDArray[np.float32]:
        """Vectors of the new vintage in the old one's axes; a row of NaN stays NaN.

        All products are padded to one shape, so that a vector's bits do not depend on the other rows.
        """
        rotation_DD, rotated_ND = torch.from_numpy(self.rotation_DD), np.empty(z_ND.shape, np.float32)
        for start in range(0, len(z_ND), ROWS):
            rows = z_ND[start : start + ROWS]
            padded = np.zeros((ROWS, z_ND.shape[1]))
            padded[: len(rows)] = rows
            rotated_ND[start : start + len(rows)] = (torch.from_numpy(padded) @ rotation_DD)[: len(rows)].numpy()
        return rotated_ND


def rotation(new_ND: Vectors, old_ND: Vectors) -> Rotation:
    """The rotation that brings `new_ND` nearest to `old_ND` (orthogonal Procrustes, Schoenemann 1966).

    Rows are the same symbol-sessions under both vintages; fewer than D leave some directions undetermined.
    Raises UsageError where the shapes differ, there are no rows, or a value is not finite.
    """
    _require_comparable(new_ND, old_ND)
    left_DD, _, right_DD = np.linalg.svd(new_ND.astype(np.float64).T @ old_ND.astype(np.float64))
    return Rotation(np.ascontiguousarray(left_DD @ right_DD))


def residual(rotated_ND: Vectors, old_ND: Vectors) -> float:
    """The share of the old vectors' length that the rotated ones miss: 0 (the same) to 1 (nothing in common).

    One common scale is fitted, so that 1 is the worst. Raises UsageError like `rotation`.
    """
    _require_comparable(rotated_ND, old_ND)
    new, old = rotated_ND.astype(np.float64), old_ND.astype(np.float64)
    power = float(np.square(new).sum() * np.square(old).sum())
    shared = max(0.0, float((new * old).sum())) ** 2 / power if power > 0 else 0.0
    return float(np.sqrt(max(0.0, 1.0 - shared)))


def _require_comparable(new_ND: Vectors, old_ND: Vectors) -> None:
    sound = new_ND.shape == old_ND.shape and len(new_ND) and np.isfinite(new_ND).all() and np.isfinite(old_ND).all()
    if not sound:
        raise UsageError(
            code="FPM-ML-305",
            wrong=f"vectors of shape {new_ND.shape} and {old_ND.shape} cannot be aligned, or are not finite",
            effect="nothing was rotated",
            todo="pass the same symbol-sessions under both vintages",
        )
