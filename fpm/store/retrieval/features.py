"""Feast for the rest of the package: apply the definitions, retrieve frames, read online values.

`feature_repo/feature_store.yaml` and `definitions.py` are the declarations; the settings fill in their ``${NAME}``.
Importing this module imports Feast, which takes seconds: import it where it is used.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import fpm.store.retrieval.quick_feast  # noqa: F401  before all others that import Feast

# isort: split
import polars as pl
import psycopg
import sqlalchemy as sa
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView, RepoConfig
from feast.infra.registry.sql import SqlRegistry
from pydantic import SecretStr

from fpm import sessions
from fpm.errors import TryLater, UsageError
from fpm.store.addresses import SECRET_PARTS, Hidden, hidden, sealed
from fpm.store.frames.entities import Entities, entity_rows
from fpm.store.frames.offline_store import LakeJob
from fpm.store.online.answers import table_of
from fpm.store.online.online_store import FpmOnlineStore
from fpm.store.postgres.identity import require_same_identity
from fpm.store.postgres.server import Server, ensure_server
from fpm.store.retrieval.configuration import registry
from fpm.two_clocks import EVENT, KNOWN_AT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from feast.feast_object import FeastObject

    from fpm.store.settings import Settings

PATIENCE = 0.8  # seconds that a reader waits for a connection before the server says "try later"


def feature_store(settings: Settings) -> FeatureStore:
    """Feast's own entry, configured for this deployment; see `opened` for one that closes its connections."""
    server = _own_server(settings)
    return FeatureStore(config=RepoConfig(**_configured(settings, server, server), repo_path=settings.home))


def serving_store(settings: Settings) -> FeatureStore:
    """Feast's entry for readers: one published session, no right to write anywhere, short waits for a connection."""
    server = _own_server(settings)
    configured = _configured(settings, server.for_role("producer").read_only(), server.for_role("server"))
    configured["registry"]["schema_mode"] = "verify"
    configured["online_store"] |= {"place": "serving", "patience": PATIENCE}
    return FeatureStore(config=RepoConfig(**configured, repo_path=settings.home))


@contextmanager
def opened(settings: Settings) -> Iterator[FeatureStore]:
    """The feature store for the length of a block; its connections are closed at the end.

    Raises TryLater where the database does not answer.
    """
    try:
        store = feature_store(settings)
        try:
            yield store
        finally:
            _disconnect(store)
    except (psycopg.OperationalError, sa.exc.OperationalError) as error:
        raise TryLater(
            code="FPM-PG-075",
            wrong=f"the database did not answer: {hidden(str(error), settings.secrets)}",
            effect="nothing was changed",
            todo="see that Postgres runs (`fpm setup`), then run the same command again",
        ) from sealed(error)


def apply(settings: Settings) -> list[str]:
    """Bring registry and online tables to the definitions, dropping what is no longer declared; safe to repeat.

    Returns the names of the declared views and services.
    """
    definitions = vars(importlib.import_module("feature_repo.definitions")).values()
    entities = [definition for definition in definitions if isinstance(definition, Entity)]
    views = {definition.name: definition for definition in definitions if isinstance(definition, FeatureView)}
    services = {definition.name: definition for definition in definitions if isinstance(definition, FeatureService)}
    with opened(settings) as store:
        dropped: list[FeastObject] = [
            service for service in store.list_feature_services() if service.name not in services
        ]
        dropped += [view for view in store.list_feature_views() if view.name not in views]
        declared: list[FeastObject] = [*entities, *views.values(), *services.values()]
        store.apply(declared, objects_to_delete=dropped, partial=False)
    return sorted({*views, *services})


def frame(
    settings: Settings, service_or_view: str, entities: Entities, known_at: datetime | None = None
) -> pl.DataFrame:
    """The point-in-time frame of a service or view: every entity row, in its order, with its features.

    `entities`: a frame (Polars, pandas, Arrow) or the path of a Parquet file; the join keys and either
    `event_timestamp` (aware) or `session`. A session means its close, as known at its cut-off. `known_at`, or a column
    of that name, is the second clock; without either, an event_timestamp is also the moment of knowledge.
    Columns that are no key pass through. A `vintage` is dropped where it is no key of the service: every row may carry
    one.
    Raises UsageError for an unknown name or a missing column, InputRefused for naive moments.
    """
    rows, job = retrieval(settings, service_or_view, entities, known_at)
    answer = pl.DataFrame(pl.from_arrow(job.to_arrow()))
    return pl.concat([rows, answer.drop(rows.columns)], how="horizontal")


def frame_batches(
    settings: Settings,
    service_or_view: str,
    entities: Entities,
    known_at: datetime | None = None,
    sessions: int | None = None,
) -> Iterator[pl.DataFrame]:
    """The rows of `frame` in blocks of so many event days, in the order of the days; memory is that of one block.

    `sessions`: None for as many as make a block of a few megabytes.
    Rows of one day keep their order, so entities in session order come back as they are.
    """
    _, job = retrieval(settings, service_or_view, entities, known_at)
    return (rows for _, rows in job.blocks(sessions))


def retrieval(
    settings: Settings, service_or_view: str, entities: Entities, known_at: datetime | None = None
) -> tuple[pl.DataFrame, LakeJob]:
    """The entity rows that Feast gets, and its job, which has read nothing yet; see `frame`."""
    rows = entity_rows(entities)
    with opened(settings) as store:
        features, views = _features_and_views(store, service_or_view)
        keys = {column.name for view in views for column in view.entity_columns}
        rows = with_moments(rows if "vintage" in keys else rows.drop("vintage", strict=False), settings)
        if known_at is not None:
            rows = rows.with_columns(pl.lit(_utc(known_at)).alias(KNOWN_AT))
        # Feast passes any frame on as it is; pandas would cost a copy and the types
        job = store.get_historical_features(entity_df=rows, features=features)
    assert isinstance(job, LakeJob)
    return rows, job


def online(settings: Settings, service_or_view: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The online values of a service or view for every row of join keys, in their order; null where none is stored.

    Every cell goes through protobuf; for a whole market read schema ``serving`` by SQL instead.
    Raises UsageError for an unknown name, a view that is not online and a missing key.
    """
    with opened(settings) as store:
        features, views = _features_and_views(store, service_or_view)
        keys = list(dict.fromkeys(column.name for view in views for column in view.entity_columns))
        if offline := [view.name for view in views if not view.online]:
            raise UsageError(
                code="FPM-ONL-001",
                wrong=f"{offline} are not published online",
                effect="nothing was read",
                todo="ask for a frame",
            )
        if missing := [key for key in keys if key not in rows.columns]:
            raise UsageError(
                code="FPM-PIT-002",
                wrong=f"the rows have no column {missing[0]!r}",
                effect="nothing was read",
                todo="add it",
            )
        key_columns: dict[str, Any] = rows.select(keys).to_dict(as_series=False)
        answer = store.get_online_features(features=features, entity_rows=key_columns).to_dict()
    types = {name: table.frame_type(name) for table in map(table_of, views) for name in table.columns}
    values = pl.DataFrame({name: answer[name] for name in types if name in answer}, schema_overrides=types)
    return pl.concat([rows, values.drop(rows.columns, strict=False)], how="horizontal")


def _features_and_views(store: FeatureStore, name: str) -> tuple[FeatureService | list[str], list[FeatureView]]:
    """The features of a service or view as Feast's calls take them, and the views behind them. Raises UsageError."""
    views = {view.name: view for view in store.list_feature_views()}
    services = {service.name: service for service in store.list_feature_services()}
    if name in services:
        return services[name], [views[projection.name] for projection in services[name].feature_view_projections]
    if name in views:
        return [f"{name}:{field.name}" for field in views[name].features], [views[name]]
    raise UsageError(
        code="FPM-PIT-008",
        wrong=f"there is no feature service or view {name!r}",
        effect="nothing was read",
        todo=f"use one of {', '.join(sorted({*services, *views})) or 'none yet: run `fpm setup`'}",
    )


def with_moments(rows: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Rows of sessions (dates, or texts such as 2026-01-05) with the `event_timestamp` and `known_at` they mean."""
    if EVENT in rows.columns or "session" not in rows.columns:
        return rows
    if rows.schema["session"] == pl.String:
        rows = rows.with_columns(pl.col("session").str.to_date(strict=False))
    market, days = settings.venue, rows["session"].unique().drop_nulls().sort().to_list()
    if closed := [day for day in days if not sessions.is_session(market, day)]:
        raise UsageError(
            code="FPM-PIT-018",
            wrong=f"{closed[0]} is no session of {market.name}",
            effect="nothing was read",
            todo="give sessions of its calendar, or an event_timestamp",
        )
    closes = {day: sessions.close(market, day) for day in days}
    cut_offs = {day: sessions.cut_off(market, day) for day in days}
    kind = pl.Datetime("us", "UTC")
    moments = [pl.col("session").replace_strict(closes, default=None, return_dtype=kind).alias(EVENT)]
    if KNOWN_AT not in rows.columns:
        moments.append(pl.col("session").replace_strict(cut_offs, default=None, return_dtype=kind).alias(KNOWN_AT))
    return rows.with_columns(moments)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise UsageError(
            code="FPM-PIT-003",
            wrong=f"known_at {moment} has no time zone",
            effect="nothing was read",
            todo="give it one",
        )
    return moment.astimezone(UTC)


def _own_server(settings: Settings) -> Server:
    """The home's database. Raises UsageError where it is another's, OperationalError where it does not answer."""
    server = ensure_server(settings)
    require_same_identity(settings, server)
    return server


def _configured(settings: Settings, ledger: Server, online: Server) -> dict[str, Any]:
    """feature_store.yaml with its names filled in; the registry lies in the ledger's database.

    Feast shows its configuration, so passwords are hidden in it.
    """
    values = {
        "FPM_FEAST_REGISTRY": registry(ledger),
        "FPM_FEAST_LAKE": str(settings.lake),
        "FPM_FEAST_LEDGER": ledger.dsn,
        "FPM_FEAST_ONLINE": online.dsn,
        "FPM_FEAST_PLACE": "online",
    }
    text = resources.files("feature_repo").joinpath("feature_store.yaml").read_text(encoding="utf-8")
    configured: dict[str, Any] = _filled(yaml.safe_load(text), values)
    # an empty password counts: it keeps that of the environment out, and libpq reads the file
    secrets = {name: Hidden(ledger.parts[name]) for name in SECRET_PARTS if ledger.parts.get(name) is not None}
    configured["registry"]["sqlalchemy_config_kwargs"]["connect_args"] = secrets
    configured["online_store"]["dsn"] = SecretStr(online.dsn)
    configured["offline_store"]["ledger"] = SecretStr(ledger.dsn)
    return configured


def _filled(node: Any, values: dict[str, str]) -> Any:
    """The parsed YAML with every ``${NAME}`` replaced; parsed first, so that no value can change its structure."""
    if isinstance(node, dict):
        return {key: _filled(child, values) for key, child in node.items()}
    return Template(node).substitute(values) if isinstance(node, str) else node


def _disconnect(store: FeatureStore) -> None:
    online_store = store._get_provider().online_store  # noqa: SLF001  Feast's way from a store to its online store
    assert isinstance(online_store, FpmOnlineStore)
    online_store.disconnect()
    assert isinstance(store.registry, SqlRegistry)
    store.registry.write_engine.dispose()
