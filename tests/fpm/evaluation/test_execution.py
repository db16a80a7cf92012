"""Execution bases and fillable names by hand, neutral scores against least squares, Sharpe ratios by the papers."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from fpm.evaluation.evaluate import PRESETS, evaluate
from fpm.evaluation.execution import BASES, execution_prices, fillable, returns_on
from fpm.evaluation.figures import Surroundings
from fpm.evaluation.neutral import neutral
from fpm.evaluation.sharpe import expected_maximum, sharpe
from tests.fpm.evaluation.panels import long, weekdays

DAYS = weekdays(date(2025, 6, 2), 4)


def bars(**columns: list[float]) -> pl.DataFrame:
    """One symbol's four sessions."""
    plain = {
        "open": [10.0, 11.0, 12.0, 13.0],
        "close": [10.5, 11.5, 12.5, 14.0],
        "volume": [100.0] * 4,
        "amount": [1000.0, 1120.0, 1220.0, 1350.0],
        "adj_factor": [1.0, 1.0, 2.0, 2.0],
        "limit_up": [99.0] * 4,
        "suspended": [False] * 4,
    }
    return pl.DataFrame({"session": DAYS, "symbol": ["a"] * 4} | plain | columns)


def test_each_basis_by_hand() -> None:
    prices = execution_prices(bars(), ["a"])
    first = {name: returns_on(name, prices, DAYS, 1)[0, 0] for name in BASES}
    assert first["close"] == pytest.approx(11.5 / 10.5 - 1)  # t -> t+1
    assert first["next open"] == pytest.approx(24.0 / 11.0 - 1)  # t+1 -> t+2, adjusted by 2
    assert first["next close"] == pytest.approx(25.0 / 11.5 - 1)
    assert first["next vwap"] == pytest.approx(24.4 / 11.2 - 1)
    assert np.isnan(returns_on("next close", prices, DAYS, 1)[2:]).all()  # the sessions do not reach


def test_a_name_at_its_limit_or_suspended_cannot_be_bought() -> None:
    prices = execution_prices(bars(limit_up=[99.0, 11.5, 99.0, 99.0], suspended=[False, False, True, False]), ["a"])
    assert fillable(prices, DAYS)[:, 0].tolist() == [False, False, True, False]
    assert np.isnan(prices.prices["close"][2, 0])


def test_a_neutral_score_is_the_residual_of_dummies_and_styles() -> None:
    random = np.random.default_rng(1)
    score_TN, style_TN = random.normal(size=(2, 3, 40))
    group_TN = random.integers(0, 4, (3, 40))
    score_TN[0, 5], group_TN[1, 7] = np.nan, -1
    residual_TN = neutral(score_TN, [style_TN, 2 * style_TN], group_TN)
    for t in range(3):
        rows = np.flatnonzero(np.isfinite(score_TN[t]) & (group_TN[t] >= 0))
        design = np.column_stack([np.eye(4)[group_TN[t, rows]], style_TN[t, rows]])
        expected = score_TN[t, rows] - design @ np.linalg.lstsq(design, score_TN[t, rows], rcond=None)[0]
        assert residual_TN[t, rows] == pytest.approx(expected)
        assert np.isnan(np.delete(residual_TN[t], rows)).all()


def test_the_deflated_sharpe_ratio_of_the_paper() -> None:
    """Bailey and Lopez de Prado 2014, section "A numerical example": 100 trials whose annual ratios have variance 1/2,
    five years of daily returns, skewness -3, kurtosis 10, an annual ratio of 2.5: expected maximum 0.1132 a day."""
    assert expected_maximum(100, 501) == pytest.approx(0.1132, abs=2e-4)  # the variance 1 / 500 = 1/2 / 250 a day
    assert expected_maximum(1, 501) == 0


def test_a_sharpe_ratio_of_normal_returns_has_the_known_error() -> None:
    returns = np.random.default_rng(2).normal(0.01, 0.02, 4000)
    ratio = sharpe(returns, 1, 52, 0.95)
    assert ratio is not None
    assert ratio.annual == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(52))
    # Lo 2002: variance (1 + ratio^2 / 2) / n for normal returns
    error = np.sqrt((1 + ratio.per_week**2 / 2) / 4000) * np.sqrt(52)
    assert (ratio.high - ratio.low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    assert ratio.probabilistic > 0.999 and ratio.deflated == ratio.probabilistic
    assert sharpe(returns[:7], 1, 52, 0.95) is None and sharpe(np.ones(20), 1, 52, 0.95) is None


def test_more_trials_deflate() -> None:
    returns = np.random.default_rng(3).normal(0.002, 0.02, 60)
    once, often = (sharpe(returns, trials, 52, 0.95) for trials in (1, 50))
    assert once is not None and often is not None and often.deflated < once.deflated == once.probabilistic


def test_the_figures_that_need_daily_bars() -> None:
    random, days = np.random.default_rng(4), weekdays(date(2025, 6, 2), 60)
    step_TN = random.normal(0, 0.02, (60, 30))
    close_TN = 10 * np.exp(np.cumsum(step_TN, axis=0))
    label_TN = np.full((60, 30), np.nan)
    label_TN[:-6] = close_TN[6:] / close_TN[1:-5] - 1
    score_TN = np.nan_to_num(label_TN) + random.normal(0, 0.01, (60, 30))
    columns = {"open": close_TN, "close": close_TN, "amount": close_TN, "volume": np.ones((60, 30))}
    daily = long(close_TN * 2, "limit_up", days).with_columns(
        *(pl.Series(name, x_TN.ravel()) for name, x_TN in columns.items()),
        adj_factor=pl.lit(1.0),
        suspended=pl.lit(False),
        industry=pl.Series([f"i{n % 3}" for n in range(30)] * 60),
    )
    surroundings = Surroundings(daily=daily, styles=long(score_TN, "itself", days), trials=3)
    figures = evaluate(long(score_TN, "score", days), long(label_TN, "label", days), PRESETS["tiny"], surroundings)
    bases = dict(figures.bases)
    assert bases["next close"].value == pytest.approx(np.mean([value for _, value in figures.series]))
    assert bases["next vwap"].value == pytest.approx(bases["next close"].value)  # one price a session
    assert figures.fillable is not None and figures.fillable.value == pytest.approx(bases["next close"].value)
    assert dict(figures.exposures)["itself"].value == pytest.approx(1, abs=1e-3)
    neutral_to = dict(figures.neutral)
    assert neutral_to["industry"].value is not None and neutral_to["industry"].value > 0.5
    assert figures.sharpe is None  # 11 weeks with labels
    assert figures.ic is not None and figures.ic.value is not None and figures.ic.value > 0.5
