"""Files of symbols: days and companies are read, rows that contradict each other are set aside on both sides."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.symbol_files import read_symbols
from fpm.sessions import market

US = market("us")
HEADER = "symbol,first,last,identity"


def read(path: Path, *lines: str, header: str = HEADER) -> pl.DataFrame:
    path.write_text("\n".join([header, *lines]) + "\n")
    rows = read_symbols(path, US)
    assert rows.rows_in == rows.frame.height + rows.quarantined.height == len(lines)
    return rows.quarantined if rows.quarantined.height else rows.frame


def test_a_snapshot_without_sessions(tmp_path: Path) -> None:
    frame = read(tmp_path / "symbols.csv", "FB,2012-05-18,20220608,1", "META.US,2022-06-09,,1")
    assert frame.drop("row").rows() == [
        (None, "FB.US", date(2012, 5, 18), date(2022, 6, 8), "1"),
        (None, "META.US", date(2022, 6, 9), None, "1"),
    ]


def test_dated_snapshots_are_checked_apart(tmp_path: Path) -> None:
    header = f"session,{HEADER}"
    frame = read(
        tmp_path / "symbols.csv", "2024-01-02,A,2020-01-01,,x", "2024-01-03,A,2020-01-01,,y", header=header
    )  # fmt: skip
    assert frame["session"].to_list() == [date(2024, 1, 2), date(2024, 1, 3)]


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["A,2020-01-02,2020-01-01,x"], ["FPM-IN-152"]),
        (["A,,2020-01-01,x"], ["FPM-IN-152"]),
        (["A,2020-01-01,, "], ["FPM-IN-153"]),
        (["../A,2020-01-01,,x"], ["FPM-IN-031"]),
        (["A,2020-01-01,2020-06-30,x", "A,2020-06-30,,y"], ["FPM-IN-154"] * 2),
        (["A,2020-01-01,,x", "A,2020-01-01,,x"], ["FPM-IN-154"] * 2),
        (["A,2020-01-01,2020-06-30,x", "B,2020-06-30,,x"], ["FPM-IN-155"] * 2),
        (["A,2020-01-01,,x", "B,2021-01-01,2021-02-01,x", "C,2022-01-01,,z"], ["FPM-IN-155"] * 2),
    ],
)
def test_a_bad_row_is_set_aside(lines: list[str], codes: list[str], tmp_path: Path) -> None:
    assert read(tmp_path / "symbols.csv", *lines)["reason_code"].to_list() == codes


def test_a_day_that_is_none_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="FPM-IN-008"):
        read(tmp_path / "symbols.csv", "A,soon,,x")
    pl.DataFrame({"symbol": ["A"], "first": [20200101], "last": [None], "identity": ["x"]}).write_parquet(
        tmp_path / "symbols.parquet"
    )
    with pytest.raises(InputRefused, match="FPM-IN-008"):
        read_symbols(tmp_path / "symbols.parquet", US)
