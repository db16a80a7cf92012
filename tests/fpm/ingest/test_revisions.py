"""Corrections are appended with their moment; every other version stays."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from fpm.ingest.revisions import revise

UTC = ZoneInfo("UTC")
CLOSE = datetime(2026, 1, 5, 7, tzinfo=UTC)
CUT_OFF = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = CUT_OFF + timedelta(days=2)


def rows(**values: list[float | None]) -> pl.DataFrame:
    count = len(next(iter(values.values())))
    events = pl.Series("event_timestamp", [CLOSE] * count, pl.Datetime("us", "UTC"))
    columns = {name: pl.Series(cells, dtype=pl.Float64) for name, cells in values.items()}
    return pl.DataFrame({"symbol": ["A", "B", "C"][:count], **columns, "event_timestamp": events})


def versions(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    return frame.select("symbol", "close", "created_timestamp").rows()


FIRST = revise(None, rows(close=[1.0, 2.0], volume=[5.0, 6.0]), ["symbol"], CUT_OFF, LATER)


def test_the_first_copy_is_known_from_the_cut_off_whenever_it_arrives() -> None:
    assert versions(FIRST) == [("A", 1.0, CUT_OFF), ("B", 2.0, CUT_OFF)]


def test_equal_values_change_nothing() -> None:
    assert revise(FIRST, rows(close=[1.0, 2.0], volume=[5.0, 6.0]), ["symbol"], CUT_OFF, LATER).equals(FIRST)


def test_other_and_new_values_are_appended_with_their_moment() -> None:
    again = revise(FIRST, rows(close=[1.0, 2.5, 3.0], volume=[5.0, 6.0, 7.0]), ["symbol"], CUT_OFF, LATER)
    assert versions(again) == [("A", 1.0, CUT_OFF), ("B", 2.0, CUT_OFF), ("B", 2.5, LATER), ("C", 3.0, LATER)]


def test_an_absent_symbol_or_column_changes_nothing() -> None:
    again = revise(FIRST, rows(close=[1.5]), ["symbol"], CUT_OFF, LATER)
    assert versions(again) == [("A", 1.0, CUT_OFF), ("A", 1.5, LATER), ("B", 2.0, CUT_OFF)]
    assert again.filter(pl.col("created_timestamp") == LATER)["volume"].to_list() == [5.0]


def test_a_new_column_is_a_revision_of_the_rows_that_have_it() -> None:
    again = revise(FIRST, rows(close=[1.0, 2.0], trades=[9.0, None]), ["symbol"], CUT_OFF, LATER)
    assert versions(again) == [("A", 1.0, CUT_OFF), ("A", 1.0, LATER), ("B", 2.0, CUT_OFF)]


def test_null_against_null_is_no_change_and_null_against_a_value_is() -> None:
    first = revise(None, rows(close=[None, 2.0]), ["symbol"], CUT_OFF, LATER)
    assert revise(first, rows(close=[None, 2.0]), ["symbol"], CUT_OFF, LATER).equals(first)
    assert versions(revise(first, rows(close=[1.0]), ["symbol"], CUT_OFF, LATER))[1] == ("A", 1.0, LATER)


def test_a_correction_before_the_cut_off_replaces_the_first_copy() -> None:
    again = revise(FIRST, rows(close=[1.5]), ["symbol"], CUT_OFF, CUT_OFF - timedelta(hours=1))
    assert versions(again) == [("A", 1.5, CUT_OFF), ("B", 2.0, CUT_OFF)]


def test_an_older_correction_that_comes_late_leaves_the_newer_one_in_force() -> None:
    newest = revise(FIRST, rows(close=[1.9]), ["symbol"], CUT_OFF, LATER)
    between = revise(newest, rows(close=[1.5]), ["symbol"], CUT_OFF, LATER - timedelta(days=1))
    assert [row[1] for row in versions(between) if row[0] == "A"] == [1.0, 1.5, 1.9]
