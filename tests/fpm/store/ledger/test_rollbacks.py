"""A former model is in force from a session on, and never before; what was served stands."""

from __future__ import annotations

from datetime import date, timedelta

import psycopg
import pytest

from fpm.errors import UsageError
from fpm.sessions import cut_off
from fpm.store.ledger.rollbacks import Rollback, excluded, roll_back
from fpm.store.ledger.stores import Stores
from tests.fpm.store.small_bars import CN

FIRST, DAY = date(2026, 1, 5), timedelta(1)
SERVED, LATER, MUCH_LATER = date(2026, 3, 2), date(2026, 3, 3), date(2026, 4, 1)


def train(stores: Stores, kind: str, name: str, week: int, vintage: str = "", status: str = "promoted") -> None:
    through = FIRST + 7 * DAY * week
    manifest = {"vintage": vintage} if vintage else {}
    stores.models.save(
        kind, name, {"weights.safetensors": name.encode()}, manifest, cut_off(CN, through), through, status
    )


@pytest.fixture
def trained(stores: Stores) -> Stores:
    """Two vintages with two scorers each, and a third vintage that was refused."""
    for week, (kind, name, vintage) in enumerate(
        [
            ("encoder", "first", ""),
            ("scorer", "first-1", "first"),
            ("scorer", "first-2", "first"),
            ("encoder", "second", ""),
            ("scorer", "second-1", "second"),
            ("scorer", "second-2", "second"),
        ]
    ):
        train(stores, kind, name, week, vintage)
    train(stores, "encoder", "third", 6, status="refused")
    return stores


def in_force(stores: Stores, session: date) -> tuple[str, str]:
    return stores.models.in_force("encoder", session).id, stores.models.in_force("scorer", session).id


def back(stores: Stores, model: str, first: date = LATER, newest: date | None = SERVED) -> list[Rollback]:
    return roll_back(model, first, "drifts", "Ada", newest, stores.models)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first", ("first", "first-2")),
        ("first-2", ("first", "first-2")),
        ("first-1", ("first", "first-1")),
        ("second-1", ("second", "second-1")),
    ],
)
def test_from_its_session_on_and_never_before(model: str, expected: tuple[str, str], trained: Stores) -> None:
    back(trained, model)
    assert in_force(trained, SERVED) == ("second", "second-2")
    assert in_force(trained, LATER) == in_force(trained, MUCH_LATER) == expected


def test_the_list_says_which_models_serve_no_more(trained: Stores) -> None:
    assert excluded(trained.ledger) == {}
    back(trained, "second-1")
    back(trained, "first-2", MUCH_LATER)
    assert excluded(trained.ledger) == dict.fromkeys(("second", "second-1", "second-2"), MUCH_LATER)


def test_the_next_promotion_takes_over(trained: Stores) -> None:
    back(trained, "first")
    train(trained, "encoder", "fourth", 7)
    train(trained, "scorer", "fourth-1", 8, "fourth")
    assert in_force(trained, MUCH_LATER) == ("fourth", "fourth-1")


def test_a_scorer_that_is_trained_later_on_an_excluded_vintage_serves_nothing(trained: Stores) -> None:
    back(trained, "first")
    train(trained, "scorer", "second-3", 8, "second")
    assert in_force(trained, MUCH_LATER) == ("first", "first-2")


def test_the_last_word_counts_and_can_be_taken_back(trained: Stores) -> None:
    back(trained, "first-1")
    back(trained, "second-1", MUCH_LATER)
    assert in_force(trained, LATER) == ("first", "first-1")
    assert in_force(trained, MUCH_LATER) == ("second", "second-1")


@pytest.mark.parametrize("model", ["second", "second-2", "third", "nobody", "'; DROP TABLE fpm.models; --"])
def test_the_newest_a_refused_and_an_unknown_one_are_refused(model: str, trained: Stores) -> None:
    with pytest.raises(UsageError, match="FPM-ML-350"):
        back(trained, model)
    assert trained.ledger.query("SELECT count(*) FROM fpm.rollbacks") == [(0,)]


def test_a_vintage_without_a_scorer_cannot_come_back(stores: Stores) -> None:
    train(stores, "encoder", "first", 0)
    train(stores, "encoder", "second", 1)
    train(stores, "scorer", "second-1", 2, "second")
    with pytest.raises(UsageError, match=r"no promoted scorer for first"):
        back(stores, "first")


@pytest.mark.parametrize("first", [SERVED, FIRST])
def test_a_published_session_keeps_its_models(first: date, trained: Stores) -> None:
    with pytest.raises(UsageError, match="what was served stands"):
        back(trained, "first", first)


def test_the_row_says_who_and_why_and_nobody_changes_it(trained: Stores) -> None:
    back(trained, "first")
    rows = trained.ledger.query('SELECT kind, model, first, excluded, reason, "by" FROM fpm.rollbacks ORDER BY id')
    assert rows == [
        ("encoder", "first", LATER, ["second"], "drifts", "Ada"),
        ("scorer", "first-2", LATER, ["second-1", "second-2"], "drifts", "Ada"),
    ]
    with pytest.raises(psycopg.errors.RaiseException):
        trained.ledger.execute("UPDATE fpm.rollbacks SET reason = 'none'")
