"""Feast's offline store over our lake: point-in-time frames by two clocks (`fpm.store.point_in_time`).

A `known_at` column in the entity frame is the second clock; without one, known_at = event_timestamp.
Feast finds the class by its dotted path in feature_store.yaml; the names must end in ``OfflineStore`` and
``OfflineStoreConfig``. The path of a FileSource is the name of a lake table, the lake's root is in the config.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
import polars as pl
import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel
from feast.saved_dataset import SavedDatasetStorage

from fpm.errors import UsageError
from fpm.schema import TABLES
from fpm.store import point_in_time
from fpm.store.lake import Lake
from fpm.store.point_in_time import Serving
from fpm.two_clocks import EVENT, newest_versions


class FpmOfflineStoreConfig(FeastConfigBaseModel):
    """`lake`: the folder that holds one folder a table."""

    type: Literal["fpm.store.offline.FpmOfflineStore"] = "fpm.store.offline.FpmOfflineStore"
    lake: str


class LakeJob(RetrievalJob):
    """A frame not yet computed; Feast asks for it as Arrow or pandas."""

    def __init__(self, frame: Callable[[], pl.DataFrame], metadata: RetrievalMetadata | None, full_names: bool) -> None:
        self._frame, self._metadata, self._full_names = frame, metadata, full_names

    @property
    def full_feature_names(self) -> bool:
        return self._full_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._frame().to_arrow(compat_level=pl.CompatLevel.oldest())

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._to_arrow_internal(timeout).to_pandas()

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the frame as one Parquet file, whole or not at all.

        Raises UsageError where the file exists and may not be overwritten.
        """
        assert isinstance(storage, SavedDatasetFileStorage)
        path = Path(storage.file_options.uri)
        if path.exists() and not allow_overwrite:
            raise UsageError("FPM-PIT-006", f"{path} exists", "nothing was written", "name another or allow_overwrite")
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".unfinished")
        self._frame().write_parquet(unfinished)
        unfinished.replace(path)


class FpmOfflineStore(OfflineStore):
    """See the module; the signatures are Feast's."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        filter_by_created_timestamp: bool = False,
    ) -> LakeJob:
        """A job for the frame `entity_df` + features, row for row.

        Raises UsageError for anything but a frame, and what `point_in_time.frame` raises about its columns.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise UsageError(
                "FPM-PIT-001", "the entities are not a frame", "nothing was read", "give a frame, no SQL or date range"
            )
        servings = [_serving(view, feature_refs, full_feature_names) for view in feature_views]
        lake, tied = _lake(config), filter_by_created_timestamp
        entities = pl.from_pandas(entity_df)
        point_in_time.check(entities, servings)
        moments = point_in_time.clocks(entities)[EVENT].to_pandas()
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in entities.columns if name != EVENT],
            min_event_timestamp=moments.min(),
            max_event_timestamp=moments.max(),
        )
        return LakeJob(lambda: point_in_time.frame(lake, entities, servings, tied=tied), metadata, full_feature_names)

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
        return LakeJob(lambda: newest_versions(window(), join_key_columns), None, False)

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
        """Every version of every event from `start_date` to `end_date`, both inclusive; None is no bound."""
        window = _window(config, data_source, [*join_key_columns, *feature_name_columns], (start_date, end_date))
        return LakeJob(window, None, False)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """A source is a table of the lake; its folder need not exist yet. Raises UsageError for any other path."""
        _table(data_source)


def _lake(config: RepoConfig) -> Lake:
    root = Path(config.offline_store.lake)
    return Lake(root, root.parent / "staging")  # read only here


def _table(source: DataSource | None) -> str:
    """The lake table a source reads: its path is the table's name."""
    if isinstance(source, FileSource) and source.path in TABLES:
        return source.path
    raise UsageError(
        "FPM-PIT-005", f"source {source and source.name!r} is no table of the lake", "nothing was read",
        f"use FileSource(path=...) with one of {', '.join(TABLES)}",
    )  # fmt: skip


def _serving(view: FeatureView, feature_refs: Sequence[str], full_names: bool) -> Serving:
    """What of a view was asked for; the references are ``view:feature``."""
    projection = view.projection
    prefix: str = projection.name_to_use()  # type: ignore[no-untyped-call]
    shown = projection.name_alias or view.name
    features = [name for of, _, name in (ref.partition(":") for ref in feature_refs) if of == prefix]
    return Serving(
        table=_table(view.batch_source),
        keys={column.name: projection.join_key_map.get(column.name, column.name) for column in view.entity_columns},
        columns={name: f"{shown}__{name}" if full_names else name for name in features},
        ttl=view.ttl,
    )


def _window(
    config: RepoConfig, source: DataSource, columns: list[str], bounds: tuple[datetime | None, datetime | None]
) -> Callable[[], pl.DataFrame]:
    """Keys, features and clocks of all versions between two moments, read when asked for."""
    table, lake = _table(source), _lake(config)
    first, last = (bound and bound.astimezone(UTC) for bound in bounds)
    return lambda: point_in_time.window(lake, table, columns, first, last)
