"""Members of an index that never had a bar: in the benchmark with their weight, in no portfolio.

What nobody can price nobody can buy, and yet the index holds it: the portfolio is that much below the index, and says
so. The convention: such a name moves with the market (exposure 1 to the country), has no style and no industry's
return, and the mean specific variance of the index's other members. Its industry is `UNPRICED`, whose active weight
nothing can change; where it is above the mandate's bound, the decision names the bound as relaxed by that much, and the
other industries keep theirs. Shapes: N names of the market, K factors, U members without a bar.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.portfolio.problem import UNPRICED
from fpm.risk.factor_returns import COUNTRY

if TYPE_CHECKING:
    from collections.abc import Collection

    from fpm.portfolio.mandate import Mandate
    from fpm.risk.model import RiskModel

BOUND = "industry"
TOLERANCE = 1e-6  # as of every other bound


@dataclass(frozen=True)
class Universe:
    """The names of a decision and their risk model, in one order: the market's, then the members without a bar."""

    names: pl.DataFrame
    risk: RiskModel


def with_unpriced(names: pl.DataFrame, risk: RiskModel, benchmark: pl.DataFrame) -> Universe:
    """Names (as `decide` reads them, in the order of `risk.symbols`) and model with the members that neither has.

    `benchmark`: symbol, benchmark_weight. A name that is added can be neither bought nor sold.
    """
    priced = set(names["symbol"].to_list())
    absent = benchmark.filter(~pl.col("symbol").is_in(list(priced)), pl.col("benchmark_weight") > 0).sort("symbol")
    if absent.is_empty():
        return Universe(names, risk)
    never = [pl.lit(False).alias(name) for name in ("buyable", "sellable")]
    rows = absent.select("symbol", "benchmark_weight", pl.lit(UNPRICED).alias("industry"), *never)
    flags = [name for name in ("restricted", "excluded") if name in names.columns]
    both = pl.concat([names, rows], how="diagonal_relaxed").with_columns(pl.col(flags).fill_null(False))
    is_member_N = names["benchmark_weight"].fill_null(0.0).to_numpy() > 0
    return Universe(both.select(names.columns), _extended(risk, absent["symbol"].to_list(), is_member_N))


def priced(benchmark: pl.DataFrame, symbols: Collection[str]) -> pl.DataFrame:
    """The benchmark (symbol, weight) over the given symbols alone, weights scaled to sum to one."""
    rows = benchmark.filter(pl.col("symbol").is_in(list(symbols)))
    return rows.with_columns(pl.col("weight") / pl.col("weight").sum())


def with_unpriced_bound(decision: pl.DataFrame, targets: pl.DataFrame, mandate: Mandate) -> pl.DataFrame:
    """The row of `decisions` that also says by how much the industry `UNPRICED` is outside the bound."""
    own = targets.filter(pl.col("industry") == UNPRICED)
    excess = abs(float((own["weight"] - own["benchmark_weight"]).sum())) - mandate.industry
    if excess <= TOLERANCE:
        return decision
    relaxed = json.loads(decision["relaxed"][0])
    relaxed[BOUND] = max(excess, relaxed.get(BOUND, 0.0))
    status = "relaxed" if decision["status"][0] == "optimal" else decision["status"][0]
    return decision.with_columns(relaxed=pl.lit(json.dumps(relaxed, sort_keys=True)), status=pl.lit(status))


def _extended(
    risk: RiskModel, symbols: list[str], is_member_N: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> RiskModel:
    like_N = risk.specific_N[is_member_N] if is_member_N.any() else risk.specific_N
    exposure_UK = np.tile([1.0 if name == COUNTRY else 0.0 for name in risk.factors], (len(symbols), 1))
    return replace(
        risk,
        symbols=(*risk.symbols, *symbols),
        exposure_NK=np.vstack([risk.exposure_NK, exposure_UK]),
        specific_N=np.append(risk.specific_N, np.full(len(symbols), like_N.mean() if len(like_N) else 0.0)),
    )
