"""One process's online store survives restarts of Postgres and a thousand failing reads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from feast import FeatureStore

from fpm.store.online.online_store import FpmOnlineStore
from fpm.store.postgres.migrate import migrate
from fpm.store.postgres.server import ensure_server, stop_server
from fpm.store.retrieval import features
from fpm.store.settings import Settings

EVENT, KNOWN_AT = datetime(2024, 1, 5, 7, tzinfo=UTC), datetime(2024, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Settings]:
    """A deployment with a server of its own, which may be stopped."""
    settings = Settings(home=tmp_path / "home", fsync=False)
    ensure_server(settings)
    migrate(settings)
    features.apply(settings)
    yield settings
    stop_server(settings)


def write(store: FeatureStore, value: float) -> None:
    store.write_to_online_store(
        "scores",
        pd.DataFrame(
            {
                "symbol": ["A"],
                "stream": ["dual"],
                "score": [value],
                "spread": [0.5],
                "vintage": ["v1"],
                "model": ["m1"],
                "event_timestamp": [EVENT],
                "created_timestamp": [KNOWN_AT],
            }
        ),
    )


def read(store: FeatureStore) -> list[Any]:
    answer = store.get_online_features(["scores:score"], [{"symbol": "A", "stream": "dual"}])
    return list(answer.to_dict()["score"])


def test_reads_and_writes_go_on_after_a_restart(own: Settings) -> None:
    with features.opened(own) as store:
        write(store, 1.0)
        assert read(store) == [1.0]
        assert stop_server(own)
        ensure_server(own)
        assert read(store) == [1.0]
        stop_server(own)
        ensure_server(own)
        write(store, 2.0)
        assert read(store) == [2.0]


def test_a_thousand_failing_reads_leave_the_pool_full(own: Settings) -> None:
    with features.opened(own) as store, psycopg.connect(ensure_server(own).dsn, autocommit=True) as owner:
        write(store, 1.0)
        owner.execute("ALTER TABLE online.scores RENAME COLUMN score TO gone")
        for _ in range(1000):
            with pytest.raises(psycopg.errors.UndefinedColumn):
                read(store)
        owner.execute("ALTER TABLE online.scores RENAME COLUMN gone TO score")
        assert read(store) == [1.0]
        online = store._get_provider().online_store
        assert isinstance(online, FpmOnlineStore) and online._pool is not None
        stats = online._pool.get_stats()
        assert stats["pool_available"] == stats["pool_size"] >= 1 and stats.get("requests_waiting", 0) == 0
