"""Write skfolio's answers to the rebalances and the walk below to `portfolio_peers.json`.

Run in an environment of its own: `pip install skfolio==1.12.2`, then
`python tests/fpm/portfolio/ask_portfolio_peers.py`. The rebalances have no costs (skfolio does not pay them from the
budget), no total turnover and no tracking-error cone. Risk is active here and total there, so that the benchmark's
covariance goes into its returns.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANSWERS = Path(__file__).with_name("portfolio_peers.json")
SEEDS, NAMES, FACTORS, INDUSTRIES = (1, 2, 3), 25, 6, 4
YEAR, AVERSION, SESSIONS = 252, 20.0, 20
ACTIVE, INDUSTRY, STYLE, CASH = 0.03, 0.04, 0.2, 0.02

Floats = NDArray[np.float64]


def inputs(seed: int) -> dict[str, Any]:
    """Numbers of one rebalance: scores, benchmark, exposures, covariances, industries, one style."""
    random = np.random.default_rng(seed)
    benchmark_N = random.uniform(0.3, 1.7, NAMES)
    root_KK = random.normal(size=(FACTORS, FACTORS)) * 0.004
    return {
        "score_N": random.normal(size=NAMES),
        "benchmark_N": benchmark_N / benchmark_N.sum(),
        "exposure_NK": random.normal(size=(NAMES, FACTORS)),
        "covariance_KK": root_KK @ root_KK.T + 1e-6 * np.eye(FACTORS),
        "specific_N": random.uniform(0.01, 0.03, NAMES) ** 2,
        "industry_N": random.integers(0, INDUSTRIES, NAMES),
        "style_N": random.normal(size=NAMES),
    }


def answer(seed: int) -> dict[str, Any]:
    """skfolio's weights, and the utility of the active weights that they give."""
    from skfolio.optimization import MeanRisk, ObjectiveFunction
    from skfolio.prior import BasePrior, ReturnDistribution

    given = inputs(seed)
    exposure_NK, benchmark_N = given["exposure_NK"], given["benchmark_N"]
    yearly_NN = YEAR * (exposure_NK @ given["covariance_KK"] @ exposure_NK.T + np.diag(given["specific_N"]))

    class Known(BasePrior):
        """Returns and covariance that are given, not estimated."""

        def __init__(self) -> None:
            pass

        def fit(self, x_TN: Floats, y: object = None, **_: object) -> Known:
            mean_N = given["score_N"] + 2 * AVERSION * yearly_NN @ benchmark_N
            self.return_distribution_ = ReturnDistribution(mu=mean_N, covariance=yearly_NN, returns=np.asarray(x_TN))
            return self

    belongs_IN = (given["industry_N"][None, :] == np.arange(INDUSTRIES)[:, None]).astype(float)
    rows_RN = np.vstack([belongs_IN, given["style_N"]])
    limit_R = np.array([INDUSTRY] * INDUSTRIES + [STYLE])
    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_aversion=AVERSION,
        prior_estimator=Known(),
        min_weights=np.maximum(0, benchmark_N - ACTIVE),
        max_weights=benchmark_N + ACTIVE,
        budget=None,
        min_budget=1 - CASH,
        max_budget=1.0,
        left_inequality=np.vstack([rows_RN, -rows_RN]),
        right_inequality=np.concatenate([limit_R + rows_RN @ benchmark_N, limit_R - rows_RN @ benchmark_N]),
        solver="CLARABEL",
    )
    model.fit(np.random.default_rng(0).normal(size=(2 * NAMES, NAMES)))
    weight_N = np.asarray(model.weights_, dtype=np.float64)
    active_N = weight_N - benchmark_N
    utility = float(given["score_N"] @ weight_N - AVERSION * active_N @ yearly_NN @ active_N)
    return {"seed": seed, "weights": weight_N.tolist(), "utility": utility}


def walk() -> dict[str, Floats]:
    """Active weights, exposures, factor and idiosyncratic returns of some sessions; returns follow from them."""
    random = np.random.default_rng(8)
    exposure_TNK = random.normal(size=(SESSIONS, NAMES, FACTORS))
    factor_TK, own_TN = random.normal(0, 0.01, (SESSIONS, FACTORS)), random.normal(0, 0.02, (SESSIONS, NAMES))
    return {
        "weight_TN": random.normal(0, 0.01, (SESSIONS, NAMES)),
        "exposure_TNK": exposure_TNK,
        "factor_TK": factor_TK,
        "own_TN": own_TN,
        "return_TN": np.einsum("tnk,tk->tn", exposure_TNK, factor_TK) + own_TN,
        "rest_T": random.normal(0, 1e-3, SESSIONS),
    }


def attribution() -> dict[str, float]:
    """skfolio's mean contribution of every factor, of idiosyncratic returns, and what it leaves unattributed."""
    from skfolio.attribution import realized_factor_attribution

    given = walk()
    names = [f"factor {number}" for number in range(FACTORS)]
    told = realized_factor_attribution(
        asset_names=[f"S{number:02d}" for number in range(NAMES)],
        factor_names=names,
        weights=given["weight_TN"],
        factor_returns=given["factor_TK"],
        portfolio_returns=(given["weight_TN"] * given["return_TN"]).sum(axis=1) + given["rest_T"],
        exposures=given["exposure_TNK"],
        exposure_lag=0,
        idio_returns=given["own_TN"],
        annualization_factor=1.0,
    )
    factors = {name: float(value) for name, value in zip(names, told.factors.mu_contrib, strict=True)}
    return factors | {"specific": float(told.idio.mu_contrib), "rest": float(told.unattributed.mu_contrib)}


def main() -> None:
    answers = {"rebalances": [answer(seed) for seed in SEEDS], "attribution": attribution()}
    ANSWERS.write_text(json.dumps({"skfolio": answers}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
