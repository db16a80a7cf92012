"""A check says what an ingest does, before it does it: the same counts for every delivery, and nothing is stored."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused, UsageError
from fpm.ingest.units import Stated
from fpm.sessions import market
from fpm.store.ledger.stores import Stores
from producers import decisions
from producers.bars import Arrival, ingest
from producers.delivery_check import DeliveryCheck, Home, check
from tests.small_chain import quiet
from tests.tape import FIRST, by_start, moved, tape, write
from tests.test_bad_input import REFUSED, ROW_CASES, at

NEXT = date(2026, 1, 6)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ARRIVAL = Arrival(NOW, NOW)
Fpm = Callable[..., subprocess.CompletedProcess[str]]
CN = Home(market("cn"))


def checked(*paths: Path, home: Home = CN, stated: Stated | None = None) -> DeliveryCheck:
    return check(paths, Arrival(NOW, NOW, stated or Stated()), home, quiet)


def record(answer: DeliveryCheck, name: str) -> dict:
    (file,) = [file for file in answer.files if file["file"] == name]
    return file


def test_what_was_detected_is_said_for_each_file(tmp_path: Path) -> None:
    write(by_start("cn").rename({"volume": "vol", "symbol": "ts_code"}).with_columns(weather=1), tmp_path / "one.csv")
    lots = tape("cn", NEXT).with_columns(pl.col("volume") / 100)
    write(lots, tmp_path / "two.parquet")
    answer = checked(tmp_path)
    one, two = record(answer, "one.csv"), record(answer, "two.parquet")
    assert answer.whole and answer.profile == "bar_32"
    assert (one["conventions"]["stamp_side"], two["conventions"]["stamp_side"]) == ("start", "end")
    assert (one["conventions"]["volume_unit"], two["conventions"]["volume_unit"]) == ("shares", "lots")
    assert one["synonyms"] == {"symbol": "ts_code", "volume": "vol"} and one["ignored"] == ["weather"]
    assert "0 at 15:00" in one["evidence"] and "amount / (volume x price) = 100" in two["evidence"]
    assert (one["first"], one["symbols"], one["rows_in"], one["rows_out"]) == (
        str(FIRST),
        3,
        by_start("cn").height,
        by_start("cn").height,
    )


def test_what_would_stay_outside_is_said_with_the_first_row_of_each_kind(tmp_path: Path) -> None:
    frame = at(at(tape("cn"), 100, high=1.0), 200, high=2.0)
    write(pl.concat([frame, frame[300:302]]), tmp_path / "bars.parquet")
    (file,) = checked(tmp_path).files
    assert (file["goes_in"], file["rows_out"], file["deduplicated"]) == ("in part", 3 * 241 - 2, 2)
    ((fault),) = file["quarantined"]
    assert (fault["code"], fault["rows"], fault["first_row"]) == ("FPM-IN-021", 2, 100) and "high 1.0" in fault[
        "reason"
    ]


def deliveries() -> list[tuple[str, Callable[[Path], None]]]:
    """The corpus of bad input, each case beside a good file, and deliveries of every other kind."""

    def case(make: Callable[[Path], object]) -> Callable[[Path], None]:
        def deliver(folder: Path) -> None:
            write(tape("cn", NEXT), folder / f"{NEXT}.parquet")
            make(folder / "bad.parquet")

        return deliver

    rows = [
        (name, case(lambda path, cells=cells: write(at(tape("cn"), 100, **cells), path)))
        for name, cells, *_ in ROW_CASES
    ]
    files = [(f"{code} {words}", case(make)) for make, code, words in REFUSED]

    def conflict(folder: Path) -> None:
        write(tape("cn"), folder / "one.parquet")
        write(at(tape("cn"), 100, volume=12_300.0), folder / "two.parquet")

    def holes(folder: Path) -> None:
        write(
            tape("cn").with_row_index().filter(~pl.col("index").is_between(31, 90)).drop("index"), folder / "a.parquet"
        )

    def fallback(folder: Path) -> None:
        """The second file is too small to show its conventions: the first decides."""
        write(tape("cn"), folder / "a.parquet")
        write(tape("cn", NEXT).filter(pl.col("minute").dt.hour() == 10), folder / "b.parquet")

    def amount(folder: Path) -> None:
        write(at(tape("cn"), 100, amount=1e12), folder / "bars.parquet")

    return [("amount", amount), *rows, *files, ("conflict", conflict), ("holes", holes), ("fallback", fallback)]


@pytest.mark.parametrize("deliver", [pytest.param(make, id=name[:40]) for name, make in deliveries()])
def test_a_check_is_the_ingest_without_its_writes(
    deliver: Callable[[Path], None], tmp_path: Path, stores: Stores
) -> None:
    deliver(tmp_path / "raw")
    answer = checked(tmp_path / "raw")
    with_home = checked(tmp_path / "raw", home=Home(stores.market, stores))
    assert with_home.to_dict() == answer.to_dict()
    assert not list(stores.lake.root.iterdir()) and not stores.settings.quarantine.exists() and not stores.ledger.rows()
    assert "conventions" not in stores.ledger.deployment()
    report = ingest([tmp_path / "raw"], ARRIVAL, stores, quiet).to_dict()
    said = answer.to_dict()
    for name in ("profile", "rows_out", "quarantined", "amended", "deduplicated"):
        assert said[name] == report[name], name
    assert said["rows_in"] == report["rows_in"]
    refused = {(file["file"], file["code"]) for file in answer.files if "code" in file}
    assert refused == {(file["file"], file["code"]) for file in report["refused"]}
    assert answer.whole == (not report["refused"] and not report["quarantined"] and not report["amended"])


def test_a_home_knows_what_it_has_taken_and_decided(tmp_path: Path, stores: Stores) -> None:
    """A file taken before is named so; a few minutes of a stored session are no hole; a daily table does not fit."""
    first = write(tape("cn"), tmp_path / "a" / "bars.parquet")
    ingest([first], ARRIVAL, stores, quiet)
    home = Home(stores.market, stores)
    assert [file["goes_in"] for file in checked(first, home=home).files] == ["taken before"]
    few = write(tape("cn")[100:104].with_columns(pl.col("volume", "amount") * 2), tmp_path / "few.parquet")
    assert checked(few, home=home).whole and not checked(write(tape("cn"), first), few).whole
    daily = tape("cn", NEXT).group_by("symbol").first().drop("minute", "amount").with_columns(session=pl.lit(NEXT))
    with pytest.raises(UsageError, match="FPM-CFG-010"):
        checked(write(daily, tmp_path / "b" / "daily_bars.parquet"), home=home)


def test_daily_bars_and_members_are_checked_too(tmp_path: Path) -> None:
    daily = (
        tape("cn").group_by("symbol", maintain_order=True).first().drop("minute").with_columns(session=pl.lit(FIRST))
    )
    write(at(daily, 1, high=1.0), tmp_path / "daily_bars.csv")
    write(
        pl.DataFrame({"index": ["X"], "session": [FIRST], "symbol": ["600000.SH"]}), tmp_path / "index_members.parquet"
    )
    answer = checked(tmp_path)
    good, bad = record(answer, "daily_bars.csv"), record(answer, "index_members.parquet")
    assert (good["goes_in"], good["rows_in"], good["rows_out"], good["table"]) == ("in part", 3, 2, "daily_bars")
    assert (bad["goes_in"], bad["code"]) == ("refused", "FPM-IN-006")


def test_a_person_sees_the_faults_first(tmp_path: Path) -> None:
    for day in range(5, 10):
        write(tape("cn", date(2026, 1, day)), tmp_path / f"{day}.parquet")
    write(moved(tape("cn", date(2026, 1, 12)), -480), tmp_path / "zone.parquet")
    files = checked(tmp_path).summary()["files"]
    assert files["1"]["file"] == "zone.parquet" and "FPM-IN-011" in files["1"]["code"]
    assert "stamp_side end" in files["2"]["conventions"] and "ignored" not in files["2"]


# --- what files cannot say --------------------------------------------------------------------------------------
def without_amount(session: date, lot: float = 1.0) -> pl.DataFrame:
    return tape("cn", session).drop("amount").with_columns(pl.col("volume") / lot)


def test_the_callers_word_decides_and_the_home_remembers_it(tmp_path: Path, stores: Stores) -> None:
    silent = write(without_amount(FIRST, lot=100.0), tmp_path / "one.parquet")
    with pytest.raises(InputRefused, match=r"FPM-IN-126.*--volume-unit"):
        ingest([silent], ARRIVAL, stores, quiet).require_content()
    assert checked(silent, stated=Stated(volume_unit="lots")).whole
    report = ingest([silent], Arrival(NOW, NOW, Stated(volume_unit="lots")), stores, quiet)
    assert report.to_dict()["stated"] == {"volume_unit": "lots"}
    expected = tape("cn")["volume"].sum()
    assert stores.read("minute_bars", FIRST)["volume"].sum() == pytest.approx(expected)
    again = ingest([write(without_amount(NEXT, lot=100.0), tmp_path / "two.parquet")], ARRIVAL, stores, quiet)
    assert again.to_dict()["stated"] == {"volume_unit": "lots"}
    assert stores.read("minute_bars", NEXT)["volume"].sum() == pytest.approx(tape("cn", NEXT)["volume"].sum())
    with pytest.raises(UsageError, match=r"FPM-CFG-010.*volume_unit is 'shares' here"):
        ingest([silent], Arrival(NOW, NOW, Stated(volume_unit="shares")), stores, quiet)


def test_a_word_about_refused_files_is_not_remembered(tmp_path: Path, stores: Stores) -> None:
    bad = write(without_amount(FIRST).drop("close"), tmp_path / "bad.parquet")
    with pytest.raises(InputRefused):
        ingest([bad], Arrival(NOW, NOW, Stated(volume_unit="lots")), stores, quiet).require_content()
    assert "volume_unit" not in stores.ledger.deployment()


def test_the_stamp_side_that_a_part_of_a_session_hides(tmp_path: Path, stores: Stores) -> None:
    """09:31 to 14:59 alone: the same labels under both sides."""
    clock = pl.col("minute").dt.time()
    hidden = tape("cn").filter(
        (clock > pl.time(9, 40)) & (clock < pl.time(11, 20)) | (clock > pl.time(13, 10)) & (clock < pl.time(14, 50))
    )
    path = write(hidden, tmp_path / "bars.parquet")
    assert record(checked(path), "bars.parquet")["code"] == "FPM-IN-013"
    words = Stated(stamp_side="start")
    (file,) = checked(path, stated=words).files
    assert file["conventions"]["stamp_side"] == "start"


def test_raw_and_adjusted_prices_never_share_a_home(tmp_path: Path, stores: Stores) -> None:
    ingest([write(tape("cn"), tmp_path / "raw.parquet")], ARRIVAL, stores, quiet)
    other = write(without_amount(NEXT), tmp_path / "adjusted.parquet")
    adjusted = Stated(volume_unit="shares", prices="adjusted")
    for home in (Home(stores.market, stores),):
        with pytest.raises(UsageError, match="FPM-CFG-022"):
            checked(other, home=home, stated=adjusted)
    with pytest.raises(UsageError, match="FPM-CFG-022"):
        ingest([other], Arrival(NOW, NOW, adjusted), stores, quiet)
    assert stores.sessions("minute_bars") == [FIRST]
    assert decisions.stated_words(Stated(prices="raw"), stores).prices == "raw"


# --- the command ------------------------------------------------------------------------------------------------
def test_a_check_needs_no_home_and_makes_none(tmp_path: Path, fpm_command: Fpm) -> None:
    home, path = tmp_path / "home", write(tape("cn"), tmp_path / "bars.parquet")
    good = fpm_command("ingest", "--check", str(path), "--market", "cn", "--json", FPM_HOME=str(home))
    assert good.returncode == 0 and json.loads(good.stdout)["goes_in"] == {"whole": 1}, good.stderr
    write(without_amount(FIRST), path)
    bad = fpm_command("ingest", "--check", str(path), "--market", "cn", FPM_HOME=str(home))
    assert bad.returncode == 1 and "FPM-IN-126" in bad.stdout and "stored" in bad.stdout, bad.stderr
    words = ("--volume-unit", "shares", "--prices", "raw", "--stamp-side", "end")
    said = fpm_command("ingest", "--check", str(path), "--market", "cn", *words, "--json", FPM_HOME=str(home))
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["stated"] == {"stamp_side": "end", "volume_unit": "shares", "prices": "raw"}
    assert not home.exists()


def test_one_refused_file_of_several_is_no_success(tmp_path: Path, database_url: str, fpm_command: Fpm) -> None:
    """The others are in; --check and the delivery itself exit alike."""
    where = {"FPM_HOME": str(tmp_path / "home"), "FPM_DATABASE_URL": database_url}
    folder = tmp_path / "delivery" / "minute_bars"
    folder.mkdir(parents=True)
    write(tape("cn"), folder / "good.parquet")
    (folder / "bad.parquet").write_bytes(b"PAR1 no more")
    words = ("ingest", str(folder.parent), "--market", "cn", "--preset", "tiny", "--json")
    assert fpm_command(*words, "--check", **where).returncode == 1
    answer = fpm_command(*words, **where)
    assert answer.returncode == 1 and "other files of the delivery were" in answer.stderr, answer.stderr
    report = json.loads(answer.stdout)
    assert [file["file"] for file in report["refused"]] == ["bad.parquet"] and report["rows_out"] == 3 * 241
    (folder / "bad.parquet").unlink()
    assert fpm_command(*words, **where).returncode == 0


@pytest.mark.parametrize("check_only", [(), ("--check",)])
def test_a_new_home_wants_its_market_named(
    tmp_path: Path, check_only: tuple[str, ...], database_url: str, fpm_command: Fpm
) -> None:
    home, path = tmp_path / "home", write(tape("cn"), tmp_path / "bars.parquet")
    answer = fpm_command("ingest", *check_only, str(path), FPM_HOME=str(home))
    assert answer.returncode == 2 and "FPM-CFG-023" in answer.stderr and "--market" in answer.stderr
    assert not home.exists()
    where = {"FPM_HOME": str(home), "FPM_DATABASE_URL": database_url}
    assert fpm_command("ingest", *check_only, str(path), **where).returncode == 2
    assert fpm_command("ingest", str(path), "--market", "cn", "--preset", "tiny", **where).returncode == 0
    write(tape("cn", NEXT), path)
    assert fpm_command("ingest", *check_only, str(path), **where).returncode == 0
    other = fpm_command("ingest", *check_only, str(path), "--market", "us", **where)
    assert other.returncode == 2 and "FPM-CFG-010" in other.stderr


@pytest.mark.parametrize(
    "words", [("--check",), ("--volume-unit", "lots"), ("--prices", "raw"), ("--stamp-side", "end")]
)
def test_ticks_show_all_of_it_themselves(tmp_path: Path, words: tuple[str, ...], fpm_command: Fpm) -> None:
    answer = fpm_command("ingest", str(tmp_path), "--ticks", "--market", "cn", *words, FPM_HOME=str(tmp_path / "home"))
    assert answer.returncode == 2 and "FPM-CFG-019" in answer.stderr
    assert not (tmp_path / "home").exists()
