"""Weeks of nights in a simulated world: none breaks an invariant, every planted fault is found, a seed is one week."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fpm.store.postgres import server as postgres
from tests.simulation import mutations, week
from tests.simulation.place import opened
from tests.simulation.turns import Violation
from tests.simulation.week import Place

SHAPES, DEALS = 20, 5  # scenarios, and weeks of each; `make stress` runs 10,000 weeks, and goes on where it was stopped
SEEDS = 500  # within which each planted fault is found; a quick one by its first two
QUICK = (
    "ledger_before_rename",
    "delete_then_insert",
    "no_folder_fsync",
    "marker_before_rows",
    "nothing_expected",
    "every_scheduler_works",
)


@pytest.fixture(scope="module")
def place(postgres_server: postgres.Server) -> Iterator[Place]:
    with opened(postgres_server) as opened_place:
        yield opened_place


@pytest.mark.parametrize("shape", range(1, SHAPES + 1))
def test_no_week_breaks_an_invariant(shape: int, place: Place) -> None:
    for seed in range(shape, DEALS * week.SCENARIOS, week.SCENARIOS):  # the undisturbed week is theirs together
        _run(seed, place)


def test_a_bug_met_in_one_night_delays_no_other(place: Place) -> None:
    """Only what rests on the broken session stays open: the undisturbed week itself says so."""
    numbers = range(week.SCENARIOS)
    seed = next(number for number in numbers if "bug" in week.Scenario.dealt(number).broken.values())
    week.Week(seed, place).run(calm=True)


def test_a_seed_is_one_week(place: Place) -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        week.run(3, place, lambda text, trace=trace: trace.append(text.replace(str(place.folder), "")))
    assert traces[0] == traces[1] and len(traces[0]) > 100


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(plant, id=plant.__name__, marks=() if plant.__name__ in QUICK else pytest.mark.slow)
        for plant in mutations.PLANTS
    ],
)
def test_a_planted_fault_is_found(plant: mutations.Fault, place: Place) -> None:
    assert any(_breaks(seed, plant.__name__, place) for seed in range(1, SEEDS + 1))


def _breaks(seed: int, fault: str, place: Place) -> bool:
    week.expected(seed, place)  # of the sound product
    with mutations.planted(fault):
        try:
            week.run(seed, place)
        except Violation:
            return True
    return False


def _run(seed: int, place: Place) -> None:
    try:
        week.run(seed, place)
    except Violation as violation:
        pytest.fail(f"python -m tests.simulation {seed}: {violation}", pytrace=False)
