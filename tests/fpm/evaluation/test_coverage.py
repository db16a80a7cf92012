"""Coverage of intervals, counted by hand."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from fpm.evaluation.coverage import by_part, outcomes

DAY, NEXT = date(2024, 1, 31), date(2024, 2, 1)


def frames() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Five symbols on two days: places of labels 0, 1/4, ..., 1 in the order of the symbols, turned on the second."""
    names = list("ABCDE")
    days = [DAY] * 5 + [NEXT] * 5
    base = pl.DataFrame({"session": days, "symbol": names * 2})
    scores = base.with_columns(stream=pl.lit("dual"), score=pl.Series([1.0, 2.0, 3.0, 4.0, 5.0] * 2))
    labels = base.with_columns(label=pl.Series([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.4, 0.3, 0.2, float("nan")]))
    intervals = base.with_columns(
        stream=pl.lit("dual"),
        lower=pl.Series([0.0, 0.3, 0.4, 0.0, None, 0.0, 0.0, 0.0, 0.0, 0.0]),
        upper=pl.Series([0.2, 0.9, 0.6, 0.75, None, 0.9, 0.7, 0.3, 0.2, 1.0]),
        level=pl.lit(0.8),
    )
    return intervals, scores, labels


def test_outcomes_by_hand() -> None:
    rows = outcomes(*frames()).sort("session", "symbol")
    # the first day: 0 in [0, .2], 1/4 not in [.3, .9], 1/2 in [.4, .6], 3/4 in [0, .75], no interval of E
    # the second, without a label of E: 1 not in [0, .9], 2/3 in [0, .7], 1/3 not in [0, .3], 0 in [0, .2]
    assert rows["covered"].to_list() == [True, False, True, True, False, True, False, True]
    assert rows["tenth"].to_list() == [0, 2, 5, 7, 0, 2, 5, 7]


def test_parts_by_hand() -> None:
    rows = outcomes(*frames())
    around = pl.DataFrame(
        {
            "session": [DAY] * 4 + [NEXT] * 4,
            "symbol": list("ABCD") * 2,
            "size": [1.0, 2.0, 3.0, None, 4.0, 5.0, 6.0, 7.0],
            "industry": ["bank", "bank", None, "steel"] * 2,
        }
    )
    parts = {part.part: part for part in by_part(rows, around)}
    assert (parts["all"].observed, parts["all"].stated, parts["all"].sessions, parts["all"].intervals) == (
        5 / 8, 0.8, 2, 8
    )  # fmt: skip
    assert parts["all"].width == pytest.approx((0.2 + 0.6 + 0.2 + 0.75 + 0.9 + 0.7 + 0.3 + 0.2) / 8)
    assert parts["month: 2024-01"].observed == 3 / 4 and parts["month: 2024-02"].observed == 2 / 4
    assert parts["industry: bank"].observed == 2 / 4 and parts["industry: steel"].observed == 2 / 2
    # thirds: A | B | C on the first day (D has no size), A | B | C and D on the second
    assert {name: parts[f"size: {name}"].intervals for name in ("small", "medium", "large")} == {
        "small": 2, "medium": 2, "large": 3
    }  # fmt: skip
    assert parts["score tenth: 01"].intervals == 2 and parts["score tenth: 01"].observed == 1 / 2
