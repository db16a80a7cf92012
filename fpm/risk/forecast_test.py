"""The nightly forecast test: did portfolios move as much as the model said they would?

z is a portfolio's realised return over its predicted deviation. A perfect model has a bias B = std(z) of 1, a variance
ratio mean(z²) of 1 and a Mahalanobis distance d²/n of 1. B is above 1 where risk was understated.

Four families, because a model may hold for one and fail for another: `random` active portfolios, `factor` portfolios,
`eigen` portfolios of the factor covariance, and `optimised` active portfolios, which seek what the model overlooks.
A fifth, `score`, is the portfolio that the mandate's own score asks for.

Sources: Menchero, Orr, Wang 2011, "USE4 Methodology Notes", appendix A (B, MRAD); Patton 2011, "Volatility forecast
comparison using imperfect volatility proxies", Journal of Econometrics 160 (Q); Menchero, Wang, Orr 2012 (optimised
portfolios). Shapes: T sessions, N symbols, K factors, P portfolios.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import polars as pl

from fpm.risk.factor_returns import pure_portfolios, standard_score

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.panels import Floats
    from fpm.risk.market_panel import Bools
    from fpm.risk.model import RiskModel

FAMILIES = ("random", "factor", "eigen", "optimised", "score")
SHORT = 12  # observations of MRAD's windows
HELD = 0.1  # share of the names that a random portfolio holds
RISKLESS = 1e-6  # of the family's largest: a portfolio of less risk or weight holds nothing
YEAR = 252  # sessions of the windows whose share in the band is reported
FIGURES = ("bias", "variance_ratio", "mrad", "q", "share_in_band", "mahalanobis")


@dataclass(frozen=True)
class Portfolios:
    """What the families are made of, the same every session: P rows over the N symbols.

    `random_PN`: 1 for the names held, a random tenth, which are held at equal weight against all names.
    `alpha_PN`: the views whose optimal portfolios are tested.
    """

    symbols: tuple[str, ...]
    random_PN: Floats
    alpha_PN: Floats


def random_portfolios(symbols: tuple[str, ...], count: int, seed: int) -> Portfolios:
    """`count` random active portfolios and as many random views over the symbols.

    A symbol's draws depend on its name and the seed alone: a new listing leaves every other name where it is.
    """
    draws = [_symbol_draws(symbol, count, seed) for symbol in symbols]
    held_PN = np.array([held_P for held_P, _ in draws], dtype=np.float64).T
    return Portfolios(symbols, held_PN, np.array([view_P for _, view_P in draws]).T)


@lru_cache(maxsize=8192)  # a night asks for every index, a walk every night
def _symbol_draws(symbol: str, count: int, seed: int) -> tuple[Bools, Floats]:
    """Whether each random portfolio holds a symbol (P,), and what each view says of it (P,)."""
    random = np.random.default_rng([seed, crc32(symbol.encode())])
    return random.random(count) < HELD, random.standard_normal(count)


def families(
    model: RiskModel, cap_N: Floats, portfolios: Portfolios, score_N: Floats | None = None
) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """Family -> (names, active weights (P, N)) at a session; names with a size of 0 or NaN are held by none.

    Factor portfolios are the regression's own (`pure_portfolios`); eigenportfolios combine them by the eigenvectors of
    the factor covariance. Optimised ones are the closed form of mean-variance (`optimal`); the score's view is
    `standard_score`, which is the factor's own exposure: raw scores lean on names that the factor does not see.
    """
    size_N = np.nan_to_num(cap_N)
    held_N = (size_N > 0).astype(float)
    random_PN = random_weights(portfolios, held_N)
    pure_KN = pure_portfolios(model.exposure_NK, size_N, model.factors)
    vector_KK = np.linalg.eigh(model.covariance_KK)[1]
    vector_KK = vector_KK * np.sign(np.take_along_axis(vector_KK, np.abs(vector_KK).argmax(axis=0)[None], axis=0))
    eigen_PN = vector_KK.T @ pure_KN
    gross_P = np.abs(eigen_PN).sum(axis=1)
    eigen_PN = eigen_PN[gross_P > RISKLESS * gross_P.max(initial=0.0)]  # factors without names hold nothing
    numbers = tuple(map(str, range(len(portfolios.alpha_PN))))
    named = {
        "random": (numbers[: len(random_PN)], random_PN),
        "factor": (model.factors, pure_KN),
        "eigen": (tuple(map(str, range(len(eigen_PN)))), eigen_PN),
        "optimised": (numbers, optimal(model, portfolios.alpha_PN, held_N)),
    }
    if score_N is not None and np.isfinite(score_N).any():
        named["score"] = (("0",), optimal(model, standard_score(score_N)[None], held_N))
    return named


def random_weights(portfolios: Portfolios, held_N: Floats) -> Floats:
    """Active weights (P, N) of the random portfolios against the equal-weighted held names; without empty ones."""
    random_PN = portfolios.random_PN * held_N
    total_P1 = random_PN.sum(axis=1, keepdims=True)
    weight_PN = random_PN / np.maximum(total_P1, 1e-300) - held_N / max(held_N.sum(), 1)
    return np.asarray(weight_PN[total_P1[:, 0] > 0], dtype=np.float64)


def optimal(model: RiskModel, alpha_PN: Floats, held_N: Floats) -> Floats:
    """V⁻¹(view - c) over the held names, with c such that Σw = 0, scaled to Σ|w| = 1 (P, N).

    The inverse is Woodbury's, so N x N is never formed: D⁻¹ - D⁻¹X(F⁻¹ + XᵀD⁻¹X)⁻¹XᵀD⁻¹, written with a root of F,
    which may be singular.
    """
    precision_N = held_N / np.maximum(model.specific_N, 1e-300)
    value_K, vector_KK = np.linalg.eigh(model.covariance_KK)
    root_NK = model.exposure_NK @ (vector_KK * np.sqrt(np.maximum(value_K, 0)))
    inner_KK = np.eye(len(value_K)) + root_NK.T @ (precision_N[:, None] * root_NK)

    def inverse(x_PN: Floats) -> Floats:
        scaled_PN = x_PN * precision_N
        return np.asarray(scaled_PN - np.linalg.solve(inner_KK, (scaled_PN @ root_NK).T).T @ root_NK.T * precision_N)

    one_1N = inverse(np.ones((1, len(held_N))))
    weight_PN = inverse(alpha_PN)
    total = float(one_1N.sum())
    weight_PN = weight_PN - weight_PN.sum(axis=1, keepdims=True) / (total if total > 0 else 1.0) * one_1N
    return np.asarray(weight_PN / np.maximum(np.abs(weight_PN).sum(axis=1, keepdims=True), 1e-300), dtype=np.float64)


def night_rows(
    session: date, model: RiskModel, return_N: Floats, named: Mapping[str, tuple[tuple[str, ...], Floats]]
) -> pl.DataFrame:
    """A night's rows (session, family, portfolio, predicted, realised, distance) for the model of the session before.

    `return_N`: returns of `session`, NaN (counted as 0) without a trade. `predicted`: deviation; portfolios without one
    are left out. `distance`: the
    family's d²/n = rᵀC⁺r / rank(C) with C the predicted covariance of its portfolios, the same in each of its rows.
    """
    frames = []
    filled_N = np.nan_to_num(return_N)
    for family, (names, weight_PN) in named.items():
        exposure_PK = weight_PN @ model.exposure_NK
        covariance_PP = exposure_PK @ model.covariance_KK @ exposure_PK.T + (weight_PN * model.specific_N) @ weight_PN.T
        realised_P = weight_PN @ filled_N
        frame = pl.DataFrame({"portfolio": names, "predicted": np.sqrt(np.diag(covariance_PP)), "realised": realised_P})
        frames.append(
            frame.select(
                pl.lit(session).alias("session"),
                pl.lit(family).alias("family"),
                pl.all(),
                pl.lit(mahalanobis(realised_P, covariance_PP)).alias("distance"),
            )
        )
    riskless = pl.col("predicted") <= RISKLESS * pl.col("predicted").max().over("family")
    return pl.concat(frames).filter(~riskless)


def mahalanobis(realised_P: Floats, covariance_PP: Floats) -> float:
    """rᵀC⁺r over the rank of C; expectation 1."""
    deviation_P = np.sqrt(np.maximum(np.diag(covariance_PP), 0))
    scale_P = np.divide(1.0, deviation_P, out=np.zeros_like(deviation_P), where=deviation_P > 0)
    value_P, vector_PP = np.linalg.eigh(covariance_PP * np.outer(scale_P, scale_P))
    used_P = value_P > 1e-9 * max(float(value_P.max(initial=0.0)), 1e-300)
    score_P = vector_PP.T @ (realised_P * scale_P)
    return float(np.mean(np.square(score_P[used_P]) / value_P[used_P])) if used_P.any() else float("nan")


def forecast_test(
    rows: pl.DataFrame, horizon: int = 1, draws: int = 500, seed: int = 0, year: int = YEAR
) -> pl.DataFrame:
    """Figures of every family: (family, figure, value, low, high, inside, portfolios, observations).

    `rows`: of consecutive sessions, as `night_rows`. `horizon`: sessions of a forecast; above 1 the first
    session's variance (by a model of that horizon), times `horizon`, stands against the sum of the returns, over
    overlapping windows. Figures: `bias`, `variance_ratio`, `mrad` (mean |B - 1| over windows of 12 observations), `q`
    (z² - ln z²), `share_in_band` (windows of `year` sessions with |B - 1| ≤ √(2/n), n their independent observations),
    `mahalanobis`. A family's value is the mean over its portfolios. `low`, `high`: 95 % band of a perfect model (see
    `perfect_bands`); null for `mahalanobis` and where there are no observations.
    """
    frames = []
    for family in [name for name in FAMILIES if name in rows["family"].unique().to_list()]:
        own = rows.filter(pl.col("family") == family)
        z_TP = _z(own, horizon)
        values = figures(z_TP, horizon, year)
        nights = own.unique("session", keep="first").sort("session")
        values["mahalanobis"] = float(np.mean(nights["distance"].to_numpy()))
        bands = perfect_bands(_z(own, 1), horizon, draws, seed, year)
        for figure in FIGURES:
            low, high = bands.get(figure, (float("nan"), float("nan")))
            frames.append((family, figure, values[figure], low, high, z_TP.shape[1], len(z_TP)))
    columns = ("family", "figure", "value", "low", "high", "portfolios", "observations")
    types = dict(zip(columns, (pl.String, pl.String, *[pl.Float64] * 3, pl.Int64, pl.Int64), strict=True))
    frame = pl.DataFrame(frames, schema=types, orient="row").with_columns(pl.col("value", "low", "high").fill_nan(None))
    return frame.with_columns(inside=pl.col("value").is_between(pl.col("low") - 1e-12, pl.col("high") + 1e-12))


def figures(z_TP: Floats, horizon: int = 1, year: int = YEAR) -> dict[str, float]:
    """Figure -> mean over the portfolios of z (T, P); NaN where there are too few observations."""
    steps = max(1, horizon)
    square_TP = np.square(z_TP)
    is_testable = len(z_TP) > 1
    yearly_WP = np.abs(_rolling_deviation(z_TP, year) - 1)
    return {
        "bias": float(np.std(z_TP, axis=0, ddof=1).mean()) if is_testable else float("nan"),
        "variance_ratio": float(square_TP.mean()) if is_testable else float("nan"),
        "mrad": _mean(np.abs(_rolling_deviation(z_TP[::steps], SHORT) - 1)),
        "q": float(np.mean(square_TP - np.log(np.maximum(square_TP, 1e-12)))) if is_testable else float("nan"),
        "share_in_band": _mean((yearly_WP <= np.sqrt(2 * steps / year)).astype(float)),
    }


def perfect_bands(
    z_TP: Floats, horizon: int, draws: int, seed: int, year: int = YEAR
) -> dict[str, tuple[float, float]]:
    """Figure -> 2.5 % and 97.5 % of what a perfect model shows with as many sessions, the same tails and overlap.

    A perfect model's z have variance 1 and no memory. The sessions of the observed z, each portfolio's centred and
    scaled to variance 1, are drawn with replacement, whole rows at a time, so that tails and the likeness of portfolios
    stay; overlapping horizons are summed anew. What is left in z of badly timed volatility counts as tails and widens
    the band.
    """
    if len(z_TP) < 3:
        return {}
    centred_TP = z_TP - z_TP.mean(axis=0)
    unit_TP = centred_TP / np.maximum(np.sqrt(np.square(centred_TP).mean(axis=0)), 1e-300)
    random, sample = np.random.default_rng(seed), []
    for _ in range(draws):
        drawn_TP = unit_TP[random.integers(0, len(unit_TP), len(unit_TP))]
        sample.append(figures(_summed(drawn_TP, horizon) / np.sqrt(horizon), horizon, year))
    quantiles = {name: np.quantile([one[name] for one in sample], [0.025, 0.975]) for name in sample[0]}
    return {name: (float(low), float(high)) for name, (low, high) in quantiles.items()}


def _z(rows: pl.DataFrame, horizon: int) -> Floats:
    """Realised over predicted (T, P) of the portfolios present in every session."""
    wide = {
        name: rows.pivot(on="portfolio", index="session", values=name, sort_columns=True)
        .sort("session")
        .drop("session")
        for name in ("realised", "predicted")
    }
    realised_TP, predicted_TP = (wide[name].cast(pl.Float64).to_numpy() for name in ("realised", "predicted"))
    whole_P = np.isfinite(np.where(predicted_TP > 0, realised_TP, np.nan)).all(axis=0)
    predicted_TP = predicted_TP[: max(0, len(predicted_TP) - horizon + 1), whole_P]
    return np.asarray(_summed(realised_TP[:, whole_P], horizon) / (predicted_TP * np.sqrt(horizon)), dtype=np.float64)


def _summed(x_TP: Floats, horizon: int) -> Floats:
    """Sums over `horizon` consecutive rows (T - horizon + 1, P)."""
    if horizon == 1:
        return x_TP
    total_TP = np.cumsum(np.concatenate([np.zeros_like(x_TP[:1]), x_TP]), axis=0)
    return np.asarray(total_TP[horizon:] - total_TP[:-horizon], dtype=np.float64)


def _rolling_deviation(z_TP: Floats, window: int) -> Floats:
    """Standard deviations (T - window + 1, P) about each window's mean; no rows where z is shorter."""
    if len(z_TP) < window:
        return np.empty((0, z_TP.shape[1]))
    mean_WP, square_WP = _summed(z_TP, window) / window, _summed(np.square(z_TP), window) / window
    return np.asarray(np.sqrt(np.maximum(square_WP - np.square(mean_WP), 0) * window / (window - 1)), dtype=np.float64)


def _mean(x: Floats) -> float:
    return float(x.mean()) if x.size else float("nan")
