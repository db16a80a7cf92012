"""Our answers equal those of Feast's own Postgres store, which builds them value by value, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.infra.online_stores.postgres_online_store.postgres import PostgreSQLOnlineStore
from feast.on_demand_feature_view import on_demand_feature_view
from feast.online_response import OnlineResponse
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, Map, String, UnixTimestamp
from psycopg.conninfo import conninfo_to_dict

from fpm.store.online.online_store import FpmOnlineStore

FIRST = datetime(2024, 1, 2, 7, tzinfo=UTC)
symbol = Entity(name="symbol", join_keys=["symbol"])
number = Entity(name="number", join_keys=["number"])
source = FileSource(name="weights", path="weights", timestamp_field="event_timestamp")
KINDS = {
    "real": Float32,
    "double": Float64,
    "text": String,
    "small": Int32,
    "large": Int64,
    "yes": Bool,
    "moment": UnixTimestamp,
    "list": Array(Float64),
    "map": Map,
}
VECTOR = Field(name="vector", dtype=Array(Float32), vector_length=3)
by_symbol = FeatureView(
    name="by_symbol",
    entities=[symbol],
    source=source,
    ttl=timedelta(seconds=1),
    schema=[Field(name=name, dtype=kind) for name, kind in ({"symbol": String} | KINDS).items()] + [VECTOR],
)
by_number = FeatureView(
    name="by_number",
    entities=[symbol, number],
    source=source,
    ttl=timedelta(0),
    schema=[Field(name="symbol", dtype=String), Field(name="number", dtype=Int64), Field(name="x", dtype=Float32)],
)
by_market = FeatureView(
    name="by_market", entities=[], source=source, ttl=timedelta(0), schema=[Field(name="index", dtype=Float64)]
)


@on_demand_feature_view(sources=[by_symbol[["double"]]], schema=[Field(name="twice", dtype=Float64)])
def doubled(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"twice": rows["double"] * 2})


service = FeatureService(name="service", features=[by_symbol[["real", "vector"]].with_name("named"), by_number])
ROWS = pd.DataFrame(
    {
        "symbol": ["A", "B", "C"],
        "real": np.array([0.1, 0.0, np.nan], np.float32).astype(object),
        "double": [1e-300, -0.0, None],
        "text": ["", "zwei", None],
        "small": [1, -1, None],
        "large": [2**40, -(2**40), None],
        "yes": [True, False, None],
        "moment": [FIRST, FIRST + timedelta(days=1), FIRST],  # no null: Feast writes one as a year long ago
        "list": [[0.5], [1.5, 2.5], None],
        "map": [{"a": "1"}, {"b": "2"}, None],
        "vector": [[1.0, 2.0, 3.0], [0.1, 0.0, -1.0], None],
        "event_timestamp": [FIRST + timedelta(microseconds=1), FIRST, FIRST - timedelta(days=400)],
    }
)
ROWS["real"] = ROWS["real"].where(ROWS["symbol"] != "C", None)
NUMBERS = pd.DataFrame({"symbol": ["A", "A"], "number": [1, 2], "x": [0.25, None], "event_timestamp": [FIRST] * 2})
MARKET = pd.DataFrame({"index": [7.0], "event_timestamp": [FIRST]})


def opened(folder: Path, online: Any) -> FeatureStore:
    folder.mkdir()
    store = FeatureStore(
        config=RepoConfig(
            project="test",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store=online,
            offline_store={"type": "fpm.store.frames.offline_store.FpmOfflineStore", "lake": str(folder / "lake")},
            repo_path=folder,
            entity_key_serialization_version=3,
        )
    )
    store.apply([symbol, number, by_symbol, by_number, by_market, doubled, service])
    for view, rows in (("by_symbol", ROWS), ("by_number", NUMBERS), ("by_market", MARKET)):
        store.write_to_online_store(view, rows)
    return store


def feasts(url: str) -> dict[str, Any]:
    parts = conninfo_to_dict(url)
    return {
        "type": "postgres",
        "host": parts["host"],
        "port": int(parts["port"]),
        "database": parts["dbname"],
        "db_schema": "theirs",
        "user": parts["user"],
        "password": parts["password"],
        "sslmode": "disable",
    }


@pytest.fixture
def both(tmp_path: Path, database_url: str) -> Iterator[tuple[FeatureStore, FeatureStore]]:
    ours = opened(tmp_path / "ours", {"type": "fpm.store.online.online_store.FpmOnlineStore", "dsn": database_url})
    theirs = opened(tmp_path / "theirs", feasts(database_url))
    yield ours, theirs
    our_store, their_store = (store._get_provider().online_store for store in (ours, theirs))
    assert isinstance(our_store, FpmOnlineStore) and isinstance(their_store, PostgreSQLOnlineStore)
    our_store.disconnect()
    assert their_store._conn is not None
    their_store._conn.close()


EVERY = [f"by_symbol:{name}" for name in (*KINDS, "vector")]
SYMBOLS = [{"symbol": name} for name in ("C", "A", "X", "A", "B")]
PAIRS = [{"symbol": name, "number": which} for name, which in (("A", 2), ("A", 1), ("X", 1), ("A", 2), ("B", 1))]


def columns(answer: OnlineResponse) -> dict[str, Any]:
    """Values, statuses and moments by name: Feast puts the names of a view into a set, so their order varies."""
    names = answer.proto.metadata.feature_names.val
    assert len(set(names)) == len(names) == len(answer.proto.results)
    return dict(zip(names, answer.proto.results, strict=True))


@pytest.mark.parametrize(
    ("features", "rows"),
    [
        (EVERY, SYMBOLS),
        (["by_symbol:vector", "by_symbol:real"], [{"symbol": "A"}]),
        (["by_number:x", "by_symbol:text"], PAIRS),
        (["by_symbol:text"], {"symbol": ["B", "A"]}),
        (["doubled:twice", "by_symbol:small"], SYMBOLS),
        (service, PAIRS),
    ],
)
@pytest.mark.parametrize("options", [{}, {"full_feature_names": True}, {"include_feature_view_version_metadata": True}])
def test_the_answers_are_feasts(
    both: tuple[FeatureStore, FeatureStore], features: Any, rows: Any, options: dict[str, bool]
) -> None:
    ours, theirs = (store.get_online_features(features, rows, **options) for store in both)
    assert columns(ours) == columns(theirs) and ours.proto.metadata.feature_view_metadata == (
        theirs.proto.metadata.feature_view_metadata
    )
    actual, expected = (answer.to_dict(include_event_timestamps=True) for answer in (ours, theirs))
    assert {name: repr(actual[name]) for name in expected} == {name: repr(values) for name, values in expected.items()}


def test_a_view_without_entities_beside_another(both: tuple[FeatureStore, FeatureStore]) -> None:
    """Ours alone: Feast's store does not find the row that `write_to_online_store` wrote for such a view."""
    answer = both[0].get_online_features(["by_market:index", "by_symbol:small"], SYMBOLS[:3]).to_dict()
    assert answer == {"symbol": ["C", "A", "X"], "index": [7.0] * 3, "small": [None, 1, None]}


def test_more_columns_than_a_statement_may_have(
    both: tuple[FeatureStore, FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpm.store.online.online_store.MOST_COLUMNS", 3)
    features = ["by_number:x", "by_symbol:text", "by_symbol:vector"]
    ours, theirs = (store.get_online_features(features, PAIRS) for store in both)
    assert columns(ours) == columns(theirs)


def test_a_request_follows_the_registry(both: tuple[FeatureStore, FeatureStore], database_url: str) -> None:
    """A view whose type changed is read by its new type, although its name and features are the same."""
    ours = both[0]
    assert ours.get_online_features(["by_number:x"], PAIRS[:1]).to_dict()["x"] == [None]
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE online.by_number ALTER x TYPE text USING 'x'")
    changed = [*by_number.entity_columns, Field(name="x", dtype=String)]
    ours.apply([FeatureView(name="by_number", entities=[symbol, number], source=source, schema=changed)])
    assert ours.get_online_features(["by_number:x"], PAIRS[:1]).to_dict()["x"] == ["x"]
