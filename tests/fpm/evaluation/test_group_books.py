"""The two books of score groups on numbers worked by hand, and beside the figures of a factor."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from fpm.evaluation.evaluate import PRESETS, evaluate
from fpm.evaluation.figures import Surroundings
from fpm.evaluation.group_books import books, rebalances

MONDAY = date(2024, 1, 1)
CONFIG = replace(PRESETS["tiny"], horizon=1, groups=2)


def days(count: int) -> list[date]:
    """Weekdays from a Monday."""
    return [MONDAY + timedelta(days=7 * (i // 5) + i % 5) for i in range(count)]


def long(values: list[list[float]], name: str) -> pl.DataFrame:
    """One row of numbers a session as session, symbol, value."""
    rows = [
        (day, f"S{n}", value)
        for day, today in zip(days(len(values)), values, strict=True)
        for n, value in enumerate(today)
    ]
    return pl.DataFrame(rows, schema=["session", "symbol", name], orient="row")


def daily(sessions: int, symbols: int, amount: float) -> pl.DataFrame:
    """Bars that trade every day at a price of 1 for the same amount."""
    bars = {"open": 1.0, "close": 1.0, "volume": 100.0, "amount": amount, "adj_factor": 1.0}
    grid = long([[0.0] * symbols] * sessions, "unused").drop("unused")
    free = (pl.lit(None, dtype=pl.Float64).alias("limit_up"), pl.lit(False).alias("suspended"))
    return grid.with_columns(*(pl.lit(value).alias(name) for name, value in bars.items()), *free)


def test_both_books_by_hand() -> None:
    """Session 1: top S2, S3 (+3 %), all +1.5 %, bottom 0. Session 2: top S0, S3 (+2 %), all 0 %, bottom -2 %.

    Long-short +3 % and +4 %: it buys both sides (2), then S0 changes from bottom to top and S2 back: four legs
    of a half each = 2. Top over all +1.5 % and +2 %: it buys 1, then sells S2 and buys S0: 1.
    """
    scores = long([[1.0, 2.0, 3.0, 4.0], [4.0, 1.0, 2.0, 3.0]], "score")
    labels = long([[0.01, -0.01, 0.02, 0.04], [0.01, -0.03, -0.01, 0.03]], "label")
    both, top = books(scores, labels, daily(3, 4, 1000.0), CONFIG)
    assert (both.name, top.name) == ("long-short", "top group") and both.rebalances == top.rebalances == 2
    assert both.costs is not None and top.costs is not None
    assert both.costs.weekly == pytest.approx(0.035) and both.costs.traded == pytest.approx(2.0)
    assert top.costs.weekly == pytest.approx(0.0175) and top.costs.traded == pytest.approx(1.0)
    assert {net.basis_points: net.weekly for net in both.costs.net} == pytest.approx(
        {points: 0.035 - 2.0 * points / 1e4 for points in (5, 10, 20)}
    )
    assert top.costs.break_even == pytest.approx(175)


def test_capacity_is_a_share_of_the_day_s_amount() -> None:
    """The second rebalance trades half a book in each of two names; 90 % of it fits at 5 % of 1,000 each: 100 / 0.9."""
    scores = long([[1.0, 2.0, 3.0, 4.0], [4.0, 1.0, 2.0, 3.0]], "score")
    _, top = books(scores, long([[0.0, 0.1, 0.2, 0.3]] * 2, "label"), daily(3, 4, 1000.0), CONFIG)
    assert top.costs is not None
    assert {each.participation: each.median for each in top.costs.capacity}[0.05] == pytest.approx(100 / 0.9)


def test_a_book_is_held_as_long_as_a_label() -> None:
    assert rebalances(days(12), 5).tolist() == [4, 9, 11]
    assert rebalances(days(12), 1).tolist() == list(range(12))
    assert rebalances(days(12), 3).tolist() == [0, 3, 6, 9]


def test_the_long_short_book_is_that_of_the_report() -> None:
    random = np.random.default_rng(3)
    scores = long(random.normal(size=(90, 40)).tolist(), "score")
    labels = long(random.normal(scale=0.03, size=(90, 40)).tolist(), "label")
    bars, config = daily(92, 40, 5e6), PRESETS["tiny"]
    both, _ = books(scores, labels, bars, config)
    figures = evaluate(scores, labels, config, Surroundings(daily=bars))
    assert both.costs == figures.costs


def test_a_score_without_ranking_has_no_book() -> None:
    constant = long([[1.0] * 4] * 3, "score")
    for book in books(constant, long([[0.0, 0.1, 0.2, 0.3]] * 3, "label"), daily(4, 4, 1.0), CONFIG):
        assert book.costs is None and book.rebalances == 0


def test_a_year_of_daily_rebalances_has_260() -> None:
    scores = long([[1.0, 2.0, 3.0, 4.0]] * 20, "score")
    both, _ = books(scores, long([[0.0, 0.0, 0.0, 0.001]] * 20, "label"), daily(21, 4, 1.0), CONFIG)
    assert both.costs is not None and both.costs.net[0].annual_return is not None
    spread, points = 0.0005, 5
    growth = (1 + spread - 2 * points / 1e4) * (1 + spread) ** 19
    assert both.costs.net[0].annual_return == pytest.approx(growth ** (260 / 20) - 1)
