"""Models to rows and back, and the evidence of a session from rows."""

import numpy as np
import polars as pl
import pytest

from fpm.risk.estimate import PRESETS, risk_model
from fpm.risk.factor_returns import factor_names
from fpm.risk.history import factor_history, factor_rows, residual_rows, session_exposures, style_walk
from fpm.risk.market_panel import market_panel
from fpm.risk.stored import evidence, model_rows, stored_model
from fpm.schema import STYLES
from tests.fpm.risk.market import daily_rows, days

SESSIONS, SYMBOLS = 80, 30


@pytest.fixture(scope="module")
def market():
    """The panel, its scores, its history, and the last session's rows of `exposures`."""
    daily = daily_rows(SESSIONS, SYMBOLS)
    panel = market_panel(daily, days(SESSIONS), sorted(daily["symbol"].unique()))
    score_TN = np.random.default_rng(3).standard_t(2, panel.return_TN.shape)  # tails, so that standardising twice shows
    last = SESSIONS - 1
    ((_, style_NS),) = style_walk(panel, last, last + 1)
    exposure_NK = session_exposures(panel, last, style_NS, score_TN, factor_names(panel.industries, score=True))
    names = pl.DataFrame(
        {
            "symbol": panel.symbols,
            "industry": [panel.industries[place] for place in panel.industry_TN[last]],
            **{name: style_NS[:, column] for column, name in enumerate(STYLES)},
            "score": exposure_NK[:, -1],
            "capitalisation": panel.cap_TN[last],
        }
    )
    return panel, factor_history(panel, score_TN, 5), exposure_NK, names


def test_the_model_from_rows_is_the_model_from_arrays(market):
    panel, history, exposure_NK, names = market
    expected = risk_model(history, exposure_NK, panel.cap_TN[-1], PRESETS["short"])
    own = evidence(names, factor_rows(history), residual_rows(history))
    model = risk_model(own.history, own.exposure_NK, own.cap_N, PRESETS["short"])
    assert model.factors == tuple(name for name in expected.factors if name != "industry:unclassified")
    np.testing.assert_allclose(model.specific_N, expected.specific_N, rtol=1e-9)
    weight_N = np.random.default_rng(0).standard_normal(SYMBOLS)
    assert model.variance(weight_N) == pytest.approx(expected.variance(weight_N), rel=1e-9)


def test_a_model_comes_back_from_its_rows(market):
    panel, history, exposure_NK, names = market
    model = risk_model(history, exposure_NK, panel.cap_TN[-1], PRESETS["short"])
    specific, covariance = model_rows("X", model)
    assert specific.columns == ["index", "symbol", "specific_variance"]
    assert covariance.columns == ["index", "factor", "other", "value"]
    assert covariance.height == len(model.factors) ** 2
    back = stored_model(names.sample(fraction=1.0, shuffle=True, seed=1), specific, covariance.reverse())
    assert back.symbols == model.symbols and sorted(model.factors) == list(back.factors)
    place = [model.factors.index(name) for name in back.factors]
    np.testing.assert_array_equal(back.covariance_KK, model.covariance_KK[np.ix_(place, place)])
    np.testing.assert_array_equal(back.specific_N, model.specific_N)
    np.testing.assert_allclose(back.exposure_NK, model.exposure_NK[:, place], atol=1e-12)
