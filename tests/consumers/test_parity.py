"""Every planted difference between online and offline is found, counted and named."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from consumers import parity, portfolio, publish
from fpm.errors import StoreCorrupt
from fpm.schema import DAILY_FACTORS
from fpm.store.jobs.runner import run_job
from tests.consumers.small_lake import SmallLake

MONDAY, TUESDAY = date(2024, 12, 2), date(2024, 12, 3)


@pytest.fixture
def published(stores):
    """Stores with Monday online."""
    SmallLake().fill(stores, MONDAY, TUESDAY)
    for session in (MONDAY, TUESDAY):
        run_job(portfolio, session, stores)
    run_job(publish, MONDAY, stores)
    return stores


def test_what_was_published_is_equal_everywhere(published):
    parity.run(MONDAY, published)
    compared = parity.check(MONDAY, published)
    assert [(each.view, each.rows, each.equal) for each in compared] == [
        ("daily_factors", 12, True),
        ("fingerprints", 12, True),
        ("scores", 36, True),
        ("weights", 12, True),
    ]


@pytest.mark.parametrize(
    ("sql", "view", "counts", "columns"),
    [
        (
            "UPDATE online.scores SET score = score + 1e-12 WHERE symbol = '600003.SH' AND stream = 'dual'",
            "scores",
            (0, 0, 1),
            ("score",),
        ),
        (
            "UPDATE online.daily_factors SET return_1 = NULL, gap_1 = 0 WHERE symbol = '600001.SH'",
            "daily_factors",
            (0, 0, 2),
            ("return_1", "gap_1"),
        ),
        ("DELETE FROM online.fingerprints WHERE symbol = '600005.SH'", "fingerprints", (1, 0, 0), ()),
        (
            "INSERT INTO online.weights (symbol, index, weight, benchmark_weight, event_timestamp, created_timestamp) "
            "SELECT '999999.SH', index, 0, 0, event_timestamp, created_timestamp FROM online.weights LIMIT 1",
            "weights",
            (0, 1, 0),
            (),
        ),
        (
            "UPDATE online.fingerprints SET fingerprint = (SELECT fingerprint FROM online.fingerprints "
            "WHERE symbol = '600000.SH') WHERE symbol = '600001.SH'",
            "fingerprints",
            (0, 0, 1),
            ("fingerprint",),
        ),
        (
            "UPDATE online.scores SET created_timestamp = created_timestamp + interval '1 second' "
            "WHERE symbol = '600003.SH' AND stream = 'dual'",
            "scores",
            (0, 0, 1),
            ("created_timestamp",),
        ),
    ],
)
def test_every_planted_difference_is_red(published, sql, view, counts, columns):
    published.ledger.execute(sql)
    found = {each.view: each for each in parity.check(MONDAY, published)}
    assert (found[view].missing, found[view].extra, found[view].different) == counts
    assert found[view].columns == columns
    assert [name for name, each in found.items() if not each.equal] == [view]
    with pytest.raises(StoreCorrupt, match=f"FPM-PUB-210.*{view}"):
        parity.run(MONDAY, published)


def test_every_column_is_counted_for_itself_and_the_night_names_it(published):
    published.ledger.execute("UPDATE online.daily_factors SET return_1 = NULL, gap_1 = 0 WHERE symbol = '600001.SH'")
    published.ledger.execute("DELETE FROM online.daily_factors WHERE symbol = '600002.SH'")
    found = next(each for each in parity.check(MONDAY, published) if each.view == "daily_factors")
    counted = {name: (cells.missing, cells.extra, cells.different) for name, cells in found.cells.items()}
    assert set(counted) == {*DAILY_FACTORS, "event_timestamp", "created_timestamp"}
    assert counted.pop("return_1") == (2, 0, 0) and counted.pop("gap_1") == (1, 0, 1)
    assert set(counted.values()) == {(1, 0, 0)}
    with pytest.raises(StoreCorrupt, match=r"daily_factors: 1 rows missing, return_1 2/0/0, .*gap_1 1/0/1"):
        parity.run(MONDAY, published)


def test_nothing_published_is_all_missing(stores):
    SmallLake().fill(stores, MONDAY, MONDAY)
    run_job(portfolio, MONDAY, stores)
    assert {each.view: each.missing for each in parity.check(MONDAY, stores)}["scores"] == 36


def test_an_older_session_has_nothing_online_to_compare(published):
    run_job(publish, TUESDAY, published)
    parity.run(MONDAY, published)
    parity.run(TUESDAY, published)


def test_null_equals_null_only():
    clocks = {"event_timestamp": [None], "created_timestamp": [None]}
    offline = pl.DataFrame({"symbol": ["a"], "index": ["x"], "weight": [None], "benchmark_weight": [0.5], **clocks})
    online = offline.with_columns(weight=pl.lit(0.0))
    assert parity.compare("weights", offline, offline).equal
    assert parity.compare("weights", offline.cast({"weight": pl.Float64}), online).columns == ("weight",)
