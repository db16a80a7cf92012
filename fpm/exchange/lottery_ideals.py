"""The best single-session estimates of a lottery's styles: what an encoder can reach, and hardly pass.

Every channel is read along the patterns that act on it, by somebody who knows the exchange's formula and the patterns
but none of the draws. Readings of one style in several channels, and of several styles in one, are weighed by least
squares on another exchange with the same styles: its seed is `REFERENCE`'s, and it is simulated once.

Letters in array names: S symbols, C the continuous rows, K styles, R readings, N symbol-sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.exchange.bends import extremes, waves
from fpm.exchange.ideals import LEGS, dense, exponential_tilt, ideals, noise_covariance
from fpm.exchange.minutes import LEAST_SHARES
from fpm.exchange.prices import CONTINUOUS, VARIANCE_C, VOLUME_C
from fpm.exchange.simulate import ExchangeConfig, simulate, styles_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm.exchange.lottery import Lottery

REFERENCE = ExchangeConfig(symbols=120, sessions=24, seed=2, spoiled_every=0)
RIDGE = 1.0  # added to the diagonal of standardised readings' products: hardly any, but two readings may be equal


@dataclass(frozen=True)
class LotteryIdeals:
    """A reader of one lottery: call it with ONE session's minute bars, as `ideals`."""

    lottery: Lottery
    mean_R: np.ndarray
    slope_RK: np.ndarray

    def __call__(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return symbol and one estimate per style, sorted by symbol."""
        symbols, reading_SR = readings(bars, self.lottery)
        estimate_SK = (reading_SR - self.mean_R) @ self.slope_RK
        return pl.DataFrame({"symbol": symbols, **dict(zip(self.lottery.names, estimate_SK.T, strict=True))})


def ideal_reader(config: ExchangeConfig) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Return what estimates a configuration's styles from one session's bars: `ideals`, or a lottery's own reader."""
    lottery = styles_of(config)
    return ideals if lottery is None else lottery_ideals(lottery)


def lottery_ideals(lottery: Lottery, reference: ExchangeConfig = REFERENCE) -> LotteryIdeals:
    """Weigh a lottery's readings on a reference exchange."""
    parts = []
    for tables in simulate(reference, lottery):
        symbols, reading_SR = readings(tables.minute_bars, lottery)
        planted = pl.DataFrame({"symbol": symbols}).join(tables.styles, on="symbol", maintain_order="left")
        parts.append((reading_SR, planted.select(lottery.names).to_numpy()))
    reading_NR, style_NK = (np.vstack(part) for part in zip(*parts, strict=True))
    mean_R = reading_NR.mean(axis=0)
    scale_R = reading_NR.std(axis=0) + 1e-12
    standard_NR = (reading_NR - mean_R) / scale_R
    gram_RR = standard_NR.T @ standard_NR + RIDGE * np.eye(len(mean_R))
    slope_RK = np.linalg.solve(gram_RR, standard_NR.T @ (style_NK - style_NK.mean(axis=0)))
    return LotteryIdeals(lottery, mean_R, slope_RK / scale_R[:, None])


def readings(bars: pl.DataFrame, lottery: Lottery) -> tuple[list[str], np.ndarray]:
    """Return the sorted symbols of ONE session and one reading per style and channel, (S, R)."""
    symbols, rows = dense(bars)
    parts = [
        CHANNELS[name](rows, pattern_T[CONTINUOUS])
        for style in lottery.styles
        for name, pattern_T in style.patterns.items()
    ]
    return symbols, np.nan_to_num(np.column_stack(parts))


def volume(rows: dict[str, np.ndarray], pattern_C: np.ndarray) -> np.ndarray:
    """Slope of log volume over the U-shape along the pattern, beside surprises and the price, (S,)."""
    some_SC = rows["volume"] > LEAST_SHARES
    log_SC = np.log(np.where(some_SC, rows["volume"] - LEAST_SHARES, 1.0)) - np.log(VOLUME_C)
    price_SC = np.nan_to_num(rows["amount"] / np.where(rows["volume"] > 0, rows["volume"], 1.0))
    beside_SXC = np.stack([np.abs(news(rows)), price_SC], axis=1)
    return slope(log_SC, pattern_C, some_SC, beside_SXC, PRECISION_CC)


def side(rows: dict[str, np.ndarray], pattern_C: np.ndarray) -> np.ndarray:
    """Slope of the log ratio of bought and sold volume along the pattern, beside the minute's own return, (S,)."""
    return slope(imbalance(rows), pattern_C, rows["volume"] > 0, np.tanh(news(rows))[:, None])


def signed(rows: dict[str, np.ndarray], pattern_C: np.ndarray) -> np.ndarray:
    """Slope of the log ratio of bought and sold volume along the pattern times the minute's return, (S,)."""
    moves_SC = np.tanh(news(rows))
    return slope(imbalance(rows), pattern_C * moves_SC, rows["volume"] > 0, moves_SC[:, None])


def size(rows: dict[str, np.ndarray], pattern_C: np.ndarray) -> np.ndarray:
    """Tilt of large buyers' volume along the pattern within their side, less that of large sellers', (S,)."""
    tilts = [
        sign
        * exponential_tilt(
            np.nan_to_num(rows[f"{leg}_{name}_volume"]), np.nan_to_num(rows[f"{name}_volume"]), pattern_C
        )
        for name, sign in (("buy", 1.0), ("sell", -1.0))
        for leg in LEGS
    ]
    return np.asarray(np.mean(tilts, axis=0))


def cancels(rows: dict[str, np.ndarray], pattern_C: np.ndarray) -> np.ndarray:
    """Slope of log cancels over the U-shape along the pattern, (S,)."""
    some_SC = rows["cancel_volume"] > 0
    log_SC = np.log(np.where(some_SC, rows["cancel_volume"], 1.0)) - np.log(VOLUME_C)
    return slope(log_SC, pattern_C, some_SC)


def path(rows: dict[str, np.ndarray], pattern_C: np.ndarray) -> np.ndarray:
    """Slope of the minutes' returns on the wave that the pattern makes in this session, (S,)."""
    wave_SC = waves(np.broadcast_to(pattern_C, rows["high"].shape), *extremes(rows["high"], rows["low"]))
    along_SC = np.diff(wave_SC, axis=1, prepend=0.0) / np.sqrt(VARIANCE_C)
    return np.asarray((along_SC * news(rows)).sum(axis=1) / (np.square(along_SC).sum(axis=1) + 1e-9))


def momentum(rows: dict[str, np.ndarray], pattern_C: np.ndarray) -> np.ndarray:
    """Products of neighbouring minutes' returns along the pattern, (S,)."""
    news_SC = news(rows).clip(-3.0, 3.0)
    return np.asarray((news_SC[:, 1:] * news_SC[:, :-1]) @ pattern_C[1:])


def spread(rows: dict[str, np.ndarray], pattern_C: np.ndarray) -> np.ndarray:
    """Slope of the range beyond a minute's two closes along the pattern, in units of its mean, (S,)."""
    above_SC = (
        rows["high"] - np.fmax(rows["close"], rows["before"]) + np.fmin(rows["close"], rows["before"]) - rows["low"]
    )
    known_SC = np.isfinite(above_SC)
    return slope(np.where(known_SC, above_SC / np.nanmean(above_SC, axis=1, keepdims=True), 0.0), pattern_C, known_SC)


CHANNELS: dict[str, Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray]] = {
    "volume": volume,
    "side": side,
    "size": size,
    "cancels": cancels,
    "signed": signed,
    "path": path,
    "momentum": momentum,
    "spread": spread,
}
PRECISION_CC = np.linalg.inv(noise_covariance())


def news(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Return each minute's return in units of its usual deviation that day; 0 where it is absent, (S, C)."""
    return_SC = np.nan_to_num(np.log(rows["close"] / rows["before"])) / np.sqrt(VARIANCE_C)
    return np.asarray(return_SC / (np.sqrt(np.square(return_SC).mean(axis=1, keepdims=True)) + 1e-9))


def imbalance(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Return the log ratio of bought and sold volume, half a lot added to each, (S, C)."""
    bought_SC, sold_SC = (np.nan_to_num(rows[f"{name}_volume"]) + 50.0 for name in ("buy", "sell"))
    return np.asarray(np.log(bought_SC / sold_SC))


def slope(
    value_SC: np.ndarray,
    pattern_C: np.ndarray,
    known_SC: np.ndarray,
    beside_SXC: np.ndarray | None = None,
    precision_CC: np.ndarray | None = None,
) -> np.ndarray:
    """Slope of values on a pattern, (C,) or (S, C), beside a constant and other regressors, over known rows, (S,).

    `precision_CC`: of the values' noise; every row counts the same without it.
    """
    _symbols, _continuous = value_SC.shape
    columns = [np.broadcast_to(pattern_C, value_SC.shape), np.ones_like(value_SC)]
    columns += [] if beside_SXC is None else list(np.swapaxes(beside_SXC, 0, 1))
    design_SXC = np.stack(columns, axis=1) * known_SC[:, None]
    weighted_SXC = design_SXC if precision_CC is None else (design_SXC @ precision_CC) * known_SC[:, None]
    products_SXX = weighted_SXC @ np.swapaxes(design_SXC, 1, 2)
    scale_SXX = 1e-9 * np.trace(products_SXX, axis1=1, axis2=2)[:, None, None] + 1e-9
    right_SX1 = weighted_SXC @ (value_SC * known_SC)[:, :, None]
    return np.asarray(np.linalg.solve(products_SXX + scale_SXX * np.eye(len(columns)), right_SX1)[:, 0, 0])
