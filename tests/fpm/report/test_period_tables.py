"""Years and months of a curve, by hand."""

from __future__ import annotations

from datetime import date

import polars as pl

from fpm.portfolio.performance import performance
from fpm.report.figure_text import ABSENT, MINUS
from fpm.report.period_tables import monthly, yearly

# closes and daily index returns over a year's end: +10 % against 0, then -5 % against -10 %, then 0 against 0
NAV = pl.DataFrame(
    {
        "session": [date(2023, 12, 28), date(2023, 12, 29), date(2024, 1, 2), date(2024, 3, 1)],
        "nav": [100.0, 110.0, 104.5, 104.5],
        "benchmark_return": [0.5, 0.0, -0.1, 0.0],
    }
)
NOTHING = pl.DataFrame(schema={"session": pl.Date, "amount": pl.Float64, "cost": pl.Float64})
FIGURES = performance(NAV, NOTHING, pl.DataFrame(schema={"session": pl.Date, "value": pl.Float64}))


def test_a_year_begins_where_the_one_before_ends() -> None:
    first, second = (row.cells for row in yearly(FIGURES, 252).rows)
    assert tuple(first[:4]) == ("2023", "10.00 %", "0.00 %", "10.00 %")
    assert tuple(second[:4]) == ("2024", f"{MINUS}5.00 %", f"{MINUS}10.00 %", "5.00 %")
    assert (first[-1], second[-1]) == ("1", "2")
    assert first[4] == ABSENT, "two sessions have no yearly tracking error"


def test_months_without_a_session_are_absent() -> None:
    table = monthly(FIGURES)
    assert [row.cells[0] for row in table.rows] == ["2023", "2024"]
    assert list(table.rows[0].cells[1:]) == [ABSENT] * 11 + ["10.00 %"]
    assert list(table.rows[1].cells[1:4]) == ["5.00 %", ABSENT, "0.00 %"]
