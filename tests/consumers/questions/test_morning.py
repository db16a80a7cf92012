"""The page of a home: what it says is what the tables hold."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from consumers import factor_returns, portfolio
from consumers.questions import morning
from fpm.errors import TryLater, UsageError
from fpm.report.figure_text import number, percent
from fpm.store.jobs.runner import backfill
from fpm.store.ledger.stores import Stores
from tests.consumers.questions.conftest import Command
from tests.consumers.small_lake import SmallLake, put
from tests.small_chain import quiet

MONDAY, THURSDAY, FRIDAY, NEXT = (date(2024, 12, day) for day in (2, 5, 6, 9))


@pytest.fixture
def home(stores: Stores) -> Stores:
    """A week and a day; on Thursday the index loses a name, on the last day a name held is halted."""
    lake = SmallLake()
    lake.fill(stores, MONDAY, NEXT)
    halted = pl.col("symbol") == lake.names[2]
    put(
        "bars",
        NEXT,
        {"daily_bars": lake.daily_bars(NEXT).with_columns(volume=pl.when(halted).then(0.0).otherwise("volume"))},
        stores,
    )
    members = pl.DataFrame({"index": "CSI300", "symbol": lake.names[1:10], "weight": 1 / 9})
    put("members", THURSDAY, {"index_members": members}, stores)
    for job in (factor_returns, portfolio):
        backfill(job, MONDAY, NEXT, stores, quiet)
    return stores


def test_the_evening_of_a_decision(home: Stores, tmp_path: Path) -> None:
    (own,) = morning.gather(FRIDAY, home).standings
    orders, decision = home.read("orders", FRIDAY), home.read("decisions", FRIDAY).row(0, named=True)
    assert own.frames["orders"].height == orders.height and own.decision is not None and own.before is not None
    assert (own.before["session"], own.left, own.entered) == (MONDAY, ["600000.SH"], ["600009.SH"])
    page = morning.write(FRIDAY, tmp_path / "page.html", home)
    html, twin = page.read_text(), page.with_suffix(".md").read_text()
    for row in orders.to_dicts():
        assert f"| {row['symbol']} | {row['side']} | {number(row['shares'], 0)} | {row['reason']}" in twin
    assert percent(decision["tracking_error"]) in html and "left" in html and "<script" not in html
    before = page.read_bytes(), page.with_suffix(".md").read_bytes()
    morning.write(FRIDAY, page, home)
    assert (page.read_bytes(), page.with_suffix(".md").read_bytes()) == before


def test_the_evening_of_the_fills(home: Stores) -> None:
    (own,) = morning.gather(NEXT, home).standings
    assert own.decision is None and own.frames["orders"].is_empty()
    assert own.frames["ordered"].height == home.read("orders", FRIDAY).height
    assert own.frames["trades"].height == home.read("trades", NEXT).height > 0
    assert own.halted == ["600002.SH"] and own.nav is not None
    excess = own.performance.total_excess if own.performance else None
    nav = home.read("nav", MONDAY, NEXT).sort("session")
    gap = nav.select(pl.col("nav").pct_change() - pl.col("benchmark_return")).to_series().drop_nulls()
    assert excess == pytest.approx((1 + gap).product() - 1, abs=1e-12)
    compounded = nav["nav"][-1] / nav["nav"][0] - (1 + nav["benchmark_return"][1:]).product()
    assert own.attribution["contribution"].sum() == pytest.approx(compounded, abs=1e-12)


def test_exposures_are_those_of_the_targets(home: Stores) -> None:
    (own,) = morning.gather(FRIDAY, home).standings
    targets = home.read("targets", FRIDAY)
    active = targets["weight"] - targets["benchmark_weight"]
    told = own.exposures.filter((pl.col("session") == FRIDAY) & (pl.col("name") == "beta"))["active"].item()
    assert told == pytest.approx((active * targets["beta"].fill_null(0.0)).sum(), abs=1e-12)
    industries = own.exposures.filter((pl.col("session") == FRIDAY) & (pl.col("kind") == "industry"))
    assert industries["active"].sum() == pytest.approx(active.sum(), abs=1e-12)


def test_the_command_writes_the_newest_page_and_names_what_it_cannot(home: Stores, command: Command) -> None:
    answer = command(home, "morning", "--json")
    assert answer.code == 0 and json.loads(answer.output)["session"] == str(NEXT)
    page = home.settings.reports / "morning.html"
    assert Path(json.loads(answer.output)["page"]) == page and len(page.read_bytes()) < 3_000_000
    with pytest.raises(UsageError, match="FPM-MRN-001"):
        morning.gather(date(2024, 12, 7), home)
    with pytest.raises(TryLater, match="FPM-MRN-075"):
        morning.gather(date(2024, 12, 10), home)


def test_a_home_without_a_portfolio_says_what_to_run(stores: Stores) -> None:
    with pytest.raises(TryLater, match="no portfolio yet"):
        morning.newest_session(stores)
