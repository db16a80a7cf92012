"""A night's test portfolios: what the model of the decision in force said, and how they moved.

Three kinds an index: its `own` active, `optimised` and `random` active portfolios of its members. Portfolios are those
of the decision, at constant weights until the next: what is tested is the forecast that the decision used.
Shapes: N symbols, K factors, P portfolios.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.risk.forecast_test import RISKLESS, optimal, random_portfolios, random_weights
from fpm.risk.stored import exposure_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date

    from fpm.panels import Floats
    from fpm.risk.bias import BiasConfig
    from fpm.risk.model import RiskModel

OWN, OPTIMISED, RANDOM = KINDS = ("own", "optimised", "random")
SCHEMA = {
    "kind": pl.String,
    "portfolio": pl.String,
    "decided": pl.Date,
    "predicted": pl.Float64,
    "realised": pl.Float64,
}


def session_returns(
    before: pl.DataFrame, factors: pl.DataFrame, residuals: pl.DataFrame, traded: Collection[str]
) -> dict[str, float]:
    """Symbol -> return of a session, of the names that traded: exposures · factor returns + residual.

    `before`: rows of `exposures` of the evening before; `factors`, `residuals`: rows of the session. A name that sets
    its factor's return itself has no residual: the factors' share is its return. No names where the session has no
    factor returns: nothing traded in it or in the one before.
    """
    gain = dict(factors.select("factor", pl.col("return").fill_null(0.0)).iter_rows())
    if not gain:
        return {}
    own = before.filter(pl.col("symbol").is_in(list(traded)))
    rows = own.join(residuals.select("symbol", "residual"), on="symbol", how="left")
    exposure_NK = rows.select(**exposure_columns(list(gain))).to_numpy().astype(np.float64)
    return_N = exposure_NK @ np.array(list(gain.values())) + rows["residual"].fill_null(0.0).to_numpy()
    return dict(zip(rows["symbol"].to_list(), return_N.tolist(), strict=True))


def family_rows(
    model: RiskModel, members: Collection[str], returns: Mapping[str, float], decided: date, config: BiasConfig
) -> pl.DataFrame:
    """Rows (`SCHEMA`) of the optimised and the random active portfolios of the members, by the model of a decision.

    Optimised: mean-variance against random views (`forecast_test.optimal`); random: a tenth of the members at equal
    weight against all of them. Names without a return count as 0; portfolios without risk are left out.
    """
    own = _among(model, set(members))
    held_N = np.ones(len(own.symbols))
    return_N = np.array([returns.get(symbol, 0.0) for symbol in own.symbols])
    portfolios = random_portfolios(own.symbols, config.portfolios, config.seed)
    families = {OPTIMISED: optimal(own, portfolios.alpha_PN, held_N), RANDOM: random_weights(portfolios, held_N)}
    return pl.concat([_rows(kind, own, weight_PN, return_N, decided) for kind, weight_PN in families.items()])


def own_row(predicted: float, realised: float, decided: date) -> pl.DataFrame:
    """The row (`SCHEMA`) of the index's own active return; none where nothing was predicted."""
    is_measured = np.isfinite(predicted) and predicted > 0 and np.isfinite(realised)
    rows = [(OWN, "0", decided, predicted, realised)] if is_measured else []
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def z_values(rows: pl.DataFrame) -> Floats:
    """Realised over predicted (T, P) from rows (session, portfolio, predicted, realised); NaN without a row."""
    if rows.is_empty():
        return np.empty((0, 1))
    names = rows["portfolio"].unique().sort()
    column_R = rows["portfolio"].cast(pl.Enum(names)).to_physical().to_numpy()
    sessions, row_R = np.unique(rows["session"].to_physical().to_numpy(), return_inverse=True)
    z_TP = np.full((len(sessions), len(names)), np.nan)
    z_TP[row_R, column_R] = (rows["realised"] / rows["predicted"]).cast(pl.Float64).to_numpy()
    return z_TP


def _among(model: RiskModel, members: set[str]) -> RiskModel:
    place = [number for number, symbol in enumerate(model.symbols) if symbol in members]
    symbols = tuple(model.symbols[number] for number in place)
    return replace(model, symbols=symbols, exposure_NK=model.exposure_NK[place], specific_N=model.specific_N[place])


def _rows(kind: str, model: RiskModel, weight_PN: Floats, return_N: Floats, decided: date) -> pl.DataFrame:
    exposure_PK = weight_PN @ model.exposure_NK
    variance_P = np.einsum("pk,kl,pl->p", exposure_PK, model.covariance_KK, exposure_PK)
    predicted_P = np.sqrt(variance_P + np.square(weight_PN) @ model.specific_N)
    count = len(weight_PN)
    columns = {
        "kind": [kind] * count,
        "portfolio": [f"{number:02d}" for number in range(count)],
        "decided": [decided] * count,
        "predicted": predicted_P,
        "realised": weight_PN @ return_N,
    }
    least = RISKLESS * predicted_P.max(initial=0.0)
    return pl.DataFrame(columns, schema=SCHEMA).filter(pl.col("predicted") > least)
