"""Feast's online answer, written column by column as protobuf's own bytes.

A Python object per value costs more than the query (158 columns x 100 keys: half of the whole request). Serialised
messages of one type may be laid end to end; protobuf then merges them
(https://protobuf.dev/programming-guides/encoding/#last-one-wins). So the bytes of a column are those of its values,
then of its statuses and moments, and Feast's message parses them in C. No field number is written here: protobuf
itself makes every head.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from feast.feature_view import DUMMY_ENTITY_FIELD
from feast.metrics import track_feature_statuses
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from google.protobuf import text_format
from google.protobuf.timestamp_pb2 import Timestamp

from fpm.store.online.tables import OnlineTable, Selection
from fpm.store.postgres.binary_copy import floats_of

if TYPE_CHECKING:
    from datetime import date

    from feast import FeatureView, Field

FeatureVector = GetOnlineFeaturesResponse.FeatureVector
Encoder = Callable[[Sequence[Any]], bytes]
POSTGRES_TYPES = {
    ValueType.STRING: "text",
    ValueType.FLOAT: "real",
    ValueType.DOUBLE: "double precision",
    ValueType.INT32: "integer",
    ValueType.INT64: "bigint",
    ValueType.BOOL: "boolean",
    ValueType.UNIX_TIMESTAMP: "timestamptz",
}
PROTO_FIELDS = {
    ValueType.STRING: "string_val",
    ValueType.FLOAT: "float_val",
    ValueType.DOUBLE: "double_val",
    ValueType.INT32: "int32_val",
    ValueType.INT64: "int64_val",
    ValueType.BOOL: "bool_val",
}


@dataclass(frozen=True)
class Plan:
    """How a request reads the features `names` of one view.

    `fields`: those that the view has; `encoders`: from cells to the bytes of a column, by field; `kinds`: Feast's
    types, under both names that a field may have.
    """

    view: FeatureView
    names: tuple[str, ...]
    key_types: tuple[tuple[str, str], ...]
    fields: tuple[Field, ...]
    encoders: dict[str, Encoder]
    kinds: dict[str, ValueType]

    @property
    def keys(self) -> list[str]:
        """The names of the join keys."""
        return [name for name, _ in self.key_types]

    def selection(self, schema: str) -> Selection:
        """The columns, in the schema that is read."""
        return Selection(schema, self.view.name, self.key_types, tuple(self.encoders))


def plan(view: FeatureView, names: tuple[str, ...]) -> Plan:
    """How to read these features of a view; a name that the view does not have is in no field."""
    by_name = {field.name: field for field in view.features}
    fields = tuple(by_name[name] for name in names if name in by_name)
    kinds = {field.name: field.dtype.to_value_type() for field in fields}
    full = {f"{name_of(view)}__{name}": kind for name, kind in kinds.items()}
    keys = tuple((key.name, postgres_type(key)) for key in keys_of(view))
    return Plan(view, names, keys, fields, {field.name: encoder(field) for field in fields}, kinds | full)


def extend(
    answer: GetOnlineFeaturesResponse, plans: Sequence[Plan], rows: Sequence[tuple[Any, ...]], full_names: bool
) -> None:
    """Add every view's columns to Feast's answer; `rows` come from `tables.read`, one per row of the request.

    A name that the view does not have has the status NOT_FOUND everywhere, as in Feast's own stores.
    """
    width = sum(len(plan.fields) + 1 for plan in plans)
    columns: Iterator[tuple[Any, ...]] = iter(zip(*rows, strict=True) if rows else [()] * width)
    for plan in plans:
        events = next(columns)
        end = clocks(events)
        contents = {name: encode(next(columns)) + end for name, encode in plan.encoders.items()}
        for name in plan.names:
            answer.results.add().MergeFromString(contents.get(name) or NULL * len(rows) + clocks([None] * len(rows)))
        view = name_of(plan.view)
        answer.metadata.feature_names.val.extend(f"{view}__{name}" if full_names else name for name in plan.names)
        present = len(contents) * sum(event is not None for event in events)
        track_feature_statuses(plan.view.name, present, len(plan.names) * len(rows) - present)


def _wire(value: Value) -> bytes:
    """A value as an element of a FeatureVector."""
    content: bytes = FeatureVector(values=[value]).SerializeToString()
    return content


NULL = _wire(Value())
HEADS = {
    ValueType.FLOAT: (_wire(Value(float_val=0))[:-4], struct.Struct("<f").pack),
    ValueType.DOUBLE: (_wire(Value(double_val=0))[:-8], struct.Struct("<d").pack),
}


def clocks(events: Sequence[datetime | None]) -> bytes:
    """The end of every column of a view: status and moment of every row; NOT_FOUND where there is no event."""
    moments = []
    for event in events:
        moments.append(Timestamp())
        if event is not None:
            moments[-1].FromDatetime(event)
    statuses = [FieldStatus.NOT_FOUND if event is None else FieldStatus.PRESENT for event in events]
    content: bytes = FeatureVector(statuses=statuses, event_timestamps=moments).SerializeToString()
    return content


def encoder(field: Field) -> Encoder:
    """The function from a field's cells, as `tables.read` returns them, to the first bytes of its column."""
    kind = field.dtype.to_value_type()
    if kind in HEADS:
        return partial(_numbers, *HEADS[kind])
    return _vectors if is_vector(field) else partial(_values, field)


def _numbers(head: bytes, pack: Callable[[Any], bytes], column: Sequence[Any]) -> bytes:
    return b"".join([NULL if cell is None else head + pack(cell) for cell in column])


def _vectors(column: Sequence[bytes | None]) -> bytes:
    return b"".join([NULL if cell is None else _vector(cell) for cell in column])


def _values(field: Field, column: Sequence[Any]) -> bytes:
    content: bytes = FeatureVector(values=protos(field, column)).SerializeToString()
    return content


def protos(field: Field, column: Sequence[Any]) -> list[Value]:
    """Cells from `tables.read` as Feast's messages; None becomes the null message."""
    kind = field.dtype.to_value_type()
    if name := PROTO_FIELDS.get(kind):
        return [Value() if cell is None else Value(**{name: cell}) for cell in column]
    if is_vector(field):
        return [Value() if cell is None else Value(float_list_val=FloatList(val=floats_of(cell))) for cell in column]
    if is_text(field):
        return [Value() if cell is None else text_format.Parse(cell, Value()) for cell in column]
    moments = [cell if cell is None or isinstance(cell, datetime) else _midnight(cell) for cell in column]
    values: list[Value] = python_values_to_proto_values(moments, kind)
    return values


def _midnight(day: date) -> datetime:
    """A date of a serving view as the moment that Feast has for it."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def name_of(view: FeatureView) -> str:
    """The view's name in the request, which may rename it."""
    name: str = view.projection.name_to_use()  # type: ignore[no-untyped-call]
    return name


def keys_of(view: FeatureView) -> list[Field]:
    """The join keys; a view without entities has Feast's placeholder."""
    return view.entity_columns or [DUMMY_ENTITY_FIELD]


def table_of(view: FeatureView) -> OnlineTable:
    """The typed table of a view: join keys, then features."""
    keys = keys_of(view)
    columns = {field.name: postgres_type(field) for field in [*keys, *view.features]}
    return OnlineTable(view.name, tuple(key.name for key in keys), columns)


def postgres_type(field: Field) -> str:
    """The column type of a field; text where Postgres has none for it, see `is_text`."""
    kind = field.dtype.to_value_type()
    if kind == ValueType.FLOAT_LIST and field.vector_length:
        return f"vector({field.vector_length})"
    return POSTGRES_TYPES.get(kind, "text")


def is_vector(field: Field) -> bool:
    """Whether a field is a pgvector: a list of floats of declared length."""
    return field.dtype.to_value_type() == ValueType.FLOAT_LIST and bool(field.vector_length)


def is_text(field: Field) -> bool:
    """Whether a field, such as a list or a map, has no column type and is stored in protobuf's text format.

    That is exact and readable. JSON is not: Feast changes protobuf's JSON of values in its feature server's process
    (`proto_json.patch`).
    """
    kind = field.dtype.to_value_type()
    return not (kind in PROTO_FIELDS or kind == ValueType.UNIX_TIMESTAMP or is_vector(field))


def _vector(cell: bytes) -> bytes:
    floats = floats_of(cell)
    return _vector_head(len(floats)) + floats.tobytes()


@lru_cache(maxsize=64)
def _vector_head(length: int) -> bytes:
    return _wire(Value(float_list_val=FloatList(val=[0.0] * length)))[: -4 * length]
