"""Hand-over to a new vintage: for some sessions both are online and one is in force, then the former one goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from consumers import factor_returns, parity, portfolio, publish
from fpm.sessions import cut_off
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.stores import Stores
from fpm.store.online.publication import former_vintage, served
from fpm.store.postgres.server import connect
from fpm.store.retrieval import features
from tests.consumers.small_lake import VINTAGE, SmallLake, put, sessions_of_december

NEW, NEW_SCORER = "abc123-20241202-1e1e1e1e", "scorer-2"
DAYS = sessions_of_december()[:5]  # Monday to Friday; the first is scored under the old vintage


def with_hand_over(stores: Stores, sessions: int) -> Stores:
    return replace(stores, settings=stores.settings.model_copy(update={"hand_over": sessions}))


@pytest.fixture
def lake(stores: Stores) -> SmallLake:
    """Five sessions of fingerprints under both vintages; scores of all but the first under the new one."""
    small = SmallLake()
    small.fill(stores, DAYS[0], DAYS[-1])
    born = cut_off(stores.market, DAYS[0])
    stores.models.save("encoder", NEW, {"weights.safetensors": b"e2"}, {}, born, DAYS[0], "promoted")
    stores.models.save(
        "scorer", NEW_SCORER, {"weights.safetensors": b"s2"}, {"vintage": NEW}, born, DAYS[0], "promoted"
    )
    for day in DAYS:
        put("fingerprints", day, {"fingerprints": new_space(small, day)}, stores.for_vintage(NEW))
        if day != DAYS[0]:
            scores = small.scores(day).with_columns(vintage=pl.lit(NEW), model=pl.lit(NEW_SCORER))
            put("scores", day, {"scores": scores}, stores)
        run_job(factor_returns, day, stores)
        run_job(portfolio, day, stores)
    return small


def new_space(lake: SmallLake, day: date) -> pl.DataFrame:
    vectors = -lake.fingerprints(day)["fingerprint"].to_numpy()
    return pl.DataFrame({"symbol": lake.names, "vintage": NEW}).with_columns(
        pl.Series("fingerprint", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))
    )


def online(stores: Stores) -> dict[str, tuple[int, set[date]]]:
    """Rows and sessions of every vintage in the table behind the views."""
    rows: list[Any] = stores.ledger.query(
        "SELECT vintage, count(*), array_agg(DISTINCT session) FROM online.fingerprints GROUP BY vintage"
    )
    return {vintage: (count, set(days)) for vintage, count, days in rows}


def test_both_are_online_for_some_sessions_then_the_former_goes(lake: SmallLake, stores: Stores) -> None:
    stores = with_hand_over(stores, 3)
    run_job(publish, DAYS[0], stores)
    assert online(stores) == {VINTAGE: (12, {DAYS[0]})}
    assert served("fingerprints", stores, former=True).is_empty()
    for number, day in enumerate(DAYS[1:], 1):
        run_job(publish, day, stores)
        assert all(comparison.equal for comparison in parity.check(day, stores))
        fingerprints = served("fingerprints", stores)
        assert fingerprints["vintage"].unique().to_list() == [NEW]  # never a mixture
        assert np.array_equal(
            np.stack(fingerprints["fingerprint"].to_list()), new_space(lake, day)["fingerprint"].to_numpy()
        )
        if number <= 3:
            assert former_vintage(day, NEW, stores) == VINTAGE
            assert online(stores) == {VINTAGE: (12, {day}), NEW: (12, {day})}
            former = served("fingerprints", stores, former=True)
            assert np.array_equal(
                np.stack(former["fingerprint"].to_list()), lake.fingerprints(day)["fingerprint"].to_numpy()
            )
            assert "former_fingerprints" in [comparison.view for comparison in parity.check(day, stores)]
        else:
            assert former_vintage(day, NEW, stores) is None
            assert online(stores) == {NEW: (12, {day})}
            assert served("fingerprints", stores, former=True).is_empty()


def test_the_former_vintage_is_read_by_key(lake: SmallLake, stores: Stores) -> None:
    features.apply(stores.settings)
    for day in DAYS[:2]:
        run_job(publish, day, stores)
    keys = pl.DataFrame({"symbol": [lake.names[2]] * 2, "vintage": [VINTAGE, NEW]})
    values = features.online(stores.settings, "fingerprints", keys)["fingerprint"].to_list()
    expected = lake.fingerprints(DAYS[1])["fingerprint"].to_numpy()[2]
    assert np.array_equal(np.array(values[0], np.float32), expected)
    assert np.array_equal(np.array(values[1], np.float32), -expected)
    with connect(stores.settings) as connection:
        connection.execute("SET ROLE fpm_reader")
        rows = connection.execute(
            "SELECT vintage, session, model, stale_days >= 0 FROM serving.former_fingerprints WHERE symbol = %s",
            (lake.names[2],),
        ).fetchall()
        assert rows == [(VINTAGE, DAYS[1], NEW_SCORER, True)]
        rows = connection.execute("SELECT DISTINCT vintage FROM serving.fingerprints").fetchall()
        assert rows == [(NEW,)]


def test_a_former_vintage_without_fingerprints_of_the_session_delays_nothing(lake: SmallLake, stores: Stores) -> None:
    run_job(publish, DAYS[0], stores)
    (stores.lake.root / stores.lake.relative("fingerprints", DAYS[1], VINTAGE)).unlink()
    run_job(publish, DAYS[1], stores)
    assert online(stores) == {NEW: (12, {DAYS[1]})}
    assert all(comparison.equal for comparison in parity.check(DAYS[1], stores))
    (note,) = [row["note"] for row in stores.ledger.rows(DAYS[1]) if row["job"] == "publish"]
    assert note.endswith(f"{VINTAGE} not beside it: it has no fingerprints of the session")


def test_no_hand_over_where_the_setting_is_zero(lake: SmallLake, stores: Stores) -> None:
    for day in DAYS[:2]:
        run_job(publish, day, with_hand_over(stores, 0))
    assert online(stores) == {NEW: (12, {DAYS[1]})}


def test_parity_sees_a_former_row_that_is_not_the_lakes(lake: SmallLake, stores: Stores) -> None:
    for day in DAYS[:2]:
        run_job(publish, day, stores)
    stores.ledger.execute(
        "DELETE FROM online.fingerprints WHERE vintage = %s AND symbol = %s", (VINTAGE, lake.names[0])
    )
    unequal = [comparison for comparison in parity.check(DAYS[1], stores) if not comparison.equal]
    assert [(comparison.view, comparison.missing) for comparison in unequal] == [("former_fingerprints", 1)]
    publish.run(DAYS[1], stores)
    assert all(comparison.equal for comparison in parity.check(DAYS[1], stores))


def test_a_correction_of_the_formers_vectors_is_another_publication(lake: SmallLake, stores: Stores) -> None:
    for day in DAYS[:2]:
        run_job(publish, day, stores)
    before = stores.ledger.publications()[0]
    corrected = lake.fingerprints(DAYS[1]).filter(pl.col("symbol") != lake.names[0])
    put("fingerprints", DAYS[1], {"fingerprints": corrected}, stores.for_vintage(VINTAGE))
    publish.run(DAYS[1], stores)
    after = stores.ledger.publications()[0]
    assert (after[1].replaces, after[1].vintage) == (before[0], NEW) and after[1].sha256 != before[1].sha256
    assert online(stores)[VINTAGE] == (11, {DAYS[1]})
