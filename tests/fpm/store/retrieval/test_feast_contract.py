"""Feast's conventions on our stores: a small selection of what its own universal tests rest on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, proto_json
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bytes, Float32, Float64, Map, String, UnixTimestamp

from fpm.errors import UsageError
from fpm.store.frames.offline_store import LakeJob
from fpm.store.lake.files import Lake
from fpm.store.retrieval import features
from fpm.store.settings import Settings

FIRST = datetime(2024, 1, 2, 7, tzinfo=UTC)
DAY = timedelta(days=1)
symbol = Entity(name="symbol", join_keys=["symbol"])


def source(**options: Any) -> FileSource:
    return FileSource(name="weights", path="weights", timestamp_field="event_timestamp", **options)


def view(name: str, *fields: Field, keys: list[Entity] | None = None, **source_options: Any) -> FeatureView:
    view_keys = [symbol] if keys is None else keys
    declared = [Field(name=entity.join_key, dtype=String) for entity in view_keys]
    return FeatureView(
        name=name, entities=view_keys, schema=[*declared, *fields], source=source(**source_options), ttl=5 * DAY
    )


WEIGHT = Field(name="weight", dtype=Float64)
symbol_weights = view("symbol_weights", WEIGHT)
renamed = view("renamed", Field(name="share", dtype=Float64), field_mapping={"weight": "share"})
market_weights = view("market_weights", Field(name="benchmark_weight", dtype=Float64), keys=[])


def opened(folder: Path, **offline: str) -> FeatureStore:
    store = FeatureStore(
        config=RepoConfig(
            project="test",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store=None,
            offline_store={
                "type": "fpm.store.frames.offline_store.FpmOfflineStore",
                "lake": str(folder / "lake"),
                **offline,
            },
            repo_path=folder,
        )
    )
    store.apply([symbol, symbol_weights, renamed, market_weights])
    return store


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """One row of A, known at its event and corrected three days later."""
    lake = Lake(tmp_path / "lake", tmp_path / "staging")
    rows = [
        {
            "symbol": "A",
            "index": "I",
            "weight": weight,
            "benchmark_weight": 0.5,
            "event_timestamp": FIRST,
            "created_timestamp": known_at,
        }
        for weight, known_at in ((1.0, FIRST), (9.0, FIRST + 3 * DAY))
    ]
    relative = lake.relative("weights", date(2024, 1, 2))
    lake.put(lake.staging / lake.stage("weights", pl.DataFrame(rows), relative, lake.staging).path, relative)
    return opened(tmp_path)


def entities(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"symbol": ["A", "X"], "event_timestamp": [FIRST + DAY] * 2} | columns)


def test_the_convention_of_feasts_stores_is_an_option(store: FeatureStore, tmp_path: Path) -> None:
    ours = store.get_historical_features(entity_df=entities(), features=["symbol_weights:weight"]).to_df()
    feasts = opened(tmp_path, known_at="latest").get_historical_features(entities(), ["symbol_weights:weight"]).to_df()
    assert ours["weight"].fillna(0).tolist() == [1.0, 0]
    assert feasts["weight"].fillna(0).tolist() == [9.0, 0]
    assert list(feasts.columns) == ["symbol", "event_timestamp", "weight"]


def test_a_view_without_entities_answers_every_row(store: FeatureStore) -> None:
    served = store.get_historical_features(
        entities(), ["market_weights:benchmark_weight", "symbol_weights:weight"]
    ).to_df()
    assert served["benchmark_weight"].tolist() == [0.5, 0.5]
    assert served["weight"].fillna(0).tolist() == [1.0, 0]


def test_a_source_may_map_its_columns(store: FeatureStore) -> None:
    assert store.get_historical_features(entities(), ["renamed:share"]).to_df()["share"][0] == 1.0


def test_the_only_moment_may_have_another_name(store: FeatureStore) -> None:
    rows = entities().rename(columns={"event_timestamp": "ts"})
    served = store.get_historical_features(rows, ["symbol_weights:weight"]).to_df()
    assert list(served.columns) == ["symbol", "ts", "weight"] and served["weight"][0] == 1.0
    two = rows.assign(other=rows["ts"])
    with pytest.raises(UsageError, match=r"FPM-PIT-002.*event_timestamp"):
        store.get_historical_features(two, ["symbol_weights:weight"])


def test_an_unknown_feature_is_never_a_null(store: FeatureStore) -> None:
    with pytest.raises(KeyError, match="height"):
        store.get_historical_features(entities(), ["symbol_weights:height"])


def test_on_demand_views_are_computed_on_whole_frames(store: FeatureStore) -> None:
    @on_demand_feature_view(sources=[symbol_weights], schema=[Field(name="twice", dtype=Float64)], mode="pandas")
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"twice": inputs["weight"] * 2})

    store.apply([doubled])
    job: Any = store.get_historical_features(entities(), ["symbol_weights:weight", "doubled:twice"])
    assert job.to_df()["twice"][0] == 2.0
    assert isinstance(job, LakeJob)
    with pytest.raises(UsageError, match="FPM-PIT-013"):
        job.to_arrow_reader()


def test_a_saved_frame_is_read_again(store: FeatureStore, tmp_path: Path) -> None:
    job = store.get_historical_features(entities(), ["symbol_weights:weight"])
    storage = SavedDatasetFileStorage(str(tmp_path / "saved.parquet"))
    store.create_saved_dataset(from_=job, name="saved", storage=storage)
    again = store.get_saved_dataset("saved").to_df()
    assert again["weight"].fillna(0).tolist() == [1.0, 0]


def test_tables_have_plain_arrow_types(store: FeatureStore) -> None:
    table = store.get_historical_features(entities(), ["symbol_weights:weight"]).to_arrow()
    assert str(table.schema.field("symbol").type) == "string"


def test_feast_writes_nothing_into_the_lake(store: FeatureStore) -> None:
    rows = entities(weight=[1.0, 2.0], benchmark_weight=0.5, index="I", created_timestamp=FIRST + DAY)
    with pytest.raises(UsageError, match="FPM-PIT-014"):
        store.write_to_offline_store("symbol_weights", rows)


# --- online ------------------------------------------------------------------------------------------------------
@pytest.fixture
def online(settings: Settings) -> Iterator[FeatureStore]:
    features.apply(settings)
    with features.opened(settings) as store:
        yield store


def test_values_without_a_column_type_are_stored_exactly(online: FeatureStore) -> None:
    proto_json.patch()  # as Feast's feature server does to its whole process: protobuf's JSON is then Feast's
    kinds = {"texts": Array(String), "floats": Array(Float32), "map": Map, "raw": Bytes, "moment": UnixTimestamp}
    online.apply([view("kinds", *(Field(name=name, dtype=kind) for name, kind in kinds.items()))])
    values = {"texts": ["a", "b"], "floats": [0.1, 2.5], "map": {"a": "1"}, "raw": b"\x00\xff", "moment": FIRST}
    row = {name: [value] for name, value in values.items()}
    online.write_to_online_store("kinds", pd.DataFrame({"symbol": ["A"], "event_timestamp": [FIRST]} | row))
    answer = online.get_online_features(
        [f"kinds:{name}" for name in kinds], [{"symbol": "A"}, {"symbol": "X"}]
    ).to_dict()
    stored = {name: answer[name][0] for name in kinds}
    assert stored | {"floats": pl.Series(stored["floats"], dtype=pl.Float32).to_list()} == values | {
        "floats": pl.Series([0.1, 2.5], dtype=pl.Float32).to_list()
    }
    assert [answer[name][1] for name in kinds] == [None] * len(kinds)


def test_a_view_without_entities_is_served_online(online: FeatureStore) -> None:
    online.apply([market_weights])
    online.write_to_online_store(
        "market_weights", pd.DataFrame({"benchmark_weight": [0.5], "event_timestamp": [FIRST]})
    )
    rows = [{"symbol": "A"}, {"symbol": "B"}]
    assert online.get_online_features(["market_weights:benchmark_weight"], rows).to_dict()["benchmark_weight"] == [
        0.5,
        0.5,
    ]
