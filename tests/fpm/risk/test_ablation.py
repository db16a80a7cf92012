"""The table of settings on a market whose score moves returns together: leaving the score out must show."""

import numpy as np

from fpm.risk.ablation import ablation
from fpm.risk.estimate import PRESETS, switched
from fpm.risk.market_panel import market_panel
from tests.fpm.risk.market import daily_rows, days


def test_the_score_as_a_factor_shows_in_the_table():
    sessions, symbols = 150, 40
    daily = daily_rows(sessions, symbols)
    panel = market_panel(daily, days(sessions), sorted(daily["symbol"].unique()))
    random = np.random.default_rng(0)
    score_N = random.standard_normal(symbols)
    panel.return_TN[1:] += 0.015 * random.standard_normal((sessions - 1, 1)) * score_N
    score_TN = np.tile(score_N, (sessions, 1))
    settings = {
        name: config for name, config in switched(PRESETS["short"]).items() if name in ("as configured", "score")
    }
    table = ablation(panel, score_TN, settings, (90, sessions))
    bias = {row["setting"]: row["value"] for row in table.filter(family="score", figure="bias").rows(named=True)}
    assert bias["score"] > 1.3 > bias["as configured"]
    assert table["setting"].unique().sort().to_list() == ["as configured", "score"]
    held = ablation(
        panel, score_TN, settings, (90, sessions), eligible_TN=np.tile(np.arange(symbols) < 20, (sessions, 1))
    )
    assert not held.equals(table)
