"""Intraday styles that nobody chose: a seed draws how many there are, what they do and what they are worth.

Each latent style bends one to three *channels* of a session, each along a smooth pattern over the minutes of its own:

    volume    the day's volume over the minutes           signed    buyers in rising or in falling minutes
    side      the takers' buying over the minutes         path      a wave of the price that ends where it began
    size      large buyers' and sellers' orders           momentum  trends in some minutes, reversals in others
    cancels   when resting orders are taken back          spread    how far a minute's high and low lie apart

A style has a persistence, a tail, a correlation with the other styles, a wobble (what a channel adds to it and nobody
can remove) and a weight, with its sign, in the returns of later sessions. No total of the session shows it: flows keep
their totals and mean prices as those of `styles` do, and prices keep the day's open, high, low and close (`bends`).

Letters in array names: S symbols, T vendor rows of a session, C the continuous rows, K styles, J functions of a basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fpm.exchange.prices import CLOCK_T, CONTINUOUS, ROWS, VARIANCE_C, VOLUME_C

MOST_STYLES, MOST_CHANNELS = 6, 3
WAVES = 4  # cosines of a pattern, the slowest ones: smooth over half an hour or more
# Range of a channel's tilt per unit of style: logs, but for `path` (daily standard deviations) and `momentum` (an
# autocorrelation). They put the best single-session reading of most channels at a correlation of 0.8 to 0.97.
STRENGTH = {
    "volume": (0.2, 0.4),
    "side": (0.06, 0.15),
    "size": (0.25, 0.45),
    "cancels": (0.25, 0.5),
    "signed": (0.06, 0.15),
    "path": (0.2, 0.35),
    "momentum": (0.15, 0.3),
    "spread": (0.25, 0.5),
}
MOST_PERSISTENCE = 0.5  # more, and yesterday's returns would show today's style
MOST_TAIL, MOST_STYLE = 0.5, 3.5
WOBBLES = (0.2, 0.6)
IMPACT = (0.2, 0.6)
MEMORY = 16  # sessions after which a style has forgotten: 0.5 ** 16 is 0.00002


@dataclass(frozen=True)
class LatentStyle:
    """One style: a tilt pattern per channel, (T,) each, in the channel's unit per unit of style.

    `persistence`: correlation with yesterday's. `tail`: 0 for a normal style, larger for heavier tails. `wobble`: half
    width of the uniform noise in each channel's reading of it. `weight`: its part of the driver of later returns.
    """

    patterns: dict[str, np.ndarray]
    persistence: float
    tail: float
    wobble: float
    weight: float


@dataclass(frozen=True)
class Tilts:
    """What a session's styles do to each channel, (S, T) each; 0 where no style acts."""

    volume: np.ndarray
    side: np.ndarray
    size: np.ndarray
    cancels: np.ndarray
    signed: np.ndarray
    path: np.ndarray
    momentum: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Lottery:
    """The styles of an exchange: `mixing_KK` correlates their draws; `impact` is the effect of their driver.

    As the `styles` of an `Impact` it is the weighted mix of all styles.
    """

    styles: tuple[LatentStyle, ...]
    mixing_KK: np.ndarray
    impact: float

    @property
    def names(self) -> tuple[str, ...]:
        """The styles' names, by number and channels."""
        return tuple(f"style_{k}_{'_'.join(style.patterns)}" for k, style in enumerate(self.styles))

    @cached_property
    def weight_K(self) -> np.ndarray:  # noqa: N802  shape in the name
        """Weights of the driver, which has about unit variance."""
        plain_K = np.array([style.weight for style in self.styles])
        mixed_K = self.mixing_KK.T @ plain_K
        return np.asarray(plain_K / np.sqrt(mixed_K @ mixed_K))

    @cached_property
    def persistence_K(self) -> np.ndarray:  # noqa: N802  shape in the name
        """Each style's correlation with the day before."""
        return np.array([style.persistence for style in self.styles])

    def driver(self, style_SK: np.ndarray) -> np.ndarray:
        """The weighted mix of the styles, (S,)."""
        return np.asarray(style_SK @ self.weight_K)

    def values(self, seed: int, index: int, symbols: int) -> np.ndarray:
        """The styles of session `index`, (S, K): every session's news, and what is left of that of the last ones.

        The news of a session depends on its own seed alone, so that no state goes from session to session.
        """
        normal_SK = np.zeros((symbols, len(self.styles)))
        for back in range(MEMORY, -1, -1):
            rng = np.random.default_rng([seed, 7, index - back + MEMORY])
            news_SK = rng.normal(0.0, 1.0, normal_SK.shape) @ self.mixing_KK.T
            normal_SK = self.persistence_K * normal_SK + np.sqrt(1.0 - self.persistence_K**2) * news_SK
        tail_K = np.array([style.tail for style in self.styles])
        scale_K = np.sqrt((np.exp(2.0 * tail_K**2) - 1.0) / 2.0)  # of sinh(tail x) for a standard normal x
        return np.asarray((np.sinh(tail_K * normal_SK) / scale_K).clip(-MOST_STYLE, MOST_STYLE))

    def tilts(self, style_SK: np.ndarray, rng: np.random.Generator) -> Tilts:
        """What the styles do to every channel of a session."""
        whole = {name: np.zeros((len(style_SK), ROWS)) for name in STRENGTH}
        for k, style in enumerate(self.styles):
            for name, pattern_T in style.patterns.items():
                wobble_S = rng.uniform(-style.wobble, style.wobble, len(style_SK))
                whole[name] += (style_SK[:, k] + wobble_S)[:, None] * pattern_T
        return Tilts(**whole)

    def ahead(self, style_SK: np.ndarray, remaining_L: np.ndarray) -> np.ndarray:
        """What persistence says today of the drivers of the next sessions, each by its share of the label, (S,)."""
        later_K = sum(share * self.persistence_K**step for step, share in enumerate(remaining_L[1:], start=1))
        return np.asarray(style_SK @ (self.weight_K * later_K))


def drawn(seed: int, attempt: int) -> Lottery:
    """Draw the styles of a seed; another attempt draws others."""
    rng = np.random.default_rng([seed, 9, attempt])
    count = int(rng.integers(1, MOST_STYLES + 1))
    loading_KK = rng.normal(0.0, 1.0, (count, count)) * rng.uniform(0.0, 0.4) + np.eye(count)
    mixing_KK = loading_KK / np.linalg.norm(loading_KK, axis=1, keepdims=True)
    return Lottery(tuple(latent_style(rng) for _ in range(count)), mixing_KK, float(rng.uniform(*IMPACT)))


def latent_style(rng: np.random.Generator) -> LatentStyle:
    """Draw one style."""
    channels = rng.permutation(list(STRENGTH))[: rng.integers(1, MOST_CHANNELS + 1)]
    return LatentStyle(
        patterns={str(name): pattern(str(name), rng) for name in sorted(channels)},
        persistence=float(rng.uniform(0.0, MOST_PERSISTENCE)),
        tail=float(rng.uniform(0.05, MOST_TAIL)),
        wobble=float(rng.uniform(*WOBBLES)),
        weight=float(rng.uniform(0.4, 1.0) * rng.choice((-1.0, 1.0))),
    )


def pattern(channel: str, rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth pattern of a channel over the rows, 0 outside the continuous ones, (T,)."""
    basis_CJ, unit_C = (sines(), VARIANCE_C) if channel == "path" else (cosines(), VOLUME_C)
    order_J = np.arange(1, basis_CJ.shape[1] + 1)
    shape_C = basis_CJ @ (rng.normal(0.0, 1.0, len(order_J)) / (order_J if channel != "path" else 1.0))
    if channel != "path":
        shape_C = shape_C - unit_C @ shape_C
    pattern_T = np.zeros(ROWS)
    pattern_T[CONTINUOUS] = shape_C / np.sqrt(unit_C @ np.square(shape_C)) * rng.uniform(*STRENGTH[channel])
    return pattern_T


def cosines() -> np.ndarray:
    """The slowest waves over the volume clock, (C, J)."""
    clock_C = 0.5 * (CLOCK_T[CONTINUOUS] + 1.0)
    return np.cos(np.pi * np.outer(clock_C, np.arange(1, WAVES + 1)))


def sines() -> np.ndarray:
    """Waves of the price over the variance clock, 0 at both ends, (C, J)."""
    clock_C = np.cumsum(VARIANCE_C) - 0.5 * VARIANCE_C
    return np.sin(np.pi * np.outer(clock_C, np.arange(2, 2 + WAVES)))
