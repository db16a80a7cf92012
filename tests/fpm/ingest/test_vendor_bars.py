"""Rows in their slots whatever the vendor's conventions; numbers as the vendor printed them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.ingest.vendor_bars import Parsed, combine, printed, read_bars
from fpm.sessions import market
from tests.tape import FIRST, by_start, moved, tape, write

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def parsed(name: str, frame: pl.DataFrame, folder: Path, file: str = "bars.parquet") -> Parsed:
    return read_bars(write(frame, folder / file), market(name), NOW)


def test_every_slot_of_a_chinese_session(tmp_path: Path) -> None:
    frame = parsed("cn", tape("cn"), tmp_path).frame.filter(pl.col("symbol") == "600000.SH")
    assert frame["slot"].to_list() == [*range(240), 241]  # the one 15:00 row is the closing call
    assert frame["session"].unique().to_list() == [FIRST]


def test_before_it_had_a_closing_call_shanghai_traded_at_1500(tmp_path: Path) -> None:
    frame = parsed("cn", tape("cn", date(2018, 8, 17)), tmp_path).frame
    last = dict(frame.group_by("symbol").agg(pl.col("slot").max()).iter_rows())
    assert last == {"600000.SH": 240, "600519.SH": 240, "000001.SZ": 241}


@pytest.mark.parametrize("name", ["cn", "us", "nse"])
def test_start_and_end_stamps_give_the_same_rows(name: str, tmp_path: Path) -> None:
    ends = parsed(name, tape(name), tmp_path, "ends.parquet").frame.drop("row")
    starts = parsed(name, by_start(name), tmp_path, "starts.parquet").frame.drop("row")
    if name == "us":
        ends = ends.filter(pl.col("slot") > 0)  # the cross has no place among START stamps
    assert starts.sort("symbol", "slot").equals(ends.sort("symbol", "slot"))


@pytest.mark.parametrize("late", [0, -15], ids=["end", "start"])
def test_quarters_of_an_hour_fill_sixteen_slots(late: int, tmp_path: Path) -> None:
    """09:45 is the first bar's end, 11:30 the eighth's, 13:15 the ninth's, 15:00 the last's."""
    frame = tape("cn")
    frame = frame.filter(pl.col("minute").dt.minute() % 15 == 0, pl.col("minute").dt.time() > pl.time(9, 30))
    parsed = read_bars(write(moved(frame, late), tmp_path / "bars.parquet"), market("cn15"), NOW)
    assert parsed.quarantined.is_empty()
    rows = combine([parsed], market("cn15")).frame
    assert rows["slot"].to_list() == list(range(16)) * 3
    assert rows["close"].to_list() == frame.sort("symbol", "minute")["close"].to_list()


def test_a_day_without_end_by_start_and_by_end(tmp_path: Path) -> None:
    minute = pl.datetime_range(FIRST, pl.date(2026, 1, 7), "1m", closed="left", eager=True)
    one = tape("us", symbols=("BTCUSDT",)).head(1).drop("minute").join(minute.alias("minute").to_frame(), how="cross")
    starts = parsed("crypto", one, tmp_path, "starts.parquet").frame
    later = one.with_columns(pl.col("minute") + timedelta(minutes=1))
    ends = parsed("crypto", later, tmp_path, "ends.parquet").frame
    assert starts.equals(ends)
    assert starts.group_by("session").len().sort("session").rows() == [(FIRST, 1440), (date(2026, 1, 6), 1440)]


def test_lots_become_shares(tmp_path: Path) -> None:
    shares = parsed("cn", tape("cn"), tmp_path, "shares.parquet").frame
    lots = parsed("cn", tape("cn").with_columns(pl.col("volume") / 100), tmp_path, "lots.parquet").frame
    assert lots.equals(shares)


def test_times_with_a_zone_become_exchange_local(tmp_path: Path) -> None:
    naive = parsed("cn", tape("cn"), tmp_path, "naive.parquet").frame
    minute = pl.col("minute").dt.replace_time_zone("Asia/Shanghai").dt.convert_time_zone("UTC").dt.cast_time_unit("ns")
    aware = parsed("cn", tape("cn").with_columns(minute), tmp_path, "aware.parquet").frame
    assert aware.equals(naive)


def test_an_absent_amount_is_derived_and_reported(tmp_path: Path) -> None:
    result = parsed("us", tape("us").drop("amount"), tmp_path)
    first = result.frame.row(0, named=True)
    assert first["amount"] == first["close"] * first["volume"]
    assert result.report.derived == ("amount = close x volume",)


def test_sells_are_the_rest_of_taker_buys(tmp_path: Path) -> None:
    frame = tape("us").with_columns(pl.col("volume").alias("taker_buy_volume") * 0.25)
    result = parsed("us", frame, tmp_path)
    np.testing.assert_allclose(result.frame["sell_volume"], result.frame["volume"] * 0.75)
    assert result.report.synonyms == {"buy_volume": "taker_buy_volume"}


def test_price_0_in_an_untraded_row_is_no_price(tmp_path: Path) -> None:
    prices = [pl.when(pl.col("volume") == 0).then(0.0).otherwise(pl.col(p)).alias(p) for p in ("open", "high", "low")]
    result = parsed("cn", tape("cn").with_columns(prices), tmp_path)
    assert result.quarantined.is_empty()
    assert result.frame.filter(pl.col("volume") == 0)["open"].null_count() == 6


def test_unknown_columns_are_ignored_and_reported(tmp_path: Path) -> None:
    result = parsed("cn", tape("cn").with_columns(weather=pl.lit("fair")), tmp_path)
    assert result.report.ignored == ("weather",)
    assert "weather" not in result.frame.columns


@pytest.mark.parametrize("text", ["12.34", "0.00001234", "2613.35", "68569.22", "0.1", "16.2499", "97234.5", "0"])
def test_a_float32_is_read_as_it_was_printed(text: str) -> None:
    assert printed(np.array([text], np.float32)).tolist() == [float(text)]


def test_float32_that_is_no_number_stays_so() -> None:
    assert np.isnan(printed(np.array([np.nan], np.float32))[0])
    assert np.isinf(printed(np.array([np.inf], np.float32))[0])


def test_files_of_one_session_are_in_canonical_order(tmp_path: Path) -> None:
    frame = tape("cn")
    one, two = frame.filter(pl.col("symbol") != "000001.SZ"), frame.filter(pl.col("symbol") == "000001.SZ")
    files = [parsed("cn", one, tmp_path, "b.parquet"), parsed("cn", two, tmp_path, "a.parquet")]
    combined = combine(files, market("cn")).frame
    assert combined.select("symbol", "slot").equals(combined.select("symbol", "slot").sort("symbol", "slot"))
    assert combined.height == frame.height


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, tape("cn").height - 1), backwards=st.booleans())
def test_a_file_in_two_is_the_file(cut: int, backwards: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever the cut is and whichever part comes first; the conventions are those of the whole file."""
    folder, frame = tmp_path_factory.mktemp("split"), tape("cn")
    whole = parsed("cn", frame, folder)
    parts = [frame[:cut], frame[cut:]][:: -1 if backwards else 1]
    paths = [write(part, folder / f"part-{number}.parquet") for number, part in enumerate(parts)]
    files = [read_bars(path, market("cn"), NOW, whole.report.conventions) for path in paths]
    names = [name for name in whole.frame.columns if name != "row"]
    combined, expected = combine(files, market("cn")), combine([whole], market("cn"))
    assert combined.frame.select(names).equals(expected.frame.select(names), null_equal=True)
    assert combined.quarantined.is_empty() and combined.deduplicated == 0
