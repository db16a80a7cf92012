"""The inbox from file to lake: what is taken, refused, waits or is left; twice, in pieces, killed, by two at once."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fpm.commands.inbox import exit_code, look
from fpm.commands.schedule import tick
from fpm.errors import UsageError
from fpm.ingest.ingest_report import IngestReport
from fpm.sessions import cut_off
from fpm.store.lake.inbox import QUIET, REPORT, STALLED
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from producers import bars
from tests.fpm.store.lake.test_inbox import tree
from tests.small_chain import quiet
from tests.tape import FIRST, tape, write

NEXT, THIRD = date(2026, 1, 6), date(2026, 1, 7)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Fpm = Callable[..., subprocess.CompletedProcess[str]]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.fpm.commands.test_inbox"])


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """The empty deployment, with an inbox."""
    (tmp_path / "inbox").mkdir()
    return settings.model_copy(update={"inbox": tmp_path / "inbox"})


@pytest.fixture
def root(settings: Settings) -> Path:
    assert settings.inbox is not None
    return settings.inbox


def take(stores: Stores, now: datetime = NOW, *, at_once: bool = True) -> list[dict[str, Any]]:
    return look(stores, now, quiet, at_once=at_once)


def statuses(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["file"]: row["status"] for row in rows}


def lake(stores: Stores) -> dict[str, str]:
    return tree(stores.lake.root)


def test_files_are_taken_and_refused_with_a_report_beside_them(root: Path, stores: Stores) -> None:
    write(tape("cn"), root / f"{FIRST}.parquet")
    write(tape("cn", NEXT).drop("volume"), root / "bad.csv")
    (root / "readme.txt").write_text("hello")
    write(tape("cn", THIRD), root / "folder" / "minute_bars" / f"{THIRD}.parquet")
    rows = take(stores)
    assert statuses(rows) == {
        f"{FIRST}.parquet": "taken",
        "bad.csv": "refused",
        "readme.txt": "refused",
        "folder": "taken",
    }
    assert exit_code(rows) == 1
    assert stores.sessions("minute_bars") == [FIRST, THIRD]
    assert [*tree(root)] == [
        "refused/2026-06-01/bad.csv",
        f"refused/2026-06-01/bad.csv{REPORT}",
        "refused/2026-06-01/readme.txt",
        f"refused/2026-06-01/readme.txt{REPORT}",
        f"taken/2026-06-01/{FIRST}.parquet",
        f"taken/2026-06-01/{FIRST}.parquet{REPORT}",
        f"taken/2026-06-01/folder/minute_bars/{THIRD}.parquet",
        f"taken/2026-06-01/folder{REPORT}",
    ]
    report = json.loads((root / "refused" / "2026-06-01" / f"bad.csv{REPORT}").read_bytes())
    assert [each["code"] for each in report["refusals"]] == ["FPM-IN-006"] and "volume" in report["refusals"][0][
        "wrong"
    ]
    taken = json.loads((root / "taken" / "2026-06-01" / f"{FIRST}.parquet{REPORT}").read_bytes())
    assert (taken["ingest"]["rows_out"], taken["refusals"]) == (3 * 241, [])
    assert take(stores) == [] and exit_code([]) == 0


def test_loose_files_of_one_session_are_one_delivery(root: Path, stores: Stores) -> None:
    """Each symbol in a file of its own: all are first copies, known from the cut-off, none is a correction."""
    frame = tape("cn")
    for symbol in frame["symbol"].unique():
        write(frame.filter(pl.col("symbol") == symbol), root / f"{symbol}.parquet")
    assert set(statuses(take(stores)).values()) == {"taken"}
    minutes = stores.read("minute_bars", FIRST)
    assert minutes["symbol"].n_unique() == 3
    assert minutes["created_timestamp"].unique().to_list() == [cut_off(stores.market, FIRST)]


def test_the_same_file_again_changes_nothing_and_is_taken(root: Path, stores: Stores) -> None:
    write(tape("cn"), root / "bars.parquet")
    take(stores)
    before = lake(stores)
    write(tape("cn"), root / "bars.parquet")
    write(tape("cn"), root / "other_name.parquet")
    rows = take(stores)
    assert statuses(rows) == {"bars.parquet": "taken", "other_name.parquet": "taken"} and exit_code(rows) == 0
    assert lake(stores) == before
    report = json.loads(Path(rows[0]["report"]).read_bytes())
    assert (report["kept_as"], report["ingest"]["taken_before"]) == ("bars.2.parquet", 2)


def test_a_growing_file_waits_until_two_looks_see_the_same(root: Path, stores: Stores) -> None:
    whole = write(tape("cn"), root / "bars.csv").read_bytes()
    for share, now in ((2, NOW), (1, NOW + QUIET)):
        (root / "bars.csv").write_bytes(whole[: len(whole) // share])
        rows = take(stores, now, at_once=False)
        assert statuses(rows) == {"bars.csv": "waiting"} and exit_code(rows) == 75
    assert statuses(take(stores, NOW + 1.5 * QUIET, at_once=False)) == {"bars.csv": "waiting"}
    assert stores.sessions("minute_bars") == []
    assert statuses(take(stores, NOW + 2 * QUIET, at_once=False)) == {"bars.csv": "taken"}
    assert stores.read("minute_bars", FIRST).height == 3 * 241


def test_an_upload_that_stalls_waits_longer_and_is_refused_in_the_end(root: Path, stores: Stores) -> None:
    path = write(tape("cn"), root / "bars.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    for now in (NOW, NOW + 10 * QUIET):
        (row,) = take(stores, now, at_once=False)
        assert row["status"] == "waiting" and "half-written" in row["why"]
    (row,) = take(stores, NOW + STALLED, at_once=False)
    assert row["status"] == "refused" and "FPM-IN-002" in row["why"]


def test_a_mark_ends_the_waiting(root: Path, stores: Stores) -> None:
    write(tape("cn"), root / "bars.parquet")
    write(tape("cn", NEXT), root / "more.parquet")
    (root / "bars.parquet.done").touch()
    rows = take(stores, at_once=False)
    assert statuses(rows) == {"bars.parquet": "taken", "more.parquet": "waiting"} and exit_code(rows) == 0
    assert not (root / "bars.parquet.done").exists()


def test_links_and_fifos_are_left_and_named(root: Path, stores: Stores, tmp_path: Path) -> None:
    (root / "link.parquet").symlink_to(write(tape("cn"), tmp_path / "bars.parquet"))
    os.mkfifo(root / "pipe.csv")
    rows = take(stores)
    assert statuses(rows) == {"link.parquet": "left", "pipe.csv": "left"} and exit_code(rows) == 1
    assert (root / "link.parquet").is_symlink() and stores.sessions("minute_bars") == []


def test_a_file_without_one_good_row_is_refused(root: Path, stores: Stores) -> None:
    write(tape("cn").with_columns(close=999.0), root / "bars.parquet")
    (row,) = take(stores)
    assert row["status"] == "refused" and "723 x FPM-IN-021" in row["why"]


def test_a_table_that_the_home_does_not_expect_stops_no_bars(root: Path, stores: Stores) -> None:
    """The home derives daily bars from minutes; a daily table dropped beside new minutes is refused alone."""
    write(tape("cn"), root / "one.parquet")
    take(stores)
    daily = tape("cn", NEXT).group_by("symbol").first().drop("minute", "amount").with_columns(session=pl.lit(NEXT))
    write(daily, root / "daily_bars.parquet")
    write(tape("cn", NEXT), root / "two.parquet")
    rows = take(stores)
    assert statuses(rows) == {"two.parquet": "taken", "daily_bars.parquet": "refused"}
    assert stores.sessions("minute_bars") == [FIRST, NEXT]


def test_what_breaks_a_reader_is_set_aside_and_the_rest_goes_in(
    root: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of our own, planted: it must not stop the inbox now and at every later look."""
    ingest = bars.ingest

    def broken(paths: list[Path], *others: Any) -> IngestReport:
        if any(path.name == "poison.parquet" for path in paths):
            raise ZeroDivisionError("planted")
        return ingest(paths, *others)

    monkeypatch.setattr(bars, "ingest", broken)
    for name, session in (("a.parquet", FIRST), ("poison.parquet", NEXT), ("z.parquet", THIRD)):
        write(tape("cn", session), root / name)
    rows = take(stores)
    assert statuses(rows) == {"a.parquet": "taken", "poison.parquet": "refused", "z.parquet": "taken"}
    (poison,) = [row for row in rows if row["status"] == "refused"]
    assert "FPM-INB-003" in poison["why"]
    assert "planted" in "".join(json.loads(Path(poison["report"]).read_bytes())["trace"])


def test_two_looks_at_once_take_a_file_once(root: Path, settings: Settings, stores: Stores) -> None:
    for session in (FIRST, NEXT, THIRD):
        write(tape("cn", session), root / f"{session}.parquet")
    answers: list[list[dict[str, Any]]] = []
    others = open_stores(settings)
    clocks = [threading.Thread(target=lambda each=each: answers.append(take(each))) for each in (stores, others)]
    for clock in clocks:
        clock.start()
    for clock in clocks:
        clock.join()
    others.ledger.close()
    assert sorted(len(rows) for rows in answers) == [0, 3]
    assert len(tree(root)) == 6


def test_the_clock_looks_into_the_inbox_before_the_night(root: Path, stores: Stores) -> None:
    """The night itself fails for want of models; the bars are there all the same."""
    write(tape("cn"), root / "bars.parquet")
    tick(stores, NOW)
    assert stores.sessions("minute_bars") == []
    tick(stores, NOW + timedelta(minutes=1))
    assert stores.sessions("minute_bars") == [FIRST]
    assert (root / "taken" / "2026-06-01" / "bars.parquet").is_file()


def test_an_inbox_that_vanishes_stops_no_clock(root: Path, stores: Stores) -> None:
    root.rmdir()
    tick(stores, NOW)
    with pytest.raises(UsageError, match="FPM-CFG-020"):
        take(stores)


# --- killed -------------------------------------------------------------------------------------------------------
def fill(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    write(tape("cn"), root / f"{FIRST}.parquet")
    write(tape("cn").drop("volume"), root / "bad.parquet")
    write(tape("cn", NEXT), root / "folder" / f"{NEXT}.parquet")


def in_child(settings: Settings, fault: str) -> None:
    os.environ["FPM_FAULT"] = fault
    look(open_stores(settings), NOW, quiet, at_once=True)


def outcome(root: Path, stores: Stores) -> tuple[dict[str, str], list[str], dict[str, str]]:
    """The lake's bytes, the inbox's names, and each report's verdict."""
    reports = {path.name: json.loads(path.read_bytes())["status"] for path in root.rglob(f"*{REPORT}")}
    return lake(stores), [*tree(root)], reports


def test_killed_at_every_fault_point_and_repeated(root: Path, settings: Settings, stores: Stores) -> None:
    def start() -> None:
        shutil.rmtree(settings.home, ignore_errors=True)
        stores.ledger.execute("TRUNCATE fpm.ledger, fpm.files, fpm.deployment")
        fill(root)

    start()
    take(stores)
    undisturbed = outcome(root, stores)
    assert undisturbed[2] == {
        f"{FIRST}.parquet{REPORT}": "taken",
        f"bad.parquet{REPORT}": "refused",
        f"folder{REPORT}": "taken",
    }
    for passing in range(1, 100):
        start()
        process = PROCESSES.Process(target=in_child, args=(settings, f"*:{passing}"))
        process.start()
        process.join(timeout=120)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        take(stores, NOW + timedelta(hours=1))
        assert outcome(root, stores) == undisturbed, passing
    assert passing == 2 * 6 + 3 * 3 + 1  # two sessions published, three deliveries moved: no point was left out


# --- the command --------------------------------------------------------------------------------------------------
def test_the_command_has_an_exit_code_for_each_outcome(tmp_path: Path, database_url: str, fpm_command: Fpm) -> None:
    root = tmp_path / "inbox"
    root.mkdir()
    where = {"FPM_HOME": str(tmp_path / "home"), "FPM_DATABASE_URL": database_url, "FPM_INBOX": str(root)}
    nameless = fpm_command("inbox", **where)
    assert nameless.returncode == 2 and "FPM-CFG-023" in nameless.stderr
    where |= {"FPM_MARKET": "cn", "FPM_PRESET": "tiny"}
    assert fpm_command("inbox", **where).returncode == 0
    write(tape("cn"), root / "bars.parquet")
    waiting = fpm_command("inbox", "--json", **where)
    assert (waiting.returncode, json.loads(waiting.stdout)[0]["status"]) == (75, "waiting"), waiting.stderr
    taken = fpm_command("inbox", "--now", "--json", **where)
    assert (taken.returncode, json.loads(taken.stdout)[0]["status"]) == (0, "taken"), taken.stderr
    write(tape("cn", NEXT).drop("volume"), root / "bad.csv")
    refused = fpm_command("inbox", "--now", **where)
    assert refused.returncode == 1 and "FPM-IN-006" in refused.stdout, refused.stderr
    unset = fpm_command("inbox", **{**where, "FPM_INBOX": ""})
    assert unset.returncode == 2 and "Traceback" not in unset.stderr


@pytest.mark.parametrize("inside", [".", "lake", "pg/data"])
def test_an_inbox_among_the_state_is_refused(tmp_path: Path, inside: str, fpm_command: Fpm) -> None:
    home = tmp_path / "home"
    answer = fpm_command("inbox", FPM_HOME=str(home), FPM_INBOX=str(home / inside), FPM_MARKET="cn")
    assert answer.returncode == 2 and "FPM_" in answer.stderr and "use one of its own" in answer.stderr
    assert not home.exists()
