"""The four jobs from raw bars to features, factors and labels, run by the runner on a real store.

One file for four modules, because they share a deployment that takes a second to fill.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from fpm.errors import TryLater
from fpm.features.bars import grid
from fpm.features.daily_factors import daily_factors as factors_of
from fpm.features.labels import labels as labels_of
from fpm.features.minute_features import by_symbol, from_frame, raw_features, standardise
from fpm.features.minute_features import minute_features as features_of
from fpm.features.session_totals import scales, slot_median
from fpm.features.session_totals import session_totals as totals_of
from fpm.leaks.checks import Frames
from fpm.sessions import close, cut_off, market, sessions_between
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from producers import daily_factors, labels, minute_features, session_totals
from tests.small_market import FIRST, small_market

US = market("us")
SESSIONS = sessions_between(US, date(2024, 1, 2), date(2024, 1, 12))


def raw_tables() -> Frames:
    """The small market's minutes as the first minutes of US sessions."""
    moved = {FIRST.toordinal() + i: session for i, session in enumerate(SESSIONS)}
    return {
        name: frame.with_columns(pl.col("session").map_elements(lambda day: moved[day.toordinal()], pl.Date))
        for name, frame in small_market(len(SESSIONS), seed=7).items()
    }


def session_rows(frame: pl.DataFrame, session: date) -> pl.DataFrame:
    return frame.filter(pl.col("session") == session)


@pytest.fixture
def us(tmp_path: Path, database_url: str) -> Iterator[Stores]:
    """A deployment of the US market with every raw session published."""
    stores = open_stores(
        Settings(home=tmp_path / "home", market="us", preset="tiny", database_url=SecretStr(database_url))
    )
    stores.decide_profile("bar_32")
    raw = raw_tables()
    for session in SESSIONS:
        publish_frames(
            "bars", session, {name: session_rows(frame, session).drop("session") for name, frame in raw.items()}, stores
        )
    yield stores
    stores.ledger.close()


def test_features_equal_those_of_the_pure_functions(us: Stores) -> None:
    profile, raw = us.profile, raw_tables()
    totals: list[pl.DataFrame] = []
    for i, session in enumerate(SESSIONS):
        run_job(session_totals, session, us)
        run_job(minute_features, session, us)
        daily = session_rows(raw["daily_bars"], session)
        dense = grid(session_rows(raw["minute_bars"], session), US, "390")
        earlier = [session_rows(raw["minute_bars"], day) for day in SESSIONS[max(0, i - 3) : i]]
        raw_STF = raw_features(dense, daily, slot_median(earlier, dense.symbols, US, profile), profile)
        if len(totals) >= profile.constants.minimum:
            window = pl.concat(totals[-profile.constants.window :])
            scales_SF = scales(window, dense.symbols, by_symbol(daily, dense.symbols, "adj_factor"), profile)
            expected = features_of(dense, standardise(raw_STF, scales_SF, profile), profile)
            stored = us.read("minute_features", session, columns=expected.columns).drop("session")
            assert expected.height > 0 and stored.equals(expected, null_equal=True)
        totals.append(totals_of(raw_STF, dense, daily, profile).with_columns(session=pl.lit(session)))


def test_sessions_without_enough_history_are_empty_and_published(us: Stores) -> None:
    for session in SESSIONS[:2]:
        run_job(session_totals, session, us)
    outcome = run_job(minute_features, SESSIONS[1], us)
    table = us.read("minute_features", SESSIONS[1])
    assert outcome.status == "published" and table.height == 0
    assert from_frame(table, us.profile)[0] == ()


def test_a_minutes_event_time_is_its_end_and_it_is_known_at_the_cut_off(us: Stores) -> None:
    for session in SESSIONS[:4]:
        run_job(session_totals, session, us)
    run_job(minute_features, SESSIONS[4], us)
    table = us.read("minute_features", SESSIONS[4])
    assert table["slot"].unique().sort().to_list() == list(range(390))
    assert table["event_timestamp"].max() == close(US, SESSIONS[4])
    assert table["created_timestamp"].unique().to_list() == [cut_off(US, SESSIONS[4])]


def test_daily_factors_equal_those_of_the_pure_function(us: Stores) -> None:
    run_job(daily_factors, SESSIONS[7], us)
    expected = factors_of(raw_tables()["daily_bars"], SESSIONS[7])
    stored = us.read("daily_factors", SESSIONS[7], columns=expected.columns).drop("session")
    assert expected.height == 5 and stored.equals(expected, null_equal=True)


def test_labels_wait_for_the_sessions_they_span(us: Stores) -> None:
    run_job(labels, SESSIONS[0], us)
    stored = us.read("labels", SESSIONS[0])
    expected = labels_of(raw_tables()["daily_bars"], SESSIONS[0], (SESSIONS[1], SESSIONS[6]))
    assert stored.select("symbol", "label").equals(expected)
    assert stored["created_timestamp"].unique().to_list() == [cut_off(US, SESSIONS[6])]
    with pytest.raises(TryLater):
        run_job(labels, SESSIONS[-6], us)
