"""Parity detects, counts and names every planted difference between online and offline."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from consumers import factor_returns, parity, portfolio, publish
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
        run_job(factor_returns, session, stores)
        run_job(portfolio, session, stores)
    run_job(publish, MONDAY, stores)
    return stores


def test_a_published_session_is_equal_everywhere(published):
    parity.run(MONDAY, published)
    views = parity.check(MONDAY, published)
    assert [(view.view, view.rows, view.equal) for view in views] == [
        ("daily_factors", 12, True),
        ("fingerprints", 12, True),
        ("scores", 36, True),
        ("score_intervals", 0, True),  # a session without is published all the same
        ("weights", 12, True),
        ("orders", 12, True),
        ("trades", 0, True),
        ("decisions", 1, True),
        ("score_history", 36, True),
        ("weight_history", 12, True),
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
            (
                "INSERT INTO online.weights "
                "(symbol, index, weight, benchmark_weight, event_timestamp, created_timestamp) "
                "SELECT '999999.SH', index, 0, 0, event_timestamp, created_timestamp FROM online.weights LIMIT 1"
            ),
            "weights",
            (0, 1, 0),
            (),
        ),
        (
            (
                "UPDATE online.fingerprints SET fingerprint = (SELECT fingerprint FROM online.fingerprints "
                "WHERE symbol = '600000.SH') WHERE symbol = '600001.SH'"
            ),
            "fingerprints",
            (0, 0, 1),
            ("fingerprint",),
        ),
        (
            (
                "UPDATE online.orders SET shares = shares + 100, fill_session = fill_session + interval '1 day' "
                "WHERE symbol = '600000.SH'"
            ),
            "orders",
            (0, 0, 2),
            ("fill_session", "shares"),
        ),
        ("UPDATE online.decisions SET shadow = '{}'", "decisions", (0, 0, 1), ("shadow",)),
        (
            (
                "UPDATE online.scores SET created_timestamp = created_timestamp + interval '1 second' "
                "WHERE symbol = '600003.SH' AND stream = 'dual'"
            ),
            "scores",
            (0, 0, 1),
            ("created_timestamp",),
        ),
    ],
)
def test_every_planted_difference_is_red(published, sql, view, counts, columns):
    published.ledger.execute(sql)
    views = {compared.view: compared for compared in parity.check(MONDAY, published)}
    assert (views[view].missing, views[view].extra, views[view].different) == counts
    assert views[view].columns == columns
    assert [name for name, compared in views.items() if not compared.equal] == [view]
    with pytest.raises(StoreCorrupt, match=f"FPM-PUB-210.*{view}"):
        parity.run(MONDAY, published)


def test_every_column_has_its_own_counts_in_the_error(published):
    published.ledger.execute("UPDATE online.daily_factors SET return_1 = NULL, gap_1 = 0 WHERE symbol = '600001.SH'")
    published.ledger.execute("DELETE FROM online.daily_factors WHERE symbol = '600002.SH'")
    factors = next(view for view in parity.check(MONDAY, published) if view.view == "daily_factors")
    counts = {name: (cells.missing, cells.extra, cells.different) for name, cells in factors.cells.items()}
    assert set(counts) == {*DAILY_FACTORS, "event_timestamp", "created_timestamp"}
    assert counts.pop("return_1") == (2, 0, 0) and counts.pop("gap_1") == (1, 0, 1)
    assert set(counts.values()) == {(1, 0, 0)}
    with pytest.raises(StoreCorrupt, match=r"daily_factors: 1 rows missing, return_1 2/0/0, .*gap_1 1/0/1"):
        parity.run(MONDAY, published)


def test_nothing_published_is_all_missing(stores):
    SmallLake().fill(stores, MONDAY, MONDAY)
    run_job(factor_returns, MONDAY, stores)
    run_job(portfolio, MONDAY, stores)
    assert {view.view: view.missing for view in parity.check(MONDAY, stores)}["scores"] == 36


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


def test_a_history_that_says_something_else_is_red_until_it_is_published_again(published):
    published.ledger.execute("UPDATE online.score_history SET score = score + 1 WHERE stream = 'dual'")
    with pytest.raises(StoreCorrupt, match=r"FPM-PUB-210 .*score_history: score 0/0/12"):
        parity.run(MONDAY, published)
    publish.run(MONDAY, published)
    parity.run(MONDAY, published)
