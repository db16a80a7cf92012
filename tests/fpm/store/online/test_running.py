"""Minutes of a running session online: whole, in order, dropped with their session, and never waiting without end."""

import json
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import psycopg
import pytest

from fpm.errors import TryLater
from fpm.running_session import cut
from fpm.schema import CLOCKS
from fpm.sessions import market
from fpm.store.ledger.stores import Stores
from fpm.store.online import transaction
from fpm.store.online.running import CHANNEL, newest, publish_running

CN = market("cn")
MONDAY, TUESDAY = date(2024, 12, 2), date(2024, 12, 3)
SYMBOLS = ["600000.SH", "600001.SH"]
SHOWN = "SELECT minute, symbol, score FROM serving.intraday_scores ORDER BY symbol"
EVERY = "SELECT session, minute, score FROM serving.intraday_score_history WHERE symbol = '600000.SH' ORDER BY 1, 2, 3"


def publish(stores: Stores, session: date, text: str, score: float) -> str:
    """Two symbols of one stream, their scores `score` and its half."""
    at = cut(session, text, CN, CN.default_view)
    clocks = dict(zip(CLOCKS, (at.moment, at.moment + timedelta(minutes=1)), strict=True))
    rows = pl.DataFrame({"symbol": SYMBOLS, "stream": "dual", "score": [score, score / 2], "spread": 0.1})
    rows = rows.with_columns(vintage=pl.lit(at.vintage("v1")), model=pl.lit("m1"))
    return publish_running(at, rows.with_columns(pl.lit(each).alias(name) for name, each in clocks.items()), stores)


def test_readers_see_the_last_minute_whole_and_the_history_all(stores: Stores) -> None:
    assert newest(stores) is None
    assert publish(stores, MONDAY, "10:30", 1.0) == "published"
    assert publish(stores, MONDAY, "14:30", 2.0) == "published"
    assert publish(stores, MONDAY, "14:30", 2.0) == "unchanged"
    assert publish(stores, MONDAY, "10:30", 3.0) == "published"  # a correction of an earlier minute
    assert stores.ledger.query(SHOWN) == [("14:30", "600000.SH", 2.0), ("14:30", "600001.SH", 1.0)]
    assert stores.ledger.query(EVERY) == [
        (MONDAY, "10:30", 1.0),
        (MONDAY, "10:30", 3.0),
        (MONDAY, "14:30", 2.0),
    ]
    assert (newest(stores) or {})["minute"] == "14:30"


def test_sessions_before_the_history_are_dropped_with_their_rows(stores: Stores) -> None:
    short = replace(stores, settings=stores.settings.model_copy(update={"online_history": 1}))
    publish(short, MONDAY, "14:30", 1.0)
    publish(short, TUESDAY, "14:30", 2.0)
    assert stores.ledger.query("SELECT DISTINCT session FROM serving.intraday_score_history ORDER BY 1") == [
        (MONDAY,),
        (TUESDAY,),
    ]
    publish(short, date(2024, 12, 4), "14:30", 3.0)
    assert stores.ledger.query("SELECT min(session), count(*) FROM serving.intraday_score_history") == [(TUESDAY, 4)]
    assert stores.ledger.query("SELECT count(*) FROM online.intraday_scores") == [(4,)]


def test_a_minute_that_must_wait_ends_in_words(
    stores: Stores, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "LONGEST_WAIT", "200ms")
    publish(stores, MONDAY, "10:30", 1.0)
    with psycopg.connect(database_url) as another:
        another.execute("LOCK TABLE fpm.intraday_publications IN SHARE ROW EXCLUSIVE MODE")
        with pytest.raises(TryLater, match=r"FPM-PUB-090 .*readers keep what they have"):
            publish(stores, MONDAY, "14:30", 2.0)
    assert (newest(stores) or {})["minute"] == "10:30"
    assert publish(stores, MONDAY, "14:30", 2.0) == "published"


def test_listeners_hear_of_a_minute_with_its_commit(stores: Stores, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}".encode())
        publish(stores, MONDAY, "10:30", 1.0)
        publish(stores, MONDAY, "10:30", 1.0)
        publish(stores, MONDAY, "14:30", 2.0)
        payloads = [json.loads(each.payload) for each in listener.notifies(timeout=5, stop_after=2)]
        assert not list(listener.notifies(timeout=0.2))
    assert [(each["session"], each["minute"]) for each in payloads] == [
        ("2024-12-02", "10:30"),
        ("2024-12-02", "14:30"),
    ]


def test_a_full_queue_of_notifications_refuses_no_minute(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "FULLEST_QUEUE", -1.0)  # any use is too much
    assert publish(stores, MONDAY, "10:30", 1.0) == "published"
