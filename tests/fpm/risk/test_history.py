"""The walk through many sessions against single regressions: whose exposures, whose returns, whose sizes."""

import numpy as np
import pytest

from fpm.risk.factor_returns import cross_section, exposures, factor_names
from fpm.risk.history import factor_history, style_walk
from fpm.risk.market_panel import market_panel
from fpm.risk.styles import HISTORY, styles
from tests.fpm.risk.market import daily_rows, days

SESSIONS = HISTORY + 90


@pytest.fixture(scope="module")
def panel():
    daily = daily_rows(SESSIONS, 30, seed=6)
    return market_panel(daily, days(SESSIONS), sorted(daily["symbol"].unique()))


def test_returns_stand_against_the_exposures_sizes_and_scores_of_the_session_before(panel):
    score_TN = np.random.default_rng(0).standard_normal((SESSIONS, 30))
    found = factor_history(panel, score_TN, first=SESSIONS - 3)
    assert found.sessions == panel.sessions[-3:]
    for row, number in enumerate(range(SESSIONS - 3, SESSIONS)):
        before = number - 1
        exposure_NK = exposures(styles(panel, before)[0], panel.industry_TN[before], panel.industries, score_TN[before])
        names = factor_names(panel.industries, score=True)
        expected = cross_section(panel.return_TN[number], exposure_NK, panel.cap_TN[before], names)
        np.testing.assert_allclose(found.return_TK[row], expected.return_K, atol=1e-12)
        np.testing.assert_allclose(found.residual_TN[row], expected.residual_N, atol=1e-12)


def test_the_walk_reads_enough_sessions_before_its_first(panel):
    whole_TNS = styles(panel)
    for number, style_NS in style_walk(panel, HISTORY + 20, SESSIONS):
        np.testing.assert_allclose(style_NS, whole_TNS[number], rtol=0, atol=1e-8)


def test_unseasoned_names_are_left_out_of_the_regression(panel):
    young = panel.between(0, 30)
    young.age_TN[:, 4] = np.arange(30) - 20
    found = factor_history(young, seasoned=21)
    assert not found.leverage_TN[:, 4].any() and np.isfinite(found.residual_TN[:, 4]).all()
    assert found.leverage_TN[5:, 5].all()


def test_the_last_window_of_a_history(panel):
    found = factor_history(panel, first=SESSIONS - 6)
    assert found.until(4, 3).sessions == found.sessions[1:4]
    assert found.until(2, 9).sessions == found.sessions[:2] and not found.until(0, 9).sessions
