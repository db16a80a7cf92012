"""The styles against slow loops over single names, hand-made numbers and the forms' own definitions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fpm.risk.market_panel import UNCLASSIFIED, carried, market_panel, weighted_sums
from fpm.risk.styles import (
    HISTORY,
    cumulative_range,
    half_life_weights,
    market_regression,
    momentum,
    orthogonal,
    styles,
)
from fpm.schema import STYLES
from tests.fpm.risk.market import daily_rows, days

SESSIONS = 640


@pytest.fixture(scope="module")
def panel():
    daily = daily_rows(SESSIONS, 24, seed=3)
    listing = (pl.col("symbol") == "S005") & (pl.col("session") < days(SESSIONS)[600])
    gap = (pl.col("symbol") == "S007") & pl.col("session").is_between(days(SESSIONS)[500], days(SESSIONS)[520])
    rows = daily.filter(~listing & ~gap)
    return market_panel(rows, days(SESSIONS), sorted(daily["symbol"].unique()))


def test_one_session_alone_equals_the_panel(panel):
    whole_TNS = styles(panel)
    for last in (30, 300, 610, SESSIONS - 1):
        alone = panel.between(max(0, last - HISTORY + 1), last + 1)
        np.testing.assert_allclose(styles(alone, len(alone.sessions) - 1)[0], whole_TNS[last], rtol=0, atol=1e-8)


def test_later_bars_change_nothing(panel):
    np.testing.assert_allclose(styles(panel.between(0, 400), 399)[0], styles(panel, 399)[0], rtol=0, atol=1e-12)


def test_beta_and_residual_deviation_of_a_slow_weighted_regression(panel):
    beta_TN, deviation_TN = market_regression(panel)
    market_T = panel.market_T()
    for t, n in ((639, 0), (639, 7), (100, 3), (615, 5)):
        rows = [i for i in range(max(0, t - 251), t + 1) if np.isfinite(panel.return_TN[i, n])]
        weight = np.array([0.5 ** ((t - i) / 63) for i in rows])
        x = np.column_stack([np.ones(len(rows)), market_T[rows]])
        y = panel.return_TN[rows, n]
        slope = np.linalg.solve(x.T @ (x * weight[:, None]), x.T @ (weight * y))
        rest = y - x @ slope
        assert beta_TN[t, n] == pytest.approx(slope[1], rel=1e-8)
        assert deviation_TN[t, n] == pytest.approx(np.sqrt((weight * rest**2).sum() / weight.sum()), rel=1e-7)
    assert np.isnan(beta_TN[605, 5])  # five returns since its listing


def test_momentum_of_a_slow_loop(panel):
    own, market_T = momentum(panel), panel.market_T()
    expected = sum(
        0.5 ** (j / 126) * (np.log1p(panel.return_TN[639 - 21 - j, 2]) - np.log1p(market_T[639 - 21 - j]))
        for j in range(504)
    )
    assert own[639, 2] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(own[620, 5]) and np.isfinite(own[639, 5])  # 21 sessions since its listing are too few


def test_range_of_a_slow_loop(panel):
    excess_T = np.log1p(panel.return_TN[:, 4]) - np.log1p(panel.market_T())
    totals = [np.nansum(excess_T[639 - 21 * month + 1 : 640]) for month in range(1, 13)]
    assert cumulative_range(panel)[639, 4] == pytest.approx(max(totals) - min(totals), rel=1e-8)


def test_mean_zero_by_size_and_deviation_one(panel):
    style_TNS = styles(panel, 620)
    cap_TN = np.nan_to_num(panel.cap_TN[620:])
    np.testing.assert_allclose(np.einsum("tn,tns->ts", cap_TN, style_TNS) / cap_TN.sum(axis=1)[:, None], 0, atol=1e-9)
    known = np.delete(style_TNS, 5, axis=1)  # the new listing is 0 where unknown
    np.testing.assert_allclose(known[..., 0].std(axis=1), 1, atol=0.05)
    assert np.isfinite(style_TNS).all()
    assert (style_TNS[0, 5, [STYLES.index("momentum")]] == 0).all()


def test_nonlinear_size_has_no_size_in_it(panel):
    style_NS, cap_N = styles(panel, 639)[0], panel.cap_TN[639]
    weight = np.sqrt(cap_N) / np.sqrt(cap_N).sum()
    size, cube = style_NS[:, 0], style_NS[:, 5]
    assert abs(weight @ ((size - weight @ size) * (cube - weight @ cube))) < 1e-9


def test_orthogonal_is_the_residual_of_a_regression():
    random = np.random.default_rng(1)
    y, x, weight = random.standard_normal(20), random.standard_normal(20), random.random(20)
    design = np.column_stack([np.ones(20), x]) * np.sqrt(weight)[:, None]
    slope = np.linalg.lstsq(design, y * np.sqrt(weight), rcond=None)[0]
    expected = y - np.column_stack([np.ones(20), x]) @ slope
    np.testing.assert_allclose(orthogonal(y[None], (x[None],), weight[None])[0], expected, atol=1e-12)


def test_weighted_sums_of_pandas_and_by_hand():
    np.testing.assert_allclose(
        weighted_sums(np.array([[1.0], [np.nan], [4.0]]), np.array([1.0, 0.5]))[:, 0], [1.0, 0.5, 4.0]
    )
    x = np.random.default_rng(2).standard_normal((300, 2))
    weight = half_life_weights(300, 20)
    ours = weighted_sums(x, weight) / weighted_sums(np.ones_like(x), weight)
    np.testing.assert_allclose(ours, pd.DataFrame(x).ewm(halflife=20).mean().to_numpy(), atol=1e-12)


def test_amount_stands_for_size_without_shares():
    daily = daily_rows(40, 9, shares=False)
    panel = market_panel(daily, days(40), sorted(daily["symbol"].unique()))
    amount = daily.sort("session").filter(symbol="S001")["amount"].to_numpy()
    assert panel.proxy_TN.all()
    np.testing.assert_allclose(panel.cap_TN[:, 1], np.cumsum(amount) / np.arange(1, 41))
    assert styles(panel).any(axis=(0, 1)).all()


def test_amount_is_scaled_to_the_names_that_have_shares():
    daily = daily_rows(40, 9)
    none = pl.col("symbol") == "S001"
    daily = daily.with_columns(pl.when(~none).then(c).alias(c) for c in ("float_shares", "total_shares"))
    panel = market_panel(daily, days(40), sorted(daily["symbol"].unique()))
    assert panel.proxy_TN[:, 1].all() and not panel.proxy_TN[:, 2].any()
    assert 0.05 < panel.cap_TN[39, 1] / np.median(panel.cap_TN[39]) < 20


def test_names_without_a_bar_keep_size_and_industry_and_unclassified_names_have_their_own():
    daily = daily_rows(30, 6).filter((pl.col("symbol") != "S002") | (pl.col("session") < days(30)[10]))
    daily = daily.with_columns(industry=pl.when(pl.col("symbol") != "S003").then("industry"))
    panel = market_panel(daily, days(30), [f"S{n:03d}" for n in range(7)])
    assert panel.cap_TN[29, 2] == panel.cap_TN[9, 2]
    assert panel.industries[panel.industry_TN[29, 2]] == "software"
    assert panel.industries[panel.industry_TN[29, 3]] == panel.industries[panel.industry_TN[29, 6]] == UNCLASSIFIED
    assert np.isnan(panel.return_TN[10:, 2]).all() and (panel.turnover_TN[10:, 2] == 0).all()
    assert np.isfinite(styles(panel)).all() and not styles(panel)[:, 6].any()


def test_a_split_leaves_no_return():
    daily = daily_rows(20, 5)
    late = (pl.col("session") >= days(20)[10]) & (pl.col("symbol") == "S001")
    split = daily.with_columns(
        close=pl.when(late).then(pl.col("close") / 2).otherwise("close"),
        adj_factor=pl.when(late).then(2.0).otherwise("adj_factor"),
    )
    symbols = sorted(daily["symbol"].unique())
    np.testing.assert_allclose(
        market_panel(split, days(20), symbols).return_TN, market_panel(daily, days(20), symbols).return_TN, atol=1e-12
    )


def test_a_market_of_one_session_or_of_equal_names_is_finite():
    daily = daily_rows(1, 4)
    assert np.isfinite(styles(market_panel(daily, days(1), sorted(daily["symbol"].unique())))).all()
    panel = market_panel(daily_rows(30, 4), days(30), ["S000", "S001", "S002", "S003"])
    same = replace(panel, return_TN=np.zeros_like(panel.return_TN), cap_TN=np.ones_like(panel.cap_TN))
    assert np.isfinite(styles(same)).all()


def test_the_market_is_weighted_by_the_sizes_of_the_session_before(panel):
    two = replace(
        panel,
        return_TN=np.array([[np.nan, np.nan], [0.1, -0.1], [0.2, np.nan]]),
        cap_TN=np.array([[3.0, 1.0], [5.0, 5.0], [9.0, 9.0]]),
    )
    np.testing.assert_allclose(two.market_T(), [0, 0.05, 0.2])


def test_carried():
    np.testing.assert_array_equal(carried(np.array([[np.nan], [1.0], [np.nan]])), [[np.nan], [1.0], [1.0]])
