"""Which symbols a session should have, against a plain reading of the rule."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.universe import delisted, excused, shrinks

DAY = date(2026, 1, 6)
FLAGS = st.sampled_from([True, False, None])
VOLUMES = st.sampled_from([0.0, 100.0, None])
DATES = st.sampled_from([date(2026, 1, 5), DAY, date(2026, 1, 7), None])
ROWS = st.lists(st.tuples(FLAGS, VOLUMES, DATES), max_size=6)
SCHEMA = {"symbol": pl.String, "suspended": pl.Boolean, "volume": pl.Float64, "delist_date": pl.Date}


def table(rows: list[tuple[bool | None, float | None, date | None]]) -> pl.DataFrame:
    return pl.DataFrame([(f"S{number}", *row) for number, row in enumerate(rows)], schema=SCHEMA, orient="row")


@given(ROWS, ROWS)
def test_who_is_halted_or_delisted_may_be_absent(
    today: list[tuple[bool | None, float | None, date | None]],
    before: list[tuple[bool | None, float | None, date | None]],
) -> None:
    expected = set()
    for number, (suspended, volume, last_day) in enumerate(today):
        if suspended or volume == 0 or (last_day and last_day <= DAY):
            expected.add(f"S{number}")
    expected |= {f"S{number}" for number, (_, _, last_day) in enumerate(before) if last_day and last_day <= DAY}
    assert excused(DAY, table(today), table(before)) == expected


def test_columns_that_a_home_lacks_say_nothing() -> None:
    bare = table([(True, 0.0, DAY)]).select("symbol")
    assert excused(DAY, bare, bare) == delisted(DAY, bare) == frozenset()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(5012, 4310, True), (300, 300, False), (300, 320, False), (40, 38, False), (40, 37, True), (12, 11, False)],
)
def test_more_than_a_twentieth_and_more_than_one(before: int, after: int, expected: bool) -> None:
    assert shrinks(before, after) is expected
