"""A filled home for the tests that train and score, copied for each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from tests.consumers.small_nights import SESSIONS, SYMBOLS, calendar, publish
from tests.fpm.nn.scorer.small_panel import small_panel
from tests.prepared_home import PreparedHome, prepared


def fill(stores: Stores) -> None:
    """Thirty nights of generated features and labels."""
    features.apply(stores.settings)
    stores.decide_profile("bar_32")
    publish(stores, small_panel(sessions=SESSIONS, symbols=SYMBOLS))


@pytest.fixture(scope="session")
def filled_home(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    with prepared(postgres_server, tmp_path_factory.mktemp("filled") / "home", fill) as home:
        yield home


@pytest.fixture
def filled(filled_home: PreparedHome, tmp_path: Path) -> Iterator[tuple[Stores, list[date]]]:
    """Stores over a copy of the filled home, and the sessions of the calendar."""
    with filled_home.copied(tmp_path / "home") as stores:
        yield stores, calendar(stores)
