"""What a fingerprint saw: how far it moves when one part of the session is hidden from the encoder.

A part is one half-hour of one family of features (large buys, cancels, prices, ...). Hiding makes it unavailable (NaN),
which the encoder knows from its training for flows; prices were never hidden from it, so their row is a guess further
off. A family says nothing where others know the same, as volume does of amount: the sums show that.

Shapes: T minutes, F features, P parts of the session, U families, N vectors of D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpm.nn.encoder.masking import LEGS, families
from fpm.nn.encoder.tokens import feature_indices
from fpm.schema import FEATURES

HALF_HOUR = 30
TOTALS, PRICES = "totals", "prices"  # flows of no leg: amount, volume, number and size of trades
PAIRS = 4096
Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # sessions x_STF to fingerprints z_SD


@dataclass(frozen=True)
class Occlusion:
    """Distances of the fingerprint, in units of the typical distance between two fingerprints.

    `cell_PU`: one family hidden in one part; `part_P`: all families in one part; `family_U`: one family all session.
    NaN where nothing was there to be hidden, or nothing would be left.
    """

    families: tuple[str, ...]
    cell_PU: NDArray[np.float64]
    part_P: NDArray[np.float64]
    family_U: NDArray[np.float64]


def occlusion(
    embed: Embed, profile: str, x_TF: NDArray[np.floating], unit: float, length: int = HALF_HOUR
) -> Occlusion:
    """Hide every part of `length` minutes x family of one session and measure how far its fingerprint moves.

    `embed`: the vintage, on features of `profile`; `unit`: the typical distance (`typical_distance`). The session must
    have a fingerprint.
    """
    named = feature_families(profile)
    parts = session_parts(len(x_TF), length)
    everything, whole = list(range(x_TF.shape[1])), slice(0, len(x_TF))
    hidden: list[tuple[slice, Sequence[int]]] = [(part, columns) for part in parts for columns in named.values()]
    hidden += [(part, everything) for part in parts] + [(whole, columns) for columns in named.values()]
    veiled_HTF = np.stack([x_TF, *(veiled(x_TF, part, columns) for part, columns in hidden)])
    z_HD = embed(veiled_HTF.astype(np.float32)).astype(np.float64)
    moved_H = np.linalg.norm(z_HD[1:] - z_HD[0], axis=1) / unit
    there = [bool(np.isfinite(x_TF[part][:, columns]).any()) for part, columns in hidden]
    moved_H = np.where(there, moved_H, np.nan)
    cells, sides = len(parts) * len(named), len(parts)
    return Occlusion(
        tuple(named), moved_H[:cells].reshape(sides, -1), moved_H[cells : cells + sides], moved_H[cells + sides :]
    )


def veiled(x_TF: NDArray[Any], part: slice, columns: Sequence[int]) -> NDArray[Any]:
    """A session with some features unavailable in some minutes."""
    hidden_TF = x_TF.copy()
    hidden_TF[part, columns] = np.nan
    return hidden_TF


def session_parts(minutes: int, length: int = HALF_HOUR) -> list[slice]:
    """The session cut into parts of `length` minutes; the last one may be shorter."""
    return [slice(start, min(start + length, minutes)) for start in range(0, minutes, length)]


def feature_families(profile: str) -> Mapping[str, tuple[int, ...]]:
    """Places of the features of each family, prices first; every feature is in exactly one."""
    names, (prices, flows) = FEATURES[profile], feature_indices(profile)
    named: dict[str, tuple[int, ...]] = {PRICES: prices}
    for place, family in zip(flows, families(profile), strict=True):
        first = names[flows[families(profile).index(family)]]
        name = next((leg for leg in LEGS if first.startswith(leg)), TOTALS).strip("_").replace("_", " ")
        named[name] = (*named.get(name, ()), place)
    return named


def typical_distance(z_ND: NDArray[np.floating], seed: int = 0) -> float:
    """Median Euclidean distance of `PAIRS` pairs of different fingerprints, drawn by `seed`; NaN for fewer than two."""
    if len(z_ND) < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    one = rng.integers(0, len(z_ND), PAIRS)
    other = (one + rng.integers(1, len(z_ND), PAIRS)) % len(z_ND)
    return float(np.median(np.linalg.norm(z_ND[one].astype(np.float64) - z_ND[other], axis=1)))
