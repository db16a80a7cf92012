"""The two-clock search against a slow obvious reference, and against cases worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.two_clocks import LOOKS, newest_versions, rows_as_of, rows_in_parts

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


def entity_frame(rows: list[tuple[str | None, str, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(a, b, moment(t), moment(k)) for a, b, t, k in rows],
        schema={"symbol": pl.String, "vintage": pl.String, "event_timestamp": MOMENT, "known_at": MOMENT},
        orient="row",
    )


def obvious(
    entities: list[tuple[str, str, int, int]], stored: list[tuple[str, str, int, int]], ttl: int | None
) -> list[int | None]:
    """Look at every stored row for every entity."""
    answers: list[int | None] = []
    for a, b, t, k in entities:
        visible = [
            (e, c, i)
            for i, (sa, sb, e, c) in enumerate(stored)
            if (sa, sb) == (a, b) and e <= t and c <= k and (not ttl or e >= t - ttl)
        ]
        answers.append(max(visible)[2] if visible else None)
    return answers


ROWS = st.tuples(st.sampled_from("AB"), st.sampled_from("vw"), st.integers(0, 12), st.integers(0, 15))


@settings(deadline=None)
@given(
    stored=st.lists(ROWS, max_size=40, unique=True),
    entities=st.lists(ROWS, max_size=20),
    ttl=st.sampled_from([None, 0, 1, 3, 20]),
)
def test_the_row_served_is_that_of_a_look_at_all(
    stored: list[tuple[str, str, int, int]], entities: list[tuple[str, str, int, int]], ttl: int | None
) -> None:
    days = None if ttl is None else timedelta(days=ttl)
    served = rows_as_of(entity_frame(list(entities)), stored_frame(stored), ["symbol", "vintage"], days)
    assert served.to_list() == obvious(entities, stored, ttl)


def test_a_correction_is_served_only_from_the_day_it_arrived() -> None:
    stored = stored_frame([("A", "v", 1, 1), ("A", "v", 1, 5), ("A", "v", 2, 2)])
    entities = entity_frame([("A", "v", 1, 4), ("A", "v", 1, 5), ("A", "v", 2, 9), ("A", "v", 2, 1), ("A", "v", 0, 9)])
    assert rows_as_of(entities, stored, ["symbol", "vintage"], None).to_list() == [0, 1, 2, 0, None]


def test_both_ends_of_the_time_to_live_are_included() -> None:
    stored = stored_frame([("A", "v", 1, 1)])
    entities = entity_frame([("A", "v", 1, 1), ("A", "v", 4, 4), ("A", "v", 5, 5)])
    assert rows_as_of(entities, stored, ["symbol", "vintage"], timedelta(days=3)).to_list() == [0, 0, None]


def test_a_null_key_matches_nothing() -> None:
    entities, stored = entity_frame([(None, "v", 9, 9)]), stored_frame([("A", "v", 1, 1)])
    served = rows_as_of(entities, stored, ["symbol", "vintage"], None)
    assert served.to_list() == [None]


def test_newest_versions_keeps_one_row_a_key() -> None:
    rows = stored_frame([("B", "v", 1, 9), ("A", "v", 2, 2), ("A", "v", 2, 3), ("A", "v", 1, 8)])
    assert newest_versions(rows, ["symbol", "vintage"]).rows() == [
        ("A", "v", moment(2), moment(3)),
        ("B", "v", moment(1), moment(9)),
    ]


# --- parts, as daily partitions are ---------------------------------------------------------------------------------
@settings(deadline=None)
@given(
    stored=st.lists(ROWS, max_size=60, unique=True),
    entities=st.lists(ROWS, max_size=20),
    ttl=st.sampled_from([None, 0, 1, 3, 20]),
    by_vintage=st.booleans(),
)
def test_parts_of_one_moment_answer_as_a_look_at_all_does(
    stored: list[tuple[str, str, int, int]],
    entities: list[tuple[str, str, int, int]],
    ttl: int | None,
    by_vintage: bool,
) -> None:
    """A part a session, or a part a vintage and session: several parts then share a moment. One part is empty."""
    ordered = sorted(stored, key=lambda row: (row[1] if by_vintage else "", row[2], row))
    parts: dict[tuple[str, int], list[tuple]] = {(row[1] if by_vintage else "", row[2]): [] for row in ordered}
    for row in ordered:
        parts[row[1] if by_vintage else "", row[2]].append(row)
    frames = [stored_frame(rows) for rows in [[], *parts.values()]]
    days = None if ttl is None else timedelta(days=ttl)
    answers = rows_in_parts(entity_frame(list(entities)), frames, ["symbol", "vintage"], days).tolist()
    assert [None if row == -1 else row for row in answers] == obvious(entities, ordered, ttl)


@settings(deadline=None)
@given(stored=st.lists(ROWS, max_size=40, unique=True), entities=st.lists(ROWS, max_size=20), cut=st.integers(0, 40))
def test_parts_of_many_moments_answer_as_a_look_at_all_does(
    stored: list[tuple[str, str, int, int]], entities: list[tuple[str, str, int, int]], cut: int
) -> None:
    frames = [stored_frame(stored[:cut]), stored_frame(stored[cut:])]
    answers = rows_in_parts(entity_frame(list(entities)), frames, ["symbol", "vintage"], None).tolist()
    assert [None if row == -1 else row for row in answers] == obvious(entities, stored, None)


def test_whole_sessions_row_for_row_and_the_silent_one_far_back() -> None:
    """B speaks on day 0 only: its row lies beyond the sessions searched one by one."""
    last = LOOKS + 3
    parts = [stored_frame([("A", "v", day, day)] + [("B", "v", 0, 0)] * (day == 0)) for day in range(last + 1)]
    entities = entity_frame([("A", "v", last, last), ("B", "v", last, last), ("A", "v", 0, 0), ("B", "v", 0, 0)])
    assert rows_in_parts(entities, parts, ["symbol", "vintage"], None).tolist() == [last + 1, 1, 0, 1]


def test_a_part_with_two_versions_is_never_matched_row_for_row() -> None:
    parts = [stored_frame([("A", "v", 1, 1), ("A", "v", 1, 5)])]
    entities = entity_frame([("A", "v", 1, 9), ("A", "v", 1, 9)])
    assert rows_in_parts(entities, parts, ["symbol", "vintage"], None).tolist() == [1, 1]


def test_no_parts_answer_nothing() -> None:
    entities = entity_frame([("A", "v", 1, 9)])
    assert rows_in_parts(entities, [], ["symbol", "vintage"], None).tolist() == [-1]
    assert rows_in_parts(entities[:0], [stored_frame([("A", "v", 1, 1)])], ["symbol", "vintage"], None).tolist() == []
    assert rows_in_parts(entities, [stored_frame([("B", "w", 1, 1)])], [], None).tolist() == [0]
