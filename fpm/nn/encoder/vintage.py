"""A trained encoder as it is stored and used: fingerprints in its own space or, on request, in a former vintage's.

Shapes: S symbols of a session, T minutes, F features, D vector size.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch

from fpm.errors import ModelRefused
from fpm.nn.checkpoint import from_bytes, to_bytes
from fpm.nn.encoder import pretraining
from fpm.nn.encoder.alignment import Rotation
from fpm.nn.encoder.network import Encoder, embed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

WEIGHTS, ROTATION = "weights.safetensors", "rotation.safetensors"


@dataclass(frozen=True)
class Vintage:
    """A trained encoder; `rotation` is applied to every vector before it is stored, None leaves them as they are."""

    encoder: Encoder
    rotation: Rotation | None = None

    def embed(self, x_STF: np.ndarray, threads: int = 1) -> np.ndarray:
        """Fingerprints z_SD as they are stored (float32); see `network.embed`."""
        z_SD = embed(self.encoder, x_STF, threads)
        return self.rotation(z_SD) if self.rotation else z_SD


def load(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Vintage:
    """The vintage of a manifest and its files by name.

    Raises ModelRefused where the weights do not fit the manifest's shape, or the rotation is missing.
    """
    encoder = pretraining.load(manifest, files[WEIGHTS])
    if not is_rotated(manifest):
        return Vintage(encoder)
    if ROTATION not in files:
        raise ModelRefused(
            code="FPM-ML-067",
            wrong="the vintage's vectors are rotated, and its rotation is missing",
            effect="it was not loaded",
            todo="restore the vintage's folder from a backup",
        )
    return Vintage(encoder, rotation_from_bytes(files[ROTATION]))


def is_rotated(manifest: Mapping[str, Any]) -> bool:
    """Whether this vintage's stored fingerprints lie in a former one's space."""
    return bool((manifest.get("alignment") or {}).get("applied"))


def rotation_bytes(rotation: Rotation) -> bytes:
    """A rotation as safetensors bytes."""
    return to_bytes({"rotation": torch.from_numpy(rotation.rotation_DD)})


def rotation_from_bytes(stored: bytes) -> Rotation:
    """A rotation from safetensors bytes."""
    return Rotation(from_bytes(stored)["rotation"].numpy())


def content_digest(weights: bytes, rotation: bytes | None) -> str:
    """Digest of all that a vintage's fingerprints depend on: the weights and, where it is applied, the rotation."""
    return sha256(weights + (rotation or b"")).hexdigest()
