"""The best single-session estimates of the synthetic exchange's styles: an upper bound for any encoder.

The estimates use the formulas by which the styles act (clock, U-shape, sizes of the noise) but none of the random
draws: they read one session's minute bars. Each is a maximum-likelihood estimate and then a mean under the style's
uniform prior.

Letters in array names: S symbols, C the continuous rows, G points of a grid, K styles.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from fpm.exchange.days import TICKS
from fpm.exchange.minutes import (
    LEAST_SHARES,
    SLOW_NOISE,
    SLOW_WIDTH,
    SURPRISE_VOLUME,
    VOLUME_NOISE,
)
from fpm.exchange.prices import CLOCK_T, CONTINUOUS, MINUTES, ROWS, VARIANCE_C, VOLUME_C, surprise
from fpm.exchange.spreads import MOST_LEAN
from fpm.exchange.styles import (
    BURST_SD,
    BURST_TILT,
    CO_MOVEMENT_TILT,
    LARGE_ORDER_TILT,
    STYLES,
    TIMING_TILT,
    WOBBLE,
)

BOUND = np.sqrt(3.0)  # styles are uniform between -BOUND and BOUND
GRID_POINTS, WOBBLE_POINTS = 97, 9
LEGS = ("xl", "l")
FEW_SHARES, FEW_MINUTES = 5, 10  # a minute needs more shares than rounding, a session enough minutes for a fit
NEWTON_STEPS = 12
# Standard error of one side's large-order estimate in units of the style, measured on 1,200 symbol-sessions.
DIRECTION_ERROR = 0.25
COLUMNS = ("high", "low", "close", "volume", "amount", "cancel_volume")
CLOCK_C = CLOCK_T[CONTINUOUS]


def ideals(bars: pl.DataFrame) -> pl.DataFrame:
    """Return symbol and one estimate per style for every symbol of ONE session of minute bars, sorted by symbol.

    `bars` has the exchange's columns: symbol, minute (naive local END), prices, volume, amount and all flows. Absent
    minutes are left out of every sum.
    """
    symbols, rows = dense(bars)
    timing_S, together_S = volume_styles(rows)
    estimates = (timing_S, together_S, burstiness(rows), direction(rows))
    return pl.DataFrame({"symbol": symbols, **dict(zip(STYLES, estimates, strict=True))})


def dense(bars: pl.DataFrame) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the sorted symbols and every column over the continuous rows, (S, C), NaN where a minute is absent."""
    symbols = bars["symbol"].unique().sort().to_list()
    row_of = {minute: row for row, minute in enumerate(MINUTES)}
    minute = bars["minute"].dt.hour().cast(pl.Int32) * 60 + bars["minute"].dt.minute().cast(pl.Int32)
    row = minute.replace_strict(row_of, return_dtype=pl.Int64).to_numpy()
    at = bars["symbol"].cast(pl.Enum(symbols)).to_physical().to_numpy(), row
    legs = [f"{size}_{side}_volume" for size in LEGS for side in ("buy", "sell")]
    columns: dict[str, np.ndarray] = {}
    for name in (*COLUMNS, "buy_volume", "sell_volume", *legs):
        whole_ST = np.full((len(symbols), ROWS), np.nan)
        whole_ST[at] = bars[name].cast(pl.Float64).to_numpy()
        columns[name] = whole_ST[:, CONTINUOUS]
        if name == "close":
            columns["before"] = whole_ST[:, CONTINUOUS.start - 1 : CONTINUOUS.stop - 1]
    return symbols, columns


def posterior_mean(estimate_S: np.ndarray, error_S: np.ndarray, wobble: float = 0.0) -> np.ndarray:
    """Return the mean of a style under its uniform prior, given an estimate with a normal error, (S,).

    `wobble`: half width of the uniform noise that the estimate also contains.
    """
    grid_G = np.linspace(-BOUND, BOUND, GRID_POINTS)
    shift_W1 = np.linspace(-wobble, wobble, WOBBLE_POINTS if wobble else 1)[:, None]
    error_S = np.minimum(error_S, 1e6)
    off_SWG = (estimate_S[:, None, None] - grid_G - shift_W1) / error_S[:, None, None]
    log_SWG = -0.5 * np.square(off_SWG)
    likelihood_SG = np.exp(log_SWG - log_SWG.max(axis=(1, 2), keepdims=True)).sum(axis=1)
    return np.asarray((likelihood_SG * grid_G).sum(axis=1) / likelihood_SG.sum(axis=1))


# --- volume: timing and co-movement -----------------------------------------------------------------------------


def volume_styles(rows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Estimate volume timing and co-movement by generalised least squares on log volume over the U-shape, (S,) each.

    The exchange keeps the mean price by a lean along the price. The styles determine that lean, so the regression uses
    it too. If the lean would be too large, the tilt gives up its part along the price instead.
    """
    traded_SC = rows["volume"] >= LEAST_SHARES + FEW_SHARES
    surprise_SC = expected_surprise(rows)
    free_SC = np.where(traded_SC, rows["volume"] - LEAST_SHARES, 1.0)
    log_SC = np.log(free_SC) - np.log(VOLUME_C) - SURPRISE_VOLUME * surprise_SC
    price_SC = np.where(traded_SC, rows["amount"] / np.where(traded_SC, rows["volume"], 1.0) * TICKS, 0.0)
    precision_CC = np.linalg.inv(noise_covariance())
    inputs_SXC = np.stack([log_SC, surprise_SC, price_SC], axis=1)
    estimates = [
        _one_symbol(inputs_XC, traded_C, precision_CC)
        for inputs_XC, traded_C in zip(inputs_SXC, traded_SC, strict=True)
    ]
    value_SK, error_SK = (np.array(part) for part in zip(*estimates, strict=True))
    timing_S, together_S = (posterior_mean(value_SK[:, k], error_SK[:, k]) for k in (0, 1))
    return timing_S, together_S


def noise_covariance() -> np.ndarray:
    """Return the covariance of log volume between minutes: white noise plus a trailing mean of white noise, (C, C)."""
    apart_CC = np.abs(np.subtract.outer(np.arange(len(VOLUME_C)), np.arange(len(VOLUME_C))))
    slow_CC = (1.0 - apart_CC / SLOW_WIDTH).clip(0.0)
    return np.asarray(VOLUME_NOISE**2 * np.eye(len(VOLUME_C)) + SLOW_NOISE**2 * slow_CC)


def expected_surprise(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Return each minute's |return| relative to its usual size, corrected for the rounding of closes, (S, C)."""
    close_SC, before_SC = rows["close"], rows["before"]
    tick_SC = 1.0 / (TICKS * before_SC)
    return_SC = np.log(close_SC / before_SC)
    finite_SC = np.isfinite(return_SC)
    return_SC, tick_SC = np.where(finite_SC, return_SC, 0.0), np.where(finite_SC, tick_SC, 1e-4)
    usual_SC = np.where(finite_SC, VARIANCE_C, 0.0)
    excess_S = (np.square(return_SC) - np.square(tick_SC) / 6.0 * finite_SC).sum(axis=1)
    level_S = np.sqrt(np.maximum(excess_S, 1e-8) / usual_SC.sum(axis=1))
    scale_SC = level_S[:, None] * np.sqrt(VARIANCE_C)
    total_SC, mass_SC = np.zeros_like(return_SC), np.zeros_like(return_SC)
    for off in np.linspace(-0.95, 0.95, 20):  # the true move lies within one tick of the recorded one
        true_SC = (return_SC + off * tick_SC) / scale_SC
        weight_SC = (1.0 - abs(off)) * np.exp(-0.5 * np.square(true_SC).clip(0.0, 50.0))
        total_SC += weight_SC * surprise(true_SC)
        mass_SC += weight_SC
    return np.asarray(total_SC / mass_SC)


def _one_symbol(inputs_XC: np.ndarray, traded_C: np.ndarray, precision_CC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate one symbol's volume styles from log volume, surprise, price; values and standard errors, (2,) each."""
    present, absent = np.flatnonzero(traded_C), np.flatnonzero(~traded_C)
    if len(present) < FEW_MINUTES:
        return np.zeros(2), np.full(2, np.inf)
    log, surprises, price = inputs_XC[:, present]
    # The precision among the present minutes, with the absent ones marginalised out (Schur complement).
    between = precision_CC[np.ix_(present, absent)]
    among = np.linalg.solve(precision_CC[np.ix_(absent, absent)], between.T)
    precision = precision_CC[np.ix_(present, present)] - between @ among
    weight = VOLUME_C[present] * np.exp(SURPRISE_VOLUME * surprises)
    weight /= weight.sum()
    along = np.stack([TIMING_TILT * CLOCK_C[present], CO_MOVEMENT_TILT * surprises], axis=1)
    along = along - weight @ along
    price = price - weight @ price
    whole = (weight * price) @ along  # change of the mean price per unit of style
    slopes = np.linalg.solve((weight[:, None] * along).T @ along, whole)
    aside = price - along @ slopes
    spread = np.sqrt(weight @ np.square(aside)) + 1e-9
    lean = -whole / max(weight @ np.square(aside), 1e-12) * spread  # per unit of style, along the unit-variance aside
    value, error = _fit(along + np.outer(aside / spread, lean), log, precision)
    if abs(value @ lean) > MOST_LEAN:
        along_price = np.outer(price, whole / max(weight @ np.square(price), 1e-12))
        value, error = _fit(along - along_price, log, precision)
    return value, error


def _fit(along: np.ndarray, log: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit generalised least squares with an intercept and a weak prior; coefficients and standard errors, (2,) each."""
    design = np.column_stack([np.ones(len(log)), along])
    weighted = precision @ design
    spread = np.linalg.inv(design.T @ weighted + np.diag([0.0, 1e-3, 1e-3]))
    return (spread @ (weighted.T @ log))[1:], np.sqrt(np.diag(spread))[1:]


# --- cancels and large orders -----------------------------------------------------------------------------------


def burstiness(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Estimate cancel bursts from the sd of log cancels over the U-shape, (S,)."""
    cancel_SC = rows["cancel_volume"]
    some_SC = cancel_SC > 0
    log_SC = np.where(some_SC, np.log(np.where(some_SC, cancel_SC, 1.0)) - np.log(VOLUME_C), 0.0)
    count_S = np.maximum(some_SC.sum(axis=1), 2)
    off_SC = (log_SC - (log_SC.sum(axis=1) / count_S)[:, None]) * some_SC
    sd_S = np.sqrt(np.square(off_SC).sum(axis=1) / (count_S - 1))
    error_S = sd_S / np.sqrt(2.0 * (count_S - 1.0)) / BURST_TILT + 1e-3
    return posterior_mean((sd_S - BURST_SD) / BURST_TILT, error_S, WOBBLE)


def direction(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Estimate large-order direction: how early large buyers and how late large sellers act within their side, (S,)."""
    readings = []
    for side, sign in (("buy", -1.0), ("sell", 1.0)):
        volume_SC = np.nan_to_num(rows[f"{side}_volume"])
        tilts = [sign * exponential_tilt(np.nan_to_num(rows[f"{size}_{side}_volume"]), volume_SC) for size in LEGS]
        readings.append(np.mean(tilts, axis=0) / LARGE_ORDER_TILT)
    both_S = np.mean(readings, axis=0)
    error_S = np.full(len(both_S), DIRECTION_ERROR / np.sqrt(2.0))
    return posterior_mean(both_S, error_S, WOBBLE / np.sqrt(2.0))


def exponential_tilt(part_SC: np.ndarray, whole_SC: np.ndarray, along_C: np.ndarray = CLOCK_C) -> np.ndarray:
    """Estimate by maximum likelihood the tilt along a pattern that turns the whole flow into the part, (S,).

    It equates the means of the pattern over both, by Newton's method.
    """
    mean_S = (part_SC * along_C).sum(axis=1) / np.maximum(part_SC.sum(axis=1), 1.0)
    tilt_S = np.zeros(len(mean_S))
    for _ in range(NEWTON_STEPS):
        weight_SC = whole_SC * np.exp(tilt_S[:, None] * along_C)
        weight_SC /= np.maximum(weight_SC.sum(axis=1, keepdims=True), 1e-300)
        now_S = (weight_SC * along_C).sum(axis=1)
        slope_S = (weight_SC * np.square(along_C)).sum(axis=1) - np.square(now_S)
        tilt_S = (tilt_S + ((mean_S - now_S) / np.maximum(slope_S, 1e-3)).clip(-0.6, 0.6)).clip(-3.0, 3.0)
    return np.where(part_SC.sum(axis=1) > 0.0, tilt_S, 0.0)
