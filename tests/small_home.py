"""A home with its own server and two published sessions, as a consumer finds it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from consumers import factor_returns, neighbours, portfolio, publish
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.consumers.small_lake import SmallLake

MONDAY, TUESDAY = date(2024, 12, 2), date(2024, 12, 3)
LATER = [date(2024, 12, day) for day in (4, 5, 6)]


def publish_session(session: date, lake: SmallLake, stores: Stores) -> None:
    """Fill a session's tables and publish it."""
    lake.fill(stores, session, session)
    run_job(factor_returns, session, stores)
    run_job(portfolio, session, stores)
    run_job(publish, session, stores)


def published_home(home: Path) -> Settings:
    """A home with Monday and Tuesday published, twelve stocks."""
    home.mkdir(parents=True, exist_ok=True)
    mandate = home / "mandate.toml"
    mandate.write_text('[CSI300]\nrebalance = "daily"\n')  # so that the published session has a decision
    stores = open_stores(Settings(home=home, market="cn", preset="tiny", fsync=False, mandate=mandate))
    stores.ledger.decide("market", "cn")
    stores.ledger.decide("preset", "tiny")
    features.apply(stores.settings)
    lake = SmallLake()
    for session in (MONDAY, TUESDAY):
        publish_session(session, lake, stores)
    run_job(neighbours, TUESDAY, stores)
    stores.ledger.close()
    return stores.settings
