"""Who a symbol is: renames, reuse, mergers and gaps, each with answers written down by hand."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from fpm.identities import NO_TABLE, SCHEMA, apart, history, in_motion, names_of, on_day, renames, under_names, within

Row = tuple[str, date, date | None, str]


def day(number: int) -> date:
    return date(2024, 1, number)


def table(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def rows(*cells: tuple[int, str, float]) -> pl.DataFrame:
    return pl.DataFrame([(day(number), symbol, close) for number, symbol, close in cells], orient="row", schema=COLUMNS)


COLUMNS = {"session": pl.Date, "symbol": pl.String, "close": pl.Float64}
RENAMED = table(("A", day(1), day(10), "x"), ("B", day(11), None, "x"))
REUSED = table(("A", day(1), day(10), "x"), ("A", day(15), None, "y"), ("B", day(11), None, "x"))
TANGLED = table(
    ("A", day(2), day(6), "x"),
    ("A", day(9), None, "y"),
    ("B", day(7), day(12), "x"),
    ("C", day(1), day(8), "y"),
    ("D", day(13), None, "x"),
)
PRICES = rows((9, "A", 1.0), (10, "A", 2.0), (11, "B", 3.0), (12, "B", 4.0))


def test_a_renamed_company_carries_its_history_under_its_new_name() -> None:
    assert history(PRICES, RENAMED, day(12)).rows() == [
        (day(9), "B", 1.0),
        (day(10), "B", 2.0),
        (day(11), "B", 3.0),
        (day(12), "B", 4.0),
    ]


def test_a_rename_of_tomorrow_is_not_known_today() -> None:
    """At a session before the rename every row has the old name, also those of later sessions that a label reads."""
    assert history(PRICES, RENAMED, day(10))["symbol"].to_list() == ["A"] * 4
    for session in (day(8), day(9), day(10)):
        before = PRICES.filter(pl.col("session") <= session)
        assert history(before, RENAMED, session).equals(before)
        assert history(before, table(("A", day(1), None, "x")), session).equals(before)


def test_two_companies_of_one_ticker_stay_apart() -> None:
    prices = rows((10, "A", 2.0), (11, "B", 3.0), (15, "A", 70.0), (15, "B", 4.0), (16, "A", 71.0), (16, "B", 5.0))
    at_16 = history(prices, REUSED, day(16))
    assert at_16.filter(pl.col("symbol") == "A")["close"].to_list() == [70.0, 71.0]
    assert at_16.filter(pl.col("symbol") == "B")["close"].to_list() == [2.0, 3.0, 4.0, 5.0]
    at_10 = history(prices, REUSED, day(10))
    assert at_10.filter(pl.col("symbol") == "A")["close"].to_list() == [2.0, 3.0, 4.0, 5.0]
    assert at_10["symbol"].unique().to_list() == ["A"], "who uses A later is left out"


def test_a_ticker_that_the_table_does_not_list_then_is_another_company() -> None:
    """META of 2021 was a fund; the table knows the company that took the ticker in 2022, and only that."""
    known = table(("FB", day(1), day(10), "facebook"), ("META", day(11), None, "facebook"))
    prices = rows((9, "FB", 190.0), (9, "META", 12.0), (11, "META", 184.0))
    assert history(prices, known, day(11)).rows() == [(day(9), "META", 190.0), (day(11), "META", 184.0)]


def test_a_merger_ends_one_company_and_the_other_carries_its_own_history() -> None:
    """A and B merge on the 11th into C, which is B's company: C has B's prices, A's rows are left out."""
    merger = table(("A", day(1), day(10), "a"), ("B", day(1), day(10), "b"), ("C", day(11), None, "b"))
    prices = rows((10, "A", 5.0), (10, "B", 7.0), (11, "C", 7.5))
    assert history(prices, merger, day(11)).rows() == [(day(10), "C", 7.0), (day(11), "C", 7.5)]
    assert history(prices, merger, day(10)).rows() == [(day(10), "A", 5.0), (day(10), "B", 7.0), (day(11), "B", 7.5)]


def test_a_span_of_many_sessions_keeps_every_company_under_a_name_of_its_own() -> None:
    prices = rows((10, "A", 2.0), (14, "A", 30.0), (15, "A", 70.0), (16, "B", 5.0))
    left = table(("A", day(1), day(10), "x"), ("A", day(15), None, "y"))
    every = under_names(prices, apart(renames(left, day(16))))
    assert every["symbol"].to_list() == ["A~x", "A~", "A", "B"]


@pytest.mark.parametrize("session", [day(1), day(10), day(31)])
def test_without_the_table_and_for_other_symbols_nothing_changes(session: date) -> None:
    assert history(PRICES, NO_TABLE, session) is PRICES
    other = rows((3, "Y", 1.0), (9, "Z", 2.0))
    assert history(other, REUSED, session).equals(other)


def test_rows_of_a_session_keep_their_names_at_that_session() -> None:
    """Whatever the table says, a row of the session itself is under its own symbol."""
    for number in range(1, 21):
        own = rows((number, "A", 1.0), (number, "B", 2.0))
        assert on_day(own, day(number), renames(REUSED, day(number))) is own


def test_every_row_follows_the_slow_rule() -> None:
    """Row by row: the company by the interval that holds the row's day, its name by the interval that holds t."""
    known = TANGLED
    spans = [(symbol, first, last or date.max, company) for symbol, first, last, company in known.rows()]

    def company_of(symbol: str, on: date) -> str:
        listed = [company for name, first, last, company in spans if name == symbol and first <= on <= last]
        return listed[0] if listed else f"nobody of {symbol}"

    def name_of(symbol: str, on: date, session: date) -> str | None:
        company = company_of(symbol, on)
        if company.startswith("nobody"):
            return symbol if company_of(symbol, session) == company else None
        return next((name for name, first, last, own in spans if own == company and first <= session <= last), None)

    cells = [(number, symbol, 1.0) for number in range(1, 16) for symbol in "ABCDE"]
    prices = rows(*cells)
    for session in map(day, range(1, 16)):
        expected = [(day(number), name_of(symbol, day(number), session)) for number, symbol, _ in cells]
        answer = history(prices, known, session).select("session", "symbol").rows()
        assert sorted(answer) == sorted((on, name) for on, name in expected if name is not None)


def test_a_window_sees_only_the_changes_within_it() -> None:
    spans = renames(RENAMED, day(20))
    assert within(spans, day(12), day(20)).is_empty()
    seen = within(spans, day(9), day(20)).filter(pl.col("name").is_not_null())
    assert seen.select("symbol", "first", "last", "name").rows() == [("A", day(9), day(10), "B")]


def test_every_name_of_a_company() -> None:
    assert names_of(REUSED, "B", day(16)) == [("A", day(1), day(10)), ("B", day(11), date.max)]
    assert names_of(REUSED, "A", day(16)) == [("A", day(15), date.max)]
    assert names_of(REUSED, "A", day(12)) == [
        ("A", date.min, day(1) - timedelta(days=1)),
        ("A", day(11), day(14)),
    ]
    assert names_of(NO_TABLE, "A", day(12)) == [("A", date.min, date.max)]


def test_the_rows_in_motion_say_all_about_a_window() -> None:
    for first in range(1, 15):
        for last in range(first + 1, 17):
            few = in_motion(TANGLED, day(first), day(last))
            for session in map(day, range(first, last + 1)):
                expected = within(renames(TANGLED, session), day(first), day(last))
                assert within(renames(few, session), day(first), day(last)).equals(expected)
    assert in_motion(TANGLED, day(14), day(20)).is_empty()
