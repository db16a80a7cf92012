"""Weeks of nights in a simulated world: none breaks an invariant, every planted fault is found, a seed is one week."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fpm.store.postgres import server as postgres
from tests.simulation import mutations, week
from tests.simulation.place import opened
from tests.simulation.turns import Violation
from tests.simulation.week import Place

WEEKS = 10_000  # `make stress`; `python -m tests.simulation.sweep 1 10000 FILE` goes on where it was stopped
SHORT = 100  # of `make test`, in parts
PART = 10
# seeds that broke an invariant once: an exception that is no refusal ended the look; the lake's folder was lost
ONCE = (9, 10, 14)
# the first seed that finds each planted fault, by a search from 1
FOUND_BY = {
    "no_fsync": 2,
    "in_place_write": 3,
    "ledger_before_rename": 1,
    "try_lock": 1,
    "unguarded_upsert": 2,
    "delete_then_insert": 1,
    "no_folder_fsync": 2,
    "marker_before_rows": 1,
    "newest_publication_is_due": 2,
}


@pytest.fixture(scope="module")
def place(postgres_server: postgres.Server) -> Iterator[Place]:
    with opened(postgres_server) as opened_place:
        yield opened_place


@pytest.mark.parametrize("first", range(1, SHORT + 1, PART))
def test_no_week_breaks_an_invariant(first: int, place: Place) -> None:
    for seed in range(first, first + PART):
        _run(seed, place)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(SHORT + 1, WEEKS + 1, 100))
def test_no_week_of_many_breaks_an_invariant(first: int, place: Place) -> None:
    for seed in range(first, min(first + 100, WEEKS + 1)):
        _run(seed, place)


@pytest.mark.parametrize("seed", ONCE)
def test_what_broke_once_holds(seed: int, place: Place) -> None:
    _run(seed, place)


def test_a_seed_is_one_week(place: Place) -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        week.run(3, place, lambda text, trace=trace: trace.append(text.replace(str(place.folder), "")))
    assert traces[0] == traces[1] and len(traces[0]) > 100


@pytest.mark.parametrize("fault", FOUND_BY)
def test_a_planted_fault_is_found(fault: str, place: Place) -> None:
    seed = FOUND_BY[fault]
    place.expected.setdefault(seed % week.SCENARIOS, week.Week(seed, place).run(calm=True))
    with mutations.planted(fault), pytest.raises(Violation):
        week.run(seed, place)


def test_every_planted_fault_has_its_seed() -> None:
    assert [plant.__name__ for plant in mutations.PLANTS] == list(FOUND_BY)


def _run(seed: int, place: Place) -> None:
    try:
        week.run(seed, place)
    except Violation as violation:
        pytest.fail(f"python -m tests.simulation {seed}: {violation}", pytrace=False)
