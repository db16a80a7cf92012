"""Intraday styles of the synthetic exchange: how a session spreads its flows over the day, never how much it trades.

Letters in array names: S symbols, T vendor rows of a session, K styles.

A style is one number of unit variance per symbol and session. Every session draws new ones, so yesterday's style says
nothing about today's. A style acts as a log tilt on the weights that spread a fixed session total over the minutes, so
it never changes a total of the session.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

# Log tilt per unit of style. These sizes put a style several standard errors above the minute noise (timing: one unit
# moves the mean volume time by about 0.2 of half a day, the noise by about 0.03).
TIMING_TILT = 0.6
CO_MOVEMENT_TILT = 0.3
LARGE_ORDER_TILT = 0.8
# Log sd of the cancel weights: cancels are even at the lowest style and come in a few bursts at the highest.
BURST_SD, BURST_TILT = 0.75, 0.33
WOBBLE = 0.5  # half width, in units of the style, of the random part that a flow adds to its style


@dataclass(frozen=True)
class StyleMix:
    """Weight of each style in the driver of later returns; a style of weight 0 still shapes the minutes.

    The driver has unit variance, so only the proportions count.
    """

    volume_timing: float = 0.86
    co_movement: float = 0.51
    cancel_bursts: float = 0.0
    large_order_direction: float = 0.0

    def driver(self, style_SK: np.ndarray) -> np.ndarray:
        """Return the weighted mix of the styles, scaled to unit variance, (S,)."""
        weight_K = np.array(list(asdict(self).values()))
        mixed_SK = style_SK * (weight_K / np.sqrt(np.square(weight_K).sum()))
        return np.asarray(mixed_SK.sum(axis=1))


@dataclass(frozen=True)
class TiltInputs:
    """The inputs of a style's tilt.

    `clock_T`: centred volume time, -1 at the first continuous minute, 1 at the last.
    `surprise_ST`: |return| of the minute against what the time of day makes usual, centred, unit variance.
    `noise_ST`: standard normal, private to the style.
    """

    clock_T: np.ndarray
    surprise_ST: np.ndarray
    noise_ST: np.ndarray


def volume_timing(style_S: np.ndarray, inputs: TiltInputs) -> np.ndarray:
    """Return the tilt towards volume late in the day (style > 0) or early (< 0), (S, T)."""
    return np.asarray(TIMING_TILT * style_S[:, None] * inputs.clock_T)


def co_movement(style_S: np.ndarray, inputs: TiltInputs) -> np.ndarray:
    """Return the tilt towards volume in minutes that move the price (style > 0) or in quiet ones (< 0), (S, T)."""
    return np.asarray(CO_MOVEMENT_TILT * style_S[:, None] * inputs.surprise_ST)


def cancel_bursts(style_S: np.ndarray, inputs: TiltInputs) -> np.ndarray:
    """Return the tilt towards cancels in a few bursts (style > 0) or evenly over the day (< 0), (S, T)."""
    return np.asarray((BURST_SD + BURST_TILT * style_S[:, None]) * inputs.noise_ST)


def large_order_direction(style_S: np.ndarray, inputs: TiltInputs) -> np.ndarray:
    """Return the buyers' tilt towards large orders early in the day (style > 0) or late (< 0), (S, T).

    Large sellers get the negative of it, so the day's imbalance stays zero.
    """
    return np.asarray(-LARGE_ORDER_TILT * style_S[:, None] * inputs.clock_T)


STYLES: dict[str, Callable[[np.ndarray, TiltInputs], np.ndarray]] = {
    "volume_timing": volume_timing,
    "co_movement": co_movement,
    "cancel_bursts": cancel_bursts,
    "large_order_direction": large_order_direction,
}


def draw_styles(rng: np.random.Generator, symbols: int) -> np.ndarray:
    """Draw one session's independent styles: uniform, mean 0, variance 1, bounded so no day is extreme, (S, K)."""
    return rng.uniform(-np.sqrt(3.0), np.sqrt(3.0), (symbols, len(STYLES)))


def expressed(style_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the style as one flow shows it: the style plus a bounded wobble that no reader can remove."""
    return np.asarray(style_S + rng.uniform(-WOBBLE, WOBBLE, len(style_S)))
