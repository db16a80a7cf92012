"""The whole chain in a home of its own, with the smallest preset: from a delivery to every derived table."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from pydantic import SecretStr

from fpm.commands import jobs, training
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.databases import fresh_database

FEATURE_JOBS = ("session_totals", "minute_features", "daily_factors", "labels")


def quiet(done: int, total: int, what: object) -> None:
    """No progress bar in a test."""


@contextmanager
def silent(title: str) -> Iterator[object]:
    yield quiet


@contextmanager
def opened(home: Path, server: Server) -> Iterator[Stores]:
    """Stores over an empty home and a fresh database, feature definitions applied."""
    with fresh_database(server) as url:
        stores = open_stores(Settings(home=home, preset="tiny", database_url=SecretStr(url)))
        features.apply(stores.settings)
        yield stores
        stores.ledger.close()


def compute(stores: Stores, first: date, first_scored: date, last: date) -> None:
    """Run every job up to the scores; what is up to date stays."""
    for name in FEATURE_JOBS:
        jobs.backfill(name, first, last, stores, quiet)
    training.walk_forward(stores, training.plan(stores, first_scored, last, None), silent)
