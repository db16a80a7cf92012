"""Labels against hand-checked returns."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from fpm.features.labels import labels
from fpm.schema import HORIZON

T = date(2024, 3, 1)


def ends(session: date = T, horizon: int = HORIZON) -> tuple[date, date]:
    """The first session after one, and the session a horizon later, where every day is one."""
    return session + timedelta(days=1), session + timedelta(days=1 + horizon)


def days(closes: list[float | None], symbol: str = "A", **changes: Any) -> pl.DataFrame:
    """Consecutive sessions from T on; a close of None means no row."""
    frame = pl.DataFrame(
        {"session": [T + timedelta(days=i) for i in range(len(closes))], "symbol": symbol, "close": closes},
        schema={"session": pl.Date, "symbol": pl.String, "close": pl.Float64},
    )
    columns = {"volume": 100.0, "adj_factor": 1.0, "suspended": False} | changes
    return frame.drop_nulls("close").with_columns(
        pl.Series(name, value) if isinstance(value, list) else pl.lit(value).alias(name)
        for name, value in columns.items()
    )


def test_from_the_next_close_to_the_fifth_after_it() -> None:
    table = labels(days([10, 20, 21, 22, 23, 24, 30, 99]), T, ends())
    assert table.rows() == [("A", 0.5)]  # 30 / 20 - 1: neither the close of T nor day 7 counts
    assert labels(days([10, 20, 21, 22]), T, ends(horizon=1)).rows() == [("A", pytest.approx(21 / 20 - 1))]


def test_a_split_between_the_ends_is_no_return() -> None:
    """2 for 1 on the fourth session: 20 before is 10 after."""
    daily = days([20, 20, 20, 10, 10, 10, 11], adj_factor=[1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    assert labels(daily, T, ends())["label"].to_list() == [pytest.approx(0.1)]


def test_symbols_without_one_of_the_ends_are_left_out() -> None:
    full: list[float | None] = [10, 10, 10, 10, 10, 10, 11]
    daily = pl.concat(
        [
            days(full, "A"),
            days([10, None, 10, 10, 10, 10, 10], "no_start"),
            days([10, 10, 10], "delisted"),
            days([None, 10, 10, 10, 10, 10, 10], "new"),
            days(full, "halted", suspended=[False, True, False, False, False, False, False]),
            days(full, "no_volume", volume=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
            days(full, "no_factor", adj_factor=[None, None, None, None, None, None, None]).cast(
                {"adj_factor": pl.Float64}
            ),
        ]
    )
    assert labels(daily, T, ends())["symbol"].to_list() == ["A"]


def test_a_delisted_symbol_has_labels_up_to_the_last_session_with_both_ends() -> None:
    daily = pl.concat([days([10.0] * 9, "A"), days([10, 10, 10, 10, 10, 10, 11, 12], "D")])
    assert [
        labels(daily, day, ends(day))["symbol"].to_list() for day in (T + timedelta(days=i) for i in (0, 1, 2))
    ] == [
        ["A", "D"],
        ["A", "D"],
        ["A"],
    ]


def test_a_session_between_the_ends_may_be_absent() -> None:
    assert labels(days([10, 20, 21, None, 23, 24, 30]), T, ends())["label"].to_list() == [0.5]


@pytest.mark.parametrize("absent", [1, 6])
def test_without_an_end_there_is_no_label(absent: int) -> None:
    closes: list[float | None] = [10, 20, 21, 22, 23, 24, 30]
    closes[absent] = None
    assert labels(days(closes), T, ends()).is_empty()
