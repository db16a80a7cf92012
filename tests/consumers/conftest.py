"""A filled home for the tests that train and score, copied for each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pydantic import SecretStr

from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.consumers.small_nights import SESSIONS, SYMBOLS, calendar, publish
from tests.databases import fresh_database, name_of
from tests.fpm.nn.scorer.small_panel import small_panel


@pytest.fixture(scope="module")
def prepared(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, str]]:
    """A filled home and its database, to be copied: filling them takes seconds."""
    with fresh_database(postgres_server) as url:
        settings = Settings(home=tmp_path_factory.mktemp("prepared"), preset="tiny", database_url=SecretStr(url))
        stores = open_stores(settings)
        features.apply(settings)
        stores.decide_profile("bar_32")
        publish(stores, small_panel(sessions=SESSIONS, symbols=SYMBOLS))
        stores.ledger.close()
        yield settings, name_of(url)


@pytest.fixture
def filled(
    prepared: tuple[Settings, str], postgres_server: Server, tmp_path: Path
) -> Iterator[tuple[Stores, list[date]]]:
    """Stores over a copy of the prepared home and database, and the sessions of the calendar."""
    settings, template = prepared
    shutil.copytree(settings.home, tmp_path / "home")
    with fresh_database(postgres_server, template) as url:
        stores = open_stores(Settings(home=tmp_path / "home", preset="tiny", database_url=SecretStr(url)))
        yield stores, calendar(stores)
        stores.ledger.close()
