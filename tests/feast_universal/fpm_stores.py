"""Our stores for Feast's own universal tests, which `make feast-universal FEAST=checkout` runs on them.

Feast's tests import the module that FULL_REPO_CONFIGS_MODULE names and take the two AVAILABLE_ names from it. This
folder is no package, because both repositories have one called `tests`. Every test has its own lake, and its own
database in one embedded server. Feast's tests expect the newest version of a row, whenever it was created
(`known_at: latest`).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import polars as pl
import psycopg
import pyarrow.parquet as pq
from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.feature_logging import LoggingDestination
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from psycopg.conninfo import make_conninfo
from tests.universal.feature_repos.universal.data_source_creator import DataSourceCreator
from tests.universal.feature_repos.universal.online_store_creator import OnlineStoreCreator

from fpm.schema import CLOCKS, TABLES, Table
from fpm.store.frames.offline_store import FpmOfflineStoreConfig
from fpm.store.lake.files import CLOCK, TYPES, Lake
from fpm.store.postgres.server import Server, ensure_server, stop_server
from fpm.store.settings import Settings

EVENT, CREATED = CLOCKS
_servers: list[Server] = []


class LakeDataSourceCreator(DataSourceCreator):
    """Feast's frames as tables of a temporary lake, under the lake's names of the clocks."""

    def __init__(self, project_name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(project_name)
        self._folder = Path(tempfile.mkdtemp(prefix="fpm-universal-"))
        self._lake = Lake(self._folder / "lake", self._folder / "staging")
        self._tables: list[str] = []

    def create_data_source(
        self,
        df: pd.DataFrame,
        destination_name: str,
        created_timestamp_column: str | None = "created_ts",
        field_mapping: dict[str, str] | None = None,
        timestamp_field: str | None = "ts",
    ) -> DataSource:
        name = f"{self.project_name}_{destination_name}"
        mapping = {name: column for column, name in (field_mapping or {"ts_1": "ts"}).items()}
        event = mapping.pop(str(timestamp_field), str(timestamp_field))
        rows = _lake_rows(df, event, created_timestamp_column)
        kinds = {column: kind for column, kind in rows.schema.items() if column not in CLOCKS}
        TYPES.update({f"universal {kind}": kind for kind in kinds.values()})
        TABLES[name] = Table(name, (), {column: f"universal {kind}" for column, kind in kinds.items()})
        self._tables.append(name)
        for (day,), part in rows.group_by(pl.col(EVENT).dt.date(), maintain_order=True):
            assert isinstance(day, date)
            path = self._lake.root / self._lake.relative(name, day)
            path.parent.mkdir(parents=True)
            pq.write_table(part.to_arrow(), path, write_page_checksum=True, coerce_timestamps="us")
        return FileSource(
            name=name,
            path=name,
            file_format=ParquetFormat(),
            timestamp_field=EVENT,
            created_timestamp_column=CREATED,
            field_mapping={column: name for name, column in mapping.items()},
        )

    def create_offline_store_config(self) -> FpmOfflineStoreConfig:
        return FpmOfflineStoreConfig(lake=str(self._lake.root), known_at="latest")

    def create_saved_dataset_destination(self) -> SavedDatasetFileStorage:
        return SavedDatasetFileStorage(path=str(self._folder / f"{uuid4().hex}.parquet"), file_format=ParquetFormat())

    def create_logged_features_destination(self) -> LoggingDestination:
        return FileLoggingDestination(path=str(self._folder / "logged"))

    def teardown(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in self._tables:
            del TABLES[name]


def _lake_rows(df: pd.DataFrame, event: str, created: str | None) -> pl.DataFrame:
    """The frame with both clocks in UTC under the lake's names; without `created`, known at the event."""
    moments = {EVENT: pd.to_datetime(df[event], utc=True)}
    moments[CREATED] = pd.to_datetime(df[created], utc=True) if created in df else moments[EVENT]
    rows = pl.from_pandas(df.drop(columns=list({event, created} & set(df.columns))).assign(**moments))
    return rows.with_columns(pl.col(*CLOCKS).cast(CLOCK))


class TypedOnlineStoreCreator(OnlineStoreCreator):
    """A fresh database of one embedded server."""

    def create_online_store(self) -> dict[str, Any]:
        os.environ["FEAST_IS_LOCAL_TEST"] = "False"  # true spares imports for clouds; from here on it would empty tests
        if not _servers:
            settings = Settings(home=Path(tempfile.mkdtemp(prefix="fpm-universal-")), fsync=False)
            _servers.append(ensure_server(settings))
            atexit.register(stop_server, settings)
        self._name = f"universal_{uuid4().hex}"
        with psycopg.connect(_servers[0].dsn, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self._name}")
        dsn = make_conninfo(_servers[0].dsn, dbname=self._name)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        return {"type": "fpm.store.online.online_store.FpmOnlineStore", "dsn": dsn}

    def teardown(self) -> None:
        with psycopg.connect(_servers[0].dsn, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {self._name} WITH (FORCE)")


# Feast reserves some tests for stores of certain names; `redis` is the one whose older writes lose, as ours do.
NAME = os.environ.get("FEAST_UNIVERSAL_AS", "postgres")
AVAILABLE_OFFLINE_STORES = [("local", LakeDataSourceCreator)]
AVAILABLE_ONLINE_STORES = {NAME: ({"type": "fpm.store.online.online_store.FpmOnlineStore"}, TypedOnlineStoreCreator)}
