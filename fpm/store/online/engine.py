"""Feast's compute engine, reduced to the needs of `store.materialize`: Arrow from the offline to the online store.

There is no protobuf on the way, which alone would take seconds per day for a whole market.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click
import polars as pl
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.repo_config import FeastConfigBaseModel
from feast.utils import _get_column_names

from fpm.errors import UsageError
from fpm.store.online.online_store import FpmOnlineStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feast import Entity, FeatureView, OnDemandFeatureView
    from feast.infra.registry.base_registry import BaseRegistry


class FpmEngineConfig(FeastConfigBaseModel):
    """No settings."""

    type: Literal["fpm.store.online.engine.FpmEngine"] = "fpm.store.online.engine.FpmEngine"


class MaterialisationRefused(UsageError, click.ClickException):
    """`feast materialize` in a home; the `feast` command shows it as its own kind of error, without a traceback."""


class FpmEngine(ComputeEngine):
    """Materialisation in Arrow; the signatures are Feast's."""

    @property
    def supports_batch(self) -> bool:
        """False: view by view.

        Feast asks this first, before its registry says that a view is being materialised. In a home only a publication
        changes what is online, all views at once, so `feast materialize` ends here: MaterialisationRefused.
        """
        if self.repo_config.offline_store.ledger is not None:
            raise MaterialisationRefused(
                code="FPM-ONL-032",
                wrong="`feast materialize` would change single views outside a publication",
                effect="nothing was written",
                todo="publish the session: `fpm run publish SESSION`, or wait for the night",
            )
        return False

    def _materialize_one(
        self,
        registry: BaseRegistry,
        task: MaterializationTask,
        **kwargs: Any,  # noqa: ARG002  Feast's signature
    ) -> LocalMaterializationJob:
        """Store the newest row of each key in the task's window, in one transaction; errors are raised."""
        view, online = task.feature_view, self.online_store
        assert isinstance(online, FpmOnlineStore) and view.batch_source is not None
        entities = [registry.get_entity(name, task.project) for name in view.entities]
        keys, features, event, created = _get_column_names(view, entities)
        rows = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=view.batch_source,
            join_key_columns=keys,
            feature_name_columns=features,
            timestamp_field=event,
            created_timestamp_column=created,
            start_date=task.start_time,
            end_date=task.end_time,
        ).to_arrow()
        if len(rows):
            online.write_frame(self.repo_config, view, pl.DataFrame(pl.from_arrow(rows)))
        return LocalMaterializationJob(f"{view.name}-{task.end_time.isoformat()}", MaterializationJobStatus.SUCCEEDED)

    def update(
        self,
        project: str,
        views_to_delete: Sequence[FeatureView],
        views_to_keep: Sequence[FeatureView | OnDemandFeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
    ) -> None:
        """The engine keeps nothing between runs."""

    def teardown_infra(self, project: str, fvs: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """The engine keeps nothing between runs."""
