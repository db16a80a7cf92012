"""Intraday styles of the synthetic exchange: how a session spreads its flows over the day, never how much it trades.

Letters in array names: S symbols, T vendor rows of a session, K styles.

A style is one standard number per symbol-session, drawn anew every session, so yesterday says nothing about
today. It acts as a log tilt on the weights by which a fixed session total is spread over the minutes: whatever
the style, the session's totals stay what they were.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

# Log tilt per unit of style. Chosen so that a style stands several standard errors above the minute noise
# (timing: a unit moves the mean volume time by about 0.2 of half a day, the noise by about 0.03).
TIMING_TILT = 0.6
CO_MOVEMENT_TILT = 0.3
LARGE_ORDER_TILT = 0.8
# Cancels spread evenly at the lowest style and in a few bursts at the highest: log sd of their weights.
BURST_SD, BURST_TILT = 0.75, 0.33
WOBBLE = 0.5  # half width of what a flow shows beside its style, in units of the style


@dataclass(frozen=True)
class StyleMix:
    """Weight of each style in the driver of next days' returns; a style of weight 0 is still in the minutes.

    The driver is scaled to unit variance, so only the proportions count.
    """

    volume_timing: float = 0.86
    co_movement: float = 0.51
    cancel_bursts: float = 0.0
    large_order_direction: float = 0.0

    def driver(self, style_SK: np.ndarray) -> np.ndarray:
        """The mix of the styles with unit variance, (S,)."""
        weight_K = np.array(list(asdict(self).values()))
        mixed_SK = style_SK * (weight_K / np.sqrt(np.square(weight_K).sum()))
        return np.asarray(mixed_SK.sum(axis=1))


@dataclass(frozen=True)
class Tape:
    """What a tilt may look at.

    `clock_T`: centred volume time, -1 at the first continuous minute, 1 at the last.
    `surprise_ST`: |return| of the minute against what the time of day makes usual, centred, unit variance.
    `noise_ST`: standard normal, private to the style.
    """

    clock_T: np.ndarray
    surprise_ST: np.ndarray
    noise_ST: np.ndarray


def volume_timing(style_S: np.ndarray, tape: Tape) -> np.ndarray:
    """Volume late in the day (style > 0) or early (< 0)."""
    return np.asarray(TIMING_TILT * style_S[:, None] * tape.clock_T)


def co_movement(style_S: np.ndarray, tape: Tape) -> np.ndarray:
    """Volume in the minutes that move the price (style > 0) or in the quiet ones (< 0)."""
    return np.asarray(CO_MOVEMENT_TILT * style_S[:, None] * tape.surprise_ST)


def cancel_bursts(style_S: np.ndarray, tape: Tape) -> np.ndarray:
    """Cancels in a few bursts (style > 0) or evenly (< 0), anywhere in the day."""
    return np.asarray((BURST_SD + BURST_TILT * style_S[:, None]) * tape.noise_ST)


def large_order_direction(style_S: np.ndarray, tape: Tape) -> np.ndarray:
    """Large buyers act early and large sellers late (style > 0) or the other way round; over the day it nets to zero.

    The tilt of the buyers' orders; the sellers' is its negative.
    """
    return np.asarray(-LARGE_ORDER_TILT * style_S[:, None] * tape.clock_T)


STYLES: dict[str, Callable[[np.ndarray, Tape], np.ndarray]] = {
    "volume_timing": volume_timing,
    "co_movement": co_movement,
    "cancel_bursts": cancel_bursts,
    "large_order_direction": large_order_direction,
}


def draw_styles(rng: np.random.Generator, symbols: int) -> np.ndarray:
    """Independent styles of one session, uniform with mean 0 and variance 1 (bounded: no freak days), (S, K)."""
    return rng.uniform(-np.sqrt(3.0), np.sqrt(3.0), (symbols, len(STYLES)))


def expressed(style_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The style as one flow of the session shows it: with a bounded wobble that no reading tells apart."""
    return np.asarray(style_S + rng.uniform(-WOBBLE, WOBBLE, len(style_S)))
