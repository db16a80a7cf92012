"""The switches of the risk model, one at a time, judged by the forecast test on a market's own history."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.risk.estimate import models_of
from fpm.risk.forecast_test import families, forecast_test, night_rows, random_portfolios
from fpm.risk.history import factor_history

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fpm.panels import Floats
    from fpm.risk.estimate import RiskConfig
    from fpm.risk.history import FactorHistory
    from fpm.risk.market_panel import Bools, MarketPanel

PORTFOLIOS = 50  # random and optimised ones each


def ablation(
    panel: MarketPanel,
    score_TN: Floats | None,
    configs: Mapping[str, RiskConfig],
    span: tuple[int, int],
    seed: int = 0,
    eligible_TN: Bools | None = None,
    horizons: Sequence[int] = (1,),
) -> pl.DataFrame:
    """Figures of `forecast_test` for each setting: (setting, horizon, family, figure, value, low, high, …).

    `configs`: settings by name (`estimate.switched` turns each switch of one the other way). `span`: numbers of the
    first session forecast and of the one after the last. `horizons`: each is forecast by the model of this horizon.
    Other arguments as in `span_rows`.
    """
    histories: dict[tuple[bool, int], FactorHistory] = {}
    frames = []
    for name, config in configs.items():
        scored = config.score and score_TN is not None
        key = (scored, config.seasoned)
        if key not in histories:
            histories[key] = factor_history(panel, score_TN if scored else None, config.seasoned)
        for horizon in horizons:
            own = replace(config, horizon=horizon)
            rows = span_rows(panel, histories[key], score_TN, own, span, seed, eligible_TN)
            keys = (pl.lit(name).alias("setting"), pl.lit(horizon).alias("horizon"))
            frames.append(forecast_test(rows, horizon, seed=seed).select(*keys, pl.all()))
    return pl.concat(frames)


def span_rows(
    panel: MarketPanel,
    history: FactorHistory,
    score_TN: Floats | None,
    config: RiskConfig,
    span: tuple[int, int],
    seed: int = 0,
    eligible_TN: Bools | None = None,
) -> pl.DataFrame:
    """Rows of `night_rows` for the sessions of `span`, each forecast by the model of the session before.

    `eligible_TN`: names that portfolios may hold (an index's members), all by default. Names that did not trade in the
    session of the forecast are held by none: a delisted one keeps its size, and what never moves again makes risk look
    overstated.
    """
    return pl.concat(nights(panel, history, score_TN, config, span, seed, eligible_TN))


def nights(
    panel: MarketPanel,
    history: FactorHistory,
    score_TN: Floats | None,
    config: RiskConfig,
    span: tuple[int, int],
    seed: int = 0,
    eligible_TN: Bools | None = None,
) -> Iterator[pl.DataFrame]:
    """The rows of `span_rows`, session by session."""
    portfolios = random_portfolios(panel.symbols, PORTFOLIOS, seed)
    first, last = span
    used_TN = score_TN if config.score else None
    for number, model in models_of(history, panel, range(first - 1, last - 1), used_TN, config):
        may_hold_N = np.isfinite(panel.return_TN[number])
        if eligible_TN is not None:
            may_hold_N = may_hold_N & eligible_TN[number]
        cap_N = np.where(may_hold_N, np.nan_to_num(panel.cap_TN[number]), 0.0)
        named = families(model, cap_N, portfolios, None if score_TN is None else score_TN[number])
        yield night_rows(panel.sessions[number + 1], model, panel.return_TN[number + 1], named)
