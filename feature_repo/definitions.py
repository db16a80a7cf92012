"""Feast's definitions: entities, views and services, all derived from `fpm.schema`.

One file only: `feast apply` imports each file as a module of its own, and two files that import each other would
declare every view twice. Labels are no view: a future return is joined by key, never served.

A source's path is the name of a lake table; the lake's root is in feature_store.yaml.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Bool, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

from fpm import schema

if TYPE_CHECKING:
    from fpm.table import Table

FEAST_TYPES: dict[str, FeastType] = {
    "float64": Float64,
    "float32": Float32,
    "int16": Int32,
    "int64": Int64,
    "string": String,
    "bool": Bool,
    "date": UnixTimestamp,
    "vector": Array(Float32),
    "floats": Array(Float32),
}


def _entity(name: str, description: str) -> Entity:
    return Entity(name=name, join_keys=[name], value_type=ValueType.STRING, description=description)


symbol = _entity("symbol", "security, code.exchange")
vintage = _entity("vintage", "vintage of the encoder that made a fingerprint")
stream = _entity("stream", "what the scorer saw: " + ", ".join(schema.STREAMS))
index = _entity("index", "index that is enhanced")
ENTITIES = {entity.name: entity for entity in (symbol, vintage, stream, index)}


def _field(name: str, kind: str) -> Field:
    if kind == "vector":
        return Field(name=name, dtype=FEAST_TYPES[kind], vector_length=schema.FINGERPRINT_SIZE)
    return Field(name=name, dtype=FEAST_TYPES[kind])


def _view(table: Table, keys: tuple[str, ...], open_columns: tuple[str, ...] = ()) -> FeatureView:
    """The view of a lake table: its columns, keyed by entities; the keys are fields, too."""
    columns = table.columns | dict.fromkeys(open_columns, "float32")
    return FeatureView(
        name=table.name,
        entities=[ENTITIES[key] for key in keys],
        ttl=timedelta(days=table.ttl_days),
        schema=[_field(name, kind) for name, kind in columns.items()],
        online=table.online,
        source=FileSource(
            name=table.name,
            path=table.name,
            file_format=ParquetFormat(),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
    )


# A session has the 32 columns of its profile; the others are null. The minute is in the event_timestamp.
EVERY_FEATURE = tuple(dict.fromkeys(name for profile in schema.FEATURES.values() for name in profile))
minute_features = _view(schema.MINUTE_FEATURES, ("symbol",), EVERY_FEATURE)
daily_bars = _view(schema.DAILY_BARS, schema.DAILY_BARS.keys)
daily_factors = _view(schema.DAILY_FACTORS_TABLE, schema.DAILY_FACTORS_TABLE.keys)
fingerprints = _view(schema.FINGERPRINTS, schema.FINGERPRINTS.keys)
vectors = _view(schema.VECTORS, schema.VECTORS.keys)
scores = _view(schema.SCORES, schema.SCORES.keys)
intraday_minute_features = _view(schema.INTRADAY_MINUTE_FEATURES, ("symbol",), EVERY_FEATURE)
intraday_fingerprints = _view(schema.INTRADAY_FINGERPRINTS, schema.INTRADAY_FINGERPRINTS.keys)
intraday_scores = _view(schema.INTRADAY_SCORES, schema.INTRADAY_SCORES.keys)
score_intervals = _view(schema.SCORE_INTERVALS, schema.SCORE_INTERVALS.keys)
weights = _view(schema.TABLES["weights"], schema.TABLES["weights"].keys)
orders = _view(schema.TABLES["orders"], schema.TABLES["orders"].keys)
trades = _view(schema.TABLES["trades"], schema.TABLES["trades"].keys)
decisions = _view(schema.TABLES["decisions"], schema.TABLES["decisions"].keys)

TRADITIONAL = [daily_bars[[*schema.SCORER_DAILY, "adj_factor"]], daily_factors]
fingerprint_service = FeatureService(name="fingerprints", features=[fingerprints])
traditional = FeatureService(name="traditional", features=TRADITIONAL)
dual_stream = FeatureService(name="dual_stream", features=[fingerprints, *TRADITIONAL])
vector_service = FeatureService(name="vectors", features=[vectors])
vector_stream = FeatureService(name="vector_stream", features=[vectors, *TRADITIONAL])
score_service = FeatureService(name="scores", features=[scores])
interval_service = FeatureService(name="score_intervals", features=[score_intervals])
weight_service = FeatureService(name="weights", features=[weights])
order_service = FeatureService(name="orders", features=[orders])
trade_service = FeatureService(name="trades", features=[trades])
decision_service = FeatureService(name="decisions", features=[decisions])
