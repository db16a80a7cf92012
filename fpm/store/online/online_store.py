"""Feast's online store over our typed Postgres tables (`fpm.store.online.table`): one row an entity, real columns.

Feast finds the class by its dotted path in feature_store.yaml. It subclasses Feast's Postgres store only because
Feast grants versioned reads to subclasses of its own; every path to that store's one-row-a-value layout is closed.
Connections come from a checked pool and always go back, so a restart of Postgres is survived.
"""

from __future__ import annotations

import asyncio
import select
from datetime import UTC, datetime
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
from fpm.store.online import answers as online_answers
from fpm.store.online import table as online_table
from fpm.store.online.answers import Plan, table_of
from fpm.two_clocks import CREATED, EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
    from feast.value_type import ValueType

NOBODY = {DUMMY_ENTITY_ID: Value(string_val=DUMMY_ENTITY_VAL)}
Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Found = tuple[datetime | None, dict[str, Value] | None]
MOST_COLUMNS = 1600  # of one statement; Postgres' own limit is 1,664
PLANS = 256
# Keys are always looked up by index: with the values at hand Postgres plans anew each time, half the cost of a row, and
# beyond some dozens of keys it may prefer to join the whole market.
OPTIONS = "-c timezone=UTC -c plan_cache_mode=force_generic_plan"


class FpmOnlineStoreConfig(FeastConfigBaseModel):
    """`dsn`: a libpq connection string; `connections`: the most that one process holds; `patience`: seconds to wait
    for one; `place`: the schema that is read, ``serving`` for one published session and nothing else.
    """

    type: Literal["fpm.store.online.online_store.FpmOnlineStore"] = "fpm.store.online.online_store.FpmOnlineStore"
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

    def __init__(self) -> None:
        super().__init__()
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
        if not entity_keys:
            return []
        plan = self._plan(table, requested_features or [field.name for field in table.features])
        keys = [_key(plan.keys, _entity(key)) for key in entity_keys]
        return _found(plan.fields, self._rows(config, [plan], [keys]))

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
        """Every view of a request by one statement, so of one publication; Feast's own way is view by view."""
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
            _keys(plan, *utils._get_unique_entities(plan.view, join_key_values, entity_name_to_join_key_map))
            for plan in plans
        ]
        rows = self._rows(config, plans, keys)
        online_answers.extend(online_features_response, plans, rows, full_feature_names)

    async def _read_features_per_fv_async(self, *given: Any) -> None:
        await asyncio.to_thread(self._read_features_per_fv, *given)

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

    def _build_feature_types(  # type: ignore[override]  # Feast's is static
        self, grouped_refs: list[tuple[FeatureView, list[str]]]
    ) -> dict[str, ValueType]:
        """As Feast's, which looks for every name in a list."""
        plans = (self._plan(view, names) for view, names in grouped_refs)
        return {name: kind for plan in plans for name, kind in plan.kinds.items()}

    def _plan(self, view: FeatureView, names: Sequence[str]) -> Plan:
        """How these features of a view are read; kept while Feast gives the same view: until its registry changes."""
        key = online_answers.name_of(view), tuple(names)
        plan = self._plans.get(key)
        if plan is None or plan.view is not view:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[key] = online_answers.plan(view, tuple(names))
        return plan

    def _rows(
        self, config: RepoConfig, plans: Sequence[Plan], keys: Sequence[Sequence[tuple[Any, ...]]]
    ) -> list[tuple[Any, ...]]:
        """Read; once more where the server went away in the midst of it."""
        selections = [plan.selection(config.online_store.place) for plan in plans]
        with self._connection(config) as connection:
            try:
                return online_table.read(connection, selections, keys)
            except OperationalError:
                if not connection.closed:
                    raise
        with self._connection(config) as connection:
            return online_table.read(connection, selections, keys)

    def _connection(self, config: RepoConfig) -> AbstractContextManager[Connection[Any]]:
        """A checked connection, each statement a transaction of its own; returned at the end of the `with` block."""
        if self._pool is None:
            dsn = config.online_store.dsn.get_secret_value()
            options = f"{conninfo_to_dict(dsn).get('options') or ''} {OPTIONS}"  # the role may be among them
            self._pool = ConnectionPool(
                dsn,
                kwargs={"options": options.strip(), "autocommit": True},
                min_size=0,
                max_size=config.online_store.connections,
                timeout=config.online_store.patience,
                reconnect_timeout=config.online_store.patience,  # later requests try anew, not after a growing pause
                check=check,
                open=True,
            )
        return self._pool.connection()


def check(connection: Connection[Any]) -> None:
    """A server that went away has closed its end, which the socket says at once; only then is it asked itself."""
    socket = select.poll()
    socket.register(connection, select.POLLIN)
    if socket.poll(0):
        ConnectionPool.check_connection(connection)


def _keys(
    plan: Plan, entities: Sequence[Mapping[str, Value]], places: Sequence[Sequence[int]], count: int
) -> list[tuple[Any, ...]]:
    """Feast's distinct entities, as keys of every row of the request again."""
    keys: list[tuple[Any, ...]] = [()] * count
    for entity, rows in zip(entities, places, strict=True):
        key = _key(plan.keys, entity)
        for row in rows:
            keys[row] = key
    return keys


def _key(names: Sequence[str], entity: Mapping[str, Value]) -> tuple[Any, ...]:
    """The key's values in the table's order; Feast's placeholder where it gives none."""
    values = entity or NOBODY
    return tuple(feast_value_type_to_python_type(values[name]) for name in names)


def _entity(key: EntityKey) -> dict[str, Value]:
    return dict(zip(key.join_keys, key.entity_values, strict=True))


def _frame(view: FeatureView, rows: list[Row]) -> pl.DataFrame:
    """Feast's protobuf rows as a frame; a feature that no row gives is null."""
    table = table_of(view)
    as_text = {field.name for field in view.features if online_answers.is_text(field)}
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


def _found(fields: Sequence[Field], rows: list[tuple[Any, ...]]) -> list[Found]:
    """Rows (event_timestamp, *values) in Feast's form, for those who ask the store and not the SDK."""
    columns = list(zip(*rows, strict=True))
    values = {
        field.name: online_answers.protos(field, column) for field, column in zip(fields, columns[1:], strict=True)
    }
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
