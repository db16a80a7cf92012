"""The custodian's books: taken whole with two clocks, or refused by code and name with the book before kept."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.ingest_report import IngestReport
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest
from tests.consumers.small_lake import SmallLake, put

MONDAY, TUESDAY, WEDNESDAY = date(2024, 12, 2), date(2024, 12, 3), date(2024, 12, 4)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEAD = "index,session,symbol,shares\n"
GOOD = "CSI300,2024-12-03,600000.SH,300\nCSI300,2024-12-03,600001.SH,0\nCSI300,2024-12-03,CASH,1234.56\n"


@pytest.fixture
def home(stores: Stores) -> Stores:
    """Three sessions of twelve names, CSI300 of the first nine."""
    lake = SmallLake()
    for session in (MONDAY, TUESDAY, WEDNESDAY):
        put("bars", session, {"daily_bars": lake.daily_bars(session)}, stores)
    put("members", MONDAY, {"index_members": lake.index_members()}, stores)
    return stores


def take(
    text: str, folder: Path, stores: Stores, known_at: datetime = NOW, *, stated: bool = False, name: str = "raw"
) -> IngestReport:
    file = folder / name / "holdings.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return ingest([file], Arrival(known_at, NOW, known_at_stated=stated), stores, lambda done, total, item: None)


def book(stores: Stores, session: date = TUESDAY, index: str = "CSI300") -> dict[str, float]:
    rows = stores.read("custody", session, session).filter(pl.col("index") == index).drop_nulls("shares")
    return {
        symbol: cash if symbol == "CASH" else shares
        for symbol, shares, cash in rows.select("symbol", "shares", "cash").rows()
    }


def test_a_book_with_cash_as_a_row(tmp_path: Path, home: Stores) -> None:
    report = take(HEAD + GOOD, tmp_path, home)
    assert book(home) == {"600000.SH": 300, "600001.SH": 0, "CASH": 1234.56}
    assert report.reference["custody"] == {"rows_in": 3, "rows_out": 3, "quarantined": 0}
    assert home.read("custody", TUESDAY)["created_timestamp"].unique().to_list() == [cut_off(home.market, TUESDAY)]
    assert take(HEAD + GOOD, tmp_path, home).skipped == ["holdings.csv"]


def test_a_book_with_cash_as_a_column_and_parquet(tmp_path: Path, home: Stores) -> None:
    file = tmp_path / "holdings.parquet"
    columns = {"index": "CSI300", "session": TUESDAY, "symbol": ["600000.SH", "600001.SH"], "shares": [100, 250]}
    pl.DataFrame(columns).with_columns(cash=pl.lit(5.0)).write_parquet(file)
    ingest([file], Arrival(NOW, NOW), home, lambda done, total, item: None)
    assert book(home) == {"600000.SH": 100, "600001.SH": 250, "CASH": 5.0}


def test_a_later_copy_replaces_the_book_from_when_it_is_known(tmp_path: Path, home: Stores) -> None:
    take(HEAD + GOOD, tmp_path, home)
    later = datetime(2025, 1, 7, 9, tzinfo=UTC)
    take(
        HEAD + "CSI300,2024-12-03,600002.SH,100\nCSI300,2024-12-03,CASH,1\n",
        tmp_path,
        home,
        later,
        stated=True,
        name="b",
    )
    assert book(home) == {"600002.SH": 100, "CASH": 1.0}
    assert book(home.as_of(cut_off(home.market, WEDNESDAY))) == {"600000.SH": 300, "600001.SH": 0, "CASH": 1234.56}


def test_the_file_may_say_from_when_it_is_known(tmp_path: Path, home: Stores) -> None:
    head = HEAD.strip() + ",cash,known_at\n"
    take(head + "CSI300,2024-12-03,600000.SH,300,9,2024-12-04T08:30+08:00\n", tmp_path, home)
    assert home.read("custody", TUESDAY)["created_timestamp"].unique().to_list() == [
        datetime(2024, 12, 4, 0, 30, tzinfo=UTC)
    ]
    with pytest.raises(InputRefused, match="FPM-IN-008"):
        take(head + "CSI300,2024-12-03,600000.SH,300,9,2024-12-04T08:30\n", tmp_path, home).require_content()


def test_a_second_index_of_a_session_is_a_first_copy_too(tmp_path: Path, home: Stores) -> None:
    members = pl.concat([SmallLake().index_members(), SmallLake(index="CSI500").index_members()])
    put("members", MONDAY, {"index_members": members}, home)
    take(HEAD + GOOD, tmp_path, home)
    take(HEAD + GOOD.replace("CSI300", "CSI500"), tmp_path, home, name="b")
    assert book(home, index="CSI300") == book(home, index="CSI500")
    assert home.read("custody", TUESDAY)["created_timestamp"].unique().to_list() == [cut_off(home.market, TUESDAY)]


BAD = {
    "CSI300,2024-12-03,600000.SH,300\nCSI300,2024-12-03,CASH,-0.01\n": ("FPM-IN-175", "cash is -0.01"),
    "CSI300,2024-12-03,600000.SH,-100\nCSI300,2024-12-03,CASH,1\n": ("FPM-IN-174", "600000.SH has -100"),
    "CSI300,2024-12-03,600000.SH,100.5\nCSI300,2024-12-03,CASH,1\n": ("FPM-IN-174", "600000.SH has 100.5"),
    "CSI300,2024-12-03,600000.SH,\nCSI300,2024-12-03,CASH,1\n": ("FPM-IN-174", ""),
    "CSI300,2024-12-03,600000.SH,100\n": ("FPM-IN-175", "0 amounts of cash"),
    "CSI300,2024-12-03,600000.SH,100\nCSI300,2024-12-03,CASH,1\nCSI300,2024-12-03,CASH,2\n": (
        "FPM-IN-175",
        "2 amounts",
    ),
    "CSI300,2024-12-03,600999.SH,100\nCSI300,2024-12-03,CASH,1\n": ("FPM-IN-177", "600999.SH has never had a bar"),
    GOOD + GOOD: ("FPM-IN-176", "two books"),
    GOOD.replace("CSI300", "CSI999"): ("FPM-IN-178", "CSI999"),
    GOOD.replace("2024-12-03", "2024-12-07"): ("FPM-IN-135", "no session"),
    GOOD.replace("600000.SH", "60000"): ("FPM-IN-030", "60000"),
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_book_is_refused_by_name_and_the_one_before_stays(text: str, tmp_path: Path, home: Stores) -> None:
    take(HEAD + GOOD.replace("2024-12-03", "2024-12-02"), tmp_path, home)
    code, words = BAD[text]
    report = take(HEAD + text, tmp_path, home, name="bad")
    assert [(each["code"], words in each["wrong"]) for each in report.refused] == [(code, True)], report.refused
    assert code == report.refused[0]["code"] and "the book of" in report.refused[0]["wrong"]
    with pytest.raises(InputRefused, match=code):
        report.require_content()
    assert report.reference["custody"]["rows_out"] == 0
    assert home.sessions("custody") == [MONDAY] and book(home, MONDAY)["CASH"] == 1234.56


def test_a_bad_book_costs_itself_alone(tmp_path: Path, home: Stores) -> None:
    report = take(HEAD + GOOD + GOOD.replace("2024-12-03", "2024-12-02").replace(",300", ",300.5"), tmp_path, home)
    assert home.sessions("custody") == [TUESDAY]
    assert report.reference["custody"] == {"rows_in": 6, "rows_out": 3, "quarantined": 3}


def test_two_files_with_one_book_are_both_refused(tmp_path: Path, home: Stores) -> None:
    files = [tmp_path / name / "holdings.csv" for name in ("a", "b")]
    for file, shares in zip(files, ("300", "200"), strict=True):
        file.parent.mkdir()
        file.write_text(HEAD + GOOD.replace("300\n", f"{shares}\n"))
    report = ingest(files, Arrival(NOW, NOW), home, lambda done, total, item: None)
    assert [each["code"] for each in report.refused] == ["FPM-IN-176", "FPM-IN-176"]
    assert home.sessions("custody") == []
