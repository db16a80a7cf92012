"""A home of fifteen scored sessions: labels of the first nine, three nights with portfolios, the last published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import polars as pl
import pytest
from pydantic import SecretStr

from consumers import factor_returns, portfolio, publish, risk_tests, vitals
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.settings import Settings
from tests.consumers.small_lake import FIRST, SmallLake, put
from tests.databases import fresh_database

LAST = date(2024, 12, 20)
LAKE = SmallLake(symbols=30)
REFUSED = LAKE.names[4]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("gathered")
    mandate = folder / "mandate.toml"
    mandate.write_text('[CSI300]\nrebalance = "daily"\n')
    with fresh_database(postgres_server) as url:
        stores = open_stores(Settings(home=folder, preset="tiny", database_url=SecretStr(url), mandate=mandate))
        days = LAKE.fill(stores, FIRST, LAST)
        for day in days[:-6]:
            put("labels", day, {"labels": LAKE.labels(day)}, stores)
        for day in days[-3:]:
            for job in (factor_returns, portfolio, risk_tests):
                run_job(job, day, stores)
        run_job(publish, LAST, stores)
        run_job(vitals, LAST, stores)
        rows = pl.DataFrame({"symbol": [REFUSED, "600999.SH"], "reason_code": "FPM-IN-021", "reason": "high below low"})
        quarantine = stores.settings.quarantine / "daily_bars" / f"session={LAST}"
        quarantine.mkdir(parents=True)
        rows.write_parquet(quarantine / "0123456789ab.parquet")
        (quarantine / "fedcba987654.parquet").write_bytes(b"damaged")
        yield stores
        stores.ledger.close()
