"""Hostile and damaged files are refused in seconds, within bounds of memory, with the right reason."""

import os
import resource
import struct
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fpm import calendar_overrides, exchange_facts
from fpm.errors import FpmError, InputRefused, UsageError
from fpm.ingest import decoder
from fpm.ingest.bar_files import read_file
from fpm.ingest.deliveries import find
from fpm.ingest.vendor_bars import read_bars
from fpm.sessions import market
from fpm.ticks.files import open_file
from tests.tape import tape, write

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECONDS = 10.0


def refusal_of(path: Path) -> str:
    """The refusal of a file, which comes in seconds and costs this process no memory."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputRefused) as refused:
        read_file(path)
    assert time.monotonic() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    return str(refused.value)


def constant(rows: int, **columns: pa.Array) -> pa.Table:
    frame = tape("us")[:1].drop("minute").to_arrow(compat_level=pl.CompatLevel.oldest())
    columns["minute"] = pa.repeat(pa.scalar(1_767_607_200_000_000, pa.timestamp("us")), rows)
    for name in frame.column_names:
        columns.setdefault(name, pa.repeat(frame[name][0], rows))
    return pa.table(columns)


def test_a_small_file_of_forty_million_rows(tmp_path: Path) -> None:
    with pq.ParquetWriter(tmp_path / "bars.parquet", constant(1).schema, compression="zstd") as sink:
        block = constant(2_000_000)
        for _ in range(20):
            sink.write_table(block)
    assert (tmp_path / "bars.parquet").stat().st_size < 20 << 20
    assert "FPM-RES-144" in (words := refusal_of(tmp_path / "bars.parquet")) and "40000000 rows of 72 bytes" in words


def test_a_long_text_repeated_by_its_dictionary(tmp_path: Path) -> None:
    """1 MB on the disk, 8.5 GB of text."""
    letters = pa.DictionaryArray.from_arrays(pa.array(np.zeros(85_000, np.int32)), pa.array(["A" * 100_000]))
    pq.write_table(constant(85_000, symbol=letters), tmp_path / "bars.parquet", compression="zstd")
    assert (tmp_path / "bars.parquet").stat().st_size < 2 << 20
    assert "FPM-RES-144" in refusal_of(tmp_path / "bars.parquet")


def test_a_cell_of_300_megabytes(tmp_path: Path) -> None:
    pq.write_table(constant(1, symbol=pa.array(["A" * 300_000_000], pa.large_string())), tmp_path / "bars.parquet")
    assert "FPM-RES-144" in refusal_of(tmp_path / "bars.parquet")
    row = "2026-01-05 10:00,1,1,1,1,1\n"
    (tmp_path / "bars.csv").write_text("symbol,minute,open,high,low,close,volume\n" + "A" * 300_000_000 + "," + row)
    assert "FPM-RES-144" in refusal_of(tmp_path / "bars.csv")


def test_a_hundred_thousand_columns(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(100_000)]
    pq.write_table(pa.table({name: pa.array([1.0]) for name in names}), tmp_path / "bars.parquet")
    assert "FPM-RES-145" in (words := refusal_of(tmp_path / "bars.parquet")) and "100000 columns" in words
    (tmp_path / "bars.csv").write_text(",".join(names) + "\n")
    assert "FPM-RES-145" in refusal_of(tmp_path / "bars.csv")
    with pytest.raises(InputRefused, match="FPM-RES-145"):
        open_file((tmp_path / "bars.parquet").rename(tmp_path / "trades.parquet"))


def test_a_million_row_groups_and_a_footer_that_claims_them(tmp_path: Path) -> None:
    rows = pa.table({"a": pa.array([1], pa.int8())})
    with pq.ParquetWriter(tmp_path / "bars.parquet", rows.schema) as sink:
        for _ in range(100_001):
            sink.write_table(rows)
    assert "FPM-RES-145" in refusal_of(tmp_path / "bars.parquet")
    content = write(tape("us"), tmp_path / "claim.parquet").read_bytes()
    (tmp_path / "claim.parquet").write_bytes(content[:-8] + struct.pack("<I", 0x7FFF_FFFF) + b"PAR1")
    assert "FPM-RES-145" in refusal_of(tmp_path / "claim.parquet")


def test_deep_nesting(tmp_path: Path) -> None:
    deep = pa.float64()
    for _ in range(200):
        deep = pa.list_(deep)
    pq.write_table(constant(1, open=pa.array([None], deep)), tmp_path / "bars.parquet")
    assert "FPM-IN-003" in (words := refusal_of(tmp_path / "bars.parquet")) and "too deeply nested" in words


@pytest.mark.parametrize(("limit", "value"), [("MEMORY", 8 << 20), ("SECONDS", 0.02)])
def test_the_child_is_stopped_at_its_limits_and_replaced(
    limit: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pl.concat([tape("us")] * 400).with_columns(open=pl.col("open") + pl.int_range(pl.len()) * 1e-7)
    path = write(rows, tmp_path / "bars.csv")
    with monkeypatch.context() as patch:
        patch.setattr(decoder, limit, value)
        assert "FPM-RES-14" in refusal_of(path)
    assert read_file(path).frame.height == rows.height


def abort(path: Path) -> None:
    """What a damaged file may do to a decoder."""
    os.abort()


def test_a_child_that_ends_costs_its_file(tmp_path: Path) -> None:
    path = write(tape("us"), tmp_path / "bars.parquet")
    with pytest.raises(InputRefused, match=r"FPM-IN-003  bars.parquet: reading it ended the reader \(-6\)"):
        decoder.decode("tests.fpm.ingest.test_hostile_files:abort", path)
    assert read_file(path).frame.height == tape("us").height


def test_page_checksums_are_verified_where_the_vendor_wrote_them(tmp_path: Path) -> None:
    rows = tape("us").to_arrow(compat_level=pl.CompatLevel.oldest())
    path = tmp_path / "bars.parquet"
    pq.write_table(rows, path, write_page_checksum=True, compression="none", use_dictionary=False)
    whole = path.read_bytes()
    assert read_file(path).frame.drop("row").equals(tape("us").select(read_file(path).frame.drop("row").columns))
    closes = tape("us")["close"].to_numpy().tobytes()
    at = whole.index(closes[:800])
    path.write_bytes(whole[: at + 6] + bytes([whole[at + 6] ^ 1]) + whole[at + 7 :])
    with pytest.raises(InputRefused, match=r"FPM-IN-003 .*(CRC|checksum)"):
        read_file(path)


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x78\x9c\x01\x02"])
def test_a_packed_file_named_csv(magic: bytes, tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_bytes(magic + bytes(100))
    assert "FPM-IN-004" in refusal_of(tmp_path / "bars.csv")


def test_links_out_pipes_and_folders_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    inside = tmp_path / "delivery"
    good = write(tape("us"), inside / "good.parquet")
    outside = write(tape("us"), tmp_path / "outside.parquet")
    (inside / "link.parquet").symlink_to(outside)
    (inside / "dangling.parquet").symlink_to(tmp_path / "nowhere.parquet")
    (inside / "same.parquet").symlink_to(good)
    (inside / "folder.csv").mkdir()
    os.mkfifo(inside / "pipe.csv")
    delivery = find([inside])
    assert [path.name for path in delivery.bars] == ["good.parquet", "same.parquet"]
    assert {refused.path.name: refused.refusal.code for refused in delivery.refused} == dict.fromkeys(
        ["link.parquet", "dangling.parquet", "folder.csv", "pipe.csv"], "FPM-IN-005"
    )
    assert find([inside / "link.parquet"]).bars  # named by the caller, it is the caller's choice
    assert find([inside / "pipe.csv"]).refused[0].refusal.code == "FPM-IN-005"


@pytest.mark.parametrize("year", [12_000, -4_000])
def test_years_without_dates(year: int, tmp_path: Path) -> None:
    far = (year - 1970) * 31_556_952 * 1_000_000
    minute = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit(far).cast(pl.Datetime("us"))).otherwise("minute")
    path = write(tape("us").with_columns(minute.alias("minute")), tmp_path / "bars.parquet")
    with pytest.raises(InputRefused, match=r"FPM-IN-032  bars\.parquet: row 7, column minute: year"):
        read_bars(path, market("us"), NOW)


# --- small texts ----------------------------------------------------------------------------------------------------
def test_a_calendar_of_millions_of_lines_and_one_of_ten_thousand(tmp_path: Path) -> None:
    path = tmp_path / "calendar.csv"
    path.write_text("date,kind,source\n" + "2026-01-05,closed,x\n" * 2_500_000)
    start = time.monotonic()
    with pytest.raises(UsageError, match="more than 1 MB"):
        calendar_overrides.read(path)
    days = [date.fromordinal(700_000 + number) for number in range(30_000)]
    path.write_text("date,kind,source\n" + "".join(f"{day},closed,x\n" for day in days))
    assert len(calendar_overrides.read(path)) == 30_000
    path.write_text("date,kind,source\n" + "".join(f"{day},closed,x\n" for day in [*days, days[7]]))
    with pytest.raises(UsageError, match=f"two lines about {days[7]}"):
        calendar_overrides.read(path)
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize(
    "content", ["日期,kind,source\n".encode("gbk"), b"date,kind,source\n\x00", b"\xff\xfe", b'a = "\n']
)
def test_a_broken_calendar_or_market_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for read in (calendar_overrides.read, exchange_facts.read_exchanges):
        with pytest.raises(FpmError, match=str(path)):
            read(path)
    with pytest.raises(FpmError, match="no plain file"):
        exchange_facts.read_exchanges(tmp_path)


def test_a_toml_that_nests_without_end(tmp_path: Path) -> None:
    (tmp_path / "markets.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(UsageError, match="FPM-CFG-015"):
        exchange_facts.read_exchanges(tmp_path / "markets.toml")
