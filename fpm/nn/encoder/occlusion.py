"""Occlusion: how far a fingerprint moves when one part of the session is hidden from the encoder.

A cell is one half-hour of one family of features (large buys, cancels, prices, ...). Hidden values become unavailable
(NaN). For flows the encoder knows this from its training; prices were never hidden there, so their cells are less
reliable. A family that others duplicate, as volume does amount, moves the fingerprint little on its own; the sums over
all families show its part.

Shapes: T minutes, F features, P parts of the session, U families, H hidden cells and sums, N vectors, D dimensions.
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
    NaN where there was nothing to hide, or nothing would be left.
    """

    families: tuple[str, ...]
    cell_PU: NDArray[np.float64]
    part_P: NDArray[np.float64]
    family_U: NDArray[np.float64]


def occlusion(
    embed: Embed, profile: str, x_TF: NDArray[np.floating], unit: float, length: int = HALF_HOUR
) -> Occlusion:
    """Hide each cell (`length` minutes of one family) of one session and measure how far its fingerprint moves.

    `embed`: the vintage, on features of `profile`; `unit`: the typical distance (`typical_distance`). The session must
    have a fingerprint.
    """
    family_columns = feature_families(profile)
    parts = session_parts(len(x_TF), length)
    everything, whole = list(range(x_TF.shape[1])), slice(0, len(x_TF))
    column_sets = list(family_columns.values())
    hidden: list[tuple[slice, Sequence[int]]] = [(part, columns) for part in parts for columns in column_sets]
    hidden += [(part, everything) for part in parts] + [(whole, columns) for columns in column_sets]
    occluded_HTF = np.stack([x_TF, *(hide(x_TF, part, columns) for part, columns in hidden)])
    z_HD = embed(occluded_HTF.astype(np.float32)).astype(np.float64)
    moved_H = np.linalg.norm(z_HD[1:] - z_HD[0], axis=1) / unit
    available = [bool(np.isfinite(x_TF[part][:, columns]).any()) for part, columns in hidden]
    moved_H = np.where(available, moved_H, np.nan)
    cells, sides = len(parts) * len(column_sets), len(parts)
    return Occlusion(
        tuple(family_columns),
        moved_H[:cells].reshape(sides, -1),
        moved_H[cells : cells + sides],
        moved_H[cells + sides :],
    )


def hide(x_TF: NDArray[Any], part: slice, columns: Sequence[int]) -> NDArray[Any]:
    """A copy of a session in which some features are unavailable in some minutes."""
    hidden_TF = x_TF.copy()
    hidden_TF[part, columns] = np.nan
    return hidden_TF


def session_parts(minutes: int, length: int = HALF_HOUR) -> list[slice]:
    """The session cut into parts of `length` minutes; the last one may be shorter."""
    return [slice(start, min(start + length, minutes)) for start in range(0, minutes, length)]


def feature_families(profile: str) -> Mapping[str, tuple[int, ...]]:
    """Columns of the features of each family, prices first; every feature is in exactly one."""
    names, (prices, flows) = FEATURES[profile], feature_indices(profile)
    columns: dict[str, tuple[int, ...]] = {PRICES: prices}
    for column, family in zip(flows, families(profile), strict=True):
        first = names[flows[families(profile).index(family)]]
        name = next((leg for leg in LEGS if first.startswith(leg)), TOTALS).strip("_").replace("_", " ")
        columns[name] = (*columns.get(name, ()), column)
    return columns


def typical_distance(z_ND: NDArray[np.floating], seed: int = 0) -> float:
    """Median Euclidean distance of `PAIRS` random pairs of different fingerprints; NaN for fewer than two."""
    if len(z_ND) < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    one = rng.integers(0, len(z_ND), PAIRS)
    other = (one + rng.integers(1, len(z_ND), PAIRS)) % len(z_ND)
    return float(np.median(np.linalg.norm(z_ND[one].astype(np.float64) - z_ND[other], axis=1)))
