"""Nights in processes that are killed, or meet a bug, a full disk or a broken line: sound before recovery, the same
bytes after it."""

from __future__ import annotations

import os
import posix
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fpm.store.postgres import server as postgres
from tests.crashes import clock, jumps, proxy, small_disk
from tests.crashes.cases import KINDS, LINES, POINTS, QUESTIONS, SIZES, SYSTEM, TWICE, Family
from tests.crashes.home import MET, Home, Hurt
from tests.crashes.sweep import Verdict, sweep, tried
from tests.simulation.place import opened
from tests.simulation.turns import Violation

QUICK = [(Family("any point", "*", kind), number) for number, kind in enumerate(KINDS * 2, 2)]  # 1 in 8 of all
MOVED = [("before", 4), ("after", 4), ("silent", 1)]  # a COMMIT that is lost, and two whose answer is
TRACED = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture(scope="module", autouse=True)
def forced(unforced: None) -> Iterator[None]:
    """Here it is forced to the disk: some crashes come in that very call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", posix.fsync)
        yield


@pytest.fixture(scope="module")
def home(postgres_server: postgres.Server) -> Iterator[Home]:
    with opened(postgres_server) as place:
        opened_home = Home(place)
        opened_home.learn(3)
        yield opened_home


@pytest.mark.parametrize(("family", "number"), QUICK)
def test_a_fault_changes_no_byte(family: Family, number: int, home: Home) -> None:
    verdict = tried(family, number, home)
    assert (verdict.met, verdict.moved, verdict.violation) == (True, 1, "")


@pytest.fixture(scope="module")
def home_on_a_disk(postgres_server: postgres.Server) -> Iterator[Home]:
    """A home whose lake and staging have a disk to themselves."""
    if not small_disk.can_be_mounted():
        pytest.skip("a tmpfs cannot be mounted here: it needs Linux and root")
    with opened(postgres_server) as place, small_disk.mounted() as disk:
        opened_home = Home(replace(place, folder=disk))
        opened_home.learn(3)
        yield opened_home


@pytest.mark.parametrize(("kind", "number"), MOVED)
def test_a_line_to_the_database_breaks_at_a_commit(kind: str, number: int, home: Home) -> None:
    verdict = tried(Family(f"COMMIT {kind}", line="COMMIT", kind=kind), number, home)
    assert (verdict.met, verdict.moved, verdict.violation) == (True, 1, "")


def test_a_slow_line_is_waited_for(home: Home) -> None:
    session, expected = home.next()
    assert home.run(session, Hurt(line=proxy.Break("late", 3))) == MET
    assert home.is_whole(session)
    home.judge(expected)


def test_a_disk_of_some_pages_is_full_and_nothing_is_lost(home_on_a_disk: Home) -> None:
    verdict = tried(SIZES, 1, home_on_a_disk)
    assert (verdict.met, verdict.violation) == (True, "")
    assert tried(SIZES, 1000, home_on_a_disk).met is False


@TRACED
def test_a_system_call_is_the_last(home: Home) -> None:
    verdict = tried(Family("rename", call="rename", kind="signal=KILL"), 2, home)
    assert (verdict.met, verdict.moved, verdict.violation) == (True, 1, "")


def test_a_fault_that_no_night_meets_counts_nothing(home: Home) -> None:
    assert tried(Family("any point", "*", "SIGKILL"), 1000, home).met is False


def test_a_child_says_what_it_met(home: Home) -> None:
    session, _ = home.next()
    assert home.run(session, Hurt(point="begun:1:SIGKILL")) == -signal.SIGKILL
    assert not home.is_whole(session)
    assert home.run(session, Hurt(point="begun:2:BUG")) == MET
    home.run_whole(session)
    assert home.is_whole(session)


def test_a_damaged_lake_is_a_violation(home: Home) -> None:
    """What judges the cases sees a foreign byte, before the recovery and after it."""
    _, expected = home.next()
    (file, *_) = sorted(home.settings.lake.rglob("*.parquet"))
    sound = file.read_bytes()
    file.write_bytes(sound + b"0")
    try:
        with pytest.raises(Violation, match="I1"):
            home.invariants.check()
        with pytest.raises(Violation):
            home.judge(expected)
    finally:
        file.write_bytes(sound)
        home.begin()


# --- the long ones: `make stress`; `python -m tests.crashes sweep FILE` goes on where it was stopped -----------------
def _sound(verdicts: Iterator[Verdict]) -> int:
    cases = list(verdicts)
    assert not [case for case in cases if case.violation]
    return sum(case.moved for case in cases)


@pytest.mark.slow
def test_every_named_point(home: Home, tmp_path: Path) -> None:
    assert _sound(sweep((*POINTS, *TWICE), home, tmp_path / "cases")) >= 100


@pytest.mark.slow
@TRACED
@pytest.mark.parametrize("family", SYSTEM, ids=lambda family: family.name.replace(" ", "-"))
def test_every_system_call(family: Family, home: Home, tmp_path: Path) -> None:
    _sound(sweep([family], home, tmp_path / "cases"))


@pytest.mark.slow
@pytest.mark.parametrize("family", [*LINES, *QUESTIONS], ids=lambda family: family.name.replace(" ", "-"))
def test_every_question_to_the_database(family: Family, home: Home, tmp_path: Path) -> None:
    _sound(sweep([family], home, tmp_path / "cases"))


@pytest.mark.slow
def test_every_size_of_a_full_disk(home_on_a_disk: Home, tmp_path: Path) -> None:
    """From no free page to the first size at which the night is whole."""
    cases = list(sweep([SIZES], home_on_a_disk, tmp_path / "cases"))
    assert not [case for case in cases if case.violation]
    assert len(cases) > 5 and not cases[-1].met


@pytest.mark.slow
def test_four_schedulers_compute_each_night_once() -> None:
    assert clock.schedulers(50, float("inf")) == (50, 0)


@pytest.mark.slow
def test_the_clock_brings_a_stopped_database_back() -> None:
    assert "10 stops" in clock.restarts(10, float("inf"))


@pytest.mark.slow
@pytest.mark.skipif(jumps.LIBRARY is None, reason="libfaketime is not installed")
def test_a_clock_that_jumps_loses_and_doubles_no_night() -> None:
    assert jumps.nights(8).startswith("8 nights, 16 jumps, each job once")
