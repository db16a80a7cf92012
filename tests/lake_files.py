"""Files put into a home's lake and its ledger, as a job would publish them, without a job."""

from __future__ import annotations

from datetime import date

import polars as pl

from fpm.store.lake.seals import settled_identity
from fpm.store.ledger.ledger import Ledger, Staged
from fpm.store.ledger.seals import sealed_lake
from fpm.store.postgres.server import ensure_server
from fpm.store.settings import Settings


def put(settings: Settings, table: str, session: date, rows: pl.DataFrame, vintage: str | None = None) -> None:
    """Publish one partition; the rows have both clocks."""
    ledger = Ledger(ensure_server(settings).dsn)
    lake = sealed_lake(settings.lake, settings.staging, ledger)
    relative = lake.relative(table, session, vintage)
    staged = lake.stage(table, rows, relative, lake.staging)
    lake.put(lake.staging / staged.path, relative)
    attempt = ledger.begin(table, f"{vintage}/{session}" if vintage else str(session), "by hand")
    ledger.publish(attempt, [Staged(staged, relative)], {relative: settled_identity(lake.root / relative)})
    ledger.close()
