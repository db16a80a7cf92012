"""The two-clock search against a slow obvious reference, and against cases worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fpm.two_clocks import newest_versions, rows_as_of

DAY0 = datetime(2026, 1, 5, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")


def moment(day: int) -> datetime:
    return DAY0 + timedelta(days=day)


def stored_frame(rows: list[tuple[str, str, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(a, b, moment(e), moment(c)) for a, b, e, c in rows],
        schema={"symbol": pl.String, "vintage": pl.String, "event_timestamp": MOMENT, "created_timestamp": MOMENT},
        orient="row",
    )


def wanted_frame(rows: list[tuple[str | None, str, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(a, b, moment(t), moment(k)) for a, b, t, k in rows],
        schema={"symbol": pl.String, "vintage": pl.String, "event_timestamp": MOMENT, "known_at": MOMENT},
        orient="row",
    )


def obvious(
    wanted: list[tuple[str, str, int, int]], stored: list[tuple[str, str, int, int]], ttl: int | None
) -> list[int | None]:
    """Look at every stored row for every wanted row."""
    answers: list[int | None] = []
    for a, b, t, k in wanted:
        visible = [
            (e, c, i)
            for i, (sa, sb, e, c) in enumerate(stored)
            if (sa, sb) == (a, b) and e <= t and c <= k and (not ttl or e >= t - ttl)
        ]
        answers.append(max(visible)[2] if visible else None)
    return answers


ROWS = st.tuples(st.sampled_from("AB"), st.sampled_from("vw"), st.integers(0, 12), st.integers(0, 15))


@given(
    stored=st.lists(ROWS, max_size=40, unique=True),
    wanted=st.lists(ROWS, max_size=20),
    ttl=st.sampled_from([None, 0, 1, 3, 20]),
)
def test_the_row_served_is_the_one_found_by_looking_at_all(
    stored: list[tuple[str, str, int, int]], wanted: list[tuple[str, str, int, int]], ttl: int | None
) -> None:
    days = None if ttl is None else timedelta(days=ttl)
    served = rows_as_of(wanted_frame(list(wanted)), stored_frame(stored), ["symbol", "vintage"], days)
    assert served.to_list() == obvious(wanted, stored, ttl)


def test_a_correction_is_served_only_from_the_day_it_arrived() -> None:
    stored = stored_frame([("A", "v", 1, 1), ("A", "v", 1, 5), ("A", "v", 2, 2)])
    wanted = wanted_frame([("A", "v", 1, 4), ("A", "v", 1, 5), ("A", "v", 2, 9), ("A", "v", 2, 1), ("A", "v", 0, 9)])
    assert rows_as_of(wanted, stored, ["symbol", "vintage"], None).to_list() == [0, 1, 2, 0, None]


def test_both_ends_of_the_time_to_live_are_included() -> None:
    stored = stored_frame([("A", "v", 1, 1)])
    wanted = wanted_frame([("A", "v", 1, 1), ("A", "v", 4, 4), ("A", "v", 5, 5)])
    assert rows_as_of(wanted, stored, ["symbol", "vintage"], timedelta(days=3)).to_list() == [0, 0, None]


def test_a_null_key_matches_nothing() -> None:
    wanted, stored = wanted_frame([(None, "v", 9, 9)]), stored_frame([("A", "v", 1, 1)])
    served = rows_as_of(wanted, stored, ["symbol", "vintage"], None)
    assert served.to_list() == [None]


def test_newest_versions_keeps_one_row_a_key() -> None:
    rows = stored_frame([("B", "v", 1, 9), ("A", "v", 2, 2), ("A", "v", 2, 3), ("A", "v", 1, 8)])
    assert newest_versions(rows, ["symbol", "vintage"]).rows() == [
        ("A", "v", moment(2), moment(3)),
        ("B", "v", moment(1), moment(9)),
    ]
