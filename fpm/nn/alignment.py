"""Rotating a new vintage's space onto an old one's, so that consumers of raw vectors keep working.

Shapes: N shared symbol-sessions, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpm.errors import UsageError

Vectors = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Rotation:
    """`rotation_DD` is orthogonal: distances and angles inside the new space stay as they are.

    `residual`: what of the old vectors the rotated new ones miss, 0 (the same space turned) to 1 (nothing in common).
    """

    rotation_DD: NDArray[np.float64]
    residual: float

    def __call__(self, z_ND: Vectors) -> NDArray[np.float32]:
        """Vectors of the new vintage in the old one's axes."""
        return (z_ND.astype(np.float64) @ self.rotation_DD).astype(np.float32)


def rotation(new_ND: Vectors, old_ND: Vectors) -> Rotation:
    """The orthogonal matrix that brings `new_ND` nearest to `old_ND` (orthogonal Procrustes, Schoenemann 1966).

    Rows are the same symbol-sessions under both vintages. The residual allows one common scale, so that 1 is the worst.
    Raises UsageError where the rows are not of one shape, none, or not finite.
    """
    if (
        new_ND.shape != old_ND.shape
        or not len(new_ND)
        or not np.isfinite(new_ND).all()
        or not np.isfinite(old_ND).all()
    ):
        raise UsageError(
            "FPM-ML-305",
            f"vectors of shape {new_ND.shape} and {old_ND.shape} cannot be aligned, or are not finite",
            "nothing was rotated",
            "give the same symbol-sessions under both vintages",
        )
    new, old = new_ND.astype(np.float64), old_ND.astype(np.float64)
    left_DD, singular_D, right_DD = np.linalg.svd(new.T @ old)
    power = float(np.square(new).sum() * np.square(old).sum())
    explained = float(singular_D.sum()) ** 2 / power if power > 0 else 0.0
    return Rotation(left_DD @ right_DD, float(np.sqrt(max(0.0, 1.0 - explained))))
