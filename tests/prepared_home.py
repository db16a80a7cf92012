"""A home that is filled once and copied for each test: filling one takes seconds, a copy a tenth of one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.settings import Settings
from tests.databases import fresh_database, leave, name_of

SMALL = {"market": "cn", "preset": "tiny"}  # as the fixture `settings` has them


@dataclass(frozen=True)
class PreparedHome:
    """A filled home that nobody opens any more, the name of its database, and the settings that both were made with."""

    home: Path
    database: str
    server: Server
    settings: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def copied(self, home: Path) -> Iterator[Stores]:
        """Stores over a copy of it in the folder `home`, which is new."""
        shutil.copytree(self.home, home)
        with fresh_database(self.server, self.database) as url, _opened(home, url, self.settings) as stores:
            yield stores

    @contextmanager
    def extended(self, home: Path, fill: Callable[[Stores], object]) -> Iterator[PreparedHome]:
        """The home that `fill` leaves of a copy of this one."""
        shutil.copytree(self.home, home)
        with fresh_database(self.server, self.database) as url:
            with _opened(home, url, self.settings) as stores:
                fill(stores)
            leave(self.server, name_of(url))
            yield replace(self, home=home, database=name_of(url))


@contextmanager
def prepared(server: Server, home: Path, fill: Callable[[Stores], object], **settings: Any) -> Iterator[PreparedHome]:
    """The home that `fill` leaves of an empty one; its database lasts as long as the block."""
    chosen = SMALL | settings
    with fresh_database(server) as url:
        with _opened(home, url, chosen) as stores:
            fill(stores)
        leave(server, name_of(url))
        yield PreparedHome(home, name_of(url), server, chosen)


@contextmanager
def _opened(home: Path, url: str, settings: dict[str, Any]) -> Iterator[Stores]:
    stores = open_stores(Settings(home=home, database_url=SecretStr(url), **settings))
    try:
        yield stores
    finally:
        stores.ledger.close()
