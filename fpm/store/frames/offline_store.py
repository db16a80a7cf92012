"""Feast's offline store over our lake: point-in-time frames by two clocks (`fpm.store.frames.point_in_time`).

A `known_at` column in the entity frame is the second clock; without one, known_at = event_timestamp.
Feast finds the class by its dotted path in feature_store.yaml; the names must end in ``OfflineStore`` and
``OfflineStoreConfig``. The path of a FileSource is the name of a lake table, the lake's root is in the config.
"""

# Feast calls these methods with arguments that a lake of two clocks does not need.
# ruff: noqa: ARG002, ARG004

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel
from pydantic import SecretStr

from fpm.errors import UsageError
from fpm.schema import CLOCKS, TABLES
from fpm.store.frames import point_in_time
from fpm.store.frames.entities import (
    Entities,
    Question,
    Serving,
    check_columns,
    check_known_at,
    check_vintages,
    clocks,
    entity_rows,
)
from fpm.store.frames.session_blocks import Block, session_blocks
from fpm.store.lake.files import Lake
from fpm.store.ledger.ledger import Ledger
from fpm.store.ledger.seals import sealed_lake
from fpm.two_clocks import EVENT, KNOWN_AT, newest_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd
    from feast import FeatureView, RepoConfig
    from feast.data_source import DataSource
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.saved_dataset import SavedDatasetStorage


class FpmOfflineStoreConfig(FeastConfigBaseModel):
    """Where the lake and its ledger are, and the second clock of entity rows that carry none.

    `lake`: the folder that holds one folder per table. `ledger`: the connection string of the database that knows its
    files; without one (benchmarks, Feast's own tests) files are served that no ledger vouches for. `known_at`: the
    default of an entity row without that column; "latest" is the convention of Feast's own stores, which sees
    corrections before they were made.
    """

    type: Literal["fpm.store.frames.offline_store.FpmOfflineStore"] = "fpm.store.frames.offline_store.FpmOfflineStore"
    lake: str
    ledger: SecretStr | None = None
    known_at: Literal["event_timestamp", "latest"] = "event_timestamp"


class LakeJob(RetrievalJob):
    """A frame that is computed when it is asked for: whole for Feast, in parts by `blocks` and `to_arrow_reader`."""

    def __init__(
        self,
        frame: Callable[[], pl.DataFrame],
        metadata: RetrievalMetadata | None = None,
        full_names: bool = False,
        blocks: Callable[[int | None], Iterator[Block]] | None = None,
        on_demand: Sequence[OnDemandFeatureView] = (),
    ) -> None:
        self._frame, self._metadata, self._full_names, self._blocks = frame, metadata, full_names, blocks
        self._on_demand = list(on_demand)

    def blocks(self, sessions: int | None = None) -> Iterator[Block]:
        """The frame in blocks of sessions, with their positions; see `session_blocks`. A pulled table is one block.

        Raises UsageError for on demand views, which Feast computes on the whole frame.
        """
        if self._on_demand:
            raise UsageError(
                code="FPM-PIT-013",
                wrong=f"on demand views ({self._on_demand[0].name}, …) have no blocks",
                effect="nothing was read",
                todo="ask for the whole frame, or leave them out",
            )
        if self._blocks is not None:
            return self._blocks(sessions)
        whole = self._frame()
        return iter([(np.arange(len(whole)), whole)])

    def to_arrow_reader(self, sessions: int | None = None) -> pa.RecordBatchReader:
        """The blocks as Arrow record batches, for anything that reads a stream: DuckDB, Polars, a Parquet writer."""
        tables = (_arrow(rows) for _, rows in self.blocks(sessions))
        first = next(tables)
        batches = chain.from_iterable(table.to_batches() for table in chain([first], tables))
        return pa.RecordBatchReader.from_batches(first.schema, batches)

    @property
    def full_feature_names(self) -> bool:
        """Whether the columns are called ``view__feature``."""
        return self._full_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views that Feast computes from the frame."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What Feast stores beside a saved data set: features, keys, first and last moment; None for a pulled table."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return _arrow(self._frame())

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the frame as one Parquet file, whole or not at all.

        Raises UsageError where the file exists and may not be overwritten.
        """
        assert isinstance(storage, SavedDatasetFileStorage)
        path = Path(storage.file_options.uri)
        if path.exists() and not allow_overwrite:
            raise UsageError(
                code="FPM-PIT-006",
                wrong=f"{path} exists",
                effect="nothing was written",
                todo="name another or allow_overwrite",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".unfinished")
        pq.write_table(self.to_arrow(), unfinished)
        unfinished.replace(path)


class FpmOfflineStore(OfflineStore):
    """See the module; the signatures are Feast's."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Entities | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        filter_by_created_timestamp: bool = False,
    ) -> LakeJob:
        """A job for the frame `entity_df` + features, row for row.

        Raises what `entity_rows`, the checks and `clocks` of `fpm.store.frames.entities` raise.
        """
        rows = entity_rows(entity_df)
        moment = _moment_column(rows)
        if moment in rows.columns:
            rows = rows.rename({moment: EVENT})
        servings = [_serving(view, feature_refs, full_feature_names) for view in feature_views]
        lake = _lake(config)
        check_columns(rows, servings)
        check_known_at(rows, datetime.now(UTC))
        check_vintages(lake, rows, servings)
        latest = config.offline_store.known_at == "latest"
        question = Question(rows, clocks(rows, latest=latest, tied=filter_by_created_timestamp), servings)
        moments = question.clocks[EVENT].to_pandas()
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in rows.columns if name != EVENT],
            min_event_timestamp=moments.min(),
            max_event_timestamp=moments.max(),
        )
        return LakeJob(
            lambda: point_in_time.frame(lake, question).rename({EVENT: moment}),
            metadata,
            full_feature_names,
            lambda sessions: (
                (position_M, block.rename({EVENT: moment}))
                for position_M, block in session_blocks(lake, question, sessions)
            ),
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> LakeJob:
        """The newest row of each key among the events from `start_date` to `end_date`, both inclusive."""
        window = _window(config, data_source, [*join_key_columns, *feature_name_columns], (start_date, end_date))
        return LakeJob(lambda: newest_versions(window(), join_key_columns))

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> LakeJob:
        """Every version of every event from `start_date` to `end_date`, both inclusive; None is no bound.

        The source may also be a file that `LakeJob.persist` wrote.
        """
        window = _window(config, data_source, [*join_key_columns, *feature_name_columns], (start_date, end_date))
        return LakeJob(window)

    @staticmethod
    def offline_write_batch(*args: Any, **kwargs: Any) -> None:
        """Raises UsageError: only jobs write the lake."""
        raise _read_only()

    @staticmethod
    def write_logged_features(*args: Any, **kwargs: Any) -> None:
        """Raises UsageError: only jobs write the lake."""
        raise _read_only()

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> list[tuple[str, str]]:
        """The declared columns and the clocks, for views that leave their schema to Feast."""
        table = _table(data_source)
        arrow = _arrow(point_in_time.no_rows(table, [*TABLES[table].columns, *CLOCKS]))
        return [(field.name, str(field.type)) for field in arrow.schema]

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """A source is a table of the lake; its folder need not exist yet. Raises UsageError for any other path."""
        _table(data_source)


def _read_only() -> UsageError:
    return UsageError(
        code="FPM-PIT-014",
        wrong="the lake is written by jobs, whole partitions under the ledger",
        effect="nothing was written",
        todo="write a producer; to the online store alone, push with `to=PushMode.ONLINE`",
    )


def _arrow(rows: pl.DataFrame) -> pa.Table:
    """With plain strings and lists, which Feast and its users test for, instead of Polars' large ones."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    for i, column in enumerate(table.schema):
        if column.type != _plain(column.type):
            table = table.set_column(i, column.name, table.column(i).cast(_plain(column.type)))
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}.get(kind, kind)


def _moment_column(entities: pl.DataFrame) -> str:
    """`event_timestamp`, or, as Feast has it, the only column of moments (the second clock aside)."""
    moments = [name for name, kind in entities.schema.items() if isinstance(kind, pl.Datetime) and name != KNOWN_AT]
    return moments[0] if EVENT not in entities.columns and len(moments) == 1 else EVENT


def _lake(config: RepoConfig) -> Lake:
    root, dsn = Path(config.offline_store.lake), config.offline_store.ledger
    staging = root.parent / "staging"  # nothing is staged here
    return (
        Lake(root, staging) if dsn is None else sealed_lake(root, staging, _ledger(dsn.get_secret_value(), os.getpid()))
    )


@lru_cache(4)
def _ledger(dsn: str, process: int) -> Ledger:  # noqa: ARG001  the cache's key: a forked process needs connections of its own
    return Ledger(dsn)


def _table(source: DataSource | None) -> str:
    """The lake table a source reads: its path is the table's name."""
    if isinstance(source, FileSource) and source.path in TABLES:
        return source.path
    raise UsageError(
        code="FPM-PIT-005",
        wrong=f"source {source and source.name!r} is no table of the lake",
        effect="nothing was read",
        todo=f"use FileSource(path=...) with one of {', '.join(TABLES)}",
    )


def _serving(view: FeatureView, feature_refs: Sequence[str], full_names: bool) -> Serving:
    """The part of a request that one view serves; the references are ``view:feature``."""
    projection = view.projection
    prefix: str = projection.name_to_use()  # type: ignore[no-untyped-call]
    title = projection.name_alias or view.name
    features = [name for owner, _, name in (ref.partition(":") for ref in feature_refs) if owner == prefix]
    keys = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    source = view.batch_source
    stored = {name: column for column, name in source.field_mapping.items()} if source else {}
    return Serving(
        table=_table(source),
        keys={stored.get(name, name): projection.join_key_map.get(name, name) for name in keys},
        columns={stored.get(name, name): f"{title}__{name}" if full_names else name for name in features},
        ttl=view.ttl,
    )


def _window(
    config: RepoConfig, source: DataSource, columns: list[str], bounds: tuple[datetime | None, datetime | None]
) -> Callable[[], pl.DataFrame]:
    """A function that reads keys, features and clocks of all versions between two moments."""
    first, last = (bound and bound.astimezone(UTC) for bound in bounds)
    if isinstance(source, FileSource) and source.path.endswith(".parquet"):
        inside = pl.col(EVENT).is_between(first or pl.col(EVENT), last or pl.col(EVENT))
        return lambda: pl.read_parquet(source.path, columns=[*columns, EVENT]).filter(inside)
    table, lake = _table(source), _lake(config)
    return lambda: point_in_time.window(lake, table, columns, first, last)
