"""A trained encoder as it is kept and used: fingerprints of its own space or, where asked for, of a former vintage's.

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
    """`rotation`: what every vector is turned by before it is stored; None: nothing, its space is its own."""

    encoder: Encoder
    rotation: Rotation | None = None

    def embed(self, x_STF: np.ndarray) -> np.ndarray:
        """Fingerprints z_SD as they are stored (float32); see `encoder.embed`."""
        z_SD = embed(self.encoder, x_STF)
        return self.rotation(z_SD) if self.rotation else z_SD


def load(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Vintage:
    """The vintage of a manifest and its files by name.

    Raises ModelRefused where the weights are not those of the manifest's shape, or its rotation is not there.
    """
    encoder = pretraining.load(manifest, files[WEIGHTS])
    if not is_rotated(manifest):
        return Vintage(encoder)
    if ROTATION not in files:
        raise ModelRefused(
            code="FPM-ML-067",
            wrong="the vintage's vectors are rotated and its rotation is not there",
            effect="it was not loaded",
            todo="restore the vintage's folder from a backup",
        )
    return Vintage(encoder, rotation_of(files[ROTATION]))


def is_rotated(manifest: Mapping[str, Any]) -> bool:
    """Whether what is stored of this vintage lies in a former one's space."""
    return bool((manifest.get("alignment") or {}).get("applied"))


def rotation_bytes(rotation: Rotation) -> bytes:
    return to_bytes({"rotation": torch.from_numpy(rotation.rotation_DD)})


def rotation_of(stored: bytes) -> Rotation:
    return Rotation(from_bytes(stored)["rotation"].numpy())


def content(weights: bytes, rotation: bytes | None) -> str:
    """Digest of all that the bits of a vintage's fingerprints depend on; the rotation counts where it is applied."""
    return sha256(weights + (rotation or b"")).hexdigest()
