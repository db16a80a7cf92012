"""Prices that are scaled beside the close before (RELIABILITY 46): set aside by name, and only they."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.ingest_report import IngestReport
from fpm.ingest.units import Stated
from fpm.schema import PRICES
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
