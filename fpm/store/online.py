"""Feast's online store over our typed Postgres tables (`fpm.store.online_table`): one row an entity, real columns.

Feast finds the class by its dotted path in feature_store.yaml. It subclasses Feast's Postgres store only because
Feast grants versioned reads to subclasses of its own; every path to that store's one-row-a-value layout is closed.
Connections come from a checked pool and always go back, so a restart of Postgres is survived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import pandas as pd
import polars as pl
from feast import Entity, FeatureView, Field, RepoConfig
from feast.feature_view import DUMMY_ENTITY_FIELD, DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.online_stores.postgres_online_store.postgres import PostgreSQLOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.repo_config import FeastConfigBaseModel
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType
from google.protobuf import text_format
from psycopg import Connection
from psycopg.sql import SQL
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from fpm.errors import UsageError
from fpm.store import online_table
from fpm.store.online_table import OnlineTable
from fpm.two_clocks import CREATED, EVENT

POSTGRES_TYPES = {
    ValueType.STRING: "text", ValueType.FLOAT: "real", ValueType.DOUBLE: "double precision",
    ValueType.INT32: "integer", ValueType.INT64: "bigint", ValueType.BOOL: "boolean",
    ValueType.UNIX_TIMESTAMP: "timestamptz",
}  # fmt: skip
PROTO_FIELDS = {
    ValueType.STRING: "string_val", ValueType.FLOAT: "float_val", ValueType.DOUBLE: "double_val",
    ValueType.INT32: "int32_val", ValueType.INT64: "int64_val", ValueType.BOOL: "bool_val",
}  # fmt: skip
NOBODY = {DUMMY_ENTITY_ID: Value(string_val=DUMMY_ENTITY_VAL)}
Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Found = tuple[datetime | None, dict[str, Value] | None]


class FpmOnlineStoreConfig(FeastConfigBaseModel):
    """`dsn`: a libpq connection string; `connections`: the most that one process holds; `patience`: seconds to wait
    for one; `place`: the schema that is read, ``serving`` for one published session and nothing else."""

    type: Literal["fpm.store.online.FpmOnlineStore"] = "fpm.store.online.FpmOnlineStore"
    dsn: SecretStr
    connections: int = 10
    patience: float = 30
    place: Literal["online", "serving"] = "online"


def write_in(connection: Connection[Any], view: str, frame: pl.DataFrame) -> int:
    """Write a view's rows inside the caller's transaction, so that a publication is all or nothing.

    See `online_table.write` for the frame and the refusals. Returns the rows changed.
    """
    return online_table.write(connection, online_table.online_table(view), frame)


class FpmOnlineStore(PostgreSQLOnlineStore):
    """See the module; the signatures are Feast's."""

    _pool: ConnectionPool | None = None

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create what is declared and drop what no longer is.

        A table that a serving view still reads is not dropped: Postgres refuses and names the view.
        """
        with self._connection(config) as connection:
            for view in tables_to_delete:
                connection.execute(SQL("DROP TABLE IF EXISTS {}").format(table_of(view).path))
            for view in tables_to_keep:
                connection.execute(online_table.creation(table_of(view)))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        self.update(config, tables, [], entities, [], partial=False)

    def write_frame(self, config: RepoConfig, view: FeatureView, frame: pl.DataFrame) -> int:
        """Write keys, values and clocks in one transaction. Returns the rows changed."""
        with self._connection(config) as connection:
            return online_table.write(connection, table_of(view), frame)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's row by row form of `write_frame`; a moment without zone is UTC by Feast's contract."""
        if data:
            self.write_frame(config, table, _frame(table, data))
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Found]:
        """Values of every key, in order; (None, None) where nothing is stored. One query."""
        typed = replace(table_of(table), schema=config.online_store.place)
        requested = set(requested_features or ())
        fields = [field for field in table.features if not requested or field.name in requested]
        asked = [_key(typed, entity_key) for entity_key in entity_keys]
        if not asked:
            return []
        with self._connection(config) as connection:
            rows = online_table.read(connection, typed, asked, [field.name for field in fields])
        return _found(fields, rows)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Found]:
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    @staticmethod
    def _should_batch(config: RepoConfig, grouped_refs: list[Any], join_key_values: dict[str, Any]) -> bool:
        """Never by Feast's own SQL: it reads the layout that this store replaces."""
        return False

    def retrieve_online_documents(self, *args: Any, **kwargs: Any) -> Any:
        raise _closed()

    def retrieve_online_documents_v2(self, *args: Any, **kwargs: Any) -> Any:
        raise _closed()

    def disconnect(self) -> None:
        """Close every connection; the next use opens new ones."""
        if self._pool:
            self._pool.close()
            self._pool = None

    async def close(self) -> None:
        self.disconnect()

    def _connection(self, config: RepoConfig) -> Any:
        """A checked connection; committed or rolled back, and returned, at the end of the `with` block."""
        if self._pool is None:
            self._pool = ConnectionPool(
                config.online_store.dsn.get_secret_value(),
                kwargs={"options": "-c timezone=UTC"},
                min_size=0,
                max_size=config.online_store.connections,
                timeout=config.online_store.patience,
                reconnect_timeout=config.online_store.patience,  # later requests try anew, not after a growing pause
                check=ConnectionPool.check_connection,
                open=True,
            )
        return self._pool.connection()


def table_of(view: FeatureView) -> OnlineTable:
    """The typed table of a view: join keys, then features; a view without entities has Feast's placeholder as key."""
    keys = view.entity_columns or [DUMMY_ENTITY_FIELD]
    columns = {field.name: _postgres_type(field) for field in [*keys, *view.features]}
    return OnlineTable(view.name, tuple(key.name for key in keys), columns)


def _postgres_type(field: Field) -> str:
    kind = field.dtype.to_value_type()
    if kind == ValueType.FLOAT_LIST and field.vector_length:
        return f"vector({field.vector_length})"
    return POSTGRES_TYPES.get(kind, "text")


def _key(table: OnlineTable, entity_key: EntityKey) -> tuple[Any, ...]:
    """The key's values in the table's order; Feast's placeholder where it gives none."""
    values = dict(zip(entity_key.join_keys, entity_key.entity_values, strict=True)) or NOBODY
    return tuple(feast_value_type_to_python_type(values[key]) for key in table.keys)


def _frame(view: FeatureView, rows: list[Row]) -> pl.DataFrame:
    """Feast's protobuf rows as a frame; a feature that no row gives is null."""
    table = table_of(view)
    as_text = {field.name for field in view.features if _is_text(field)}
    records = [
        dict(zip(table.keys, _key(table, entity_key), strict=True))
        | {name: _cell(value, name in as_text) for name, value in values.items()}
        | {EVENT: _utc(event), CREATED: _utc(event if created is None or pd.isna(created) else created)}
        for entity_key, values, event, created in rows
    ]
    columns = {name: [record.get(name) for record in records] for name in table.stored}
    return pl.DataFrame(columns, schema={name: table.frame_type(name) for name in table.stored})


def _is_text(field: Field) -> bool:
    """Lists, maps and whatever else has no column type: the protobuf message in its text format, exact and readable.

    Not as JSON: in its feature server's process Feast changes protobuf's JSON of values (`proto_json.patch`).
    """
    kind = field.dtype.to_value_type()
    return kind not in POSTGRES_TYPES and not (kind == ValueType.FLOAT_LIST and field.vector_length)


def _cell(value: Value, as_text: bool) -> Any:
    if as_text:
        return text_format.MessageToString(value, as_one_line=True) if value.WhichOneof("val") else None
    return feast_value_type_to_python_type(value)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _found(fields: Sequence[Field], rows: list[tuple[Any, ...]]) -> list[Found]:
    """Rows (event_timestamp, *values) in Feast's form; protobuf is made column by column."""
    columns = list(zip(*rows, strict=True))
    values = {field.name: _protos(field, column) for field, column in zip(fields, columns[1:], strict=True)}
    return [
        (None, None) if event is None else (event, {name: column[row] for name, column in values.items()})
        for row, event in enumerate(columns[0])
    ]


def _protos(field: Field, column: tuple[Any, ...]) -> list[Value]:
    """Feast's own conversion, but numbers, texts and vectors directly: it takes longer than the query."""
    kind = field.dtype.to_value_type()
    if name := PROTO_FIELDS.get(kind):
        return [Value() if cell is None else Value(**{name: cell}) for cell in column]
    if _is_text(field):
        return [Value() if cell is None else text_format.Parse(cell, Value()) for cell in column]
    if kind == ValueType.FLOAT_LIST:
        return [Value() if cell is None else Value(float_list_val=FloatList(val=cell)) for cell in column]
    protos: list[Value] = python_values_to_proto_values(list(column), kind)
    return protos


def _closed() -> UsageError:
    return UsageError(
        "FPM-ONL-007", "Feast's vector search attaches other symbols' values", "nothing was searched",
        "search serving.fingerprints by SQL (pgvector) or the lake in memory",
    )  # fmt: skip
