"""The risk model of a session from the factor returns and residuals before it, and the settings of its estimation.

Shapes: T sessions, N symbols, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fpm.risk.covariance import (
    eigenfactor_adjusted,
    ewma_mean,
    factor_covariance,
    regime_multiplier,
    serial_ratio,
    surprise,
)
from fpm.risk.factor_returns import COUNTRY, INDUSTRY, SCORE, factor_names
from fpm.risk.history import FactorHistory, factor_history, session_exposures, style_walk
from fpm.risk.model import RiskModel
from fpm.risk.specific import corrected_residuals, shrunk, specific_variance
from fpm.schema import STYLES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fpm.panels import Floats
    from fpm.risk.market_panel import MarketPanel

# Daily deviations where nothing is known: a market of 19 % a year, industries of 10 %, styles of 5 %, names of 32 %.
PRIOR_COUNTRY, PRIOR_INDUSTRY, PRIOR_STYLE, PRIOR_SPECIFIC = 0.012, 0.006, 0.003, 0.02
# A book is decided once a week and the score ages: one of five sessions' returns has lost its part linearly when the
# next decision is filled. At exposures of 0.8, 0.6, 0.4, 0.2 and 0 what it earns varies by 0.08 of the squared premium.
AGEING = 0.08
TRAITS = (STYLES.index("size"), STYLES.index("residual_volatility"))  # explain specific volatility of new names


@dataclass(frozen=True)
class RiskConfig:
    """Settings of the estimation; windows and half-lives in sessions.

    `window`, `specific_window`: sessions read. `volatility`, `correlation`, `specific`: half-lives. `seasoned`: returns
    before a name enters a regression. `few`, `enough`: residuals up to which a name's specific variance is structural,
    and from which it is its own. `minimum`: sessions of factor returns from which the prior no longer counts.
    `horizon`: sessions that a forecast is of; variances are per session, specific ones with the residuals' serial
    correlation where it is above 1.
    `ageing`: share of the score's squared premium that is risk, 0 for none: see `AGEING`.
    Switches: `leverage` correction of the residuals, estimation `noise` taken off, the `score` as a factor;
    `newey_west` lags, `eigenfactor` draws, `regime` half-life and specific `shrinkage`, 0 for off.
    """

    window: int = 504
    specific_window: int = 378
    volatility: float = 84.0
    correlation: float = 252.0
    specific: float = 168.0
    seasoned: int = 21
    few: int = 10
    enough: int = 63
    minimum: int = 63
    horizon: int = 1
    ageing: float = AGEING
    leverage: bool = True
    noise: bool = True
    score: bool = True
    newey_west: int = 0
    eigenfactor: int = 0
    regime: float = 5.0
    shrinkage: float = 0.05
    seed: int = 0


PRESETS = {
    "default": RiskConfig(),
    "demo": RiskConfig(window=126, specific_window=126, enough=42, minimum=42),
    "short": RiskConfig(window=63, specific_window=63, seasoned=5, few=5, enough=15, minimum=15),
    "tiny": RiskConfig(window=20, specific_window=20, seasoned=2, few=3, enough=8, minimum=8),
}


def risk_model(
    history: FactorHistory, exposure_NK: Floats, cap_N: Floats, config: RiskConfig = PRESETS["default"]
) -> RiskModel:
    """Risk model of the names of `history`, whose last session is the newest known.

    `exposure_NK`: exposures of the session, columns as `history.factors`. `cap_N`: sizes, for the switch `shrinkage`.
    Every number is finite: a factor without returns has its prior, fewer than `minimum` sessions mix prior and
    estimate, and an empty history gives the prior alone (see `specific_variance` for names).
    """
    history = history.until(len(history.sessions), config.window)
    covariance_KK = _factor_covariance(history, config)
    style = [history.factors.index(STYLES[column]) for column in TRAITS]
    specific_N = _specific_variance(history, exposure_NK[:, style], cap_N, config)
    present_K = np.array(
        [
            exposure_N.any() or not name.startswith(INDUSTRY)
            for exposure_N, name in zip(exposure_NK.T, history.factors, strict=True)
        ]
    )
    names = tuple(name for name, present in zip(history.factors, present_K, strict=True) if present)
    return RiskModel(
        history.symbols, names, exposure_NK[:, present_K], covariance_KK[np.ix_(present_K, present_K)], specific_N
    )


def risk_models(
    panel: MarketPanel,
    numbers: Collection[int],
    score_TN: Floats | None = None,
    config: RiskConfig = PRESETS["default"],
) -> Iterator[tuple[int, RiskModel]]:
    """(Number of the session, its risk model) for the given sessions of a panel, in order: the form for backtests."""
    score_TN = score_TN if config.score else None
    history = factor_history(panel, score_TN, config.seasoned)
    return models_of(history, panel, numbers, score_TN, config)


def models_of(
    history: FactorHistory,
    panel: MarketPanel,
    numbers: Collection[int],
    score_TN: Floats | None,
    config: RiskConfig = PRESETS["default"],
) -> Iterator[tuple[int, RiskModel]]:
    """As `risk_models`, with a history at hand that starts at the panel's second session."""
    names, wanted = factor_names(panel.industries, score_TN is not None), set(numbers)
    if not wanted:
        return
    for number, style_NS in style_walk(panel, min(wanted), max(wanted) + 1):
        if number in wanted:
            exposure_NK = session_exposures(panel, number, style_NS, score_TN, names)
            yield (
                number,
                risk_model(history.until(number, config.window), exposure_NK, panel.cap_TN[number], config),
            )


def prior_deviation(factors: tuple[str, ...]) -> Floats:
    """Daily deviation of each factor (K,) where nothing is known."""
    kinds = {COUNTRY: PRIOR_COUNTRY, **dict.fromkeys((*STYLES, SCORE), PRIOR_STYLE)}
    return np.array([kinds.get(name, PRIOR_INDUSTRY) for name in factors])


def _factor_covariance(history: FactorHistory, config: RiskConfig) -> Floats:
    prior_K = np.square(prior_deviation(history.factors))
    sessions = int(np.isfinite(history.return_TK).any(axis=1).sum()) if len(history.sessions) else 0
    if sessions == 0:
        return np.diag(prior_K)
    noise_TK = history.noise_TK if config.noise else None
    half_lives = (config.volatility, config.correlation)
    premium_K = _premium(history, config)
    return_TK = history.return_TK - premium_K
    covariance_KK = factor_covariance(return_TK, noise_TK, half_lives, config.newey_west)
    unknown_K = ~(np.diag(covariance_KK) > 0)
    covariance_KK = np.where(unknown_K[:, None] | unknown_K, np.diag(prior_K), covariance_KK)
    if config.eigenfactor:
        covariance_KK = eigenfactor_adjusted(
            covariance_KK, config.correlation, len(history.sessions), config.eigenfactor, config.seed
        )
    if config.regime:
        jump_T = surprise(return_TK, config.volatility, config.minimum)
        covariance_KK = covariance_KK * regime_multiplier(jump_T, config.regime)
    covariance_KK = covariance_KK + np.diag(config.ageing * np.square(premium_K))
    trust = min(1.0, sessions / config.minimum)
    return trust * covariance_KK + (1 - trust) * np.diag(prior_K)


def _premium(history: FactorHistory, config: RiskConfig) -> Floats:
    """What the score's factor earns in the mean (K,), 0 for every other factor: a premium is no risk.

    Of the other factors the mean is small beside the deviation and is left, as is usual. A score is chosen for its
    premium, and moments about zero would call a good one risky: an oracle's by three times its variance.
    """
    premium_K = np.zeros(len(history.factors))
    if SCORE in history.factors:
        place = history.factors.index(SCORE)
        premium_K[place] = np.nan_to_num(ewma_mean(history.return_TK[:, [place]], config.correlation))[0]
    return premium_K


def _specific_variance(history: FactorHistory, trait_NS: Floats, cap_N: Floats, config: RiskConfig) -> Floats:
    recent = history.until(len(history.sessions), config.specific_window)
    residual_TN = corrected_residuals(recent.residual_TN, recent.leverage_TN) if config.leverage else recent.residual_TN
    between = (config.few, config.enough)
    variance_N = specific_variance(residual_TN, trait_NS, config.specific, between, PRIOR_SPECIFIC)
    if config.shrinkage:
        variance_N = shrunk(variance_N, cap_N, config.shrinkage)
    if config.regime:
        variance_N = variance_N * regime_multiplier(
            surprise(residual_TN, config.specific, config.minimum), config.regime
        )
    if config.horizon > 1:
        variance_N = variance_N * serial_ratio(residual_TN, config.specific, config.horizon)
    return variance_N


def switched(config: RiskConfig) -> dict[str, RiskConfig]:
    """Name -> settings: as given, and with one switch the other way each (for `ablation`)."""
    ways: dict[str, dict[str, object]] = {
        "as configured": {},
        "leverage": {"leverage": not config.leverage},
        "noise": {"noise": not config.noise},
        "score": {"score": not config.score},
        "newey_west": {"newey_west": 0 if config.newey_west else 2},
        "eigenfactor": {"eigenfactor": 0 if config.eigenfactor else 100},
        "regime": {"regime": 0.0 if config.regime else 5.0},
        "shrinkage": {"shrinkage": 0.0 if config.shrinkage else 0.05},
        "half-lives 42 / 126 / 42": {"volatility": 42.0, "correlation": 126.0, "specific": 42.0},
    }
    return {name: replace(config, **change) for name, change in ways.items()}  # type: ignore[arg-type]
