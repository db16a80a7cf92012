"""The risk model and its evidence as stored rows: from a session's tables to models, and from a model to rows and back.

Shapes: N symbols, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.risk.factor_returns import COUNTRY, INDUSTRY, exposures, factor_names
from fpm.risk.history import stored_history
from fpm.risk.model import RiskModel
from fpm.schema import STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.panels import Floats
    from fpm.risk.history import FactorHistory


@dataclass(frozen=True)
class Evidence:
    """What `estimate.risk_model` reads of a session: the history, the exposures (N, K) and the sizes (N,)."""

    history: FactorHistory
    exposure_NK: Floats
    cap_N: Floats


def evidence(names: pl.DataFrame, factors: pl.DataFrame, residuals: pl.DataFrame) -> Evidence:
    """Evidence of a session from rows of `exposures` (`names`), `factor_returns` and `residuals` of its window."""
    labels = {*factors["factor"].to_list(), *(INDUSTRY + name for name in names["industry"].to_list())}
    industries = sorted(name.removeprefix(INDUSTRY) for name in labels if name.startswith(INDUSTRY))
    order = factor_names(industries, score=True)
    sessions = factors["session"].unique().sort().to_list()
    history = stored_history(factors, residuals, sessions, names["symbol"].to_list(), order)
    place = {name: number for number, name in enumerate(industries)}
    industry_N = np.array([place[name] for name in names["industry"].to_list()], dtype=np.int64)
    score_N = np.nan_to_num(names["score"].cast(pl.Float64).to_numpy())  # standardised already: again, it is another
    exposure_NK = np.hstack([exposures(names.select(STYLES).to_numpy(), industry_N, industries), score_N[:, None]])
    return Evidence(history, exposure_NK, names["capitalisation"].to_numpy())


def model_rows(index: str, model: RiskModel) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `specific_variances` and `covariance` of an index's decision, variances per session."""
    count, key = len(model.factors), pl.lit(index).alias("index")
    specific = pl.DataFrame({"symbol": model.symbols, "specific_variance": model.specific_N})
    pairs = {"factor": np.repeat(model.factors, count), "other": np.tile(model.factors, count)}
    covariance = pl.DataFrame({**pairs, "value": model.covariance_KK.ravel()})
    return specific.select(key, pl.all()), covariance.select(key, pl.all())


def exposure_columns(factors: Sequence[str]) -> dict[str, pl.Expr]:
    """Factor -> its column from rows of `exposures`."""
    return {name: _exposure(name) for name in factors}


def _exposure(factor: str) -> pl.Expr:
    if factor == COUNTRY:
        return pl.lit(1.0)
    if factor.startswith(INDUSTRY):
        return (pl.col("industry") == factor.removeprefix(INDUSTRY)).fill_null(False).cast(pl.Float64)
    return pl.col(factor).fill_null(0.0)


def stored_model(names: pl.DataFrame, specific: pl.DataFrame, covariance: pl.DataFrame) -> RiskModel:
    """The model of one index's decision from rows of `exposures`, `specific_variances` and `covariance`."""
    factors = covariance["factor"].unique().sort().to_list()
    wide = covariance.pivot(on="other", index="factor", values="value").sort("factor")
    rows = names.join(specific.select("symbol", "specific_variance"), on="symbol", how="inner").sort("symbol")
    return RiskModel(
        tuple(rows["symbol"].to_list()),
        tuple(factors),
        rows.select(**exposure_columns(factors)).to_numpy().astype(np.float64),
        wide.select(factors).to_numpy(),
        rows["specific_variance"].to_numpy(),
    )
