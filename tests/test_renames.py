"""Minutes, totals and their derivation again follow a company through its rename; the reference is no rename.

Stock A of the small market is called Z from the ninth session on, and another company's bars stand under Z before.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import polars as pl
import pytest

from consumers.derivation import derivation, first_difference
from fpm.leaks.checks import Frames
from fpm.sessions import market, sessions_between
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from producers import minute_features, session_totals
from tests.small_market import FIRST, small_market

US = market("us")
SESSIONS = sessions_between(US, date(2024, 1, 2), date(2024, 1, 16))
RENAME, LAST = SESSIONS[8], SESSIONS[9]
TABLE = pl.DataFrame(
    [("A", date(2020, 1, 2), SESSIONS[7], "x"), ("Z", RENAME, None, "x")],
    schema=["symbol", "first", "last", "identity"],
    orient="row",
)


def raw() -> Frames:
    moved = {FIRST.toordinal() + i: session for i, session in enumerate(SESSIONS)}
    day = pl.col("session").map_elements(lambda on: moved[on.toordinal()], pl.Date)
    return {name: frame.with_columns(day) for name, frame in small_market(len(SESSIONS), seed=7).items()}


def renamed() -> Frames:
    """A is Z from the rename on; before it a copy of B, three times its size, stands under Z."""
    late = (pl.col("symbol") == "A") & (pl.col("session") >= RENAME)
    other = (pl.col("symbol") == "B") & (pl.col("session") < RENAME)
    frames = {}
    for name, frame in raw().items():
        own = frame.with_columns(pl.when(late).then(pl.lit("Z")).otherwise("symbol").alias("symbol"))
        larger = pl.col("volume", "amount") * 3
        frames[name] = pl.concat([own, frame.filter(other).with_columns(larger, symbol=pl.lit("Z"))])
    return frames


def fill(stores: Stores, frames: Frames) -> None:
    for session in SESSIONS:
        rows = {name: frame.filter(pl.col("session") == session).drop("session") for name, frame in frames.items()}
        publish_frames("bars", session, rows, stores)
    for session in SESSIONS[:10]:
        run_job(session_totals, session, stores)
    run_job(minute_features, LAST, stores)


@pytest.fixture
def us(settings: Settings) -> Iterator[Stores]:
    stores = open_stores(settings.model_copy(update={"market": "us"}))
    stores.decide_profile("bar_32")
    yield stores
    stores.ledger.close()


def features(stores: Stores, symbol: str) -> pl.DataFrame:
    rows = stores.read("minute_features", LAST).filter(pl.col("symbol") == symbol)
    return rows.drop("symbol")


def test_features_after_a_rename_equal_those_without_it(us: Stores) -> None:
    fill(us, raw())
    expected = features(us, "A")
    fill(us, renamed())
    assert not features(us, "Z").equals(expected, null_equal=True), "Z takes the other company's scale"
    publish_frames("symbols", SESSIONS[0], {"symbols": TABLE}, us)
    for session in SESSIONS[:10]:
        run_job(session_totals, session, us)
    run_job(minute_features, LAST, us)
    assert expected.height and features(us, "Z").equals(expected, null_equal=True)
    derived = derivation(LAST, ["B", "Z"], "no vintage", us)
    for table, rows in (next(derived), next(derived)):
        stored = us.read(table, LAST).filter(pl.col("symbol").is_in(["B", "Z"]))
        assert first_difference(table, rows, stored) is None
