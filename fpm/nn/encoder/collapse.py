"""Figures of a set of fingerprints that show a collapse, and the gate that refuses a collapsed encoder.

Shapes: N fingerprints of D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

DEAD = 0.01  # a dimension is dead if its standard deviation is below this share of the median
TINY = 1e-12
BLOCK = 1024  # rows of the distance matrix in memory at a time


@dataclass(frozen=True)
class GateConfig:
    """Limits of `gate`.

    `untrained_share`: of the untrained encoder's figure, same shape and sessions. Effective rank cannot exceed the
    number of fingerprints, so limits in dimensions are capped at half of it.
    """

    smallest_rank: float = 8.0
    smallest_participation: float = 3.0
    untrained_share: float = 0.5
    dead_share: float = 0.25
    largest_eigenvalue_share: float = 0.8
    uniformity: float = -0.5


def collapse_figures(
    z_ND: NDArray[np.floating],
    symbols: Sequence[str] = (),
    sessions: Sequence[object] = (),
    industries: Sequence[object] = (),
) -> dict[str, float]:
    """Figures of fingerprints (no vector may be NaN); empty for fewer than two.

    `rank`: RankMe, exp of the entropy of the singular values (Garrido et al. 2023, arXiv 2210.02885);
    `participation`: (sum l)^2 / sum l^2 over the eigenvalues l of the covariance; `dead`: share of dead dimensions;
    `top_eigenvalue`: share of the largest eigenvalue; `uniformity`: as in Wang and Isola; `correlation`: mean absolute
    correlation of two dimensions; `same_symbol`, `same_session`, `same_industry`: how often a vector and its nearest
    neighbour (Euclidean) share it.
    """
    if len(z_ND) < 2:
        return {}
    labels = {"same_symbol": symbols, "same_session": sessions, "same_industry": industries}
    return _figures(z_ND.astype(np.float64), {name: values for name, values in labels.items() if len(values)})


def figures_by_session(
    z_ND: NDArray[np.floating], sessions: Sequence[object], industries: Sequence[object] = ()
) -> dict[object, dict[str, float]]:
    """The figures of each session's own fingerprints, in the order in which the sessions appear."""
    figures = {}
    for session in dict.fromkeys(sessions):
        rows = [i for i, other in enumerate(sessions) if other == session]
        figures[session] = collapse_figures(z_ND[rows], industries=[industries[i] for i in rows] if industries else ())
    return figures


def chance_share(labels: Sequence[object]) -> float:
    """How often two different items, drawn at random, share a label: the baseline of the neighbour figures."""
    counts = np.unique(np.asarray([str(label) for label in labels]), return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1)).sum() / max(counts.sum() * (counts.sum() - 1), 1))


def spectrum(z_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of the variance along each principal direction, largest first."""
    centred_ND = z_ND.astype(np.float64) - z_ND.mean(axis=0, dtype=np.float64)
    spread_D = np.linalg.svd(centred_ND, compute_uv=False) ** 2
    return np.asarray(spread_D / max(float(spread_D.sum()), TINY))


def _figures(z_ND: NDArray[np.float64], labels: Mapping[str, Sequence[object]]) -> dict[str, float]:
    singular = np.linalg.svd(z_ND, compute_uv=False)
    spread_D = np.linalg.svd(z_ND - z_ND.mean(axis=0), compute_uv=False) ** 2
    figures = {
        "count": float(len(z_ND)),
        "rank": _entropy_rank(singular),
        "participation": float(spread_D.sum() ** 2 / max(np.square(spread_D).sum(), TINY)),
        "dead": dead_share(z_ND),
        "top_eigenvalue": float(spread_D[0] / max(spread_D.sum(), TINY)),
        "correlation": mean_correlation(z_ND),
        "uniformity": uniformity(z_ND),
    }
    nearest_N = nearest(z_ND) if labels else np.empty(0, dtype=np.int64)
    for name, values in labels.items():
        labels_N = np.asarray([str(value) for value in values])
        figures[name] = float((labels_N == labels_N[nearest_N]).mean())
    return figures


def gate(figures: Mapping[str, float], untrained: Mapping[str, float], config: GateConfig | None = None) -> str | None:
    """The reason to refuse an encoder with these figures; None if it may be promoted.

    Without figures (fewer than two fingerprints) it is refused.
    """
    config = config or GateConfig()
    if not figures:
        return "fewer than two fingerprints to judge by"
    room = figures["count"] / 2
    least = {
        "rank": min(config.smallest_rank, room),
        "participation": min(
            config.smallest_participation, room, config.untrained_share * untrained.get("participation", np.inf)
        ),
    }
    most = {
        "dead": config.dead_share,
        "top_eigenvalue": config.largest_eigenvalue_share,
        "uniformity": config.uniformity,
    }
    if not np.isfinite(list(figures.values())).all():
        return "a figure is not finite"
    reasons = [f"{name} {figures[name]:.3g} < {limit:.3g}" for name, limit in least.items() if figures[name] < limit]
    reasons += [f"{name} {figures[name]:.3g} > {limit:.3g}" for name, limit in most.items() if figures[name] > limit]
    if figures["rank"] < config.untrained_share * min(untrained.get("rank", 0.0), config.smallest_rank):
        reasons.append(f"rank {figures['rank']:.3g} far below {untrained['rank']:.3g} untrained")
    return "; ".join(reasons) or None


def dead_share(z_ND: NDArray[np.float64]) -> float:
    """Share of dimensions that hardly vary next to the median one; all of them where the median does not vary."""
    std_D = z_ND.std(axis=0)
    return float((std_D <= max(DEAD * float(np.median(std_D)), TINY)).mean())


def mean_correlation(z_ND: NDArray[np.float64]) -> float:
    """Mean absolute correlation of two different dimensions; a constant dimension has correlation 0."""
    centred_ND = z_ND - z_ND.mean(axis=0)
    centred_ND /= np.maximum(np.linalg.norm(centred_ND, axis=0), TINY)
    correlation_DD = np.abs(centred_ND.T @ centred_ND)
    size = len(correlation_DD)
    return float((correlation_DD.sum() - np.trace(correlation_DD)) / max(size * (size - 1), 1))


def uniformity(z_ND: NDArray[np.float64]) -> float:
    """Log of the mean over pairs of exp(-2 d^2) on the unit sphere: 0 for one point, about -4 for a uniform cloud."""
    unit_ND = z_ND / np.maximum(np.linalg.norm(z_ND, axis=1, keepdims=True), TINY)
    total = 0.0
    for start in range(0, len(unit_ND), BLOCK):
        total += float(np.exp(-4 * (1 - unit_ND[start : start + BLOCK] @ unit_ND.T)).sum())
    pairs = len(unit_ND) * (len(unit_ND) - 1)
    return float(np.log(max((total - len(unit_ND)) / pairs, TINY)))


def nearest(z_ND: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of each vector's nearest other vector (Euclidean); the first of equally near ones."""
    square_N = np.square(z_ND).sum(axis=1)
    nearest_N = np.empty(len(z_ND), dtype=np.int64)
    for start in range(0, len(z_ND), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(z_ND)))
        distance = square_N - 2 * (z_ND[rows] @ z_ND.T)
        distance[rows - start, rows] = np.inf
        nearest_N[rows] = distance.argmin(axis=1)
    return nearest_N


def _entropy_rank(singular: NDArray[np.floating]) -> float:
    share = singular / max(float(singular.sum()), TINY) + TINY
    return float(np.exp(-(share * np.log(share)).sum()))
