"""Canaries: a few symbol-sessions kept with a vintage and embedded again before it writes anything.

Their inputs are stored, so a correction of the session they were taken from raises no alarm; what does is a change of
what the vintage makes of them: other weights, another torch, another way through it.

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
from fpm.nn.encoder.history import SymbolSessions
from fpm.nn.fit import deterministic
from fpm.nn.machine import differences, machine, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.nn.encoder.vintage import Vintage

FILE = "canaries.safetensors"
COUNT = 16
# Of a vector's length, where the machine is of another class than the one that trained. Measured: the way through
# torch for SSE4.1 or AVX2 instead of AVX-512 moves vectors by 1.3e-6 of their length at most (docs/LOG.md).
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Canaries:
    """Inputs x_KTF (float16, as an encoder is trained on) and what they were embedded to, z_KD (float32)."""

    x_KTF: np.ndarray
    z_KD: np.ndarray

    def to_bytes(self) -> bytes:
        return to_bytes({"features": torch.from_numpy(self.x_KTF), "fingerprints": torch.from_numpy(self.z_KD)})


def take(rows: SymbolSessions, vintage: Vintage) -> tuple[Canaries, list[dict[str, str]]]:
    """Canaries spread over `rows`, and who each is: symbol, session, digest of its features. Those that have no
    available feature are no canaries.
    """
    full = np.flatnonzero(~np.isnan(rows.x_NTF).all(axis=(1, 2)))
    chosen = SymbolSessions(
        rows.x_NTF[full], tuple(rows.symbols[i] for i in full), tuple(rows.sessions[i] for i in full)
    ).spread(COUNT)
    named = [
        {"symbol": symbol, "session": str(session), "features": sha256(x_TF.tobytes()).hexdigest()}
        for symbol, session, x_TF in zip(chosen.symbols, chosen.sessions, chosen.x_NTF, strict=True)
    ]
    return Canaries(chosen.x_NTF.copy(), _embedded(vintage, chosen.x_NTF)), named


def check(model_id: str, vintage: Vintage, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Embed the canaries again; vintages from before there were canaries have none to ask.

    Raises ModelRefused where one differs in a bit on the class of machine that trained, or by more than `TOLERANCE` of
    its length on another.
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
    then_KD, now_KD = stored["fingerprints"].numpy(), _embedded(vintage, stored["features"].numpy())
    exact = manifest["machine"] == machine()
    distance_K = _distances(then_KD, now_KD)
    wrong_K = _other_bits(then_KD, now_KD) if exact else ~(distance_K <= TOLERANCE)
    if not wrong_K.any():
        return
    first = manifest["canaries"][int(np.flatnonzero(wrong_K)[0])]
    allowed = "no bit may differ" if exact else f"{TOLERANCE:g} is allowed on another processor"
    changed = differences(manifest["versions"], {**manifest["versions"], **versions()}) or "no library changed version"
    raise ModelRefused(
        code="FPM-ML-338",
        wrong=f"vintage {model_id} embeds {wrong_K.sum()} of {len(wrong_K)} canaries otherwise than when it was trained, "
        f"first {first['symbol']} of {first['session']}, by up to {distance_K.max():.1e} of their length ({allowed})",
        effect="no fingerprint was written",
        todo=f"weights or a library changed ({changed}): go back to what it was trained with, or train a new vintage",
    )


def _embedded(vintage: Vintage, x_KTF: np.ndarray) -> np.ndarray:
    with deterministic(0):
        return vintage.embed(x_KTF.astype(np.float32))


def _other_bits(then_KD: np.ndarray, now_KD: np.ndarray) -> np.ndarray:
    return np.array([then.tobytes() != now.tobytes() for then, now in zip(then_KD, now_KD, strict=True)])


def _distances(then_KD: np.ndarray, now_KD: np.ndarray) -> np.ndarray:
    length_K = np.linalg.norm(then_KD, axis=1)
    return np.asarray(np.linalg.norm(now_KD - then_KD, axis=1) / np.where(length_K > 0, length_K, 1.0))
