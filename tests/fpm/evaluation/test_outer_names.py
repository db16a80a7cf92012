"""The names at both ends of a session, against scipy's percentiles."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from fpm.evaluation.outer_names import outer_names


def rows(scores: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [f"{number:02d}" for number in range(len(scores))],
            "score": pl.Series(scores, dtype=pl.Float64),
            "spread": 0.1,
            "industry": "bank",
            "size": 1e9,
        }
    )


def test_percentiles_are_those_of_scipy_with_ties():
    scores = np.random.default_rng(1).integers(0, 8, 23).astype(float).tolist()
    longs, shorts = outer_names(rows(scores), 10)
    assert len(longs) == len(shorts) == 10
    for name in (*longs, *shorts):
        expected = stats.percentileofscore(scores, name.score, kind="mean") / 100
        assert name.percentile == pytest.approx(expected)
    assert [name.score for name in longs] == sorted(scores, reverse=True)[:10]
    assert [name.score for name in shorts] == sorted(scores)[:10]


def test_no_name_is_at_both_ends_and_one_without_a_score_at_none():
    longs, shorts = outer_names(rows([3.0, None, 1.0, float("nan"), 2.0]), 10)
    assert [(name.symbol, name.percentile) for name in longs] == [("00", pytest.approx(5 / 6))]
    assert [(name.symbol, name.percentile) for name in shorts] == [("02", pytest.approx(1 / 6))]
    assert outer_names(rows([]), 3) == ([], [])


def test_equal_scores_are_in_the_order_of_their_symbols():
    longs, shorts = outer_names(rows([1.0, 1.0, 0.0, 0.0]), 2)
    assert [name.symbol for name in longs] == ["00", "01"] and [name.symbol for name in shorts] == ["02", "03"]
