"""The reference price where the vendor delivers none: the last close on the session's own basis."""

from __future__ import annotations

from datetime import date

import polars as pl

from fpm.reference_prices import with_reference_prices

DAYS = [date(2024, 1, number) for number in (2, 3, 4)]


def bars(rows: list[tuple[date, str, float | None, float | None, float | None]]) -> pl.DataFrame:
    columns = {"close": pl.Float64, "adj_factor": pl.Float64, "pre_close": pl.Float64}
    return pl.DataFrame(rows, schema={"session": pl.Date, "symbol": pl.String, **columns}, orient="row")


def test_a_split_a_halt_a_word_of_the_vendor_and_a_first_day() -> None:
    rows = bars(
        [
            (DAYS[0], "A", 12.0, 1.0, None),
            (DAYS[0], "B", 8.0, 2.0, 7.9),
            (DAYS[1], "B", None, 2.0, None),  # halted
            (DAYS[1], "A", 6.1, 2.0, None),  # two for one
            (DAYS[2], "B", 8.1, None, None),
            (DAYS[2], "A", 6.2, 2.0, 6.05),  # the vendor's own word stays
        ]
    )
    whole = with_reference_prices(rows)
    assert whole.select("session", "symbol").equals(rows.select("session", "symbol"))
    assert whole["pre_close"].to_list() == [None, 7.9, 8.0, 6.0, 8.0, 6.05]


def test_closes_from_before_the_span_and_a_table_without_the_column() -> None:
    before = bars([(DAYS[0], "A", 12.0, 1.0, None)]).drop("pre_close")
    rows = bars([(DAYS[1], "A", 6.1, 2.0, None)])
    assert with_reference_prices(rows.drop("pre_close"), before)["pre_close"].to_list() == [6.0]
    assert with_reference_prices(rows)["pre_close"].to_list() == [None]
    assert with_reference_prices(rows.clear(), before).height == 0
