"""Fixtures of every test: an embedded PostgreSQL for the whole run, a fresh migrated database for each test."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.migrate import migrate
from fpm.store.postgres.server import Server, ensure_server, stop_server
from fpm.store.settings import Settings
from tests.databases import fresh_database
from tests.shell import FPM, environment

for _name in [name for name in os.environ if name.startswith("FPM_")]:
    del os.environ[_name]  # a developer's own deployment must not leak into the tests


hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")

# Files of one or two tests with whole chains of minutes: run last, they would keep one process long after the others.
LONG = (
    "test_signal.py",
    "test_nightly.py",
    "test_truncation.py",
    "test_corrections.py",
    "test_hand_over.py",
    "test_readme.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; with `--no-loadscope-reorder` the processes take files in this order."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def unforced() -> Iterator[None]:
    """Nothing is forced to the disk: no test takes the power away. `posix.fsync` still does so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The embedded server, migrated, stopped at the end; without fsync, for speed."""
    settings = Settings(home=tmp_path_factory.mktemp("server"), fsync=False)
    server = ensure_server(settings)
    migrate(settings)
    yield server
    stop_server(settings)


@pytest.fixture
def database_url(postgres_server: Server) -> Iterator[str]:
    """A fresh database with all migrations, copied from the server's first one."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An empty deployment of the Chinese market with the smallest preset."""
    return Settings(home=tmp_path / "home", market="cn", preset="tiny", database_url=database_url)


@pytest.fixture
def stores(settings: Settings) -> Iterator[Stores]:
    """Open stores of that deployment."""
    opened = open_stores(settings)
    yield opened
    opened.ledger.close()


@pytest.fixture(scope="session")
def fpm_command(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`fpm_command(*words, **variables)` runs one command to its end, in its own home unless FPM_HOME names one."""

    def run(*words: str, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*FPM, *words],
            env=environment(tmp_path_factory.mktemp("home"), **variables),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
