"""The forecast test as a person and a monitor ask for it, and the switches on a home's own bars."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from consumers import factor_returns
from consumers.questions import risk, switches
from consumers.questions.enhance import enhance
from fpm.errors import TryLater
from fpm.store.jobs.runner import backfill
from fpm.store.ledger.stores import Stores
from tests.consumers.small_lake import FIRST, LAST, SmallLake
from tests.small_chain import quiet

FOURTH = date(2024, 12, 5)


def test_the_newest_test_is_a_table_a_curve_and_rows_of_a_metric(stores: Stores) -> None:
    with pytest.raises(TryLater, match="FPM-RISK-075"):
        risk.evaluate(stores)
    with pytest.raises(TryLater, match=r"FPM-RISK-076 .*0 of \d+ sessions of daily_bars"):
        switches.evaluate(stores, quiet)
    lake = SmallLake()
    lake.fill(stores)
    enhance("CSI300", FIRST, FOURTH, stores, quiet)
    assert {(row["kind"], row["reason"]) for row in risk.evaluate(stores)["risk"]} == {
        ("optimised", "3 of 8 sessions"),
        ("own", "2 of 8 sessions"),
        ("random", "3 of 8 sessions"),
    }
    values = {(row["name"], row["labels"]["kind"]): row["value"] for row in risk.metrics(stores)}
    assert values["fpm_risk_sessions", "own"] == 2.0
    assert not [name for name, _ in values if name in ("fpm_risk_bias", "fpm_risk_inside", "fpm_risk_share")]
    enhance("CSI300", FIRST, date(2024, 12, 18), stores, quiet)
    newest = {row["kind"]: row for row in risk.evaluate(stores)["risk"]}
    rows = risk.metrics(stores)
    assert all(set(row) == {"name", "labels", "value"} and isinstance(row["value"], float) for row in rows)
    values = {(row["name"], row["labels"]["kind"]): row["value"] for row in rows}
    for kind, row in newest.items():
        assert values["fpm_risk_bias", kind] == row["bias"] and values["fpm_risk_inside", kind] == row["inside"]
    tests = {test.kind: test for test in risk.tests(stores.sessions("risk_tests"), stores)}
    assert tests["own"].bias == newest["own"]["bias"] and tests["own"].session == date(2024, 12, 18)
    assert [session for session, *_ in tests["own"].curve] == stores.sessions("risk_tests")[9:]  # from 8 forecasts on
    assert tests["own"].curve[-1][1:] == (newest["own"]["bias"], newest["own"]["low"], newest["own"]["high"])


def test_the_switches_are_judged_on_the_homes_bars(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches, "FEWEST", 8)  # the lake has 22 sessions, of which a tiny model learns from ten
    lake = SmallLake(symbols=30)
    lake.fill(stores)
    with pytest.raises(TryLater, match="22 of 19 sessions of daily_bars, 0 of them with exposures, of 10"):
        switches.evaluate(stores, quiet)
    backfill(factor_returns, FIRST, LAST, stores, quiet)
    seen: list[tuple[int, int]] = []
    answer = switches.evaluate(stores, lambda done, total, item: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] and seen == sorted(seen)
    table = pl.DataFrame(answer["switches"])
    assert table.height == 10 and table["sessions"].unique().to_list() == [11]
    assert np.isfinite(table.select(pl.selectors.float()).to_numpy()).all()
    assert set(table["verdict"]) <= {"pays", "does not pay"}
    assert answer["last"] == str(LAST)
