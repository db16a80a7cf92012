"""Prices that are scaled beside the close before (RELIABILITY 46): set aside by name, and only they."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.ingest_report import IngestReport
from fpm.ingest.units import Stated
from fpm.schema import PRICES
from fpm.sessions import market, previous_sessions
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest
from tests.tape import FIRST, tape, write

NEXT, LAST = date(2026, 1, 6), date(2026, 1, 7)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ROWS = 3 * 241


def take(path: Path, stores: Stores, stated: Stated | None = None) -> IngestReport:
    report = ingest([path], Arrival(NOW, NOW, stated or Stated()), stores, lambda *_: None)
    assert report.rows_in == report.rows_out + sum(report.quarantined.values()) + report.deduplicated
    return report


def scaled(session: date, factor: float, symbols: int = 3) -> pl.DataFrame:
    """The tape of a session, prices and amounts of its first symbols times `factor`: each file agrees with itself."""
    frame = tape("cn", session)
    names = frame["symbol"].unique(maintain_order=True)[:symbols]
    here = pl.col("symbol").is_in(names.implode())
    return frame.with_columns(
        pl.when(here).then(pl.col(name) * factor).otherwise(name).alias(name) for name in (*PRICES, "amount")
    )


@pytest.mark.parametrize("factor", [100.0, 10_000.0, 0.001])
def test_case_46_a_whole_session_that_is_scaled_is_set_aside(factor: float, tmp_path: Path, stores: Stores) -> None:
    take(write(tape("cn", FIRST), tmp_path / "first.parquet"), stores)
    report = take(write(scaled(NEXT, factor), tmp_path / "next.parquet"), stores)
    assert dict(report.quarantined) == {"FPM-IN-146": ROWS}
    assert stores.sessions("minute_bars") == [FIRST]
    with pytest.raises(InputRefused, match=r"FPM-IN-151 .*FPM-IN-146 looks scaled beside the close before, by "):
        report.require_content()
    again = take(write(tape("cn", NEXT), tmp_path / "mended.parquet"), stores)
    assert again.rows_out == ROWS


def test_case_46_a_scale_that_begins_within_a_file_costs_its_sessions_alone(tmp_path: Path, stores: Stores) -> None:
    frames = [tape("cn", FIRST), scaled(NEXT, 100.0), tape("cn", LAST)]
    report = take(write(pl.concat(frames), tmp_path / "bars.parquet"), stores)
    assert dict(report.quarantined) == {"FPM-IN-146": ROWS}
    assert stores.sessions("minute_bars") == [FIRST, LAST]


def test_case_46_one_symbol_of_many_may_have_a_split(tmp_path: Path, stores: Stores) -> None:
    take(write(tape("cn", FIRST), tmp_path / "first.parquet"), stores)
    assert take(write(scaled(NEXT, 100.0, symbols=1), tmp_path / "next.parquet"), stores).rows_out == ROWS


@pytest.mark.parametrize("factor", [3.0, 30.0, 0.2])
def test_case_46_other_jumps_are_no_scales(factor: float, tmp_path: Path, stores: Stores) -> None:
    take(write(tape("cn", FIRST), tmp_path / "first.parquet"), stores)
    assert take(write(scaled(NEXT, factor), tmp_path / "next.parquet"), stores).rows_out == ROWS


def test_case_46_the_callers_word_is_believed(tmp_path: Path, stores: Stores) -> None:
    take(write(tape("cn", FIRST), tmp_path / "first.parquet"), stores)
    report = take(write(scaled(NEXT, 100.0), tmp_path / "next.parquet"), stores, Stated(prices="raw"))
    assert report.rows_out == ROWS


# --- price limits ---------------------------------------------------------------------------------------------------
WEEK = previous_sessions(market("cn"), date(2026, 1, 12), 6)  # five sessions, and one to be judged


def week(tmp_path: Path, stores: Stores) -> None:
    """Five sessions of three symbols, each a random walk of half a percent from 50."""
    frames = [tape("cn", day) for day in WEEK[:5]]
    assert not take(write(pl.concat(frames), tmp_path / "week.parquet"), stores).quarantined


def daily_rows(frame: pl.DataFrame, **cells: object) -> pl.DataFrame:
    """The daily table of a tape."""
    days = frame.group_by("symbol", pl.col("minute").dt.date().alias("session"), maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume", "amount").sum(),
    )
    return days.with_columns(pl.lit(cell).alias(name) for name, cell in cells.items())


@pytest.mark.parametrize("factor", [1.3, 2.0])
def test_case_25_a_jump_beyond_the_limit_costs_the_symbol_its_session(
    factor: float, tmp_path: Path, stores: Stores
) -> None:
    week(tmp_path, stores)
    report = take(write(scaled(WEEK[5], factor, symbols=1), tmp_path / "next.parquet"), stores)
    assert dict(report.quarantined) == {"FPM-IN-185": 241}
    assert report.balance[WEEK[5]] == {"rows_in": ROWS, "stored": ROWS - 241, "quarantined": 241}
    assert "600000.SH" not in stores.read("minute_bars", WEEK[5])["symbol"].to_list()
    mended = take(write(tape("cn", WEEK[5]), tmp_path / "mended.parquet"), stores)
    assert not mended.quarantined and mended.changed == 1


def test_case_25_a_fall_without_factors_stays_and_the_report_names_it(tmp_path: Path, stores: Stores) -> None:
    week(tmp_path, stores)
    report = take(write(scaled(WEEK[5], 0.7, symbols=1), tmp_path / "next.parquet"), stores)
    assert not report.quarantined
    (text,) = report.to_dict()["falls_beyond_limit"]
    assert (
        text.startswith(f"{WEEK[5]} 600000.SH: beyond the price limit of its board: a price of ") and "ex-date" in text
    )


def test_case_25_adjusted_prices_are_not_judged(tmp_path: Path, stores: Stores) -> None:
    frames = pl.concat([*(tape("cn", day) for day in WEEK[:5]), scaled(WEEK[5], 2.0, symbols=1)]).drop("amount")
    stated = Stated(prices="adjusted", volume_unit="shares")
    assert not take(write(frames, tmp_path / "bars.parquet"), stores, stated).quarantined


@pytest.mark.parametrize("wrong", [True, False])
def test_case_25_a_daily_row_that_jumps_as_well_goes_too(wrong: bool, tmp_path: Path, stores: Stores) -> None:
    """With factors: a fall is a fault as well. A daily row that has the right prices stays."""
    before = pl.concat([tape("cn", day) for day in WEEK[:5]])
    folder = tmp_path / "week"
    write(before, folder / "bars.parquet")
    write(daily_rows(before, adj_factor=3.0), folder / "daily_bars.parquet")
    assert not take(folder, stores).quarantined
    minutes = scaled(WEEK[5], 0.7, symbols=1)
    next_folder = tmp_path / "next"
    write(minutes, next_folder / "bars.parquet")
    write(daily_rows(minutes if wrong else tape("cn", WEEK[5]), adj_factor=3.0), next_folder / "daily_bars.parquet")
    report = take(next_folder, stores)
    assert dict(report.quarantined) == {"FPM-IN-185": 241}
    assert stores.read("daily_bars", WEEK[5])["symbol"].n_unique() == (2 if wrong else 3)
    assert report.reference["daily_bars"]["quarantined"] == int(wrong)
    if wrong:
        (file,) = (stores.settings.quarantine / "daily_bars" / f"session={WEEK[5]}").iterdir()
        assert pl.read_parquet(file)["reason_code"].to_list() == ["FPM-IN-185"]


def test_case_25_an_ex_date_is_no_jump(tmp_path: Path, stores: Stores) -> None:
    frames = [*(tape("cn", day) for day in WEEK[:5]), scaled(WEEK[5], 0.7, symbols=1)]
    write(pl.concat(frames), tmp_path / "in" / "bars.parquet")
    split = pl.when((pl.col("symbol") == "600000.SH") & (pl.col("session") == WEEK[5])).then(3.0 / 0.7).otherwise(3.0)
    daily = daily_rows(pl.concat(frames)).with_columns(adj_factor=split)
    write(daily, tmp_path / "in" / "daily_bars.parquet")
    report = take(tmp_path / "in", stores)
    assert not report.quarantined and not report.falls
