"""Covariance of the factors from their returns: exponential weights, noise taken off, steps that are switches.

Shapes: T sessions, oldest first; K factors; L lags; M simulations. Every matrix returned is positive semi-definite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpm.risk.styles import half_life_weights

if TYPE_CHECKING:
    from fpm.panels import Floats

FLOOR = 0.1  # share of a factor's variance that is left at least when noise is taken off
EIGEN_SCALE = 1.4  # tails of real returns: Menchero, Wang, Orr 2012, section 4


def ewma_mean(x_TN: Floats, half_life: float) -> Floats:
    """Mean over sessions, the newest weighing most; NaN is left out, and a column of NaN is NaN."""
    weight_T1 = half_life_weights(len(x_TN), half_life)[::-1, None] * np.isfinite(x_TN)
    total_N = weight_T1.sum(axis=0)
    mean_N = (weight_T1 * np.nan_to_num(x_TN)).sum(axis=0)
    return np.where(total_N > 0, mean_N / np.maximum(total_N, 1e-300), np.nan)


def ewma_correlation(x_TK: Floats, half_life: float, lags: int = 0) -> Floats:
    """Correlation (K, K) of returns about zero, exponentially weighted; `lags` as in `newey_west`.

    A session without a factor's return adds nothing to its correlations, which leads towards 0.
    """
    return _correlation(newey_west(x_TK, half_life, lags))


def newey_west(x_TK: Floats, half_life: float, lags: int) -> Floats:
    """Second moments (K, K) with Bartlett weights for serial correlation: Γ0 + Σ_l (1 - l/(L + 1)) (Γl + Γlᵀ).

    Newey and West 1987, "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent covariance
    matrix". Weighted returns are lagged, not weighted lags, which keeps the matrix positive semi-definite.
    """
    weight_T = half_life_weights(len(x_TK), half_life)[::-1]
    known_TK = np.isfinite(x_TK)
    total_K = np.maximum(weight_T @ known_TK, 1e-300)
    scaled_TK = np.nan_to_num(x_TK) * np.sqrt(weight_T)[:, None] / np.sqrt(total_K)
    moment_KK = scaled_TK.T @ scaled_TK
    for lag in range(1, min(lags, len(x_TK) - 1) + 1):
        lagged_KK = scaled_TK[lag:].T @ scaled_TK[:-lag]
        moment_KK += (1 - lag / (lags + 1)) * (lagged_KK + lagged_KK.T)
    return np.asarray(moment_KK, dtype=np.float64)


def factor_covariance(
    return_TK: Floats,
    noise_TK: Floats | None,
    half_lives: tuple[float, float],
    lags: int = 0,
) -> Floats:
    """Covariance (K, K) of a session's factor returns; NaN rows for factors without any return.

    `half_lives`: of volatilities and of correlations. `noise_TK`: variance of the estimation errors, whose mean under
    the volatilities' weights is taken off the variances (down to `FLOOR` of them); None leaves it in. Correlations stay
    as estimated, so the matrix stays positive semi-definite.
    """
    volatility, correlation = half_lives
    variance_K = np.diag(newey_west(return_TK, volatility, lags))
    variance_K = np.where(np.isfinite(return_TK).any(axis=0), variance_K, np.nan)
    if noise_TK is not None:
        variance_K = np.maximum(variance_K - ewma_mean(noise_TK, volatility), FLOOR * variance_K)
    deviation_K = np.sqrt(variance_K)
    return np.outer(deviation_K, deviation_K) * ewma_correlation(return_TK, correlation, lags)


def eigenfactor_adjusted(
    covariance_KK: Floats, half_life: float, sessions: int, draws: int, seed: int, scale: float = EIGEN_SCALE
) -> Floats:
    """Covariance whose eigenportfolios have the variance that simulation says they will turn out to have.

    Menchero, Wang, Orr 2012, "Improving risk forecasts for optimized portfolios", Financial Analysts Journal 68(3):
    samples of `sessions` normal returns drawn from the covariance are estimated with the same weights; v² is the mean
    ratio of true to estimated variance of each estimated eigenfactor, and its excess over 1 is multiplied by `scale`.
    """
    value_K, vector_KK = np.linalg.eigh(covariance_KK)
    value_K = np.maximum(value_K, 0.0)
    weight_T = half_life_weights(sessions, half_life)[::-1]
    root_T1 = np.sqrt(weight_T / weight_T.sum())[:, None]
    random, ratio_K = np.random.default_rng(seed), np.zeros(len(value_K))
    for _ in range(draws):
        sample_TK = random.standard_normal((sessions, len(value_K))) * np.sqrt(value_K) * root_T1
        estimate_K, own_KK = np.linalg.eigh(sample_TK.T @ sample_TK)
        true_K = np.square(own_KK).T @ value_K
        ratio_K += np.where(estimate_K > 1e-14 * value_K.max(), true_K / np.maximum(estimate_K, 1e-300), 1.0) / draws
    factor_K = 1 + scale * (np.sqrt(ratio_K) - 1)
    return np.asarray(vector_KK * (np.square(factor_K) * value_K) @ vector_KK.T, dtype=np.float64)


def regime_multiplier(surprise_T: Floats, half_life: float) -> float:
    """Factor on variances: the weighted mean of `surprise_T`, cross-sectional means of squared realised / predicted.

    Menchero, Orr, Wang 2011, section 4.5 (volatility regime adjustment). 1 where nothing is known.
    """
    mean = ewma_mean(surprise_T[:, None], half_life)[0]
    return float(mean) if np.isfinite(mean) and mean > 0 else 1.0


def surprise(x_TN: Floats, half_life: float, start: int) -> Floats:
    """Squared realised over predicted, summed over the columns, by session (T,); NaN before `start`.

    Σ_n x²/v ÷ Σ_n σ²/v with σ² the exponentially weighted variance known the session before and v the one of the whole
    window, which weighs columns alike. A ratio of sums, not Menchero's mean of ratios: the latter is above 1 for tails
    alone, because σ² is an estimate in the denominator.
    """
    decay, out_T = 0.5 ** (1 / half_life), np.full(len(x_TN), np.nan)
    square_TN = np.square(x_TN)
    typical_N = ewma_mean(square_TN, half_life) if len(x_TN) else np.empty(0)
    scale_N = np.divide(1.0, typical_N, out=np.zeros_like(typical_N), where=typical_N > 0)
    total_N, weight_N = np.zeros(len(scale_N)), np.zeros(len(scale_N))
    for t, square_N in enumerate(square_TN):
        known_N = np.isfinite(square_N)
        both_N = known_N & (total_N > 0)
        if t >= start and both_N.any():
            predicted_N = total_N[both_N] / weight_N[both_N] * scale_N[both_N]
            out_T[t] = (square_N[both_N] * scale_N[both_N]).sum() / predicted_N.sum()
        total_N = decay * total_N + np.where(known_N, square_N, 0.0)
        weight_N = decay * weight_N + known_N
    return out_T


def serial_ratio(x_TN: Floats, half_life: float, horizon: int) -> float:
    """Variance of returns over `horizon` sessions, over `horizon` times that of one: one ratio for all columns.

    1 + 2 Σ_l (1 - l / horizon) r_l, whose weights are Newey and West's with horizon - 1 lags, and Lo and MacKinlay's
    (1988, "Stock market prices do not follow random walks"). The r_l are pooled over the columns, each scaled by its
    own variance, because a name's own serial correlation is mostly noise. At least 1: the bounce of closes between bid
    and ask looks like returns that come back, and is no reason to expect less risk.
    """
    decay_T1 = half_life_weights(len(x_TN), half_life)[::-1, None]
    variance_N = ewma_mean(np.square(x_TN), half_life)
    scale_N = np.divide(1.0, np.sqrt(variance_N), out=np.zeros_like(variance_N), where=variance_N > 0)
    scaled_TN = np.nan_to_num(x_TN) * scale_N
    ratio = 1.0
    for lag in range(1, min(horizon, len(x_TN))):
        pair_TN = np.isfinite(x_TN[lag:]) & np.isfinite(x_TN[:-lag])
        total = float((decay_T1[lag:] * pair_TN).sum())
        product = float((decay_T1[lag:] * scaled_TN[lag:] * scaled_TN[:-lag]).sum())
        ratio += 2 * (1 - lag / horizon) * product / total if total > 0 else 0.0
    return max(ratio, 1.0)


def _correlation(moment_KK: Floats) -> Floats:
    """Moments over the deviations of their diagonal; 1 on the diagonal and 0 elsewhere where a variance is 0."""
    deviation_K = np.sqrt(np.maximum(np.diag(moment_KK), 0.0))
    scale_K = np.divide(1.0, deviation_K, out=np.zeros_like(deviation_K), where=deviation_K > 0)
    correlation_KK = moment_KK * np.outer(scale_K, scale_K)
    return np.where(np.eye(len(deviation_K)) > 0, 1.0, correlation_KK)
