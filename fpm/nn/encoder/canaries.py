"""Canaries: a few symbol-sessions stored with a vintage and embedded again before it writes anything.

Their inputs are stored too, so a correction of their session raises no alarm. An alarm means that the vintage embeds
them differently: other weights, another torch, or another path through it.

Shapes: K canaries, T minutes, F features, D vector size.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fpm.errors import ModelRefused
from fpm.nn.checkpoint import from_bytes, to_bytes
from fpm.nn.fit import deterministic
from fpm.nn.machine import differences, machine, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.nn.encoder.history import SymbolSessions
    from fpm.nn.encoder.vintage import Vintage

FILE = "canaries.safetensors"
COUNT = 16
# Share of a vector's length, for machines of another class than the one that trained. Measured: torch's path for SSE4.1
# or AVX2 instead of AVX-512 moves vectors by at most 1.3e-6 of their length, another order of sums by as much.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Canaries:
    """Inputs x_KTF (float16, as in training) and their fingerprints z_KD (float32) right after training."""

    x_KTF: np.ndarray
    z_KD: np.ndarray

    def to_bytes(self) -> bytes:
        """The canaries as safetensors bytes."""
        return to_bytes({"features": torch.from_numpy(self.x_KTF), "fingerprints": torch.from_numpy(self.z_KD)})


def take(rows: SymbolSessions, vintage: Vintage) -> tuple[Canaries, list[dict[str, str]]]:
    """Canaries evenly spaced among `rows`, and the identity of each: symbol, session, digest of its features.

    Rows without any available feature are skipped.
    """
    available = np.flatnonzero(~np.isnan(rows.features).all(axis=(1, 2)))
    sample = rows.select(available.tolist()).sample(COUNT)
    identities = [
        {"symbol": symbol, "session": str(session), "features": sha256(x_TF.tobytes()).hexdigest()}
        for symbol, session, x_TF in zip(sample.symbols, sample.sessions, sample.features, strict=True)
    ]
    return Canaries(sample.features.copy(), _embed(vintage, sample.features)), identities


def check(model_id: str, vintage: Vintage, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Embed the canaries again and compare; a vintage older than canaries passes.

    Raises ModelRefused where a vector differs: in any bit on the class of machine that trained, by more than
    `TOLERANCE` of its length on another.
    """
    if "canaries" not in manifest:
        return
    if FILE not in files:
        raise ModelRefused(
            code="FPM-ML-338",
            wrong=f"vintage {model_id} has lost its canaries ({FILE})",
            effect="no fingerprint was written",
            todo="restore the vintage's folder from a backup",
        )
    stored = from_bytes(files[FILE])
    then_KD, now_KD = stored["fingerprints"].numpy(), _embed(vintage, stored["features"].numpy())
    exact = manifest["machine"] == machine()
    distance_K = _distances(then_KD, now_KD)
    wrong_K = _other_bits(then_KD, now_KD) if exact else ~(distance_K <= TOLERANCE)
    if not wrong_K.any():
        return
    first = manifest["canaries"][int(np.flatnonzero(wrong_K)[0])]
    limit = "no bit may differ" if exact else f"{TOLERANCE:g} is allowed on another class of machine"
    changed = differences(manifest["versions"], {**manifest["versions"], **versions()}) or "no library changed version"
    raise ModelRefused(
        code="FPM-ML-338",
        wrong=f"vintage {model_id} embeds {wrong_K.sum()} of {len(wrong_K)} canaries differently than after its "
        f"training, first {first['symbol']} of {first['session']}, by up to {distance_K.max():.1e} of their length "
        f"({limit})",
        effect="no fingerprint was written",
        todo=f"weights or a library changed ({changed}): restore what it was trained with, or train a new vintage",
    )


def _embed(vintage: Vintage, x_KTF: np.ndarray) -> np.ndarray:
    with deterministic(0):
        return vintage.embed(x_KTF.astype(np.float32))


def _other_bits(then_KD: np.ndarray, now_KD: np.ndarray) -> np.ndarray:
    return np.array([then.tobytes() != now.tobytes() for then, now in zip(then_KD, now_KD, strict=True)])


def _distances(then_KD: np.ndarray, now_KD: np.ndarray) -> np.ndarray:
    length_K = np.linalg.norm(then_KD, axis=1)
    return np.asarray(np.linalg.norm(now_KD - then_KD, axis=1) / np.where(length_K > 0, length_K, 1.0))
