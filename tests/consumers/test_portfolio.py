"""Weights in the lake: decided weekly, drifting in between."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from consumers import portfolio
from fpm.errors import TryLater
from fpm.store.jobs.runner import backfill, run_job
from tests.consumers.small_lake import SmallLake, put

QUIET = lambda done, total, what: None  # noqa: E731
MONDAY, FRIDAY = date(2024, 12, 2), date(2024, 12, 6)


def weights(stores, session, index="CSI300"):
    rows = stores.read("weights", session, columns=["symbol", "index", "weight", "benchmark_weight"])
    return rows.filter(pl.col("index") == index).sort("symbol")


def test_weights_of_a_week(stores):
    lake = SmallLake()
    sessions = lake.fill(stores, MONDAY, date(2024, 12, 9))
    backfill(portfolio, sessions[0], sessions[-1], stores, QUIET)
    by_session = {session: weights(stores, session) for session in sessions}
    for rows in by_session.values():
        assert rows["weight"].sum() == pytest.approx(1, abs=1e-8)
        assert rows["benchmark_weight"].sum() == pytest.approx(1, abs=1e-8)
        assert rows.height == lake.symbols
    # Monday starts the portfolio; Tuesday holds it, moved by prices
    moved = lake.daily_bars(sessions[1])["close"].to_numpy() / lake.daily_bars(MONDAY)["close"].to_numpy()
    expected = by_session[MONDAY]["weight"].to_numpy() * moved
    assert by_session[sessions[1]]["weight"].to_numpy() == pytest.approx(expected / expected.sum(), abs=1e-12)
    # Friday decides again: two-sided turnover from the drifted holding stays within 30 %
    friday = np.abs(by_session[FRIDAY]["weight"].to_numpy() - _drifted(lake, by_session, sessions[3], FRIDAY)).sum()
    assert 0.01 < friday <= 0.30 + 1e-6
    assert [decision.solution is not None for decision in portfolio.decisions(FRIDAY, stores)] == [True]


def _drifted(lake, by_session, before, session):
    moved = lake.daily_bars(session)["close"].to_numpy() / lake.daily_bars(before)["close"].to_numpy()
    holding = by_session[before]["weight"].to_numpy() * moved
    return holding / holding.sum()


def test_without_an_index_the_benchmark_is_equal_weight_over_what_trades(stores):
    lake = SmallLake(symbols=4, index=None)
    lake.fill(stores, MONDAY, MONDAY)
    halted = lake.daily_bars(MONDAY).with_columns(
        pl.when(pl.col("symbol") == lake.names[0]).then(0.0).otherwise(pl.col("volume")).alias("volume")
    )
    put("bars", MONDAY, {"daily_bars": halted}, stores)
    run_job(portfolio, MONDAY, stores)
    rows = weights(stores, MONDAY, portfolio.EVERY_NAME)
    assert rows["benchmark_weight"].to_list() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert rows["weight"][0] == 0


def test_running_again_changes_nothing(stores):
    SmallLake().fill(stores, MONDAY, MONDAY)
    first = run_job(portfolio, MONDAY, stores)
    again = run_job(portfolio, MONDAY, stores)
    assert (first.status, again.status, again.sha256) == ("published", "unchanged", first.sha256)


def test_weights_do_not_depend_on_what_comes_later(stores):
    lake = SmallLake()
    lake.fill(stores, MONDAY, FRIDAY)
    backfill(portfolio, MONDAY, FRIDAY, stores, QUIET)
    before = [path.read_bytes() for _, path in stores.lake.files("weights", MONDAY, FRIDAY)]
    lake.fill(stores, date(2024, 12, 9), date(2024, 12, 13))
    backfill(portfolio, MONDAY, date(2024, 12, 13), stores, QUIET)
    assert [path.read_bytes() for _, path in stores.lake.files("weights", MONDAY, FRIDAY)] == before


def test_a_delisted_name_is_sold_at_its_last_price(stores):
    lake = SmallLake(index=None)
    sessions = lake.fill(stores, MONDAY, sessions_end := date(2024, 12, 4))
    gone = lake.names[0]
    put("bars", sessions_end, {"daily_bars": lake.daily_bars(sessions_end).filter(pl.col("symbol") != gone)}, stores)
    marked = lake.daily_bars(sessions[1]).with_columns(
        pl.when(pl.col("symbol") == gone).then(pl.lit(sessions_end)).otherwise(None).alias("delist_date")
    )
    put("bars", sessions[1], {"daily_bars": marked}, stores)
    put("bars", sessions[0], {"daily_bars": lake.daily_bars(sessions[0]).with_columns(marked["delist_date"])}, stores)
    backfill(portfolio, sessions[0], sessions_end, stores, QUIET)
    rows = weights(stores, sessions_end, portfolio.EVERY_NAME)
    assert rows.filter(pl.col("symbol") == gone)["weight"].to_list() == [0.0]
    assert rows["weight"].sum() == pytest.approx(1, abs=1e-8)


def test_missing_scores_make_it_wait(stores):
    lake = SmallLake()
    put("bars", MONDAY, {"daily_bars": lake.daily_bars(MONDAY)}, stores)
    with pytest.raises(TryLater, match="scores"):
        run_job(portfolio, MONDAY, stores)


def test_a_holding_and_its_benchmark_weight_go_on_under_the_new_name(stores):
    """The reference is the same portfolio without the rename."""
    lake, tuesday, new = SmallLake(), date(2024, 12, 3), "600099.SH"
    lake.fill(stores, MONDAY, tuesday)
    backfill(portfolio, MONDAY, tuesday, stores, QUIET)
    expected = weights(stores, tuesday).with_columns(pl.col("symbol").replace(lake.names[0], new)).sort("symbol")
    for table, job in (("daily_bars", "bars"), ("daily_factors", "daily_factors"), ("scores", "scores")):
        rows = getattr(lake, table)(tuesday).with_columns(pl.col("symbol").replace(lake.names[0], new))
        put(job, tuesday, {table: rows}, stores)
    companies = [(lake.names[0], date(2010, 1, 4), MONDAY, "x"), (new, tuesday, None, "x")]
    schema = ["symbol", "first", "last", "identity"]
    put("symbols", date(2010, 1, 4), {"symbols": pl.DataFrame(companies, schema=schema, orient="row")}, stores)
    run_job(portfolio, tuesday, stores)
    renamed = weights(stores, tuesday).drop_nulls("weight")
    assert renamed["symbol"].to_list() == expected["symbol"].to_list()
    for column in ("weight", "benchmark_weight"):
        assert renamed[column].to_numpy() == pytest.approx(expected[column].to_numpy(), abs=1e-9)
    assert renamed.filter(pl.col("symbol") == new)["benchmark_weight"].item() > 0
