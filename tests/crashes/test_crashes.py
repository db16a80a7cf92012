"""Nights in processes that are killed or meet a bug or a full disk: sound before recovery, the same bytes after it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.store.postgres import server as postgres
from tests.crashes import clock
from tests.crashes.cases import KINDS, POINTS, SYSTEM, TWICE, Family
from tests.crashes.home import MET, Home, Hurt
from tests.crashes.sweep import Verdict, sweep, tried
from tests.simulation.place import opened
from tests.simulation.turns import Violation

QUICK = [(Family("any point", "*", kind), number) for number, kind in enumerate(KINDS * 2, 2)]  # 1 in 8 of all
TRACED = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


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
def test_four_schedulers_compute_each_night_once() -> None:
    assert clock.schedulers(50, float("inf")) == (50, 0)


@pytest.mark.slow
def test_the_clock_brings_a_stopped_database_back() -> None:
    assert "10 stops" in clock.restarts(10, float("inf"))
