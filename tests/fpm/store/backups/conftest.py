"""Homes with two published sessions, and empty databases beside theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from consumers import factor_returns, portfolio, publish
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.consumers.small_lake import SmallLake
from tests.small_home import MONDAY, TUESDAY


@pytest.fixture
def home(stores: Stores) -> Stores:
    """Monday and Tuesday, beside them a refused row and a page."""
    features.apply(stores.settings)
    stores.ledger.decide("market", "cn")
    stores.ledger.decide("preset", "tiny")
    SmallLake().fill(stores, MONDAY, TUESDAY)
    for name in ("quarantine/minute_bars/refused.parquet", "reports/report.html"):
        (stores.settings.home / name).parent.mkdir(parents=True)
        (stores.settings.home / name).write_text(name)
    return stores


@pytest.fixture
def published(home: Stores) -> Stores:
    """The same home with Tuesday online."""
    for session in (MONDAY, TUESDAY):
        run_job(factor_returns, session, home)
        run_job(portfolio, session, home)
    run_job(publish, TUESDAY, home)
    return home


@pytest.fixture
def elsewhere(tmp_path: Path, postgres_server: Server) -> Iterator[Callable[[], Settings]]:
    """Settings of a home that does not exist, each with an empty database of its own."""
    names: list[str] = []
    with psycopg.connect(postgres_server.dsn, dbname="postgres", autocommit=True) as connection:

        def new() -> Settings:
            names.append(f"restored_{uuid4().hex}")
            connection.execute(f"CREATE DATABASE {names[-1]} TEMPLATE template0")
            url = make_conninfo(postgres_server.dsn, dbname=names[-1])
            return Settings(home=tmp_path / names[-1], market="cn", preset="tiny", database_url=url)

        yield new
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
