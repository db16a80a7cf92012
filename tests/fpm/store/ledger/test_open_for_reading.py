"""A home that is opened for reading: nothing can be written, and what is no home is refused before anything is made."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from fpm.errors import UsageError
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.holes import judged, note
from fpm.store.ledger.stores import Stores, open_for_reading
from fpm.store.postgres.server import Server
from fpm.store.settings import Settings

DAY = date(2025, 1, 2)
BARS = pl.DataFrame({"symbol": ["600000.SH"], "close": [10.0]})


def test_it_reads_and_writes_nothing(stores: Stores) -> None:
    stores.ledger.decide("market", "cn")
    publish_frames("bars", DAY, {"daily_bars": BARS}, stores)
    reading = open_for_reading(stores.settings)
    assert reading.read("daily_bars", DAY)["close"].to_list() == [10.0] and reading.market.name == "cn"
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reading.ledger.decide("preset", "tiny")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), reading.ledger.transaction() as connection:
        connection.execute("DELETE FROM fpm.ledger")
    note(DAY, "content", "a hole", reading.ledger)  # a judgement is made again, not noted
    assert judged([DAY], stores.ledger) == {}
    reading.ledger.close()


def test_the_home_decides_its_market(stores: Stores) -> None:
    stores.ledger.decide("market", "cn")
    with pytest.raises(UsageError) as wrong:
        open_for_reading(stores.settings.model_copy(update={"market": "us"}))
    assert wrong.value.code == "FPM-CFG-010"


def test_what_is_no_home_is_refused(tmp_path: Path, postgres_server: Server) -> None:
    with pytest.raises(UsageError) as wrong:
        open_for_reading(Settings(home=tmp_path / "none"))
    assert wrong.value.code == "FPM-PAGE-001" and not (tmp_path / "none").exists()
    url = SecretStr(make_conninfo(postgres_server.dsn, dbname="postgres"))
    with pytest.raises(UsageError) as wrong:
        open_for_reading(Settings(home=tmp_path, database_url=url))
    assert wrong.value.code == "FPM-PAGE-002" and list(tmp_path.iterdir()) == []
