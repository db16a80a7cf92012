"""Lists of restrictions: each delivery is the whole list from when it is known; a bad one changes nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from fpm.errors import InputRefused
from fpm.ingest.ingest_report import IngestReport
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEAD = "symbol,from,to,reason,index,kind\n"
FIRST = "600000.SH,2024-12-02,,sanctions,,\n600001,2024-12-03,2024-12-05,holding limit,CSI300,No_Buy\n"


def take(text: str, folder: Path, stores: Stores, known_at: datetime = NOW, *, stated: bool = False) -> IngestReport:
    file = folder / "restrictions.csv"
    file.write_text(text)
    return ingest([file], Arrival(known_at, NOW, known_at_stated=stated), stores, lambda done, total, item: None)


def listed(stores: Stores, known_at: datetime | None = None) -> list[tuple[object, ...]]:
    return stores.as_of(known_at).snapshot("restrictions").rows()


ROWS = [
    ("600000.SH", "", date(2024, 12, 2), None, "exclude", "sanctions"),
    ("600001.SH", "CSI300", date(2024, 12, 3), date(2024, 12, 5), "no_buy", "holding limit"),
]


def test_a_homes_first_list_is_known_from_the_evening_before_its_first_day(tmp_path: Path, stores: Stores) -> None:
    take(HEAD + FIRST, tmp_path, stores)
    assert listed(stores) == ROWS
    assert listed(stores, cut_off(stores.market, date(2024, 11, 29))) == ROWS
    assert listed(stores, cut_off(stores.market, date(2024, 11, 28))) == []


def test_a_delivery_is_the_whole_list_from_when_it_is_known(tmp_path: Path, stores: Stores) -> None:
    take(HEAD + FIRST, tmp_path, stores)
    later = datetime(2024, 12, 4, 13, tzinfo=UTC)
    take(HEAD + "600002.SH,2024-12-02,,new,,frozen\n", tmp_path, stores, later, stated=True)
    assert [row[0] for row in listed(stores)] == ["600002.SH"]
    assert listed(stores, cut_off(stores.market, date(2024, 12, 4))) == ROWS
    last = datetime(2024, 12, 9, 13, tzinfo=UTC)
    take(HEAD, tmp_path, stores, last, stated=True)  # nothing is restricted any more
    assert listed(stores) == [] and len(listed(stores, later)) == 1


BAD = {
    "600000.SH,2024-12-05,2024-12-04,x,,\n": ("FPM-IN-170", "from 2024-12-05 is after to 2024-12-04"),
    "600000.SH,,2024-12-04,x,,\n": ("FPM-IN-170", "no first day"),
    "600000.SH,2024-12-05,,x,,never\n": ("FPM-IN-171", "never"),
    "600000.SH,2024-12-05,,,,\n": ("FPM-IN-172", "no reason"),
    "x y,2024-12-05,,x,,\n": ("FPM-IN-031", "x y"),
    "600000.SH,2024-12-02,2024-12-05,x,,\n600000.SH,2024-12-05,,y,,frozen\n": ("FPM-IN-173", "600000.SH has another"),
    "600000.SH,2024-12-02,,x,CSI300,\n600000.SH,2024-12-09,,y,,frozen\n": ("FPM-IN-173", "600000.SH has another"),
    "600000.SH,yesterday,,x,,\n": ("FPM-IN-008", "no day"),
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_list_is_refused_by_name_and_the_one_before_stays(text: str, tmp_path: Path, stores: Stores) -> None:
    take(HEAD + FIRST, tmp_path, stores)
    report = take(HEAD + FIRST.replace("600000.SH", "600009.SH") + text, tmp_path, stores)
    code, words = BAD[text]
    assert report.refused[0]["code"] == code and words in report.refused[0]["wrong"], report.refused
    with pytest.raises(InputRefused, match=code):
        report.require_content()
    assert listed(stores) == ROWS


def test_days_that_only_touch_other_indices_or_days_are_no_overlap(tmp_path: Path, stores: Stores) -> None:
    text = (
        "600000.SH,2024-12-02,2024-12-04,x,CSI300,\n600000.SH,2024-12-05,,y,CSI300,\n600000.SH,2024-12-02,,z,CSI500,\n"
    )
    take(HEAD + text, tmp_path, stores).require_content()
    assert len(listed(stores)) == 3
