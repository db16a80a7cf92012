"""The forecast test against numbers by hand, published bands and models that are wrong on purpose."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from fpm.risk.forecast_test import (
    families,
    figures,
    forecast_test,
    mahalanobis,
    night_rows,
    optimal,
    perfect_bands,
    random_portfolios,
)
from fpm.risk.model import RiskModel
from tests.fpm.risk.market import known_market

DAYS = [date(2020, 1, 1) + timedelta(days=t) for t in range(600)]


def known_model(seed=0, symbols=60):
    market = known_market(300, symbols, seed)
    names = tuple(f"S{n:03d}" for n in range(symbols))
    return market, RiskModel(names, market.factors, market.exposure_NK, market.covariance_KK, market.specific_N)


def rows_of(z_TP, predicted=0.01, family="random"):
    sessions, portfolios = z_TP.shape
    return pl.DataFrame(
        {
            "session": np.repeat(np.array(DAYS[:sessions], dtype="datetime64[D]"), portfolios),
            "family": [family] * z_TP.size,
            "portfolio": [str(p) for p in range(portfolios)] * sessions,
            "predicted": [predicted] * z_TP.size,
            "realised": (z_TP * predicted).ravel(),
            "distance": np.repeat(np.square(z_TP).mean(axis=1), portfolios),
        }
    )


def test_figures_by_hand():
    z_TP = np.array([[1.0], [-1.0], [2.0], [-2.0]])
    found = figures(z_TP)
    assert found["bias"] == pytest.approx(np.sqrt(10 / 3))
    assert found["variance_ratio"] == pytest.approx(2.5)
    assert found["q"] == pytest.approx(2.5 - np.log(4) / 2)
    assert np.isnan(found["mrad"]) and np.isnan(found["share_in_band"])


def test_floors_of_a_perfect_normal_model():
    """Q about 2.27, MRAD of 12 observations about 0.17, 95 % of one portfolio's B within 1 ± √(2/T)."""
    z_TP = np.random.default_rng(0).standard_normal((500, 200))
    found = figures(z_TP)
    assert found["q"] == pytest.approx(2.27, abs=0.02) and found["mrad"] == pytest.approx(0.17, abs=0.01)
    assert found["share_in_band"] == pytest.approx(0.95, abs=0.02)


def test_bands_of_one_portfolio_widen_with_tails():
    """Normal, T = 252: 0.91 to 1.09; Student t with five degrees: 0.86 to 1.17."""
    random, tails = np.random.default_rng(1), []
    for draw in (random.standard_normal(252), random.standard_t(5, 252)):
        low, high = perfect_bands(draw[:, None], 1, 400, 0)["bias"]
        tails.append(high - low)
        assert low < 1 < high + 0.02
    assert tails[0] == pytest.approx(0.18, abs=0.04) and tails[1] > tails[0]


def test_a_right_model_lies_inside_and_wrong_ones_do_not():
    z_TP = np.random.default_rng(2).standard_t(6, (400, 30)) / np.sqrt(1.5)
    right = forecast_test(rows_of(z_TP), draws=200).filter(figure="bias").row(0, named=True)
    assert right["inside"] and right["portfolios"] == 30 and right["observations"] == 400
    for factor in (0.9, 1.12):
        wrong = forecast_test(rows_of(z_TP * factor), draws=200).filter(figure="bias").row(0, named=True)
        assert not wrong["inside"] and wrong["value"] == pytest.approx(right["value"] * factor)


def test_bad_timing_shows_in_the_windows_where_the_bias_is_right():
    random = np.random.default_rng(3)
    scale_T1 = np.where(np.arange(500) % 100 < 50, 0.4, np.sqrt(2 - 0.16))[:, None]
    z_TP = random.standard_normal((500, 30)) * scale_T1
    found = {row["figure"]: row for row in forecast_test(rows_of(z_TP), draws=200).rows(named=True)}
    assert found["bias"]["value"] == pytest.approx(1, abs=0.05)
    assert not found["mrad"]["inside"]


def test_the_same_seed_gives_the_same_bands():
    rows = rows_of(np.random.default_rng(4).standard_normal((60, 5)))
    first, again, other = (forecast_test(rows, draws=50, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again) and not first.equals(other)


def test_overlapping_weeks_of_a_right_model():
    z_TP = np.random.default_rng(5).standard_normal((500, 20))
    row = forecast_test(rows_of(z_TP), horizon=5, draws=200).filter(figure="bias").row(0, named=True)
    assert row["observations"] == 496 and row["inside"]
    daily = forecast_test(rows_of(z_TP), draws=200).filter(figure="bias").row(0, named=True)
    assert row["high"] - row["low"] > 1.5 * (daily["high"] - daily["low"])


def test_too_few_sessions_give_nulls():
    for sessions in (1, 2, 5):
        found = forecast_test(rows_of(np.ones((sessions, 2))), draws=10)
        assert found.filter(figure="share_in_band")["value"].is_null().all()


def test_optimal_weights_are_the_dense_solution():
    _, model = known_model()
    dense_NN = model.exposure_NK @ model.covariance_KK @ model.exposure_NK.T + np.diag(model.specific_N)
    held = np.arange(60) != 7
    view_N = np.random.default_rng(6).standard_normal(60)
    inverse = np.linalg.inv(dense_NN[np.ix_(held, held)])
    one, view = inverse.sum(axis=1), inverse @ view_N[held]
    expected = view - view.sum() / one.sum() * one
    found_N = optimal(model, view_N[None], held.astype(float))[0]
    np.testing.assert_allclose(found_N[held], expected / np.abs(expected).sum(), atol=1e-10)
    assert found_N[7] == 0 and abs(found_N.sum()) < 1e-12


def test_a_night_by_hand():
    model = RiskModel(("A", "B"), ("country",), np.ones((2, 1)), np.array([[1e-4]]), np.array([4e-4, 1e-4]))
    weights = {"random": (("0", "none"), np.array([[1.0, -1.0], [0.0, 0.0]]))}
    rows = night_rows(DAYS[0], model, np.array([0.03, np.nan]), weights)
    assert rows["portfolio"].to_list() == ["0"]  # a portfolio without risk says nothing
    assert rows["predicted"][0] == pytest.approx(np.sqrt(5e-4)) and rows["realised"][0] == pytest.approx(0.03)
    assert rows["distance"][0] == pytest.approx(9e-4 / 5e-4)


def test_mahalanobis_of_the_definition_and_of_redundant_portfolios():
    random = np.random.default_rng(7)
    root_PP, return_P = random.standard_normal((4, 4)), random.standard_normal(4)
    covariance_PP = root_PP @ root_PP.T
    expected = return_P @ np.linalg.inv(covariance_PP) @ return_P / 4
    assert mahalanobis(return_P, covariance_PP) == pytest.approx(expected)
    twice = np.vstack([np.eye(4), np.eye(4)])
    assert mahalanobis(twice @ return_P, twice @ covariance_PP @ twice.T) == pytest.approx(expected, rel=1e-5)


def test_a_new_listing_leaves_the_portfolios_of_the_others():
    before, after = random_portfolios(("A", "C"), 40, 3), random_portfolios(("A", "B", "C"), 40, 3)
    np.testing.assert_array_equal(after.random_PN[:, [0, 2]], before.random_PN)
    np.testing.assert_array_equal(after.alpha_PN[:, [0, 2]], before.alpha_PN)
    assert (after.alpha_PN[:, 0] != after.alpha_PN[:, 1]).all() and 0 < before.random_PN.mean() < 0.3


def test_families_of_the_true_model_have_a_distance_of_one():
    market, model = known_model(8)
    portfolios = random_portfolios(model.symbols, 15, 0)
    named = families(model, market.cap_N, portfolios, np.arange(60.0))
    assert set(named) == {"random", "factor", "eigen", "optimised", "score"}
    assert np.allclose(named["random"][1].sum(axis=1), 0) and np.allclose(named["optimised"][1].sum(axis=1), 0)
    rows = pl.concat(night_rows(DAYS[t], model, r_N, named) for t, r_N in enumerate(market.return_TN))
    found = forecast_test(rows, draws=50).filter(figure="mahalanobis", family="factor")["value"][0]
    assert found == pytest.approx(1, abs=0.1)
