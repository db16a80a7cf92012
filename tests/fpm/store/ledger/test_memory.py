"""A remembered ledger says what was true when it was first asked."""

from datetime import date

import polars as pl

from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.memory import remembered
from fpm.store.ledger.stores import Stores

SESSIONS = [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7)]


def test_a_question_is_asked_once(stores: Stores) -> None:
    reading = remembered(stores)
    assert "profile" not in reading.ledger.deployment()
    stores.ledger.decide("profile", "ohlcv")
    assert "profile" not in reading.ledger.deployment()
    assert stores.ledger.deployment()["profile"] == "ohlcv"
    assert remembered(stores).ledger.deployment()["profile"] == "ohlcv"
    assert reading.models.ledger is reading.ledger
    assert reading.ledger.latest_of_each("labels", [str(date(2026, 1, 5))]) == {}


def test_sessions_are_asked_for_together_and_answered_as_the_ledger_does(stores: Stores) -> None:
    for session in SESSIONS[:2]:
        publish_frames("labels", session, {"labels": pl.DataFrame({"symbol": ["A"], "label": [0.5]})}, stores)
    stores.ledger.wait("labels", str(SESSIONS[1]), "a reason")
    reading, ledger = remembered(stores, SESSIONS).ledger, stores.ledger
    assert [reading.latest("labels", str(day)) for day in SESSIONS] == [
        ledger.latest("labels", str(day)) for day in SESSIONS
    ]
    assert reading.latest("labels", str(SESSIONS[1])).status == "waiting"
    assert reading.latest("labels", str(SESSIONS[1]), "published").status == "published"
    for first, last in ((SESSIONS[1], SESSIONS[1]), (SESSIONS[0], SESSIONS[1]), (SESSIONS[0], SESSIONS[0])):
        tables = ["labels", "scores"]
        assert reading.current(tables, first, last) == ledger.current(tables, first, last)
    assert reading.first_sessions(["labels"]) == ledger.first_sessions(["labels"])
    publish_frames("labels", SESSIONS[2], {"labels": pl.DataFrame({"symbol": ["A"], "label": [0.5]})}, stores)
    assert reading.latest("labels", str(SESSIONS[2])) is None
    assert reading.current(["labels"], SESSIONS[2], SESSIONS[2]) == {}
    assert reading.beside(SESSIONS[1]) == SESSIONS and ledger.beside(SESSIONS[1]) == [SESSIONS[1]]
