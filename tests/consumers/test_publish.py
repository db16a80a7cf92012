"""A session goes online whole and complete, once, and never replaces a newer one."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from consumers import factor_returns, parity, portfolio, publish, score_intervals
from fpm.errors import InputRefused, StoreCorrupt, TryLater
from fpm.schema import DAILY_FACTORS, STREAMS
from fpm.store.jobs.runner import run_job
from fpm.store.online.publication import published_session, served
from tests.consumers.small_lake import SCORER, VINTAGE, SmallLake, put

MONDAY, TUESDAY = date(2024, 12, 2), date(2024, 12, 3)


@pytest.fixture
def lake(stores):
    """Two sessions, ready to publish."""
    small = SmallLake()
    for session in small.fill(stores, MONDAY, TUESDAY):
        run_job(score_intervals, session, stores)
        run_job(factor_returns, session, stores)
        run_job(portfolio, session, stores)
    return small


def test_a_complete_session_is_published_in_every_view(lake, stores):
    run_job(publish, MONDAY, stores)
    ((_, publication),) = stores.ledger.publications()
    assert (publication.session, publication.views) == (MONDAY, publish.VIEWS)
    assert (publication.vintage, publication.model) == (VINTAGE, SCORER)
    assert {view: served(view, stores).height for view in publish.VIEWS} == {
        "daily_factors": 12,
        "fingerprints": 12,
        "scores": 36,
        "score_intervals": 36,  # none yet: two sessions are no history
        "weights": 12,
        "orders": 12,
        "trades": 0,
        "decisions": 1,
    }
    expected = lake.scores(MONDAY).sort("symbol", "stream")
    assert served("scores", stores)["score"].to_list() == expected["score"].to_list()


def test_publishing_again_adds_nothing(lake, stores):
    run_job(publish, MONDAY, stores)
    publish.run(MONDAY, stores)  # past the runner's own shortcut
    assert len(stores.ledger.publications()) == 1


def test_publishing_again_repairs_changes_made_online(lake, stores):
    run_job(publish, MONDAY, stores)
    stores.ledger.execute("UPDATE online.scores SET score = 7")
    stores.ledger.execute("DELETE FROM online.weights")
    publish.run(MONDAY, stores)
    assert all(view.equal for view in parity.check(MONDAY, stores))
    assert len(stores.ledger.publications()) == 1


def test_the_next_session_takes_its_place_and_an_older_one_never_does(lake, stores):
    run_job(publish, TUESDAY, stores)
    run_job(publish, MONDAY, stores)
    assert published_session(stores) == TUESDAY
    assert len(stores.ledger.publications()) == 1
    assert (
        served("scores", stores)["score"].to_list() == lake.scores(TUESDAY).sort("symbol", "stream")["score"].to_list()
    )


def test_a_correction_replaces_the_published_session(lake, stores):
    run_job(publish, MONDAY, stores)
    first = stores.ledger.publications()[0][0]
    put("scores", MONDAY, {"scores": lake.scores(MONDAY).with_columns(pl.col("score") + 1)}, stores)
    run_job(factor_returns, MONDAY, stores)
    run_job(portfolio, MONDAY, stores)
    run_job(publish, MONDAY, stores)
    newest = stores.ledger.publications()[0][1]
    assert newest.replaces == first
    note = next(row["note"] for row in stores.ledger.rows(MONDAY) if row["job"] == "publish")
    assert note == f"publication {stores.ledger.publications()[0][0]}, in place of {first}"
    assert served("scores", stores)["score"].min() > lake.scores(MONDAY)["score"].min() + 0.9


def test_an_incomplete_session_is_not_published(lake, stores):
    run_job(publish, MONDAY, stores)
    few = lake.scores(TUESDAY).filter((pl.col("stream") != "dual") | pl.col("symbol").is_in(list(lake.names[:3])))
    put("scores", TUESDAY, {"scores": few}, stores)
    run_job(factor_returns, TUESDAY, stores)
    run_job(portfolio, TUESDAY, stores)
    with pytest.raises(TryLater, match="dual scores for 25% of 12"):
        run_job(publish, TUESDAY, stores)
    assert published_session(stores) == MONDAY
    assert stores.ledger.latest("publish", TUESDAY.isoformat()).status in ("waiting", "failed")


def test_empty_factors_are_not_published(lake, stores):
    empty = lake.daily_factors(MONDAY).with_columns(pl.exclude("symbol", "log_size") * None)
    put("daily_factors", MONDAY, {"daily_factors": empty}, stores)
    with pytest.raises(TryLater, match="daily factors are empty"):
        publish.run(MONDAY, stores)


@pytest.mark.parametrize("part", ["fingerprints", *STREAMS])
def test_half_of_the_symbols_is_enough_and_one_less_is_not(lake, stores, part):
    """The smallest preset needs half of the twelve that traded; suspended symbols do not count."""
    for present, complete in ((6, True), (5, False)):
        is_present = pl.col("symbol").is_in(list(lake.names[:present]))
        if part == "fingerprints":
            frame = lake.fingerprints(MONDAY).filter(is_present)
            put(part, MONDAY, {part: frame}, stores.for_vintage(VINTAGE))
        else:
            scores = lake.scores(MONDAY).filter((pl.col("stream") != part) | is_present)
            put("scores", MONDAY, {"scores": scores}, stores)
        if complete:
            publish.run(MONDAY, stores)
            assert parity.check(MONDAY, stores)[1].equal
            continue
        with pytest.raises(TryLater, match=f"{part}.* for 42% of 12 traded symbols, 50% needed"):
            publish.run(MONDAY, stores)
    suspended = lake.daily_bars(MONDAY).with_columns(
        volume=pl.when(pl.col("symbol").is_in(list(lake.names[:10]))).then(pl.col("volume")).otherwise(0.0)
    )
    put("bars", MONDAY, {"daily_bars": suspended}, stores)
    publish.run(MONDAY, stores)


def test_nine_tenths_of_empty_factors_are_the_limit(lake, stores):
    """12 x 178 = 2,136 cells, of which 213.6 are a tenth; a symbol that traded and has no row has only empty cells."""
    rows, columns = 12, len(DAILY_FACTORS)
    for filled, complete in ((214, True), (213, False)):
        is_filled = np.zeros(rows * columns, bool)
        is_filled[:filled] = True
        cells = lake.daily_factors(MONDAY).drop("symbol").to_numpy()
        values = np.where(is_filled.reshape(rows, columns), cells, np.nan)
        frame = pl.DataFrame({"symbol": lake.names}).hstack(pl.DataFrame(values, schema=list(DAILY_FACTORS)))
        put("daily_factors", MONDAY, {"daily_factors": frame.fill_nan(None)}, stores)
        if complete:
            publish.run(MONDAY, stores)
            assert served("daily_factors", stores).height == 2, "rows without any value are not served"
            continue
        with pytest.raises(TryLater, match="90% of the daily factors are empty, 90% allowed"):
            publish.run(MONDAY, stores)


def test_without_weights_it_waits(stores):
    SmallLake().fill(stores, MONDAY, MONDAY)
    with pytest.raises(TryLater, match="weights"):
        run_job(publish, MONDAY, stores)


def test_scores_of_two_models_are_refused(lake, stores):
    mixed = lake.scores(MONDAY).with_columns(
        pl.when(pl.col("stream") == "dual").then(pl.lit("other")).otherwise(pl.col("model")).alias("model")
    )
    put("scores", MONDAY, {"scores": mixed}, stores)
    with pytest.raises(TryLater, match="2 pairs"):
        publish.run(MONDAY, stores)


def test_bytes_that_are_not_the_recorded_ones_are_not_published(lake, stores):
    ((_, path),) = stores.lake.files("scores", MONDAY, MONDAY)
    lake.scores(MONDAY).with_columns(score=0.0).write_parquet(path)
    with pytest.raises((StoreCorrupt, pl.exceptions.PolarsError)):
        publish.run(MONDAY, stores)
    assert published_session(stores) is None


def test_one_refused_view_leaves_nothing_of_the_others(lake, stores):
    """The transaction's last view is broken in the database: no row of the first ones may stay."""
    stores.ledger.execute("ALTER TABLE online.weights ADD CONSTRAINT none_allowed CHECK (weight < 0)")
    with pytest.raises(Exception, match="none_allowed"):
        run_job(publish, MONDAY, stores)
    assert stores.ledger.publications() == []
    assert stores.ledger.query("SELECT count(*) FROM online.scores") == [(0,)]


# --- a universe that shrinks ------------------------------------------------------------------------------------
def lose(gone: int, lake: SmallLake, stores) -> list[str]:
    """Tuesday without any row of the first `gone` symbols."""
    lost = list(lake.names[:gone])
    left = ~pl.col("symbol").is_in(lost)
    put("bars", TUESDAY, {"daily_bars": lake.daily_bars(TUESDAY).filter(left)}, stores)
    put("daily_factors", TUESDAY, {"daily_factors": lake.daily_factors(TUESDAY).filter(left)}, stores)
    put("fingerprints", TUESDAY, {"fingerprints": lake.fingerprints(TUESDAY).filter(left)}, stores.for_vintage(VINTAGE))
    put("scores", TUESDAY, {"scores": lake.scores(TUESDAY).filter(left)}, stores)
    run_job(factor_returns, TUESDAY, stores)
    run_job(portfolio, TUESDAY, stores)
    return lost


def test_a_universe_that_shrank_is_not_published(lake, stores):
    """Nine of twelve are the smallest preset's 75 %, eight are 67 %."""
    run_job(publish, MONDAY, stores)
    lost = lose(4, lake, stores)
    with pytest.raises(
        InputRefused, match=r"FPM-PUB-010 .* 8 of 12 .*\(67%, 75% needed\): 600000.SH, .* are missing"
    ) as refusal:
        run_job(publish, TUESDAY, stores)
    assert refusal.value.exit_code == 1 and all(name in str(refusal.value) for name in lost)
    assert published_session(stores) == MONDAY
    assert stores.ledger.latest("publish", TUESDAY.isoformat()).status == "failed"
    lose(3, lake, stores)
    run_job(publish, TUESDAY, stores)
    assert published_session(stores) == TUESDAY


def test_a_whole_market_may_lose_a_twentieth():
    assert publish.PRESETS["default"].universe == 0.95


@pytest.mark.parametrize("reason", ["halted", "delisted today", "delisted as announced"])
def test_halted_and_delisted_symbols_are_not_missing(lake, stores, reason):
    four = pl.col("symbol").is_in(list(lake.names[:4]))
    if reason == "delisted as announced":
        dated = lake.daily_bars(MONDAY).with_columns(delist_date=pl.when(four).then(pl.lit(TUESDAY)))
        put("bars", MONDAY, {"daily_bars": dated}, stores)
    run_job(publish, MONDAY, stores)
    lose(4, lake, stores)
    today = lake.daily_bars(TUESDAY)
    if reason == "halted":
        today = today.with_columns(suspended=four, volume=pl.when(four).then(0.0).otherwise("volume"))
    elif reason == "delisted today":
        today = today.with_columns(delist_date=pl.when(four).then(pl.lit(TUESDAY)))
    else:
        today = today.filter(~four)
    put("bars", TUESDAY, {"daily_bars": today}, stores)
    run_job(factor_returns, TUESDAY, stores)
    run_job(portfolio, TUESDAY, stores)
    run_job(publish, TUESDAY, stores)
    assert published_session(stores) == TUESDAY
