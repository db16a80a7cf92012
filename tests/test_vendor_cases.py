"""Reported deliveries, as `fpm ingest` takes them: the files of `../shared/cases`, each with its right outcome.

Each folder's README names its source and what is right; the checkout of CI has the folders beside it.
"""

import runpy
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused, UsageError
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


def reasons(stores: Stores, code: str) -> set[str]:
    """The reasons of quarantined minute bars with this code."""
    files = (stores.settings.quarantine / "minute_bars").rglob("*.parquet")
    rows = pl.concat([pl.read_parquet(file, columns=["reason_code", "reason"]) for file in files])
    return set(rows.filter(pl.col("reason_code") == code)["reason"].to_list())


def day_of(stores: Stores, session: date, symbol: str) -> dict[str, float]:
    return stores.read("daily_bars", session).filter(pl.col("symbol") == symbol).row(0, named=True)


def _file_volume(path: Path) -> float:
    frame = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    return float(frame["volume"].cast(pl.Float64).sum())


def test_every_case_has_a_test() -> None:
    names = {folder.name for folder in CASES.iterdir() if folder.is_dir()}
    text = Path(__file__).read_text(encoding="utf-8")
    assert names and not [name for name in sorted(names) if name not in text]


# --- times: the side of a stamp, its zone, its spelling ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "market", "side", "rows", "first_open", "volume"),
    [
        ("alpaca_utc_text/bars.csv", "us", "start", 780, 252.47, 12_012_200.0),
        ("databento_ns_z/bars.csv", "us", "start", 780, 252.47, 12_012_200.0),
        ("kite_offset_text/bars.csv", "nse", "start", 750, 1965.35, 117_402.0),
        ("kite_offset_text/bars_pandas.csv", "nse", "start", 750, 1965.35, 117_402.0),
        ("decimal_and_dictionary/bars.parquet", "cn", "end", 240, 15.12, 3_625_600.0),
        ("nse_budget_saturday/bars.parquet", "nse", "start", 3000, 1814.2, 458_045.0),
        ("nse_budget_saturday_alone/bars.parquet", "nse", "start", 750, 1762.55, 114_335.0),
        ("lean_coinbase_sparse/btcusd.csv", "crypto", "start", 1400, 618.11, 2793.95535361),
        ("us_fractional_volume/bars.parquet", "us", "start", 1560, 302.36, 23_545_589.38),
    ],
)
def test_a_delivery_goes_in_whole(
    path: str, market: str, side: str, rows: int, first_open: float, volume: float, take: Take
) -> None:
    """The open of the first row and the sum of all volumes are those of the file itself."""
    report, stores = take(path, market)
    assert (report.rows_in, report.rows_out, dict(report.quarantined), report.refused) == (rows, rows, {}, [])
    (conventions,) = report.conventions
    assert conventions.startswith(f"stamp_side {side}")
    bars = pl.concat([stores.read("minute_bars", day) for day in stores.sessions("minute_bars")])
    assert bars.sort("event_timestamp", "symbol").filter(pl.col("volume") > 0)["open"][0] == first_open
    assert bars["volume"].sum() == pytest.approx(volume, rel=1e-12) == _file_volume(CASES / path)


def test_a_lunch_label_is_moved_to_the_morning_and_said(take: Take) -> None:
    report, stores = take("tdx_lunch_bar_at_1300/bars.csv", "cn")
    assert (report.rows_out, dict(report.quarantined)) == (960, {})
    assert list(report.conventions) == [
        "stamp_side end, calls (900,), volume_unit shares, price_basis raw, moved ((780, 690),)"
    ]
    truth = pl.read_parquet(CASES / "tdx_lunch_bar_at_1300" / "truth.parquet").select(
        "symbol", pl.col("minute").dt.replace_time_zone("Asia/Shanghai").dt.convert_time_zone("UTC"), "close", "volume"
    )
    days = (date(2025, 4, 28), date(2025, 4, 29))
    stored = pl.concat([stores.read("minute_bars", day) for day in days])
    stored = stored.select("symbol", pl.col("event_timestamp").alias("minute"), "close", "volume")
    assert stored.sort("symbol", "minute").equals(truth.sort("symbol", "minute"))


def test_real_extended_hours_and_a_half_day_stay_outside(take: Take) -> None:
    report, stores = take("lean_goog_extended_hours_half_day/goog.csv", "us")
    assert (report.rows_out, dict(report.quarantined)) == (982, {"FPM-IN-029": 109})
    outside = reasons(stores, "FPM-IN-029")
    assert {
        "2015-12-23 09:29:00.000000 is no minute of the session",
        "2015-12-24 13:02:00.000000 is no minute of the session",
    } <= outside
    opens = [day_of(stores, day, "GOOG.US")["open"] for day in stores.sessions("minute_bars")]
    assert opens == pytest.approx([753.47, 749.55, 752.92])
    half = stores.read("minute_bars", date(2015, 12, 24))
    assert (half.height, half["slot"].max()) == (210, 210)
    assert day_of(stores, date(2015, 12, 24), "GOOG.US")["close"] == pytest.approx(748.40)


@pytest.mark.parametrize(("file", "side"), [("bars.parquet", "start"), ("stamped_by_end.parquet", "end")])
def test_the_last_bar_before_the_open_is_not_the_open(file: str, side: str, take: Take) -> None:
    report, stores = take(f"premarket_0929_becomes_the_open/{file}", "us")
    assert (report.rows_out, dict(report.quarantined)) == (390, {"FPM-IN-029": 330})
    assert next(iter(report.conventions)).startswith(f"stamp_side {side}")
    day = day_of(stores, date(2024, 11, 26), "AAPL.US")
    assert (day["open"], day["low"]) == (305.2, 301.29)


def test_two_real_days_of_extended_hours_show_their_side(take: Take) -> None:
    """Lean stamps by START; the bars of the 9th are those after the split of seven for one."""
    report, stores = take("lean_aapl_split_day/aapl.csv", "us")
    assert (report.rows_out, dict(report.quarantined)) == (780, {"FPM-IN-029": 837})
    opens = [day_of(stores, day, "AAPL.US")["open"] for day in (date(2014, 6, 6), date(2014, 6, 9))]
    assert opens == [650.0, 92.69]


def test_fixed_price_trading_after_the_close_is_outside(take: Take) -> None:
    report, stores = take("star_after_hours/bars.parquet", "cn")
    assert (report.rows_out, dict(report.quarantined)) == (240, {"FPM-IN-029": 26})
    assert "2025-04-28 15:07:00.000000 is no minute of the session" in reasons(stores, "FPM-IN-029")
    assert day_of(stores, date(2025, 4, 28), "688981.SH")["volume"] == 3_625_600


def test_an_evening_alone_is_no_session_rather_than_a_shift(take: Take) -> None:
    report, _ = take("nse_muhurat_evening/alone.parquet", "nse")
    assert refusals(report) == [("alone.parquet", "FPM-IN-135")]
    assert report.refused[0]["wrong"] == "alone.parquet: no day of the file is a session of nse: 2024-11-01"
    assert "FPM_CALENDAR" in report.refused[0]["todo"]


# --- columns, encodings, packed files ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "market", "code", "words"),
    [
        ("gbk_header/bars.csv", "cn", "FPM-IN-032", "bars.csv: header is not UTF-8 text"),
        (
            "gbk_header/bars_utf8.csv",
            "cn",
            "FPM-IN-006",
            "missing column(s): symbol, minute, open, high, low, close, volume; found: 代码, 时间",
        ),
        ("thousands_separators/bars.csv", "cn", "FPM-IN-032", "row 2, column volume: '17,300' is not a number"),
        (
            "polygon_flat_file/2025-04-16.csv",
            "us",
            "FPM-IN-006",
            "missing column(s): minute; found: ticker, volume, open, close, high, low, window_start, transactions",
        ),
    ],
)
def test_a_file_is_refused_in_words(path: str, market: str, code: str, words: str, take: Take) -> None:
    report, stores = take(path, market)
    assert refusals(report) == [(path.split("/")[1], code)]
    assert words in report.refused[0]["wrong"]
    with pytest.raises(InputRefused, match=code):
        report.require_content()
    assert not stores.sessions("minute_bars")


def test_a_packed_file_is_no_table(take: Take) -> None:
    with pytest.raises(UsageError, match=r"FPM-CFG-101 .*2025-04-17\.csv\.gz holds no \.parquet or \.csv file"):
        take("polygon_flat_file/2025-04-17.csv.gz", "us")


# --- symbols and cells ------------------------------------------------------------------------------------------------
def test_indices_and_bonds_are_no_stocks(take: Take) -> None:
    """Two spellings of one Beijing code disagree; the funds, the B share and the other codes are what they are."""
    report, stores = take("codes_of_all_kinds/bars.parquet", "cn")
    assert dict(report.quarantined) == {"FPM-IN-037": 720, "FPM-IN-030": 240, "FPM-IN-015": 480}
    assert reasons(stores, "FPM-IN-037") == {
        f"{code} is an index, not a stock" for code in ("000300.SH", "000300.SZ", "399001.SZ")
    }
    assert reasons(stores, "FPM-IN-030") == {"symbol '113050' may be 113050.SH, 113050.SZ or 113050.BJ"}
    stored = stores.read("minute_bars", date(2025, 4, 28))["symbol"].unique().sort().to_list()
    assert stored == ["302132.SZ", "430047.BJ", "510300.SH", "900901.SH"]


def test_minus_one_in_an_untraded_minute_is_an_unknown_price(take: Take) -> None:
    report, stores = take("iex_minus_one/bars.csv", "us")
    assert (report.rows_out, dict(report.quarantined)) == (780, {})
    bars = stores.read("minute_bars", date(2018, 9, 4)).filter(pl.col("symbol") == "CHEK.US")
    assert bars.filter(pl.col("volume") == 0)["low"].null_count() == 130
    assert bars["low"].min() == day_of(stores, date(2018, 9, 4), "CHEK.US")["low"] == 58.56


@pytest.mark.parametrize(
    ("path", "rows", "words"),
    [
        ("int32_overflow/bars.parquet", 3, "volume -1294967296.0"),
        ("negative_volume/bars.parquet", 2, "volume -18600.0"),
    ],
)
def test_a_negative_volume_costs_its_row(path: str, rows: int, words: str, take: Take) -> None:
    report, stores = take(path, "cn")
    assert dict(report.quarantined) == {"FPM-IN-022": rows}
    assert report.rows_out == report.rows_in - rows
    assert any(reason.startswith("a negative number") and words in reason for reason in reasons(stores, "FPM-IN-022"))


def test_a_halt_is_told_in_three_ways(take: Take) -> None:
    report, stores = take("three_ways_of_a_halt/bars.parquet", "cn")
    assert (report.rows_out, dict(report.quarantined), report.nans) == (720, {"FPM-IN-024": 240}, 1440)
    assert reasons(stores, "FPM-IN-024") == {"a price or the volume is empty"}
    daily = stores.read("daily_bars", date(2025, 4, 28)).select("symbol", "suspended").rows()
    assert daily == [("000001.SZ", True), ("000002.SZ", True), ("600000.SH", False)]


# --- units ------------------------------------------------------------------------------------------------------------
def test_daily_lots_and_thousands_are_converted_and_said(take: Take) -> None:
    report, stores = take("tushare_daily_units", "cn")
    assert report.exceptions == ["daily_bars.csv: volume in lots, amount in thousands: converted"]
    assert (report.rows_out, report.disagreements) == (960, [])
    day = day_of(stores, date(2024, 5, 13), "000001.SZ")
    assert (day["volume"], day["amount"]) == (3_675_200, 48_883_368.5)


@pytest.mark.parametrize(
    ("file", "symbols"),
    [
        ("bars.parquet", "2 symbols, 000001.SZ, 600000.SH"),
        ("one_of_thirty.parquet", "1 symbols, 600000.SH"),
    ],
)
def test_lots_on_one_session_are_converted_and_said(file: str, symbols: str, take: Take) -> None:
    report, stores = take(f"volume_unit_changes_on_one_day/{file}", "cn")
    assert report.exceptions == [f"{file}: volume in lots on 2024-09-30, converted: {symbols}"]
    assert (report.rows_out, dict(report.quarantined)) == (report.rows_in, {})
    given = pl.read_parquet(CASES / "volume_unit_changes_on_one_day" / file)
    in_lots = given.filter(
        (pl.col("minute").dt.date() == date(2024, 9, 30)) & (pl.col("symbol").str.contains("600000"))
    )
    assert day_of(stores, date(2024, 9, 30), "600000.SH")["volume"] == in_lots["volume"].sum() * 100


def test_a_constant_score_has_no_groups(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(CASES / "constant_factor_groups" / "run.py"))
    constant, *_ = capsys.readouterr().out.splitlines()
    assert constant == (
        "constant | rank_ic None | labelled 0 | groups first/last None | long-short annual None IR None"
    )


# --- entity files --------------------------------------------------------------------------------------------------
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
