"""A small market of random walks with industries, and one whose factor and variances are known."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from fpm.risk.factor_returns import factor_names

FIRST = date(2020, 1, 1)
INDUSTRIES = ("banks", "metals", "software")


def days(count):
    return [FIRST + timedelta(days=t) for t in range(count)]


def daily_rows(sessions=80, symbols=30, seed=0, shares=True):
    """`daily_bars` rows of random walks; a third of the names in each industry."""
    random = np.random.default_rng(seed)
    market = 0.01 * random.standard_normal(sessions)
    beta = random.uniform(0.5, 1.5, symbols)
    own = 0.02 * random.standard_normal((sessions, symbols))
    close = 10 * np.exp(np.cumsum(market[:, None] * beta + own, axis=0))
    volume = np.exp(12 + random.standard_normal(symbols) + 0.3 * random.standard_normal((sessions, symbols)))
    float_shares = np.exp(18 + random.standard_normal(symbols)) * np.ones((sessions, 1))
    names = [f"S{n:03d}" for n in range(symbols)]
    frame = pl.DataFrame(
        {
            "session": np.repeat(np.array(days(sessions), dtype="datetime64[D]"), symbols),
            "symbol": names * sessions,
            "close": close.ravel(),
            "adj_factor": np.ones(close.size),
            "volume": volume.ravel(),
            "amount": (close * volume).ravel(),
            "turnover": (volume / float_shares).ravel(),
            "float_shares": float_shares.ravel(),
            "total_shares": 2 * float_shares.ravel(),
            "industry": [INDUSTRIES[n % 3] for n in range(symbols)] * sessions,
            "suspended": [False] * close.size,
        }
    )
    return (
        frame
        if shares
        else frame.with_columns(pl.lit(None, pl.Float64).alias(c) for c in ("turnover", "float_shares", "total_shares"))
    )


@dataclass(frozen=True)
class KnownMarket:
    """Returns made of factor and specific returns of known variance, with the same exposures daily."""

    factors: tuple[str, ...]
    exposure_NK: np.ndarray
    cap_N: np.ndarray
    covariance_KK: np.ndarray
    specific_N: np.ndarray
    return_TN: np.ndarray


def known_market(sessions, symbols=150, seed=0):
    """Normal returns; industry returns are made to meet the regression's constraint."""
    random = np.random.default_rng(seed)
    factors = factor_names(INDUSTRIES, score=True)
    cap_N = np.exp(random.standard_normal(symbols))
    industry_N = np.arange(symbols) % 3
    style_N = random.standard_normal((symbols, 7))
    exposure_NK = np.hstack([np.ones((symbols, 1)), industry_N[:, None] == np.arange(3), style_N])
    share_I = np.array([cap_N[industry_N == i].sum() for i in range(3)]) / cap_N.sum()
    root_KK = random.standard_normal((11, 11)) * 0.003 + np.diag([0.01] + [0.006] * 3 + [0.004] * 7)
    free_KK = np.eye(11)
    free_KK[0, 1:4] = share_I  # what all industries share belongs to the country
    free_KK[1:4, 1:4] -= share_I
    root_KK = free_KK @ root_KK
    specific_N = np.square(0.02 * (cap_N / cap_N.mean()) ** -0.25 * np.ones(symbols))
    factor_TK = random.standard_normal((sessions, 11)) @ root_KK.T
    own_TN = random.standard_normal((sessions, symbols)) * np.sqrt(specific_N)
    return KnownMarket(factors, exposure_NK, cap_N, root_KK @ root_KK.T, specific_N, factor_TK @ exposure_NK.T + own_TN)
