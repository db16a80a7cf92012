"""B of a trailing window of stored nights, with the 95 % band that a perfect model shows.

z is a portfolio's realised return over its predicted deviation; B = √(mean over portfolios of var(z)), 1 of a perfect
model, above 1 where risk was understated. A session's energy is the mean over the portfolios of z².

The band: a perfect model's z have variance 1 and no memory, but tails, and portfolios that resemble each other. Energy
then is the mean of `d` squared normal numbers (1 for one portfolio, fewer than the portfolios where they are alike)
times a variance common to the session: (v - 2)/v · F(d, v), and of one portfolio z is Student's t with v degrees of
freedom. d and v are those of their posterior given the observed energies, whose level counts as unknown; the sessions
are drawn from them. The histories of a d and a v are the same every night: a night says how many of which. The
bootstrap of sessions, which seems nearer, holds what it should hold in 95 of 100 histories in 80 to 90 where tails are
those of t(5): a sample rarely has the tails of its population.

Source of B and of the windows: Menchero, Orr, Wang 2011, "USE4 Methodology Notes", appendix A; of the mixture: Praetz
1972, "The distribution of share price changes", Journal of Business 45. Shapes: T sessions, P portfolios, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import lgamma
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm.panels import Floats

TAILS = 1 / np.linspace(1 / 4.2, 1 / 200, 12)  # v: from so heavy that a variance hardly has an error, to normal
ALIKE = 10  # values of d between one and the number of portfolios
LEVELS = np.exp(np.linspace(-0.5, 0.5, 11))  # of the energies' true mean over the observed one
CHUNK = 8  # histories of one d and v that are drawn together
FACTORS = 16  # of a product before its logarithm is taken: each is below 1e6, and their product no infinity
LEAST_ENERGY = 1e-6  # share of the mean below which an energy counts as this: the logarithm of 0 says nothing


@dataclass(frozen=True)
class BiasConfig:
    """Settings of the test.

    `year`: sessions of a window. `minimum`: sessions below which there is no B. `month`: windows of a year below which
    their share is not said. `portfolios`: of each kind. `draws`: simulated histories.
    """

    year: int = 252
    minimum: int = 63
    month: int = 21
    portfolios: int = 50
    draws: int = 1000
    seed: int = 0


PRESETS = {
    "default": BiasConfig(),
    "demo": BiasConfig(minimum=21),
    "short": BiasConfig(minimum=21),
    "tiny": BiasConfig(minimum=8, portfolios=10, draws=200),
}


class Cell(NamedTuple):
    """A perfect model's tails and likeness: portfolios, and the places of d (`posterior`) and of v (`TAILS`)."""

    portfolios: int
    alike: int
    tail: int


@dataclass(frozen=True)
class Bias:
    """B of the last `sessions` sessions within `low` and `high`, and the share of year-long windows near 1.

    A window is near 1 where |B - 1| ≤ √(2 / year). `windows` end in the last year. Where there are too few sessions the
    figures are None and `reason` or `share_reason` says so.
    """

    sessions: int
    bias: float | None = None
    low: float | None = None
    high: float | None = None
    windows: int = 0
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    reason: str | None = None
    share_reason: str | None = None

    @property
    def inside(self) -> bool | None:
        """Whether a perfect model shows such a B; None where there is none."""
        return (
            None if self.bias is None or self.low is None or self.high is None else self.low <= self.bias <= self.high
        )


def bias(z_TP: Floats, config: BiasConfig) -> Bias:
    """B of the last year of z (T, P), oldest first, NaN where a portfolio had no forecast; see `Bias`."""
    z_TP = z_TP[np.isfinite(z_TP).any(axis=1)]
    recent_TP = z_TP[-config.year :]
    seen, enough = len(recent_TP), config.year + config.month - 1
    share_reason = f"{len(z_TP)} of {enough} sessions" if len(z_TP) < enough else None
    if seen < config.minimum:
        return Bias(seen, reason=f"{seen} of {config.minimum} sessions", share_reason=share_reason)
    energy_T = energies(recent_TP)
    if not energy_T.sum() > 0:
        return Bias(seen, reason="no portfolio moved", share_reason="no portfolio moved")
    level = float(np.sqrt(energy_T.sum() / (seen - 1)))
    chosen = cells(energy_T, z_TP.shape[1], config)
    low, high = band(_histories(chosen, lambda cell, chunk: _level(cell, chunk, seen - 1, config)))
    if share_reason:
        return Bias(seen, level, low, high, share_reason=share_reason)
    windows = min(len(z_TP) - config.year + 1, config.year)
    span = windows + config.year - 1
    own = share_near_one(yearly(z_TP[-span:], config.year), config.year)
    chosen = cells(energies(z_TP[-span:]), z_TP.shape[1], config)
    share_low, share_high = band(_histories(chosen, lambda cell, chunk: _share(cell, chunk, span, config)))
    return Bias(seen, level, low, high, windows, float(own), share_low, share_high)


def energies(z_TP: Floats) -> Floats:
    """Mean over the portfolios of z² about each portfolio's mean (T,); NaN is left out."""
    known_TP = np.isfinite(z_TP)
    filled_TP = np.where(known_TP, z_TP, 0.0)
    mean_P = filled_TP.sum(axis=0) / np.maximum(known_TP.sum(axis=0), 1)
    square_TP = np.where(known_TP, np.square(z_TP - mean_P), 0.0)
    return np.asarray(square_TP.sum(axis=1) / np.maximum(known_TP.sum(axis=1), 1), dtype=np.float64)


def yearly(z_TP: Floats, year: int) -> Floats:
    """B of every window of `year` sessions (T - year + 1,), as √(Σ energies / (year - 1)) of the window alone.

    Sums of all windows at once: Σ (z - m)² / n = Σ z² / n - 2 m Σ z / n + m² Σ 1 / n with m a portfolio's mean in the
    window and n the portfolios of a session.
    """
    known_TP = np.isfinite(z_TP).astype(np.float64)
    filled_TP = np.where(known_TP > 0, z_TP, 0.0)
    share_TP = known_TP / np.maximum(known_TP.sum(axis=1, keepdims=True), 1)
    count_WP, total_WP = _moving_sum(known_TP, year), _moving_sum(filled_TP, year)
    mean_WP = total_WP / np.maximum(count_WP, 1)
    square_WP = _moving_sum(np.square(filled_TP) * share_TP, year)
    cross_WP, weight_WP = _moving_sum(filled_TP * share_TP, year), _moving_sum(share_TP, year)
    energy_W = (square_WP - 2 * mean_WP * cross_WP + np.square(mean_WP) * weight_WP).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(energy_W, 0) / (year - 1)), dtype=np.float64)


def share_near_one(bias_DW: Floats, year: int) -> Floats:
    """Share, over the last axis, of windows with |B - 1| ≤ √(2 / year)."""
    return np.asarray((np.abs(bias_DW - 1) <= np.sqrt(2 / year)).mean(axis=-1))


def band(drawn_D: Floats) -> tuple[float, float]:
    """2.5 % and 97.5 % of drawn figures."""
    low, high = np.quantile(drawn_D, [0.025, 0.975])
    return float(low), float(high)


def cells(energy_T: Floats, portfolios: int, config: BiasConfig) -> list[tuple[Cell, int]]:
    """How many of a perfect model's histories are of which cell: their share of the posterior, `draws` in all."""
    _, weight_AV = posterior(energy_T, portfolios)
    last_C = np.rint(np.cumsum(weight_AV.ravel()) * config.draws).astype(int)
    count_C = np.diff(last_C, prepend=0).tolist()
    return [(Cell(portfolios, *divmod(at, len(TAILS))), count) for at, count in enumerate(count_C) if count]


def perfect_energies(cell: Cell, chunk: int, config: BiasConfig) -> Floats:
    """Energies (`CHUNK`, sessions of the longest span) of a perfect model whose tails and likeness are the cell's."""
    random, shape = np.random.default_rng([config.seed, chunk, *cell]), (CHUNK, 2 * config.year - 1)
    alike, tail = _alike(cell.portfolios)[cell.alike], TAILS[cell.tail]
    normal_DT = random.chisquare(alike, shape) / alike
    return np.asarray(normal_DT * (tail - 2) / random.chisquare(tail, shape), dtype=np.float64)


_kept_energies = lru_cache(maxsize=1024)(perfect_energies)  # 30 MB


@lru_cache(maxsize=8192)
def _level(cell: Cell, chunk: int, sessions: int, config: BiasConfig) -> Floats:
    """B (`CHUNK`,) of so many sessions."""
    return np.asarray(np.sqrt(_kept_energies(cell, chunk, config)[:, :sessions].mean(axis=1)), dtype=np.float64)


@lru_cache(maxsize=8192)
def _share(cell: Cell, chunk: int, sessions: int, config: BiasConfig) -> Floats:
    """Share (`CHUNK`,) of the windows of so many sessions that are near 1."""
    energy_DT = _kept_energies(cell, chunk, config)[:, :sessions]
    return share_near_one(_moving_bias(energy_DT, config.year), config.year)


def _histories(chosen: Sequence[tuple[Cell, int]], figure: Callable[[Cell, int], Floats]) -> Floats:
    """A figure (D,) of the first so many histories of every cell."""
    parts = []
    for cell, count in chosen:
        chunks = range(-(-count // CHUNK))
        parts.append(np.concatenate([figure(cell, chunk) for chunk in chunks])[:count])
    return np.concatenate(parts)


def _alike(portfolios: int) -> Floats:
    """Values of d (A,)."""
    return np.array([1.0]) if portfolios == 1 else np.geomspace(1, portfolios, ALIKE)


def posterior(energy_T: Floats, portfolios: int) -> tuple[Floats, Floats]:
    """Values of d (A,), and the weights (A, V) of each with each of `TAILS`.

    Before the energies are seen every d is as likely, and v in proportion to 1/v, which has v at about 6: the kurtosis
    of daily active returns is about 6. Flat in 1/v, bands of 63 sessions of t(5) held the perfect model in 90 of 100.
    The likelihood is summed over `LEVELS`: whether the level is right is what is tested, it says nothing of the tails.
    """
    alike_A = _alike(portfolios)
    d, tail, level = np.meshgrid(alike_A, TAILS, LEVELS, indexing="ij")
    log_beta = _log_gamma(d / 2) + _log_gamma(tail / 2) - _log_gamma((d + tail) / 2)
    x_T = np.maximum(energy_T / energy_T.mean(), LEAST_ENERGY)
    scale = level * (tail - 2) / tail
    tails = _log_sum((d / tail / scale)[..., None], x_T)
    log_scale = len(x_T) * np.log(scale)
    log_likelihood = (
        len(x_T) * (d / 2 * np.log(d / tail) - log_beta)
        + (d / 2 - 1) * (np.log(x_T).sum() - log_scale)
        - log_scale
        - (d + tail) / 2 * tails
    )
    weight_AV = np.exp(log_likelihood - log_likelihood.max()).sum(axis=-1) / TAILS
    return alike_A, weight_AV / weight_AV.sum()


def _log_sum(factor: Floats, x_T: Floats) -> Floats:
    """Σ ln(1 + factor · x) over the sessions, as logarithms of products of `FACTORS` numbers: a fifth of the time."""
    x_FB = np.pad(x_T, (0, -len(x_T) % FACTORS)).reshape(FACTORS, -1)
    product = 1 + factor * x_FB[0]
    for x_B in x_FB[1:]:
        product *= 1 + factor * x_B
    return np.asarray(np.log(product).sum(axis=-1), dtype=np.float64)


def _log_gamma(x: Floats) -> Floats:
    return np.asarray(np.vectorize(lgamma, otypes=[np.float64])(x), dtype=np.float64)


def _moving_sum(x_TP: Floats, window: int) -> Floats:
    """Sums over `window` consecutive rows (T - window + 1, P)."""
    total_TP = np.cumsum(np.pad(x_TP, ((1, 0), (0, 0))), axis=0)
    return np.asarray(total_TP[window:] - total_TP[:-window], dtype=np.float64)


def _moving_bias(energy_DT: Floats, year: int) -> Floats:
    """B of every window of drawn energies (D, T - year + 1)."""
    return np.asarray(np.sqrt(_moving_sum(energy_DT.T, year).T / year), dtype=np.float64)
