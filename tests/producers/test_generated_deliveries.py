"""Deliveries of known truth as `fpm ingest` takes them: whatever the home stores, somebody delivered it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.settings import Settings
from producers.bars import Arrival, ingest
from tests.databases import fresh_database
from tests.fpm.ingest.generated_deliveries import PRICES, Delivery, deliveries, rows, write

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MANY = (HealthCheck.too_slow, HealthCheck.data_too_large)
ONCE = (Phase.generate,)  # a home remembers: a smaller delivery would not meet the same one
KEYS = ["session", "symbol", "slot"]
VALUES = (*PRICES, "volume", "amount")


@dataclass(repr=False)
class Home:
    """The home of one market, and everything that was ever delivered to it."""

    stores: Stores
    truths: dict[date, pl.DataFrame] = field(default_factory=dict)

    def add(self, delivered: pl.DataFrame) -> None:
        """Remember the bars of a delivery by session."""
        bars = delivered.filter(pl.col("true_slot").is_not_null()).select(f"true_{name}" for name in (*KEYS, *VALUES))
        for (session,), part in bars.partition_by("true_session", as_dict=True).items():
            self.truths[session] = pl.concat([*([self.truths[session]] if session in self.truths else []), part])


@pytest.fixture
def homes(postgres_server: Server, tmp_path: Path) -> Iterator[dict[str, Home]]:
    opened: dict[str, Home] = {}

    class Homes(dict[str, Home]):
        def __missing__(self, market: str) -> Home:
            url = databases.enter_context(fresh_database(postgres_server))
            home = Settings(home=tmp_path / market, market=market, preset="tiny", database_url=url, fsync=False)
            opened[market] = self[market] = Home(open_stores(home))
            return self[market]

    with ExitStack() as databases:
        yield Homes()
        for home in opened.values():
            home.stores.ledger.close()


def take(delivery: Delivery, home: Home, folder: Path) -> str:
    """What became of a delivery, in a word; AssertionError where a stored row is nobody's."""
    # another vendor each time: what an earlier one showed is not his
    home.stores.ledger.execute("DELETE FROM fpm.deployment WHERE key = 'conventions'")
    files = write(rows(delivery), delivery, folder)
    home.add(pl.concat([part for _, part in files]))
    report = ingest([path for path, _ in files], Arrival(NOW, NOW), home.stores, lambda *_: None)
    assert report.rows_in == report.rows_out + sum(report.quarantined.values()) + report.deduplicated
    refused = {file["file"] for file in report.refused}
    assert {path.name for path, _ in files} == refused | {file["file"] for file in report.files} | set(report.skipped)
    for session in sorted(report.touched):
        _check(home.stores.read("minute_bars", session).with_columns(session=pl.lit(session)), home.truths[session])
    return "refused" if not report.touched else "stored"


def _check(stored: pl.DataFrame, truth: pl.DataFrame) -> None:
    """Every stored row is the true one of some delivery."""
    true = truth.rename({f"true_{name}": name for name in KEYS})
    traded = pl.col("volume") > 0
    same = [pl.col(name).eq_missing(pl.col(f"true_{name}")) for name in PRICES]
    same += [((pl.col(name) - pl.col(f"true_{name}")).abs() <= 1e-9 * pl.col(f"true_{name}")) for name in VALUES[4:5]]
    same.append(~traded | ((pl.col("amount") - pl.col("true_amount")).abs() <= 1e-9 * pl.col("true_amount")))
    slot = pl.col("slot").cast(pl.Int64)
    both = stored.with_columns(slot, row=pl.int_range(pl.len())).join(true.with_columns(slot), on=KEYS, how="left")
    fits = both.group_by("row").agg(pl.all_horizontal(same).fill_null(False).any().alias("fits")).sort("row")
    wrong = stored.filter(~fits["fits"])
    assert wrong.is_empty(), f"{wrong.height} of {stored.height} rows are nobody's:\n{wrong.row(0, named=True)}"


def test_what_a_home_stores_was_delivered(homes: dict[str, Home], tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=MANY, phases=ONCE)
    @given(delivery=deliveries())
    def every(delivery: Delivery) -> None:
        small = replace(delivery, symbols=delivery.symbols[:2], sessions=delivery.sessions[:1])
        take(small, homes[delivery.venue], tmp_path_factory.mktemp("delivery"))

    every()
