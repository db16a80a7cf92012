"""A remembered ledger says what was true when it was first asked."""

from datetime import date

from fpm.store.ledger.memory import remembered
from fpm.store.ledger.stores import Stores


def test_a_question_is_asked_once(stores: Stores) -> None:
    reading = remembered(stores)
    assert "profile" not in reading.ledger.deployment()
    stores.ledger.decide("profile", "ohlcv")
    assert "profile" not in reading.ledger.deployment()
    assert stores.ledger.deployment()["profile"] == "ohlcv"
    assert remembered(stores).ledger.deployment()["profile"] == "ohlcv"
    assert reading.models.ledger is reading.ledger
    assert reading.ledger.latest_of_each("labels", [str(date(2026, 1, 5))]) == {}
