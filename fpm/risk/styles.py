"""The six CNE5 styles of every name and session: size, beta, momentum, residual volatility, liquidity, non-linear size.

Formulas: Menchero, Orr, Wang 2011, "The Barra US Equity Model (USE4): Methodology Notes", section 3; Orr, Mashtaler,
Nagy 2012, "The Barra China Equity Model (CNE5): Empirical Notes", appendix A (descriptors and their weights).

One form serves a night and a backtest: `styles(panel, first)` gives the sessions from `first` on and reads what lies
before. A row depends on its own `HISTORY` sessions alone; the order in which
sums are taken, and so the last digits, depends on how many sessions are asked for.
Shapes: T sessions, N symbols, S styles, W sessions of a window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpm.cross_section import mad_winsorise, z_score
from fpm.risk.market_panel import weighted_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.panels import Floats
    from fpm.risk.market_panel import MarketPanel

MONTH, MONTHS, YEAR = 21, 12, 252
BETA_HALF_LIFE = 63
DEVIATION_HALF_LIFE = 42  # DASTD
MOMENTUM_WINDOW, MOMENTUM_HALF_LIFE, MOMENTUM_LAG = 504, 126, 21
RESIDUAL_VOLATILITY = (0.74, 0.16, 0.10)  # DASTD, CMRA, HSIGMA
LIQUIDITY = ((0.35, 21), (0.35, 63), (0.30, 252))  # weight and sessions of STOM, STOQ, STOA
MINIMUM = 10  # returns below which beta and volatility of a name count as unknown
HISTORY = MOMENTUM_WINDOW + MOMENTUM_LAG + 1  # sessions that a row reads: its own, and one before for the sizes


def half_life_weights(window: int, half_life: float) -> Floats:
    """Weights (W,), newest first: 1 for the session itself, half as much `half_life` sessions before."""
    return np.asarray(0.5 ** (np.arange(window) / half_life), dtype=np.float64)


def styles(panel: MarketPanel, first: int = 0) -> Floats:
    """Exposures (T - first, N, S) of the sessions from number `first` on, each known at its session's close.

    Each descriptor is winsorised (median ± 3 robust deviations) and scaled; a style has mean 0 over the market,
    weighted by size, and standard deviation 1 over the names. Missing: a descriptor left out of a style passes its
    weight to the others; a style with none (a new listing's beta) is 0, the market's mean. Days without a return count
    as the market's return for momentum. Names without any bar so far have 0 in every style.
    """
    cap_TN = np.nan_to_num(panel.cap_TN[first:])
    root_TN = np.sqrt(cap_TN)
    with np.errstate(divide="ignore"):
        size_TN = _standard(_clipped(np.where(cap_TN > 0, np.log(cap_TN), np.nan)), cap_TN)
    beta_TN, hsigma_TN = market_regression(panel, first)
    beta_TN = _standard(_clipped(beta_TN), cap_TN)
    volatility = (_deviation(panel, first), cumulative_range(panel, first), hsigma_TN)
    volatility_TN = _blend(volatility, RESIDUAL_VOLATILITY)
    liquidity_TN = _blend(
        [_log_turnover(panel, window, first) for _, window in LIQUIDITY], [weight for weight, _ in LIQUIDITY]
    )
    cube_TN = _clipped(np.where(cap_TN > 0, size_TN**3, np.nan))
    columns = (
        size_TN,
        beta_TN,
        _standard(_clipped(momentum(panel, first)), cap_TN),
        _standard(orthogonal(volatility_TN, (beta_TN, size_TN), root_TN), cap_TN),
        _standard(liquidity_TN, cap_TN),
        _standard(orthogonal(cube_TN, (size_TN,), root_TN), cap_TN),
    )
    return np.nan_to_num(np.stack(columns, axis=2))


def market_regression(panel: MarketPanel, first: int = 0) -> tuple[Floats, Floats]:
    """Beta to the size-weighted market and the deviation of its residual (HSIGMA), both (T - first, N).

    Weighted least squares over 252 sessions, half-life 63, over each name's own sessions; NaN below `MINIMUM` returns.
    """
    weight_W = half_life_weights(YEAR, BETA_HALF_LIFE)
    return_TN, market_T1, first = _recent(panel, first)
    known_TN, own_TN = np.isfinite(return_TN), np.nan_to_num(return_TN)

    def mean(x_TN: Floats) -> Floats:
        return weighted_sums(x_TN, weight_W, first) / total_TN

    total_TN = np.maximum(weighted_sums(known_TN.astype(float), weight_W, first), 1e-300)
    own, theirs = mean(own_TN), mean(known_TN * market_T1)
    variance = mean(known_TN * market_T1**2) - theirs**2
    covariance = mean(own_TN * market_T1) - own * theirs
    beta_TN = covariance / np.where(variance > 1e-12, variance, np.nan)
    rest_TN = mean(own_TN**2) - own**2 - beta_TN * covariance
    enough_TN = _count(known_TN, first) >= MINIMUM
    return np.where(enough_TN, beta_TN, np.nan), np.where(enough_TN, np.sqrt(np.maximum(rest_TN, 0)), np.nan)


def momentum(panel: MarketPanel, first: int = 0) -> Floats:
    """RSTR: weighted sum of log returns beyond the market's, 504 sessions, half-life 126, ending 21 sessions ago."""
    weight_W = half_life_weights(MOMENTUM_WINDOW, MOMENTUM_HALF_LIFE)
    lagged_W = np.concatenate([np.zeros(MOMENTUM_LAG), weight_W])
    return np.where(panel.age_TN[first:] > MOMENTUM_LAG, weighted_sums(panel.log_excess_TN, lagged_W, first), np.nan)


def cumulative_range(panel: MarketPanel, first: int = 0) -> Floats:
    """CMRA: range of the cumulative log return beyond the market's over the last 1, 2 … 12 months of 21 sessions."""
    total_TN = np.cumsum(np.nan_to_num(panel.log_excess_TN), axis=0)
    rows = np.arange(first, len(total_TN))
    highest = np.full((len(rows), total_TN.shape[1]), -np.inf)
    lowest = -highest
    for month in range(1, MONTHS + 1):
        start = rows - month * MONTH
        before = np.where(start[:, None] >= 0, total_TN[np.maximum(start, 0)], 0.0)
        highest, lowest = np.maximum(highest, total_TN[rows] - before), np.minimum(lowest, total_TN[rows] - before)
    return np.where(panel.age_TN[first:] >= 2 * MONTH, highest - lowest, np.nan)


def orthogonal(y_TN: Floats, regressors: Sequence[Floats], weight_TN: Floats) -> Floats:
    """`y_TN` less its weighted regression on a constant and `regressors`, session by session; NaN stays NaN."""
    known_TN = np.isfinite(y_TN)
    x_TNR = np.stack([np.ones_like(y_TN), *map(np.nan_to_num, regressors)], axis=2)
    weight_TN1 = np.where(known_TN, weight_TN, 0.0)[:, :, None]
    left_TRR = np.swapaxes(x_TNR * weight_TN1, 1, 2) @ x_TNR
    right_TR1 = np.swapaxes(x_TNR * weight_TN1, 1, 2) @ np.nan_to_num(y_TN)[:, :, None]
    slope_TR1 = np.linalg.pinv(left_TRR, hermitian=True) @ right_TR1
    return y_TN - (x_TNR @ slope_TR1)[:, :, 0]


def _recent(panel: MarketPanel, first: int) -> tuple[Floats, Floats, int]:
    """Returns (T, N) and the market's (T, 1) that a year's windows from session `first` on read, and its new number."""
    unread = max(0, first - YEAR + 1)
    return panel.return_TN[unread:], panel.market_T()[unread:, None], first - unread


def _deviation(panel: MarketPanel, first: int) -> Floats:
    """DASTD: standard deviation of returns beyond the market's, 252 sessions, half-life 42."""
    weight_W = half_life_weights(YEAR, DEVIATION_HALF_LIFE)
    return_TN, market_T1, first = _recent(panel, first)
    known_TN, excess_TN = np.isfinite(return_TN), np.nan_to_num(return_TN - market_T1)
    total = np.maximum(weighted_sums(known_TN.astype(float), weight_W, first), 1e-300)
    mean = weighted_sums(excess_TN, weight_W, first) / total
    variance = weighted_sums(excess_TN**2, weight_W, first) / total - mean**2
    return np.where(_count(known_TN, first) >= MINIMUM, np.sqrt(np.maximum(variance, 0)), np.nan)


def _log_turnover(panel: MarketPanel, window: int, first: int) -> Floats:
    """Log of the mean turnover of a session over the window, over the sessions since the first bar; NaN without any."""
    unread = max(0, first - window + 1)
    turnover_TN, first = panel.turnover_TN[unread:], first - unread
    count = weighted_sums(np.isfinite(turnover_TN).astype(float), np.ones(window), first)
    mean = weighted_sums(turnover_TN, np.ones(window), first) / np.maximum(count, 1)
    with np.errstate(divide="ignore"):
        return np.where(mean > 0, np.log(mean), np.nan)


def _count(known_TN: Floats, first: int) -> Floats:
    return weighted_sums(known_TN.astype(float), np.ones(YEAR), first)


def _clipped(x_TN: Floats) -> Floats:
    return mad_winsorise(x_TN.T).T


def _blend(descriptors: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Weighted mean of winsorised z-scores over the descriptors that a name has; NaN where it has none."""
    scored = [z_score(_clipped(x_TN).T).T for x_TN in descriptors]
    total = sum(weight * np.isfinite(x_TN) for weight, x_TN in zip(weights, scored, strict=True))
    value = sum(weight * np.nan_to_num(x_TN) for weight, x_TN in zip(weights, scored, strict=True))
    return np.asarray(value / np.where(total > 0, total, np.nan), dtype=np.float64)


def _standard(x_TN: Floats, cap_TN: Floats) -> Floats:
    """Mean 0 weighted by size and standard deviation 1 over the names; 0 where all are equal, 0 where unknown."""
    known_TN = np.isfinite(x_TN)
    weight_TN = np.where(known_TN, cap_TN, 0.0)
    total_T1 = weight_TN.sum(axis=1, keepdims=True)
    centre_T1 = (weight_TN * np.nan_to_num(x_TN)).sum(axis=1, keepdims=True) / np.where(total_T1 > 0, total_T1, 1.0)
    centred_TN = np.where(known_TN, np.nan_to_num(x_TN) - centre_T1, 0.0)
    count_T1 = np.maximum(known_TN.sum(axis=1, keepdims=True), 1)
    spread_TN = np.where(known_TN, centred_TN - centred_TN.sum(axis=1, keepdims=True) / count_T1, 0.0)
    deviation_T1 = np.sqrt(np.square(spread_TN).sum(axis=1, keepdims=True) / count_T1)
    largest_T1 = np.abs(np.nan_to_num(x_TN)).max(axis=1, keepdims=True, initial=0.0)
    flat_T1 = deviation_T1 <= 1e-10 * largest_T1
    return np.where(flat_T1, 0.0, centred_TN / np.where(flat_T1 | (deviation_T1 == 0), 1.0, deviation_T1))
