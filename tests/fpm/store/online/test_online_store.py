"""Feast's online store over typed tables, through the SDK: reads and writes, many threads, lost connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import polars as pl
import psycopg
import pytest
from feast import FeatureStore
from psycopg_pool import ConnectionPool

from fpm.errors import InputRefused, UsageError
from fpm.store.online.online_store import FpmOnlineStore, FpmOnlineStoreConfig, _connection_pool, write_in
from fpm.store.retrieval import features
from fpm.store.settings import Settings

EVENT = datetime(2024, 1, 5, 7, tzinfo=UTC)
KNOWN_AT = datetime(2024, 1, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store(settings: Settings) -> Iterator[FeatureStore]:
    features.apply(settings)
    with features.opened(settings) as store:
        yield store


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def scores(value: float | None, event: datetime = EVENT, known_at: datetime = KNOWN_AT) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": ["A"],
            "stream": ["dual"],
            "score": [value],
            "spread": [0.5],
            "vintage": ["v1"],
            "model": ["m1"],
            "event_timestamp": [event],
            "created_timestamp": [known_at],
        }
    )


def score_of(store: FeatureStore, *symbols: str) -> list[float | None]:
    rows = [{"symbol": symbol, "stream": "dual"} for symbol in symbols]
    answer = store.get_online_features(features=["scores:score"], entity_rows=rows).to_dict()
    return list(answer["score"])


def online_store(store: FeatureStore) -> FpmOnlineStore:
    online = store._get_provider().online_store
    assert isinstance(online, FpmOnlineStore)
    return online


def test_the_sdk_and_sql_read_what_the_sdk_writes(store: FeatureStore, connection: psycopg.Connection[Any]) -> None:
    store.write_to_online_store("scores", scores(0.1))
    assert score_of(store, "X", "A", "A") == [None, 0.1, 0.1]
    stored = connection.execute("SELECT score, model, event_timestamp FROM online.scores").fetchall()
    assert stored == [(0.1, "m1", EVENT)]


def test_the_sdk_reads_what_a_publication_writes(store: FeatureStore, connection: psycopg.Connection[Any]) -> None:
    vector = [n / 3 for n in range(128)]
    clocks = {"event_timestamp": EVENT, "created_timestamp": KNOWN_AT}
    prints = pl.DataFrame({"symbol": "A", "vintage": "v", "fingerprint": [vector], **clocks})
    with connection.transaction():
        write_in(connection, "fingerprints", prints)
        write_in(connection, "scores", pl.from_pandas(scores(None)))
    rows = [{"symbol": "A", "vintage": "v", "stream": "dual"}, {"symbol": "B", "vintage": "v", "stream": "dual"}]
    names = ["fingerprints:fingerprint", "scores:score", "scores:model"]
    answer = store.get_online_features(features=names, entity_rows=rows).to_dict()
    assert answer["fingerprint"] == [pl.Series(vector, dtype=pl.Float32).to_list(), None]
    assert (answer["score"], answer["model"]) == ([None, None], ["m1", None])


def test_an_older_write_never_wins(store: FeatureStore) -> None:
    store.write_to_online_store("scores", scores(7.0))
    for event, known_at in (
        (EVENT - DAY, KNOWN_AT),
        (EVENT, KNOWN_AT - timedelta(hours=1)),
        (EVENT - DAY, KNOWN_AT + 9 * DAY),
    ):
        store.write_to_online_store("scores", scores(6.0, event, known_at))
    assert score_of(store, "A") == [7.0]
    store.write_to_online_store("scores", scores(8.0, EVENT, KNOWN_AT + DAY))
    assert score_of(store, "A") == [8.0]


@pytest.mark.parametrize("wrong", [scores(float("inf")), scores(1.0, datetime(2100, 1, 1, tzinfo=UTC), None)])
def test_a_refused_write_leaves_the_store_working(store: FeatureStore, wrong: pd.DataFrame) -> None:
    for _ in range(25):  # more failures than the pool has connections
        with pytest.raises(InputRefused):
            store.write_to_online_store("scores", wrong)
    store.write_to_online_store("scores", scores(1.0))
    assert score_of(store, "A") == [1.0]


def test_reads_go_on_after_the_server_dropped_every_connection(
    store: FeatureStore, connection: psycopg.Connection[Any]
) -> None:
    store.write_to_online_store("scores", scores(1.0))
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert score_of(store, "A") == [1.0]


def test_connections_are_closed_at_the_end_of_the_block(
    settings: Settings, store: FeatureStore, connection: psycopg.Connection[Any]
) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    (before,) = connection.execute(count).fetchone() or (0,)
    rows = pl.DataFrame({"symbol": ["A"], "stream": ["dual"]})
    for _ in range(5):
        features.online(settings, "scores", rows)
    deadline, after = time.monotonic() + 10, before + 1
    while after > before and time.monotonic() < deadline:  # a server's process ends a moment after its connection
        connection.execute("SELECT pg_stat_clear_snapshot()")
        (after,) = connection.execute(count).fetchone() or (0,)
    assert after <= before


def test_readers_have_the_readers_rights_on_a_users_own_server(store: FeatureStore, settings: Settings) -> None:
    """There the role is an option of the connection, beside our own options."""
    reading = features.serving_store(settings)
    with online_store(reading)._connection(reading.config) as connection:
        assert connection.execute("SELECT current_user, current_setting('timezone')").fetchone() == (
            "fpm_reader",
            "UTC",
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM online.scores")
    online_store(reading).disconnect()


def test_asynchronous_reads_give_the_same(store: FeatureStore) -> None:
    store.write_to_online_store("scores", scores(1.0))
    rows = [{"symbol": "A", "stream": "dual"}]
    answer = asyncio.run(store.get_online_features_async(features=["scores:score"], entity_rows=rows))
    assert answer.to_dict()["score"] == [1.0]


def test_many_threads_share_one_pool(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool takes a while to build, and every thread wants a connection at once."""
    pools: list[ConnectionPool] = []

    def slow_pool(config: FpmOnlineStoreConfig) -> ConnectionPool:
        time.sleep(0.05)
        pools.append(_connection_pool(config))
        return pools[-1]

    def backend(_: int) -> int:
        barrier.wait(timeout=30)
        with online._connection(store.config) as connection:
            return connection.info.backend_pid

    online, barrier = online_store(store), threading.Barrier(16)
    online.disconnect()
    monkeypatch.setattr("fpm.store.online.online_store._connection_pool", slow_pool)
    with ThreadPoolExecutor(16) as threads:
        backends = set(threads.map(backend, range(16)))
    assert pools == [online._pool] and 1 <= len(backends) <= store.config.online_store.connections


def test_feasts_vector_search_is_closed(store: FeatureStore) -> None:
    with pytest.raises(UsageError, match="FPM-ONL-007"):
        online_store(store).retrieve_online_documents_v2()


def test_a_view_no_longer_declared_loses_its_table(
    settings: Settings, store: FeatureStore, connection: psycopg.Connection[Any]
) -> None:
    from feast import FeatureView, Field, FileSource
    from feast.types import Float32

    source = FileSource(name="gone", path="daily_factors", timestamp_field="event_timestamp")
    entity, fields = store.get_entity("symbol"), [Field(name="x", dtype=Float32)]
    store.apply([FeatureView(name="gone", entities=[entity], schema=fields, source=source)])
    table = "SELECT to_regclass('online.gone')::text"
    assert connection.execute(table).fetchone() == ("online.gone",)
    assert "gone" not in features.apply(settings)
    assert connection.execute(table).fetchone() == (None,)
