"""Intervals of membership against a slow walk through every session, and bad intervals by name."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.errors import InputRefused
from fpm.ingest.daily_files import ReferenceRows
from fpm.ingest.member_intervals import by_capitalisation, capitalisations, read_intervals, snapshots
from fpm.sessions import market, sessions_between

US = market("us")
SESSIONS = sessions_between(US, date(2024, 1, 2), date(2024, 6, 28))
THROUGH = SESSIONS[-1]
DAYS = st.dates(date(2023, 12, 20), date(2024, 7, 10))
SPANS = st.lists(st.tuples(DAYS, st.none() | DAYS, st.booleans()), min_size=1, max_size=8)


def members(rows: list[tuple[object, ...]], day: date) -> set[object]:
    """The obvious answer for one day."""
    return {symbol for _, _, symbol, first, last in rows if first <= day and (last is None or day <= last)}


@settings(max_examples=60, deadline=None)
@given(SPANS)
def test_the_newest_snapshot_is_the_membership_of_every_session(spans: list[tuple[date, date | None, bool]]) -> None:
    rows = [
        (number, "XY"[other], f"S{number}", first, last if last is None or last >= first else first)
        for number, (first, last, other) in enumerate(spans)
    ]
    frame = pl.DataFrame(rows, schema=["row", "index", "symbol", "first", "last"], orient="row").with_columns(
        pl.col("first", "last").cast(pl.Date)
    )
    given_snapshots = snapshots(frame, SESSIONS)
    for index in ("X", "Y"):
        own = [row for row in rows if row[1] == index]
        stored = given_snapshots.filter(pl.col("index") == index)
        newest: set[object] = set()
        for session in SESSIONS:
            today = set(stored.filter(pl.col("session") == session)["symbol"].to_list())
            newest = today or newest
            expected = members(own, session)
            assert not expected or newest == expected, session
        days = stored["session"].unique().sort().to_list()
        steady = [(a, b) for a, b in pairwise(days) if all(members(own, s) for s in SESSIONS if a <= s <= b)]
        assert all((b - a).days <= 35 for a, b in steady), "none is older than a month"


def test_snapshots_stand_at_changes_and_at_months(tmp_path: Path) -> None:
    rows = [("IDX", "AA", "2024-01-02", ""), ("IDX", "BB", "2024-01-02", "2024-01-16"), ("IDX", "CC", "2024-02-10", "")]
    pl.DataFrame(rows, schema=["index", "symbol", "from", "to"], orient="row").write_csv(tmp_path / "members.csv")
    file = read_intervals(tmp_path / "members.csv", US, through=date(2024, 3, 4))
    by_day = file.frame.group_by("session", maintain_order=True).agg("symbol", "weight").rows()
    assert by_day == [
        (date(2024, 1, 2), ["AA.US", "BB.US"], [0.5, 0.5]),
        (date(2024, 1, 17), ["AA.US"], [1.0]),
        (date(2024, 2, 1), ["AA.US"], [1.0]),
        (date(2024, 2, 12), ["AA.US", "CC.US"], [0.5, 0.5]),
        (date(2024, 3, 1), ["AA.US", "CC.US"], [0.5, 0.5]),
    ]
    assert (file.rows_in, file.rows_out) == (3, 3)
    assert "5 snapshots from 2024-01-02 to 2024-03-01" in file.conversions[0]
    assert "no weights: each member of a snapshot has the same" in file.conversions[1]


BAD = [
    (("AA", "2024-03-01", "2024-02-01"), "FPM-IN-167", "2024-03-01 is after 2024-02-01"),
    (("AA", None, "2024-02-01"), "FPM-IN-167", "no first day"),
    (("not a code!", "2024-01-02", None), "FPM-IN-031", ""),
    (("GOOD", "2024-02-01", "2024-03-01"), "FPM-IN-166", "another interval"),
]


@pytest.mark.parametrize(("row", "code", "words"), BAD)
def test_a_bad_interval_is_set_aside(
    row: tuple[str, str | None, str | None], code: str, words: str, tmp_path: Path
) -> None:
    rows = [("GOOD", "2024-01-02", "2024-02-01"), ("FINE", "2024-01-02", None), row]
    pl.DataFrame(rows, schema=["ticker", "start_date", "end_date"], orient="row").write_csv(tmp_path / "members_X.csv")
    file = read_intervals(tmp_path / "members_X.csv", US, through=THROUGH)
    set_aside = 2 if code == "FPM-IN-166" else 1  # nobody can say which of two overlapping ones is right
    assert set(file.quarantined["reason_code"]) == {code} and file.quarantined.height == set_aside
    assert words in file.quarantined["reason"][-1]
    assert file.rows_in == file.rows_out + file.quarantined.height
    assert "FINE.US" in file.frame["symbol"].to_list() and set(file.frame["index"]) == {"X"}


def with_weights(path: Path, weights: list[float | None]) -> Path:
    rows = [("X", f"S{chr(65 + n)}", date(2024, 1, 2), None, weight) for n, weight in enumerate(weights)]
    pl.DataFrame(rows, schema=["index", "symbol", "first", "last", "weight"], orient="row").write_parquet(path)
    return path


def test_percent_weights_are_converted_and_said(tmp_path: Path) -> None:
    file = read_intervals(with_weights(tmp_path / "m.parquet", [60.0, 39.9]), US, through=THROUGH)
    assert file.frame["weight"].unique().sort().to_list() == pytest.approx([0.399, 0.6])
    assert file.conversions[-1] == "weights in percent: converted to shares of 1"


def test_weights_that_do_not_sum_to_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"FPM-IN-165 .*X on 2024-01-02 sum to 0\.9"):
        read_intervals(with_weights(tmp_path / "m.parquet", [0.6, 0.3]), US, through=THROUGH)


@pytest.mark.parametrize("weight", [float("nan"), -0.4, float("inf"), None])
def test_an_interval_without_a_weight_is_set_aside(weight: float | None, tmp_path: Path) -> None:
    file = read_intervals(with_weights(tmp_path / "m.parquet", [0.6, 0.4, weight]), US, through=THROUGH)
    assert file.quarantined["reason_code"].to_list() == ["FPM-IN-022"]


def test_a_file_that_does_not_say_its_index_is_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"symbol": ["AA"], "from": [date(2024, 1, 2)], "to": [None]}, schema_overrides={"to": pl.Date})
    frame.write_parquet(tmp_path / "index_members.parquet")
    with pytest.raises(InputRefused, match=r"FPM-IN-168 .*members_SP500"):
        read_intervals(tmp_path / "index_members.parquet", US, through=THROUGH)


def test_days_before_the_calendar_are_cut_off(tmp_path: Path) -> None:
    rows = [("X", "AA", date(1996, 1, 2), None), ("X", "BB", date(1996, 1, 2), date(1999, 1, 4))]
    schema = {"index": pl.String, "symbol": pl.String, "first": pl.Date, "last": pl.Date}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(tmp_path / "m.parquet")
    file = read_intervals(tmp_path / "m.parquet", US, through=THROUGH)
    first = file.frame["session"].min()
    assert isinstance(first, date) and date(2000, 1, 1) < first < date(2024, 1, 1) - timedelta(days=1000)
    assert file.frame["symbol"].unique().to_list() == ["AA.US"]


# --- weights of capitalisation ------------------------------------------------------------------------------------
def daily(rows: list[tuple[str, str, float, float | None, float | None]]) -> pl.DataFrame:
    numbers = dict.fromkeys(("close", "float_shares", "total_shares"), pl.Float64)
    frame = pl.DataFrame(rows, schema={"session": pl.String, "symbol": pl.String, **numbers}, orient="row")
    return frame.with_columns(pl.col("session").str.to_date())


def three(tmp_path: Path) -> ReferenceRows:
    rows = [("IDX", name, "2024-01-02", "2024-01-31") for name in ("AA", "BB", "CC")]
    pl.DataFrame(rows, schema=["index", "symbol", "from", "to"], orient="row").write_csv(tmp_path / "members.csv")
    return read_intervals(tmp_path / "members.csv", US, through=date(2024, 1, 31))


def test_float_shares_weigh_before_total_shares_and_the_newest_close_counts(tmp_path: Path) -> None:
    """10 x 20 = 200, 5 x 60 = 300 (no float), 50 x 10 = 500 from the day before: 0.2, 0.3, 0.5."""
    bars = daily(
        [
            ("2024-01-02", "AA.US", 10.0, 20.0, 999.0),
            ("2024-01-02", "BB.US", 5.0, None, 60.0),
            ("2023-12-29", "CC.US", 50.0, 10.0, 10.0),
            ("2024-01-03", "AA.US", 99.0, 20.0, 999.0),  # after the snapshot
            ("2023-12-28", "BB.US", 9.0, None, 60.0),  # not the newest
        ]
    )
    file = by_capitalisation(three(tmp_path), capitalisations(bars))
    assert file.frame["symbol"].to_list() == ["AA.US", "BB.US", "CC.US"]
    assert file.frame["weight"].to_list() == pytest.approx([0.2, 0.3, 0.5])
    assert "those of capitalisation at the close" in file.conversions[-1] and ";" not in file.conversions[-1]


@pytest.mark.parametrize("unusable", [None, 0.0, float("nan"), float("inf")])
def test_a_member_without_capitalisation_weighs_as_with_equal_weights(tmp_path: Path, unusable: float | None) -> None:
    bars = daily(
        [
            ("2024-01-02", "AA.US", 10.0, 30.0, None),
            ("2024-01-02", "BB.US", 10.0, 10.0, None),
            ("2024-01-02", "CC.US", 10.0, unusable, unusable),
        ]
    )
    file = by_capitalisation(three(tmp_path), capitalisations(bars))
    assert file.frame["weight"].to_list() == pytest.approx([0.5, 1 / 6, 1 / 3])
    assert file.conversions[-1].endswith("without a capitalisation, and as with equal weights: CC.US")


def test_nothing_known_and_weights_given_change_nothing(tmp_path: Path) -> None:
    file = three(tmp_path)
    old = daily([("2023-11-01", "AA.US", 10.0, 30.0, None)])  # two months before the snapshot
    for bars in (daily([]), old, old.drop("float_shares", "total_shares")):
        same = by_capitalisation(file, capitalisations(bars))
        assert same.frame.equals(file.frame) and same.conversions == file.conversions
    given_weights = read_intervals(with_weights(tmp_path / "m.parquet", [0.6, 0.4]), US, through=THROUGH)
    bars = daily([("2024-01-02", "SA.US", 10.0, 1.0, None), ("2024-01-02", "SB.US", 10.0, 1.0, None)])
    assert by_capitalisation(given_weights, capitalisations(bars)).frame.equals(given_weights.frame)
