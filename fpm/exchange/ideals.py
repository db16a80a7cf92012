"""The best single-session readings of the synthetic exchange's styles: what an encoder could find at most.

They know the formula by which a style acts (clock, U-shape, sizes of the noise) and nothing of what was drawn: they
read one session's minute bars. Each is a likelihood estimate followed by its mean under the style's even prior.

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

BOUND = np.sqrt(3.0)  # styles are even between -BOUND and BOUND
GRID_POINTS, WOBBLE_POINTS = 97, 9
LEGS = ("xl", "l")
FEW_SHARES, FEW_MINUTES = 5, 10  # a minute with fewer shares is rounding, a session with fewer minutes tells nothing
NEWTON_STEPS = 12
# Standard error of a side's large-order reading, in units of the style: measured on 1,200 symbol-sessions.
DIRECTION_ERROR = 0.25
READ = ("high", "low", "close", "volume", "amount", "cancel_volume")
CLOCK_C = CLOCK_T[CONTINUOUS]


def ideals(bars: pl.DataFrame) -> pl.DataFrame:
    """Symbol and one estimate a style, for every symbol of ONE session of minute bars; sorted by symbol.

    `bars` as the exchange delivers them: symbol, minute (naive local END), prices, volume, amount and all flows. Absent
    minutes are left out of every sum.
    """
    symbols, rows = dense(bars)
    timing_S, together_S = volume_styles(rows)
    estimates = (timing_S, together_S, burstiness(rows), direction(rows))
    named = zip(STYLES, estimates, strict=True)
    return pl.DataFrame({"symbol": symbols, **{name: estimate_S for name, estimate_S in named}})


def dense(bars: pl.DataFrame) -> tuple[list[str], dict[str, np.ndarray]]:
    """The symbols, sorted, and every column over the continuous rows, (S, C), NaN where a minute is absent."""
    symbols = bars["symbol"].unique().sort().to_list()
    place = {minute: row for row, minute in enumerate(MINUTES)}
    minute = bars["minute"].dt.hour().cast(pl.Int32) * 60 + bars["minute"].dt.minute().cast(pl.Int32)
    row = minute.replace_strict(place, return_dtype=pl.Int64).to_numpy()
    at = bars["symbol"].cast(pl.Enum(symbols)).to_physical().to_numpy(), row
    legs = [f"{size}_{side}_volume" for size in LEGS for side in ("buy", "sell")]
    columns: dict[str, np.ndarray] = {}
    for name in (*READ, "buy_volume", "sell_volume", *legs):
        whole_ST = np.full((len(symbols), ROWS), np.nan)
        whole_ST[at] = bars[name].cast(pl.Float64).to_numpy()
        columns[name] = whole_ST[:, CONTINUOUS]
        if name == "close":
            columns["before"] = whole_ST[:, CONTINUOUS.start - 1 : CONTINUOUS.stop - 1]
    return symbols, columns


def posterior_mean(estimate_S: np.ndarray, error_S: np.ndarray, wobble: float = 0.0) -> np.ndarray:
    """Mean of a style, even a priori, given an estimate of it (or of it and its wobble) with a normal error, (S,)."""
    grid_G = np.linspace(-BOUND, BOUND, GRID_POINTS)
    shift_W1 = np.linspace(-wobble, wobble, WOBBLE_POINTS if wobble else 1)[:, None]
    error_S = np.minimum(error_S, 1e6)
    off_SWG = (estimate_S[:, None, None] - grid_G - shift_W1) / error_S[:, None, None]
    log_SWG = -0.5 * np.square(off_SWG)
    likelihood_SG = np.exp(log_SWG - log_SWG.max(axis=(1, 2), keepdims=True)).sum(axis=1)
    return np.asarray((likelihood_SG * grid_G).sum(axis=1) / likelihood_SG.sum(axis=1))


# --- volume: when, and with which moves -------------------------------------------------------------------------


def volume_styles(rows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Volume timing and co-movement by generalised least squares on log volume against the U-shape, (S,) each.

    The exchange keeps the mean price by a lean along the price, which follows from the styles: it is part of what they
    are seen by. Where the lean would be too large the tilt gives up what goes with the price instead.
    """
    traded_SC = rows["volume"] >= LEAST_SHARES + FEW_SHARES
    surprise_SC = expected_surprise(rows)
    free_SC = np.where(traded_SC, rows["volume"] - LEAST_SHARES, 1.0)
    log_SC = np.log(free_SC) - np.log(VOLUME_C) - SURPRISE_VOLUME * surprise_SC
    price_SC = np.where(traded_SC, rows["amount"] / np.where(traded_SC, rows["volume"], 1.0) * TICKS, 0.0)
    precision_CC = np.linalg.inv(noise_covariance())
    tape_SXC = np.stack([log_SC, surprise_SC, price_SC], axis=1)
    estimates = [
        _one_symbol(tape_XC, traded_C, precision_CC) for tape_XC, traded_C in zip(tape_SXC, traded_SC, strict=True)
    ]
    value_SK, error_SK = (np.array(part) for part in zip(*estimates, strict=True))
    timing_S, together_S = (posterior_mean(value_SK[:, k], error_SK[:, k]) for k in (0, 1))
    return timing_S, together_S


def noise_covariance() -> np.ndarray:
    """Of log volume between the minutes of a session: a white part and a trailing mean of white noise, (C, C)."""
    apart_CC = np.abs(np.subtract.outer(np.arange(len(VOLUME_C)), np.arange(len(VOLUME_C))))
    slow_CC = (1.0 - apart_CC / SLOW_WIDTH).clip(0.0)
    return np.asarray(VOLUME_NOISE**2 * np.eye(len(VOLUME_C)) + SLOW_NOISE**2 * slow_CC)


def expected_surprise(rows: dict[str, np.ndarray]) -> np.ndarray:
    """The minute's |return| against what the time of day makes usual, given closes rounded to ticks, (S, C)."""
    close_SC, before_SC = rows["close"], rows["before"]
    tick_SC = 1.0 / (TICKS * before_SC)
    return_SC = np.log(close_SC / before_SC)
    known_SC = np.isfinite(return_SC)
    return_SC, tick_SC = np.where(known_SC, return_SC, 0.0), np.where(known_SC, tick_SC, 1e-4)
    usual_SC = np.where(known_SC, VARIANCE_C, 0.0)
    excess_S = (np.square(return_SC) - np.square(tick_SC) / 6.0 * known_SC).sum(axis=1)
    level_S = np.sqrt(np.maximum(excess_S, 1e-8) / usual_SC.sum(axis=1))
    scale_SC = level_S[:, None] * np.sqrt(VARIANCE_C)
    total_SC, mass_SC = np.zeros_like(return_SC), np.zeros_like(return_SC)
    for off in np.linspace(-0.95, 0.95, 20):  # the true move lies within a tick of the printed one
        true_SC = (return_SC + off * tick_SC) / scale_SC
        weight_SC = (1.0 - abs(off)) * np.exp(-0.5 * np.square(true_SC).clip(0.0, 50.0))
        total_SC += weight_SC * surprise(true_SC)
        mass_SC += weight_SC
    return np.asarray(total_SC / mass_SC)


def _one_symbol(tape_XC: np.ndarray, traded_C: np.ndarray, precision_CC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and standard errors of one symbol's two volume styles, (2,) each, from log volume, surprise, price."""
    kept, absent = np.flatnonzero(traded_C), np.flatnonzero(~traded_C)
    if len(kept) < FEW_MINUTES:
        return np.zeros(2), np.full(2, np.inf)
    log, surprises, price = tape_XC[:, kept]
    # The precision among the minutes kept: what the absent ones told of them taken out (Schur complement).
    between = precision_CC[np.ix_(kept, absent)]
    among = np.linalg.solve(precision_CC[np.ix_(absent, absent)], between.T)
    precision = precision_CC[np.ix_(kept, kept)] - between @ among
    weight = VOLUME_C[kept] * np.exp(SURPRISE_VOLUME * surprises)
    weight /= weight.sum()
    along = np.stack([TIMING_TILT * CLOCK_C[kept], CO_MOVEMENT_TILT * surprises], axis=1)
    along = along - weight @ along
    price = price - weight @ price
    whole = (weight * price) @ along  # what a style of 1 would do to the mean price
    slopes = np.linalg.solve((weight[:, None] * along).T @ along, whole)
    aside = price - along @ slopes
    spread = np.sqrt(weight @ np.square(aside)) + 1e-9
    lean = -whole / max(weight @ np.square(aside), 1e-12) * spread  # per unit of style, along the unit aside
    value, error = _fit(along + np.outer(aside / spread, lean), log, precision)
    if abs(value @ lean) > MOST_LEAN:
        given_up = np.outer(price, whole / max(weight @ np.square(price), 1e-12))
        value, error = _fit(along - given_up, log, precision)
    return value, error


def _fit(along: np.ndarray, log: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Generalised least squares with an intercept: coefficients and standard errors, a faint prior against none."""
    design = np.column_stack([np.ones(len(log)), along])
    weighted = precision @ design
    spread = np.linalg.inv(design.T @ weighted + np.diag([0.0, 1e-3, 1e-3]))
    return (spread @ (weighted.T @ log))[1:], np.sqrt(np.diag(spread))[1:]


# --- cancels and large orders -----------------------------------------------------------------------------------


def burstiness(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Cancel bursts: spread of the log cancels against the U-shape, (S,)."""
    cancel_SC = rows["cancel_volume"]
    there_SC = cancel_SC > 0
    log_SC = np.where(there_SC, np.log(np.where(there_SC, cancel_SC, 1.0)) - np.log(VOLUME_C), 0.0)
    count_S = np.maximum(there_SC.sum(axis=1), 2)
    off_SC = (log_SC - (log_SC.sum(axis=1) / count_S)[:, None]) * there_SC
    sd_S = np.sqrt(np.square(off_SC).sum(axis=1) / (count_S - 1))
    error_S = sd_S / np.sqrt(2.0 * (count_S - 1.0)) / BURST_TILT + 1e-3
    return posterior_mean((sd_S - BURST_SD) / BURST_TILT, error_S, WOBBLE)


def direction(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Large-order direction: how early large buyers and how late large sellers act against all takers of their side."""
    readings = []
    for side, sign in (("buy", -1.0), ("sell", 1.0)):
        volume_SC = np.nan_to_num(rows[f"{side}_volume"])
        tilts = [sign * exponential_tilt(np.nan_to_num(rows[f"{size}_{side}_volume"]), volume_SC) for size in LEGS]
        readings.append(np.mean(tilts, axis=0) / LARGE_ORDER_TILT)
    both_S = np.mean(readings, axis=0)
    error_S = np.full(len(both_S), DIRECTION_ERROR / np.sqrt(2.0))
    return posterior_mean(both_S, error_S, WOBBLE / np.sqrt(2.0))


def exponential_tilt(part_SC: np.ndarray, whole_SC: np.ndarray) -> np.ndarray:
    """The tilt along the clock that turns the whole's mean volume time into the part's: maximum likelihood, (S,)."""
    mean_S = (part_SC * CLOCK_C).sum(axis=1) / np.maximum(part_SC.sum(axis=1), 1.0)
    tilt_S = np.zeros(len(mean_S))
    for _ in range(NEWTON_STEPS):
        weight_SC = whole_SC * np.exp(tilt_S[:, None] * CLOCK_C)
        weight_SC /= np.maximum(weight_SC.sum(axis=1, keepdims=True), 1e-300)
        now_S = (weight_SC * CLOCK_C).sum(axis=1)
        slope_S = (weight_SC * np.square(CLOCK_C)).sum(axis=1) - np.square(now_S)
        tilt_S = (tilt_S + ((mean_S - now_S) / np.maximum(slope_S, 1e-3)).clip(-0.6, 0.6)).clip(-3.0, 3.0)
    return np.where(part_SC.sum(axis=1) > 0.0, tilt_S, 0.0)
