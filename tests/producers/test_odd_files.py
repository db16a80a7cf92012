"""What else lies in a folder: each odd file has its code, the others go in, and what nobody looks into is said."""

import gzip
import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import UsageError
from fpm.ingest.ingest_report import IngestReport
from fpm.ingest.vendor_files import name_of
from fpm.sessions import market
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest
from producers.delivery_check import Home, check
from tests.small_chain import quiet
from tests.tape import FIRST, tape, write

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BAD = "bad,header\n1,2\n"
LONG = "x" * 251 + ".csv"


def take(stores: Stores, *paths: Path) -> IngestReport:
    return ingest(paths, Arrival(NOW, NOW), stores, quiet)


def zipped(path: Path, name: str = "a.csv") -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, BAD)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with one good file, one good file of the longest name, and much else."""
    folder = tmp_path / "delivery"
    (folder / "of_another_day").mkdir(parents=True)
    first, second, third = (
        tape("cn", symbols=(symbol,)) for symbol in tape("cn")["symbol"].unique(maintain_order=True)
    )
    write(first, folder / "good.parquet")
    write(second, folder / ("y" * 247 + ".parquet"))
    write(third, folder / "of_another_day" / "bars.parquet")
    (folder / LONG).write_text(BAD)
    (folder / "line\nbreak.csv").write_text(BAD)
    (folder / "colour\x1b[31m.csv").write_text(BAD)
    (folder / os.fsdecode(b"\xff\xfe.csv")).write_text(BAD)
    (folder / "folder.parquet").mkdir()
    (folder / "gone.parquet").symlink_to("/nonexistent")
    (folder / "itself.csv").symlink_to("itself.csv")
    os.mkfifo(folder / "pipe.csv")
    (folder / "empty.csv").touch()
    for name in ("bars.zip", "bars.xlsx", "archive.csv"):
        zipped(folder / name)
    for name in ("bars.csv.gz", "packed.csv"):
        (folder / name).write_bytes(gzip.compress(BAD.encode()))
    (folder / ".hidden.csv").write_text(BAD)
    (folder / "README.txt").write_text("hello")
    return folder


CODES = {
    LONG: "FPM-IN-006",
    "line\\nbreak.csv": "FPM-IN-195",
    "colour\\x1b[31m.csv": "FPM-IN-195",
    "\\xff\\xfe.csv": "FPM-IN-195",
    "folder.parquet": "FPM-IN-005",
    "gone.parquet": "FPM-IN-005",
    "itself.csv": "FPM-IN-005",
    "pipe.csv": "FPM-IN-005",
    "empty.csv": "FPM-IN-001",
    "archive.csv": "FPM-IN-004",
    "packed.csv": "FPM-IN-004",
}
OVER = ["README.txt", "bars.csv.gz", "bars.xlsx", "bars.zip", "of_another_day/"]


def test_each_has_its_code_and_the_others_go_in(odd: Path, stores: Stores) -> None:
    report = take(stores, odd)
    assert {file["file"]: file["code"] for file in report.refused} == CODES
    assert all("\n" not in file["wrong"] and file["wrong"].isprintable() for file in report.refused)
    assert report.rows_out == stores.read("minute_bars", FIRST).height == 2 * 241
    assert report.to_dict()["passed_over"] == OVER
    notes = sorted((stores.settings.quarantine / "files").glob("*.json"))
    assert {json.loads(note.read_bytes())["code"] for note in notes} == set(CODES.values())
    assert len(notes) == len(CODES)


def test_a_check_says_the_same(odd: Path) -> None:
    answer = check([odd], Arrival(NOW, NOW), Home(market("cn")), quiet)
    assert {file["file"]: file["code"] for file in answer.files if file["goes_in"] == "refused"} == CODES
    assert answer.to_dict()["passed_over"] == OVER


@pytest.mark.parametrize("name", ["bars.zip", "bars.xlsx", "bars.csv.gz", "empty", "nowhere"])
def test_what_is_no_delivery_is_refused_in_words(name: str, odd: Path, stores: Stores) -> None:
    (odd / "empty").mkdir()
    with pytest.raises(UsageError, match="FPM-CFG-101"):
        take(stores, odd / name)


def test_checksums_and_hidden_names_are_no_surprise(tmp_path: Path, stores: Stores) -> None:
    path = write(tape("cn"), tmp_path / "bars" / "minute_bars" / "bars.parquet")
    for name in ("minute_bars/others.md5", ".done", "minute_bars/.part.csv"):
        (tmp_path / "bars" / name).touch()
    assert take(stores, tmp_path / "bars").passed_over == ()
    assert name_of(path) == "bars.parquet"


@pytest.mark.slow
def test_ten_thousand_small_files(tmp_path: Path, stores: Stores) -> None:
    """One session of one symbol each, as vendors of single stocks write them."""
    bars = tape("cn", symbols=("600000.SH",))
    for number in range(10_000):
        write(bars.with_columns(symbol=pl.lit(f"{600000 + number:06d}.SH")), tmp_path / f"{number}.parquet")
    report = take(stores, tmp_path)
    assert report.rows_in == 10_000 * bars.height == report.rows_out + sum(report.quarantined.values())
    assert report.rows_out == stores.read("minute_bars", FIRST).height > 0
