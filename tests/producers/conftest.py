"""A deployment with minute features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from tests.prepared_home import PreparedHome, prepared
from tests.producers.small_features import SESSIONS, features


def fill(stores: Stores) -> None:
    """Minute features of every session."""
    stores.decide_profile("l2_32")
    for session in SESSIONS:
        publish_frames("minute_features", session, {"minute_features": features(session)}, stores)


@pytest.fixture(scope="session")
def filled_home(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    with prepared(postgres_server, tmp_path_factory.mktemp("filled") / "home", fill) as home:
        yield home


@pytest.fixture
def filled(filled_home: PreparedHome, tmp_path: Path) -> Iterator[Stores]:
    """A deployment with minute features of every session."""
    with filled_home.copied(tmp_path / "home") as stores:
        yield stores
