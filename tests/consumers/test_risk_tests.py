"""The nightly forecast test from stored rows: hand-made returns and forecasts, the same bytes, nothing from later."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from consumers import factor_returns, portfolio, risk_tests
from consumers.questions.enhance import exposures
from fpm.risk.bias import PRESETS
from fpm.risk.forecast_test import random_portfolios
from fpm.sessions import previous_sessions
from fpm.store.jobs.runner import backfill, run_job
from fpm.store.ledger.stores import Stores
from tests.consumers.small_lake import SmallLake, put
from tests.small_chain import quiet

MONDAY, THURSDAY, LATER = date(2024, 12, 2), date(2024, 12, 12), date(2024, 12, 20)
DECIDED = date(2024, 12, 6)  # the decision in force on THURSDAY


def compute(stores: Stores, first: date, last: date) -> None:
    for job in (factor_returns, portfolio, risk_tests):
        assert {outcome.status for outcome in backfill(job, first, last, stores, quiet)} <= {"published", "unchanged"}


def returns_of(lake: SmallLake, session: date, stores: Stores) -> dict[str, float]:
    """Symbol -> return of a session, from the bars themselves."""
    before = lake.daily_bars(previous_sessions(stores.market, session, 1)[0])
    today = lake.daily_bars(session)
    return dict(zip(today["symbol"], today["close"] / before["close"] - 1, strict=True))


def test_a_night_by_hand(stores: Stores) -> None:
    """The reference sums in loops over names and factors, its returns are those of the bars; one name stands still."""
    lake = SmallLake(symbols=30)
    lake.fill(stores, MONDAY, THURSDAY)
    halted = lake.daily_bars(THURSDAY).with_columns(suspended=pl.col("symbol") == lake.names[0])
    put("bars", THURSDAY, {"daily_bars": halted}, stores)
    compute(stores, MONDAY, THURSDAY)
    rows = stores.read("risk_forecasts", THURSDAY)
    assert rows["decided"].unique().to_list() == [DECIDED] and rows["index"].unique().to_list() == ["CSI300"]
    own = rows.filter(pl.col("kind") == "own").row(0, named=True)
    before, today = (stores.read("nav", day).row(0, named=True) for day in (date(2024, 12, 11), THURSDAY))
    assert own["realised"] == pytest.approx(today["nav"] / before["nav"] - 1 - today["benchmark_return"])
    forecast = stores.read("decisions", DECIDED)["tracking_error"].item()
    assert own["predicted"] == pytest.approx(forecast / np.sqrt(stores.market.sessions_per_year))
    members = lake.index_members()["symbol"].to_list()
    by_symbol = {row["symbol"]: row for row in exposures("CSI300", DECIDED, stores).rows(named=True)}
    covariance = stores.read("covariance", DECIDED).select("factor", "other", "value").rows()
    gain = returns_of(lake, THURSDAY, stores) | {lake.names[0]: 0.0}
    random = rows.filter(pl.col("kind") == "random").sort("portfolio").rows(named=True)
    for row, held in zip(random, held_names(members), strict=True):
        weight = {name: (name in held) / len(held) - 1 / len(members) for name in members}
        active = {
            factor: sum(weight[name] * by_symbol[name][factor] for name in members)
            for factor in {factor for factor, _, _ in covariance}
        }
        variance = sum(active[left] * active[right] * value for left, right, value in covariance)
        variance += sum(weight[name] ** 2 * by_symbol[name]["specific_variance"] for name in members)
        assert row["predicted"] == pytest.approx(np.sqrt(variance), rel=1e-9)
        assert row["realised"] == pytest.approx(sum(weight[name] * gain[name] for name in members), abs=1e-9)


def held_names(members: list[str]) -> list[set[str]]:
    """The names of each random tenth that holds any."""
    drawn = random_portfolios(tuple(members), PRESETS["tiny"].portfolios, 0).random_PN
    sets = [{name for name, held in zip(members, row, strict=True) if held} for row in drawn]
    return [names for names in sets if names]


def test_reasons_first_then_figures_the_same_bytes_again_and_nothing_from_later(stores: Stores) -> None:
    lake = SmallLake()
    sessions = lake.fill(stores, MONDAY, THURSDAY)
    compute(stores, MONDAY, THURSDAY)
    before = written(stores)
    assert stores.read("risk_tests", MONDAY).is_empty()  # nothing was decided before
    few = stores.read("risk_tests", sessions[3])
    assert few["kind"].to_list() == ["optimised", "own", "random"]
    assert few["bias"].to_list() == [None] * 3 and few["inside"].to_list() == [None] * 3
    assert few["reason"].to_list() == ["3 of 8 sessions", "2 of 8 sessions", "3 of 8 sessions"]
    assert run_job(risk_tests, THURSDAY, stores).status == "unchanged"
    lake.fill(stores, date(2024, 12, 13), LATER)
    compute(stores, MONDAY, LATER)
    assert written(stores) == before
    last = stores.read("risk_tests", LATER)
    assert last["reason"].to_list() == [None] * 3 and last["share"].to_list() == [None] * 3
    assert last["share_reason"].to_list() == ["14 of 272 sessions", "13 of 272 sessions", "14 of 272 sessions"]
    assert ((last["low"] < 1) & (last["high"] > 1)).all()
    forecasts = stores.read("risk_forecasts", MONDAY, LATER).filter(pl.col("kind") == "own")
    z_T = (forecasts["realised"] / forecasts["predicted"]).to_numpy()
    own = last.filter(pl.col("kind") == "own").row(0, named=True)
    assert own["bias"] == pytest.approx(np.std(z_T, ddof=1)) and own["sessions"] == len(z_T) == 13
    assert own["inside"] is (own["low"] <= own["bias"] <= own["high"])
    again = stores.as_of(None)
    risk_tests.run(LATER, again)
    keys = {"risk_forecasts": ["index", "kind", "portfolio"], "risk_tests": ["index", "kind"]}
    for output in again.outputs:
        frame = output.frame.sort(keys[output.table])
        assert frame.equals(stores.read(output.table, LATER).select(frame.columns))


def written(stores: Stores) -> list[bytes]:
    """What the job wrote up to THURSDAY."""
    paths = [path for table in risk_tests.WRITES for _, path in stores.lake.files(table, MONDAY, THURSDAY)]
    return [path.read_bytes() for path in paths]


def test_variances_twice_as_large_as_stored_are_found_out() -> None:
    """A hundred sessions of forecasts: as they are inside, with every predicted variance doubled outside."""
    random = np.random.default_rng(6)
    days = [date.fromordinal(738000 + number) for number in range(120)]
    rows = pl.DataFrame(
        [
            ("X", kind, day, f"{number:02d}", 0.01, 0.01 * random.standard_t(8) / np.sqrt(8 / 6))
            for day in days
            for kind, count in (("own", 1), ("optimised", 10), ("random", 10))
            for number in range(count)
        ],
        schema=["index", "kind", "session", "portfolio", "predicted", "realised"],
        orient="row",
    )
    config = replace(PRESETS["default"], year=100)
    assert risk_tests.figures(rows, ["X"], config)["inside"].to_list() == [True, True, True]
    doubled = rows.with_columns(predicted=pl.col("predicted") * np.sqrt(2))
    wrong = risk_tests.figures(doubled, ["X"], config)
    assert wrong["inside"].to_list() == [False, False, False]
    assert wrong["bias"].to_numpy() == pytest.approx(np.sqrt(0.5), abs=0.12)
