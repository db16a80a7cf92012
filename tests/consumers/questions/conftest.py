"""Commands run in this process, on the home of open stores; a scored home, copied for each test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from consumers import factor_returns, portfolio
from fpm.commands import cli
from fpm.store.jobs.runner import backfill
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from tests.consumers.small_lake import SmallLake, put
from tests.prepared_home import PreparedHome, prepared
from tests.small_chain import quiet

MONDAY, LAST = date(2024, 12, 2), date(2024, 12, 20)


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it printed."""

    code: int | str | None
    output: str
    errors: str


Command = Callable[..., Answer]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`command(stores, *words)` runs `fpm WORDS` on the home of `stores`."""

    def run(stores: Stores, *words: str) -> Answer:
        assert stores.settings.database_url is not None
        monkeypatch.setenv("FPM_HOME", str(stores.settings.home))
        monkeypatch.setenv("FPM_PRESET", stores.settings.preset)
        monkeypatch.setenv("FPM_DATABASE_URL", stores.settings.database_url.get_secret_value())
        monkeypatch.setattr(sys, "argv", ["fpm", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        return Answer(leaving.value.code, *capsys.readouterr())

    return run


def score(stores: Stores) -> None:
    """Fifteen scored sessions, nine of them labelled, with weights."""
    small = SmallLake()
    for session in small.fill(stores, MONDAY, LAST)[:9]:
        put("labels", session, {"labels": small.labels(session)}, stores)
    backfill(factor_returns, MONDAY, LAST, stores, quiet)
    backfill(portfolio, MONDAY, LAST, stores, quiet)


@pytest.fixture(scope="session")
def scored_home(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    with prepared(postgres_server, tmp_path_factory.mktemp("scored"), score) as home:
        yield home


@pytest.fixture
def scored(scored_home: PreparedHome, tmp_path: Path) -> Iterator[Stores]:
    """Stores over a home of its own with what `score` leaves."""
    with scored_home.copied(tmp_path / "home") as stores:
        yield stores
