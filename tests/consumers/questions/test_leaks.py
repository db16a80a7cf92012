"""The leak suite compares sessions by company: a rename is no end of a symbol, a reused ticker no survivor."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from consumers.questions.leaks import Home, Width
from fpm.store.ledger.stores import Stores
from tests.consumers.small_lake import SmallLake, put

MONDAY, FRIDAY, LAST = date(2024, 12, 9), date(2024, 12, 13), date(2024, 12, 20)
NEW = "600099.SH"


@pytest.fixture
def home(stores: Stores) -> Home:
    """The last stock is renamed on the second Monday, and the index lists it under its new name a week too early."""
    lake = SmallLake()
    sessions, old = lake.fill(stores, last=LAST), lake.names[-1]
    for session in (each for each in sessions if each >= MONDAY):
        rows = lake.daily_bars(session).with_columns(pl.col("symbol").replace(old, NEW))
        put("bars", session, {"daily_bars": rows}, stores)
        factors = lake.daily_factors(session).with_columns(pl.col("symbol").replace(old, NEW))
        put("daily_factors", session, {"daily_factors": factors}, stores)
    spans = [(old, date(2010, 1, 4), date(2024, 12, 6), "x"), (NEW, MONDAY, None, "x")]
    table = pl.DataFrame(spans, schema=["symbol", "first", "last", "identity"], orient="row")
    put("symbols", sessions[0], {"symbols": table}, stores)
    return Home(stores, tuple(sessions), Width())


def test_closes_and_factors_follow_the_company(home: Home) -> None:
    closes = home._closes.filter(pl.col("symbol") == NEW).sort("session")
    assert closes["session"].to_list() == list(home.scored)
    expected = [SmallLake().daily_bars(session)["close"][-1] for session in home.scored]
    assert closes["close"].to_list() == expected
    for _, column in home._columns():
        assert column.filter(pl.col("symbol") == NEW).height == len(home.scored)
        break


def test_whoever_was_renamed_has_survived(home: Home) -> None:
    assert list(home.survivors()) == [None, None]
    gone = home.stores.read("daily_factors", FRIDAY).filter(pl.col("symbol") != NEW).drop("session")
    put("daily_factors", FRIDAY, {"daily_factors": gone}, home.stores)
    finding, _ = home.survivors()
    assert finding is not None and (finding.session, NEW in finding.explanation) == (FRIDAY, True)
