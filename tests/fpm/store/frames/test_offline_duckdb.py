"""Our answers against those of Feast's DuckDB store on the same files (runs where duckdb and ibis are installed)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import polars as pl
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.data_format import ParquetFormat
from feast.types import Float64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.store.lake.files import Lake

pytest.importorskip("duckdb")
pytest.importorskip("ibis")

FIRST = datetime(2024, 1, 1, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
STORED = st.tuples(st.sampled_from("AB"), st.sampled_from("IJ"), st.integers(0, 6), st.sampled_from([0, 13, 30, 100]))
REQUESTED = st.tuples(st.sampled_from("ABC"), st.sampled_from("IJ"), st.integers(-24, 24 * 9))


def answers(folder: Path, path: str, rows: pd.DataFrame, offline: dict[str, Any], days: int) -> list[float | None]:
    """The weights that Feast serves from one kind of offline store."""
    registry = str(folder / f"{offline['type']}.db")
    config = RepoConfig(
        project="test",
        provider="local",
        registry=registry,
        online_store=None,
        offline_store=offline,
        repo_path=folder,
        entity_key_serialization_version=3,
    )
    source = FileSource(
        name="weights",
        path=path,
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    keys = [Entity(name=name, join_keys=[name]) for name in ("symbol", "index")]
    schema = [Field(name="weight", dtype=Float64), *(Field(name=key.join_key, dtype=String) for key in keys)]
    view = FeatureView(name="weights", entities=keys, schema=schema, source=source, ttl=timedelta(days=days))
    store = FeatureStore(config=config)
    store.apply([*keys, view])
    served = store.get_historical_features(rows, ["weights:weight"], filter_by_created_timestamp=True).to_df()
    ordered = served.sort_values("row")
    return [None if pd.isna(weight) else weight for weight in ordered["weight"]]


@settings(max_examples=40, deadline=None)
@given(
    stored=st.lists(STORED, min_size=1, max_size=25, unique=True),
    requested=st.lists(REQUESTED, min_size=1, max_size=15, unique=True),
    days=st.sampled_from([0, 1, 3]),
)
def test_feasts_duckdb_store_gives_the_same(
    stored: list[tuple[str, str, int, int]], requested: list[tuple[str, str, int]], days: int
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        lake = Lake(folder / "lake", folder / "staging")
        rows = pl.DataFrame(
            [
                {
                    "symbol": symbol,
                    "index": index,
                    "weight": float(number),
                    "benchmark_weight": None,
                    "event_timestamp": FIRST + day * 24 * HOUR,
                    "created_timestamp": FIRST + (day * 24 + late) * HOUR,
                }
                for number, (symbol, index, day, late) in enumerate(stored)
            ]
        )
        for day in {day for _, _, day, _ in stored}:
            relative = lake.relative("weights", date(2024, 1, 1) + timedelta(days=day))
            own = rows.filter(pl.col("event_timestamp") == FIRST + day * 24 * HOUR)
            lake.put(lake.staging / lake.stage("weights", own, relative, lake.staging).path, relative)
        entities = pd.DataFrame(
            {
                "row": range(len(requested)),
                "symbol": [symbol for symbol, _, _ in requested],
                "index": [index for _, index, _ in requested],
                "event_timestamp": pd.to_datetime([FIRST + t * HOUR for _, _, t in requested]),
            }
        )
        ours = {"type": "fpm.store.frames.offline_store.FpmOfflineStore", "lake": str(lake.root)}
        expected = answers(folder, str(lake.root / "weights"), entities, {"type": "duckdb"}, days)
        assert answers(folder, "weights", entities, ours, days) == expected
