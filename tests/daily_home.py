"""A home of daily bars alone: a folder with daily bars, an index as intervals, and a manager's own scores."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from fpm.ingest.ingest_report import IngestReport
from fpm.sessions import market, sessions_between
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest
from tests.small_chain import quiet

US = market("us")
DAYS = sessions_between(US, date(2024, 10, 1), date(2024, 11, 22))  # 39 sessions
NOW = datetime(2024, 11, 23, tzinfo=UTC)
NAMES = tuple(f"N{letter}" for letter in "ABCDEFGHIJKL")
ENTRY = date(2024, 11, 4)  # a Monday: NL comes, NA has left


def daily_bars() -> pl.DataFrame:
    """Twelve walks, with the columns that a plain vendor has."""
    rng = np.random.default_rng(3)
    close_TN = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, (len(DAYS), len(NAMES))), axis=0))
    rows = [(day, name, close_TN[t, n]) for t, day in enumerate(DAYS) for n, name in enumerate(NAMES)]
    frame = pl.DataFrame(rows, schema=["date", "ticker", "close"], orient="row")
    price = pl.col("close")
    return frame.with_columns(open=price, high=price * 1.01, low=price * 0.99, volume=pl.lit(5e6))


def scores(first: date = DAYS[0]) -> pl.DataFrame:
    """A score of every name and session from `first` on."""
    rng = np.random.default_rng(4)
    rows = [(day, name, float(rng.normal())) for day in DAYS for name in NAMES]
    return pl.DataFrame(rows, schema=["date", "ticker", "score"], orient="row").filter(pl.col("date") >= first)


def intervals() -> pl.DataFrame:
    """Ten members; one leaves on Friday 1 November and another comes the Monday after."""
    rows = [
        ("SMALL", "NA", date(2020, 1, 2), date(2024, 11, 1)),
        *(("SMALL", name, date(2020, 1, 2), None) for name in NAMES[1:10]),
        ("SMALL", "NL", ENTRY, None),
    ]
    return pl.DataFrame(rows, schema=["index", "symbol", "from", "to"], orient="row")


def delivery(folder: Path) -> Path:
    """The folder with the three tables, named as the documentation says."""
    folder.mkdir(parents=True)
    daily_bars().write_parquet(folder / "daily_bars.parquet")
    intervals().write_parquet(folder / "index_members.parquet")
    scores().write_parquet(folder / "scores.parquet")
    return folder


def take(stores: Stores, *paths: Path, known_at: datetime = NOW, stream: str | None = None) -> IngestReport:
    """The report of an ingest of paths at `known_at`."""
    return ingest(list(paths), Arrival(known_at, known_at, stream=stream), stores, quiet)
