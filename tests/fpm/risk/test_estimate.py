"""Whole models: of short homes, of none, of stored rows; and calibration on a market whose variances are known."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from fpm.risk.estimate import PRESETS, PRIOR_SPECIFIC, models_of, prior_deviation, risk_model, risk_models, switched
from fpm.risk.factor_returns import cross_section
from fpm.risk.forecast_test import families, forecast_test, night_rows, random_portfolios
from fpm.risk.history import FactorHistory, factor_history, factor_rows, residual_rows, stored_history
from fpm.risk.market_panel import market_panel
from tests.fpm.risk.market import daily_rows, days, known_market


def panel_of(sessions, symbols=30, **kwargs):
    daily = daily_rows(sessions, symbols, **kwargs)
    return market_panel(daily, days(sessions), sorted(daily["symbol"].unique()))


def known_history(market, sessions):
    results = [cross_section(r, market.exposure_NK, market.cap_N, market.factors) for r in market.return_TN[:sessions]]
    symbols = tuple(f"S{n:03d}" for n in range(len(market.cap_N)))
    names = ("return_K", "noise_K", "residual_N", "leverage_N")
    arrays = [np.array([getattr(result, name) for result in results]) for name in names]
    return FactorHistory(tuple(days(sessions)), symbols, market.factors, *arrays)


@pytest.mark.parametrize("sessions", [1, 2, 3, 10, 20, 60])
@pytest.mark.parametrize("preset", PRESETS)
def test_short_histories_are_finite(sessions, preset):
    panel = panel_of(sessions, 12)
    score_TN = np.random.default_rng(0).standard_normal((sessions, 12))
    ((_, model),) = risk_models(panel, [sessions - 1], score_TN, PRESETS[preset])
    for array in (model.exposure_NK, model.covariance_KK, model.specific_N):
        assert np.isfinite(array).all()
    assert (model.specific_N > 0).all() and np.linalg.eigvalsh(model.covariance_KK).min() > -1e-12
    assert model.variance(np.full(12, 1 / 12)) > 0


def test_no_history_gives_the_prior():
    panel = panel_of(1, 6)
    ((_, model),) = risk_models(panel, [0])
    np.testing.assert_allclose(model.covariance_KK, np.diag(np.square(prior_deviation(model.factors))))
    np.testing.assert_allclose(model.specific_N, PRIOR_SPECIFIC**2)


@pytest.mark.parametrize(("factor", "is_risk"), [("score", False), ("momentum", True)])
def test_what_a_score_earns_every_session_is_no_risk(factor, is_risk):
    """A premium of three deviations in every session: the score's variance is that without it, another factor's not.

    Unless the score ages: then the share of the squared premium that `RiskConfig.ageing` says is risk.
    """
    panel = panel_of(80)
    history = factor_history(panel, np.random.default_rng(1).standard_normal((80, 30)))
    place = history.factors.index(factor)
    paid_TK = history.return_TK.copy()
    paid_TK[:, place] += 3 * np.nanstd(paid_TK[:, place])
    config = replace(PRESETS["short"], regime=0.0, ageing=0.0)
    exposure_NK = np.ones((30, len(history.factors)))
    histories = (history, replace(history, return_TK=paid_TK))
    before, after = (risk_model(each, exposure_NK, panel.cap_TN[-1], config) for each in histories)
    own, paid = (model.covariance_KK[place, place] for model in (before, after))
    assert (paid > 5 * own) == is_risk
    if not is_risk:
        np.testing.assert_allclose(before.covariance_KK, after.covariance_KK, rtol=1e-9, atol=1e-16)
        aged = risk_model(histories[1], exposure_NK, panel.cap_TN[-1], replace(config, ageing=0.08))
        weight_T = 0.5 ** (np.arange(config.window)[::-1] / config.correlation)
        premium = np.average(paid_TK[-config.window :, place], weights=weight_T)
        assert aged.covariance_KK[place, place] - paid == pytest.approx(0.08 * premium**2)


def test_a_market_of_one_name_and_one_without_shares_or_industries():
    panel = panel_of(15, 1)
    ((_, model),) = risk_models(panel, [14], config=PRESETS["tiny"])
    assert np.isfinite(model.variance(np.ones(1)))
    daily = daily_rows(15, 8, shares=False).drop("industry", "suspended")
    panel = market_panel(daily, days(15), sorted(daily["symbol"].unique()))
    ((_, model),) = risk_models(panel, [14], config=PRESETS["tiny"])
    assert "industry:unclassified" in model.factors and np.isfinite(model.covariance_KK).all()


def test_a_night_equals_the_walk_and_stored_rows_give_the_history_back():
    panel = panel_of(70)
    score_TN = np.random.default_rng(1).standard_normal((70, 30))
    whole = factor_history(panel, score_TN)
    night = factor_history(panel, score_TN, first=69)
    np.testing.assert_allclose(night.return_TK[0], whole.return_TK[-1], atol=1e-12)
    np.testing.assert_allclose(night.residual_TN[0], whole.residual_TN[-1], atol=1e-12)
    back = stored_history(factor_rows(whole), residual_rows(whole), whole.sessions, whole.symbols)
    for name in ("return_TK", "noise_TK", "residual_TN"):
        order = [back.factors.index(factor) for factor in whole.factors if factor in back.factors]
        kept = [k for k, factor in enumerate(whole.factors) if factor in back.factors]
        own, stored = getattr(whole, name), getattr(back, name)
        np.testing.assert_array_equal(stored if "N" in name else stored[:, order], own if "N" in name else own[:, kept])


def test_models_know_nothing_of_later_sessions():
    panel = panel_of(90)
    ((_, early),) = risk_models(panel.between(0, 60), [59])
    found = dict(risk_models(panel, [59, 89]))
    np.testing.assert_allclose(found[59].covariance_KK, early.covariance_KK, atol=1e-14)
    np.testing.assert_allclose(found[59].specific_N, early.specific_N, atol=1e-14)
    assert found[89].covariance_KK[0, 0] != found[59].covariance_KK[0, 0]


def test_every_switch_changes_the_model_and_only_an_index_of_names_is_kept():
    panel = panel_of(160)
    score_TN = np.random.default_rng(2).standard_normal((160, 30))
    found = {
        name: dict(risk_models(panel, [159], score_TN, config))[159]
        for name, config in switched(PRESETS["default"]).items()
    }
    own = found.pop("as configured")
    active_N = np.random.default_rng(3).standard_normal(30)
    for name, model in found.items():
        assert model.variance(active_N) != own.variance(active_N), name
        assert np.linalg.eigvalsh(model.covariance_KK).min() > -1e-12
    assert "score" in own.factors and "score" not in found["score"].factors


def test_absent_industries_leave_and_names_without_bars_stay():
    daily = daily_rows(40, 9).filter((pl.col("symbol") != "S001") | (pl.col("session") < days(40)[20]))
    panel = market_panel(daily, days(40), [*sorted(daily["symbol"].unique()), "S999"])
    ((_, model),) = risk_models(panel, [39], config=PRESETS["short"])
    row = model.symbols.index("S001")
    assert model.exposure_NK[row, model.factors.index("industry:metals")] == 1
    assert model.exposure_NK[model.symbols.index("S999"), model.factors.index("industry:unclassified")] == 1
    assert np.isfinite(model.exposure_NK).all()


def test_estimates_of_a_known_market_converge():
    market = known_market(2500, 200, seed=9)
    still = replace(
        PRESETS["default"],
        window=2500,
        specific_window=2500,
        volatility=1e9,
        correlation=1e9,
        specific=1e9,
        regime=0.0,
        shrinkage=0.0,
    )
    model = risk_model(known_history(market, 2500), market.exposure_NK, market.cap_N, still)
    np.testing.assert_allclose(np.diag(model.covariance_KK), np.diag(market.covariance_KK), rtol=0.15)
    assert np.mean(model.specific_N / market.specific_N) == pytest.approx(1, abs=0.02)
    true_NN = market.exposure_NK @ market.covariance_KK @ market.exposure_NK.T + np.diag(market.specific_N)
    for active_N in np.random.default_rng(4).standard_normal((5, 200)):
        assert model.variance(active_N) == pytest.approx(active_N @ true_NN @ active_N, rel=0.08)


def test_the_regime_lifts_factors_and_names_apart():
    market = known_market(300, 60, seed=12)
    history = known_history(market, 300)
    off = replace(PRESETS["default"], regime=0.0)
    for name, scaled in (("return_TK", "covariance_KK"), ("residual_TN", "specific_N")):
        wild = getattr(history, name).copy()
        wild[-15:] *= 3
        loud = replace(history, **{name: wild})
        ratios = {}
        for field in ("covariance_KK", "specific_N"):
            on, without = (
                getattr(risk_model(loud, market.exposure_NK, market.cap_N, config), field)
                for config in (PRESETS["default"], off)
            )
            ratios[field] = np.median(np.diag(on) / np.diag(without) if on.ndim == 2 else on / without)
        assert ratios.pop(scaled) > 2
        assert ratios.popitem()[1] == pytest.approx(1, abs=0.25)


def test_forecasts_of_a_known_market_lie_in_the_band_of_a_perfect_model():
    market = known_market(460, 150, seed=11)
    history = known_history(market, 460)
    portfolios = random_portfolios(history.symbols, 20, 0)
    config = replace(PRESETS["default"], specific=252.0, regime=0.0)
    frames, understated = [], []
    for number in range(260, 460):
        model = risk_model(history.until(number, 504), market.exposure_NK, market.cap_N, config)
        named = families(model, market.cap_N, portfolios)
        frames.append(night_rows(history.sessions[number], model, market.return_TN[number], named))
        half = replace(model, specific_N=model.specific_N / 2, covariance_KK=model.covariance_KK / 2)
        understated.append(night_rows(history.sessions[number], half, market.return_TN[number], named))
    found = forecast_test(pl.concat(frames), draws=100).filter(figure="bias")
    assert found["inside"].all(), found
    assert not forecast_test(pl.concat(understated), draws=100).filter(figure="bias")["inside"].any()


def test_a_model_of_the_past_alone():
    panel = panel_of(50)
    history = factor_history(panel)
    changed = replace(history, return_TK=np.vstack([history.return_TK[:-1], history.return_TK[-1:] * 9]))
    before = dict(models_of(history, panel, [48], None))[48]
    after = dict(models_of(changed, panel, [48], None))[48]
    np.testing.assert_array_equal(before.covariance_KK, after.covariance_KK)
