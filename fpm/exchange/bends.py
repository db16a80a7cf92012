"""Prices bent by a lottery's styles: the same day's open, high, low, close and mean price, another way between them.

Letters in array names: S symbols, T vendor rows of a session, C the continuous rows, Q conditions, P prices of a bar.
"""

from __future__ import annotations

import numpy as np

from fpm.exchange.prices import CONTINUOUS, VARIANCE_C, VARIANCE_T, VOLUME_C

MOST_MOMENTUM = 0.6  # autocorrelation of neighbouring minutes
TINY = 1e-9
CLOCK_C = np.cumsum(VARIANCE_C) - 0.5 * VARIANCE_C
BRIDGE_CC = np.minimum.outer(CLOCK_C, CLOCK_C) - np.outer(CLOCK_C, CLOCK_C)  # covariance of a Brownian bridge


def trends(step_ST: np.ndarray, correlation_ST: np.ndarray) -> np.ndarray:
    """Give a random walk's steps an autocorrelation that changes over the rows, (S, T).

    The steps sum to nearly the same path.
    """
    bounded_ST = correlation_ST.clip(-MOST_MOMENTUM, MOST_MOMENTUM)
    trended_ST = step_ST.copy()
    for row in range(CONTINUOUS.start + 1, CONTINUOUS.stop):
        share_S = bounded_ST[:, row]
        trended_ST[:, row] = share_S * trended_ST[:, row - 1] + (1.0 - share_S) * step_ST[:, row]
    return trended_ST


def bent_path(path_ST: np.ndarray, step_ST: np.ndarray, wave_SC: np.ndarray) -> np.ndarray:
    """Return a path of other steps and a wave, which leaves and meets `path_ST` at the calls, (S, T).

    `step_ST`: steps in units of a whole day's log return.
    """
    first, last = CONTINUOUS.start - 1, CONTINUOUS.stop - 1
    step_SC = (step_ST * np.sqrt(VARIANCE_T))[:, CONTINUOUS]
    miss_S1 = (path_ST[:, last] - path_ST[:, first] - step_SC.sum(axis=1))[:, None]
    bent_ST = path_ST.copy()
    bent_ST[:, CONTINUOUS] = path_ST[:, [first]] + np.cumsum(step_SC + miss_S1 * VARIANCE_C, axis=1) + wave_SC
    return bent_ST


def waves(pattern_SC: np.ndarray, high_S: np.ndarray, low_S: np.ndarray) -> np.ndarray:
    """Take out of patterns what a daily price would show, (S, C): they are 0 in the continuous rows of high and low.

    The mean over the day's volume is 0, too. What is taken out is what a random walk with these values would expect:
    the smallest change that does it.
    """
    mean_C = BRIDGE_CC @ VOLUME_C
    kernel_SQC = np.stack([BRIDGE_CC[high_S], BRIDGE_CC[low_S], np.broadcast_to(mean_C, pattern_SC.shape)], axis=1)
    values_SQQ = conditions(np.swapaxes(kernel_SQC, 1, 2), high_S, low_S)
    shown_SQ1 = conditions(pattern_SC[:, :, None], high_S, low_S)
    weight_SQ1 = np.linalg.solve(values_SQQ + TINY * np.eye(values_SQQ.shape[1]), shown_SQ1)
    return np.asarray(pattern_SC - (kernel_SQC * weight_SQ1).sum(axis=1))


def conditions(curve_SCN: np.ndarray, high_S: np.ndarray, low_S: np.ndarray) -> np.ndarray:
    """Return curves at the rows of high and low, and their mean over the day's volume, (S, Q, N)."""
    at = np.arange(len(curve_SCN))
    mean_SN = np.einsum("c,scn->sn", VOLUME_C, curve_SCN)
    return np.stack([curve_SCN[at, high_S], curve_SCN[at, low_S], mean_SN], axis=1)


def extremes(high_SC: np.ndarray, low_SC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of each symbol's highest and lowest price, (S,) each; absent rows are NaN."""
    return np.nan_to_num(high_SC, nan=-np.inf).argmax(axis=1), np.nan_to_num(low_SC, nan=np.inf).argmin(axis=1)


def keep_extremes(plain: dict[str, np.ndarray], bent: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the bent bars within the plain day's high and low, which the same rows reach as before, (S, T) each."""
    high_S1, low_S1 = plain["high"].max(axis=1, keepdims=True), plain["low"].min(axis=1, keepdims=True)
    kept = {name: price_ST.clip(low_S1, high_S1) for name, price_ST in bent.items()}
    kept["high"] = np.where(plain["high"] == high_S1, plain["high"], kept["high"])
    kept["low"] = np.where(plain["low"] == low_S1, plain["low"], kept["low"])
    return kept
