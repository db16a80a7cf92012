"""Write the figures of alphalens-reloaded and skfolio for the panels below to `evaluation_peers.json`.

Run in an environment of its own: `pip install alphalens-reloaded==0.5.1 skfolio==1.12.2`, then
`python tests/fpm/evaluation/ask_evaluation_peers.py`.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANSWERS = Path(__file__).with_name("evaluation_peers.json")
SESSIONS, SYMBOLS, GROUPS, TRIALS, WEEKS = 60, 53, 5, 7, 60
FIRST = date(2024, 1, 1)
DAYS = [day for day in (FIRST + timedelta(days=n) for n in range(SESSIONS // 5 * 7)) if day.weekday() < 5]
WEEKLY = [n for n, day in enumerate(DAYS) if day.weekday() == 4]

Floats = NDArray[np.float64]


def whole() -> tuple[Floats, Floats]:
    """Scores without ties and with some information on the labels; sessions alternate between 50 and 51 pairs."""
    rng = np.random.default_rng(9)
    label_TN = rng.normal(0, 0.03, (SESSIONS, SYMBOLS))
    score_TN = 10 * label_TN + rng.normal(size=label_TN.shape)
    for t in range(SESSIONS):
        missing = rng.permutation(SYMBOLS)[: 3 - t % 2]
        score_TN[t, missing[:1]], label_TN[t, missing[1:]] = np.nan, np.nan
    return score_TN, label_TN


def tied() -> tuple[Floats, Floats]:
    """The same, rounded to many ties, with a tenth of the scores missing and two sessions without labels."""
    score_TN, label_TN = whole()
    score_TN, label_TN = np.round(score_TN), np.round(label_TN, 2)
    rng = np.random.default_rng(10)
    score_TN[rng.random(score_TN.shape) < 0.1] = np.nan
    label_TN[-2:] = np.nan
    return score_TN, label_TN


def thirds(score_TN: Floats) -> NDArray[np.int64]:
    """Size group of every symbol with a score; a symbol's size is its number."""
    position_TN = np.maximum(np.cumsum(np.isfinite(score_TN), axis=1) - 1, 0)
    return position_TN * 3 // (position_TN[:, -1:] + 1)


def weekly_returns() -> Floats:
    """Weekly returns of a long-short portfolio: skewed, with a fall at the start."""
    returns = 0.004 + 0.02 * np.random.default_rng(11).gamma(2, 1, WEEKS) - 0.04
    returns[0] = -0.05
    return np.asarray(returns)


def answers() -> dict[str, Any]:
    return {"alphalens": {"whole": whole_answers(), "tied": tied_answers()}, "skfolio": weekly_answers()}


def whole_answers() -> dict[str, Any]:
    from alphalens import performance

    factor, weekly, halves = peer_frame(*whole()), peer_frame(*whole(), rows=WEEKLY), peer_frame(*whole(), groups=2)
    by_date = performance.mean_return_by_quantile(factor, by_date=True, demeaned=False)[0]["5D"].unstack()
    over_all = performance.mean_return_by_quantile(factor, demeaned=False)[0]["5D"]
    turnover = {q: performance.quantile_turnover(weekly["factor_quantile"], q) for q in (1, GROUPS)}
    return {
        "ic": performance.factor_information_coefficient(factor)["5D"].tolist(),
        "ic_by_size": performance.mean_information_coefficient(factor, by_group=True)["5D"].tolist(),
        "returns": by_date.T.to_numpy().tolist(),
        "mean_returns": over_all.tolist(),
        "turnover": [series.iloc[1:].tolist() for series in turnover.values()],
        "halves": performance.factor_returns(halves, equal_weight=True)["5D"].tolist(),
    }


def tied_answers() -> dict[str, Any]:
    from alphalens import performance

    ic = performance.factor_information_coefficient(peer_frame(*tied(), groups=2))["5D"]
    return {"sessions": [f"{session:%Y-%m-%d}" for session in ic.index], "ic": ic.tolist()}


def peer_frame(score_TN: Floats, label_TN: Floats, groups: int = GROUPS, rows: list[int] | None = None) -> Any:
    """The peer's own frame of factor, forward return, quantile and group."""
    import pandas as pd
    from alphalens import utils

    keys = [pd.to_datetime(DAYS), [f"S{n:03d}" for n in range(SYMBOLS)]]
    index = pd.MultiIndex.from_product(keys, names=["date", "asset"])
    columns = {"score": score_TN.ravel(), "5D": label_TN.ravel(), "size": thirds(score_TN).ravel()}
    panel = pd.DataFrame(columns, index=index)
    if rows is not None:
        panel = panel[panel.index.get_level_values("date").isin([pd.Timestamp(DAYS[n]) for n in rows])]
    panel.index = panel.index.remove_unused_levels()
    returns = panel[["5D"]].dropna()
    return utils.get_clean_factor(panel["score"].dropna(), returns, panel["size"], quantiles=groups, max_loss=1)


def weekly_answers() -> dict[str, float]:
    from skfolio import Portfolio, measures

    returns = weekly_returns()
    portfolio = Portfolio(X=returns[:, None], weights=[1.0], annualization_factor=52, compounded=True)
    best = measures.expected_max_sharpe_ratio(TRIALS, 1 / np.sqrt(WEEKS - 1))
    return {
        "total_return": float(portfolio.cumulative_returns[-1]) - 1,
        "max_drawdown": float(portfolio.max_drawdown),
        "sharpe_ratio": float(portfolio.sharpe_ratio),
        "annualized_sharpe_ratio": float(portfolio.annualized_sharpe_ratio),
        "annualized_standard_deviation": float(portfolio.annualized_standard_deviation),
        "expected_max_sharpe_ratio": float(best),
        "probabilistic_sharpe_ratio": float(measures.probabilistic_sharpe_ratio(returns)),
        "deflated_sharpe_ratio": float(measures.probabilistic_sharpe_ratio(returns, best)),
    }


if __name__ == "__main__":
    ANSWERS.write_text(json.dumps(answers(), indent=1) + "\n")
