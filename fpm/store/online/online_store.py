"""Feast's online store over our typed Postgres tables (`fpm.store.online.tables`): one row per entity, real columns.

Feast finds the class by its dotted path in feature_store.yaml. It subclasses Feast's Postgres store only because
Feast allows versioned reads to that class's children; every path to its layout of one row per value is closed.
Connections come from a checked pool and always go back, so the store survives a restart of Postgres.
"""

# Feast calls these methods with arguments that typed tables do not need.
# ruff: noqa: ARG002, ARG004

from __future__ import annotations

import asyncio
import select
from contextvars import ContextVar
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import polars as pl
from feast import Entity, FeatureView, Field, RepoConfig, utils
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.online_stores.postgres_online_store.postgres import PostgreSQLOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from feast.type_map import feast_value_type_to_python_type
from google.protobuf import text_format
from psycopg import Connection, OperationalError
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from fpm.errors import UsageError
from fpm.store.online import answers, tables
from fpm.store.online.answers import Plan, table_of
from fpm.two_clocks import CREATED, EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
    from feast.value_type import ValueType

    from fpm.store.online.tables import Selection

NOBODY = {DUMMY_ENTITY_ID: Value(string_val=DUMMY_ENTITY_VAL)}
Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Cells = tuple[datetime | None, dict[str, Value] | None]  # the event and the values of one key, or (None, None)
# The ids of the publications in force while a request is read, one a statement; set by whoever wants to know.
WITNESS: ContextVar[list[int | None] | None] = ContextVar("WITNESS", default=None)
MOST_COLUMNS = 1600  # of one statement; Postgres' own limit is 1,664
PLANS = 256
# A generic plan looks keys up by index. A custom plan costs half a row's time at every request, and beyond some dozens
# of keys it may join the whole market.
OPTIONS = "-c timezone=UTC -c plan_cache_mode=force_generic_plan"


class FpmOnlineStoreConfig(FeastConfigBaseModel):
    """Where the tables are, and how they are read.

    `dsn`: a libpq connection string; `connections`: the most that one process holds; `patience`: seconds to wait for
    one; `place`: the schema that is read, ``serving`` for one published session and nothing else.
    """

    type: Literal["fpm.store.online.online_store.FpmOnlineStore"] = "fpm.store.online.online_store.FpmOnlineStore"
    dsn: SecretStr
    connections: int = 10
    patience: float = 30
    place: Literal["online", "serving"] = "online"


def write_in(connection: Connection[Any], view: str, frame: pl.DataFrame) -> int:
    """Write a view's rows inside the caller's transaction and return the number of rows changed.

    See `tables.write` for the frame and the errors.
    """
    return tables.write(connection, tables.online_table(view), frame)


class FpmOnlineStore(PostgreSQLOnlineStore):
    """Typed tables behind Feast's interface; the signatures are Feast's."""

    def __init__(self) -> None:
        super().__init__()
        self._pool: ConnectionPool | None = None
        self._pool_lock = Lock()  # asynchronous reads run in threads
        self._plans: dict[tuple[str, tuple[str, ...]], Plan] = {}

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
        with self._connection(config) as connection, connection.transaction():
            for view in tables_to_delete:
                connection.execute(SQL("DROP TABLE IF EXISTS {}").format(table_of(view).path))
            for view in tables_to_keep:
                connection.execute(tables.creation(table_of(view)))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Drop the tables of these views."""
        self.update(config, tables, [], entities, [], partial=False)

    def write_frame(self, config: RepoConfig, view: FeatureView, frame: pl.DataFrame) -> int:
        """Write keys, values and clocks in one transaction and return the number of rows changed."""
        with self._connection(config) as connection:
            return tables.write(connection, table_of(view), frame)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write Feast's rows of messages as `write_frame` does; a moment without zone is UTC by Feast's contract."""
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
    ) -> list[Cells]:
        """Values of every key, in order; (None, None) where nothing is stored. One query."""
        if not entity_keys:
            return []
        plan = self._plan(table, requested_features or [field.name for field in table.features])
        keys = [_key(plan.keys, _entity(key)) for key in entity_keys]
        return _cells(plan.fields, self._rows(config, [plan], [keys]))

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Cells]:
        """`online_read` in a thread."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    @staticmethod
    def _should_batch(config: RepoConfig, grouped_refs: list[Any], join_key_values: dict[str, Any]) -> bool:
        """Whether Feast's own SQL may read: never, it reads the layout that this store replaces."""
        return False

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Read every view of a request by one statement, so of one publication; Feast itself reads view by view.

        Feast groups the features of a view in a set, whose order is another in each process: they come in declared
        order.
        """
        grouped_refs = [(view, _declared_order(view, names)) for view, names in grouped_refs]
        if include_feature_view_version_metadata or sum(len(names) + 1 for _, names in grouped_refs) > MOST_COLUMNS:
            super()._read_features_per_fv(
                config,
                grouped_refs,
                join_key_values,
                entity_name_to_join_key_map,
                online_features_response,
                full_feature_names,
                include_feature_view_version_metadata,
            )
            return
        plans = [self._plan(view, names) for view, names in grouped_refs]
        keys = [
            _keys(plan, *utils._get_unique_entities(plan.view, join_key_values, entity_name_to_join_key_map))  # noqa: SLF001  as Feast's own stores
            for plan in plans
        ]
        rows = self._rows(config, plans, keys)
        answers.extend(online_features_response, plans, rows, full_feature_names)

    async def _read_features_per_fv_async(self, *arguments: Any) -> None:
        await asyncio.to_thread(self._read_features_per_fv, *arguments)

    def retrieve_online_documents(self, *args: Any, **kwargs: Any) -> Any:
        """Raises UsageError: Feast would attach other symbols' values."""
        raise _closed()

    def retrieve_online_documents_v2(self, *args: Any, **kwargs: Any) -> Any:
        """Raises UsageError: Feast would attach other symbols' values."""
        raise _closed()

    def disconnect(self) -> None:
        """Close every connection; the next use opens new ones."""
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if pool:
            pool.close()

    async def close(self) -> None:
        """`disconnect`, as Feast's server calls it."""
        self.disconnect()

    def _build_feature_types(  # type: ignore[override]  # Feast's is static
        self, grouped_refs: list[tuple[FeatureView, list[str]]]
    ) -> dict[str, ValueType]:
        """The types that Feast's own method finds, without its search of a list for every name."""
        plans = (self._plan(view, names) for view, names in grouped_refs)
        return {name: kind for plan in plans for name, kind in plan.kinds.items()}

    def _plan(self, view: FeatureView, names: Sequence[str]) -> Plan:
        """The plan for these features of a view, cached until Feast's registry returns another view object."""
        key = answers.name_of(view), tuple(names)
        plan = self._plans.get(key)
        if plan is None or plan.view is not view:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[key] = answers.plan(view, tuple(names))
        return plan

    def _rows(
        self, config: RepoConfig, plans: Sequence[Plan], keys: Sequence[Sequence[tuple[Any, ...]]]
    ) -> list[tuple[Any, ...]]:
        """Read, and once more where the server went away meanwhile; a witness learns the publication in force."""
        witness = WITNESS.get() if config.online_store.place == "serving" else None
        rows = self._read(config, [plan.selection(config.online_store.place) for plan in plans], keys, witness)
        if witness is not None and rows:
            witness.append(rows[0][-1])
        return rows

    def _read(
        self,
        config: RepoConfig,
        selections: Sequence[Selection],
        keys: Sequence[Sequence[tuple[Any, ...]]],
        witness: list[int | None] | None,
    ) -> list[tuple[Any, ...]]:
        with self._connection(config) as connection:
            try:
                return tables.read(connection, selections, keys, witness is not None)
            except OperationalError:
                if not connection.closed:
                    raise
        with self._connection(config) as connection:
            return tables.read(connection, selections, keys, witness is not None)

    def _connection(self, config: RepoConfig) -> AbstractContextManager[Connection[Any]]:
        """A checked connection; every statement is a transaction of its own. It goes back after the `with` block."""
        with self._pool_lock:
            if self._pool is None:
                self._pool = _connection_pool(config.online_store)
            return self._pool.connection()


def _declared_order(view: FeatureView, names: Sequence[str]) -> list[str]:
    """The features as the service lists them, or else the view; those that it does not have come last, by name."""
    declared = {field.name: place for place, field in enumerate(view.projection.features)}
    return sorted(names, key=lambda name: (declared.get(name, len(declared)), name))


def _connection_pool(config: FpmOnlineStoreConfig) -> ConnectionPool:
    dsn = config.dsn.get_secret_value()
    options = f"{conninfo_to_dict(dsn).get('options') or ''} {OPTIONS}"  # the role may be among them
    return ConnectionPool(
        dsn,
        kwargs={"options": options.strip(), "autocommit": True},
        min_size=0,
        max_size=config.connections,
        timeout=config.patience,
        reconnect_timeout=config.patience,  # later requests try anew, not after a growing pause
        check=check,
        open=True,
    )


def check(connection: Connection[Any]) -> None:
    """Raise OperationalError for a connection whose server went away.

    The server has then closed its end, which the socket says at once; only then is a query sent.
    """
    socket = select.poll()
    socket.register(connection, select.POLLIN)
    if socket.poll(0):
        ConnectionPool.check_connection(connection)


def _keys(
    plan: Plan, entities: Sequence[Mapping[str, Value]], rows_by_entity: Sequence[Sequence[int]], count: int
) -> list[tuple[Any, ...]]:
    """The key of every row of the request, from Feast's distinct entities."""
    keys: list[tuple[Any, ...]] = [()] * count
    for entity, rows in zip(entities, rows_by_entity, strict=True):
        key = _key(plan.keys, entity)
        for row in rows:
            keys[row] = key
    return keys


def _key(names: Sequence[str], entity: Mapping[str, Value]) -> tuple[Any, ...]:
    """The key's values in the table's order; Feast's placeholder where there are none."""
    values = entity or NOBODY
    return tuple(feast_value_type_to_python_type(values[name]) for name in names)


def _entity(key: EntityKey) -> dict[str, Value]:
    return dict(zip(key.join_keys, key.entity_values, strict=True))


def _frame(view: FeatureView, rows: list[Row]) -> pl.DataFrame:
    """Feast's protobuf rows as a frame; a feature that no row has is null."""
    table = table_of(view)
    as_text = {field.name for field in view.features if answers.is_text(field)}
    records = [
        dict(zip(table.keys, _key(table.keys, _entity(entity_key)), strict=True))
        | {name: _cell(value, name in as_text) for name, value in values.items()}
        | {EVENT: _utc(event), CREATED: _utc(event if created is None or pd.isna(created) else created)}
        for entity_key, values, event, created in rows
    ]
    columns = {name: [record.get(name) for record in records] for name in table.stored}
    return pl.DataFrame(columns, schema={name: table.frame_type(name) for name in table.stored})


def _cell(value: Value, as_text: bool) -> Any:
    if as_text:
        return text_format.MessageToString(value, as_one_line=True) if value.WhichOneof("val") else None
    return feast_value_type_to_python_type(value)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _cells(fields: Sequence[Field], rows: list[tuple[Any, ...]]) -> list[Cells]:
    """Rows (event_timestamp, *values) in Feast's form, for callers of the store itself, not of the SDK."""
    columns = list(zip(*rows, strict=True))
    values = {
        field.name: answers.protos(field, column) for field, column in zip(fields, columns[1:], strict=False)
    }  # or a witness's
    return [
        (None, None) if event is None else (event, {name: column[row] for name, column in values.items()})
        for row, event in enumerate(columns[0])
    ]


def _closed() -> UsageError:
    return UsageError(
        code="FPM-ONL-007",
        wrong="Feast's vector search attaches other symbols' values",
        effect="nothing was searched",
        todo="search serving.fingerprints by SQL (pgvector) or the lake in memory",
    )
