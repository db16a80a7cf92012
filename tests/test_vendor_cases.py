"""Reported deliveries, as `fpm ingest` takes them: the files of `../shared/cases`, each with its right outcome.

Each folder's README names its source. Cases that the reading of files decides; the checkout of CI has them beside it.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.ingest_report import IngestReport
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from producers import bars, ticks

CASES = Path(__file__).parents[2] / "shared" / "cases"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the project's cases are not beside this checkout")
Take = Callable[..., tuple[IngestReport, Stores]]


@pytest.fixture
def take(settings: Settings) -> Take:
    def run(path: str, market: str, level2: bool = False) -> tuple[IngestReport, Stores]:
        stores = open_stores(settings.model_copy(update={"market": market}))
        stores.ledger.decide("market", market)
        job = ticks if level2 else bars
        report = job.ingest([CASES / path], bars.Arrival(NOW, NOW), stores, lambda *_: None)
        return report, stores

    return run


def refusals(report: IngestReport) -> list[tuple[str, str]]:
    return [(refused["file"], refused["code"]) for refused in report.refused]


def test_opens_that_are_zero_are_said_in_words(take: Take) -> None:
    report, _ = take("em_open_is_zero/bars.csv", "cn")
    with pytest.raises(InputRefused, match=r"FPM-IN-151 .*open is 0 in all traded rows of 603777\.SH"):
        report.require_content()
    assert report.lost == {"2024-05-13": "FPM-IN-023 x 241"}


def test_opens_that_are_zero_cost_their_symbol_alone(take: Take) -> None:
    report, _ = take("em_open_is_zero/one_of_two_symbols.csv", "cn")
    assert (report.rows_out, dict(report.quarantined), report.lost) == (241, {"FPM-IN-023": 241}, {})


def test_dates_that_excel_wrote(take: Take) -> None:
    report, stores = take("excel_slash_dates/bars.csv", "cn")
    assert report.rows_out == 480
    assert stores.sessions("minute_bars") == [date(2025, 4, 28), date(2025, 4, 29)]


def test_a_month_first_or_a_day_first_is_not_guessed(take: Take) -> None:
    report, stores = take("us_month_first_dates/bars.csv", "us")
    with pytest.raises(
        InputRefused, match=r"FPM-IN-032  bars.csv: row 2, column datetime: '02/01/2018 09:30' has two readings"
    ):
        report.require_content()
    assert not stores.sessions("minute_bars")


def test_one_day_above_12_decides_every_file_of_the_delivery(take: Take) -> None:
    report, stores = take("us_month_first_dates", "us")
    assert not report.refused
    assert stores.sessions("minute_bars")[0] == date(2018, 2, 1)
    assert [file["deduplicated"] for file in report.files] == [0, 390]


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        ("us.csv", "FPM-IN-032", "row 2, column timestamp: '1735689600000000' is not a time"),
        ("ms.csv", "FPM-IN-032", "row 2, column timestamp: '1735689600000' is not a time"),
        ("us.parquet", "FPM-IN-008", "expected datetime"),
    ],
)
def test_epoch_numbers_are_no_times(file: str, code: str, words: str, take: Take) -> None:
    report, _ = take(f"binance_epoch_timestamp/{file}", "crypto")
    assert refusals(report) == [(file, code)]
    assert words in report.refused[0]["wrong"]


@pytest.mark.parametrize("folder", ["akshare_20250429", "akshare_20250430"])
def test_the_day_of_a_download_is_no_session(folder: str, take: Take) -> None:
    report, _ = take(f"folder_named_by_download_day/{folder}", "cn")
    assert (report.rows_out, dict(report.quarantined)) == (960, {})


def test_one_bad_file_of_three_costs_itself(take: Take) -> None:
    report, stores = take("one_bad_file_of_three", "us")
    assert refusals(report) == [("b.parquet", "FPM-IN-135")]
    assert report.rows_out == 780
    assert len(stores.sessions("minute_bars")) == 2
    report.require_content()


def test_a_suffix_in_capitals(take: Take) -> None:
    report, _ = take("upper_case_suffix/AAPL.CSV", "us")
    assert report.rows_out == 390


def test_a_tape_that_ends_in_its_last_second_has_its_last_minute(take: Take, tmp_path: Path) -> None:
    report, stores = take("tick_tape_ends_in_its_last_second", "cn", level2=True)
    stored = stores.read("minute_bars", date(2020, 1, 2)).select(pl.col("trades", "volume").sum()).row(0)
    assert stored == (26_169, 50_491_763)
    assert report.ticks["records"]["used"] == report.ticks["records"]["in"] == 26_169


def test_an_evening_session_that_the_calendar_lacks_is_lost_by_name(take: Take) -> None:
    report, _ = take("nse_muhurat_evening/bars.parquet", "nse")
    assert report.lost == {"2024-11-01": "FPM-IN-135 x 120"}
    assert report.files == [
        {
            "file": "bars.parquet",
            "rows_in": 1620,
            "stored": 1500,
            "quarantined": 0,
            "deduplicated": 0,
            "out_of_session": 120,
        }
    ]


# --- entity files ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("null_time.parquet", "FPM-FRAME-005  1 of 2 rows of .* have no event_timestamp: row 1"),
        ("int_symbol.parquet", "FPM-FRAME-004  symbol of .* is Int64, not text; row 0: 1"),
        ("naive.parquet", "FPM-FRAME-002"),
        ("date_only.parquet", "FPM-FRAME-002"),
        ("csv_naive.csv", "FPM-FRAME-002"),
        ("other_spelling.parquet", "FPM-FRAME-003"),
    ],
)
def test_entities_that_would_be_misread_are_refused_by_row(
    file: str, words: str, tmp_path: Path, stores: Stores
) -> None:
    from fpm.store.retrieval import exports

    shutil.copy(CASES / "feast_entity_frames" / file, tmp_path / file)
    with pytest.raises(InputRefused, match=words):
        exports.frame("daily_bars", tmp_path / file, None, tmp_path / "out.parquet", stores)
    assert not (tmp_path / "out.parquet").exists()
