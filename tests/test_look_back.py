"""Without the table `symbols`, a symbol that was gone for more than a reader's look-back starts anew.

Every reader of a window runs twice: with the symbol's rows before its gap, and with none of them. A reader that
reached over the gap would take values that may be another company's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from types import ModuleType

import polars as pl
import pytest

from consumers.questions.leak_inputs import InMemoryStores
from fpm.features.daily_factors import HISTORY
from fpm.leaks.checks import Frames
from fpm.sessions import market, sessions_between
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from producers import daily_factors, minute_features, session_totals
from producers.previous_closes import LOOK_BACK, previous_closes
from tests.small_market import FIRST, small_market

US = market("us")
SESSIONS = sessions_between(US, date(2024, 1, 2), date(2024, 6, 28))
GONE = "A"


@pytest.fixture
def us(settings: Settings) -> Iterator[Stores]:
    stores = open_stores(settings.model_copy(update={"market": "us"}))
    stores.decide_profile("bar_32")
    yield stores
    stores.ledger.close()


def in_memory(frames: Frames, stores: Stores) -> InMemoryStores:
    return InMemoryStores(
        stores.settings, stores.market, stores.lake, stores.ledger, stores.models, frames=frames
    )  # fmt: skip


def with_gap(frames: Frames, gap: list[date], symbol: str) -> Frames:
    rows = (pl.col("symbol") == symbol) & pl.col("session").is_in(gap)
    return {name: frame.filter(~rows) for name, frame in frames.items()}


def anew(frames: Frames, last: date, symbol: str) -> Frames:
    """The frames without the symbol's rows before a session."""
    return {
        name: frame.filter((pl.col("symbol") != symbol) | (pl.col("session") >= last)) for name, frame in frames.items()
    }


def small(sessions: int) -> Frames:
    """The small market's bars as the first minutes of US sessions."""
    moved = {FIRST.toordinal() + i: session for i, session in enumerate(SESSIONS[:sessions])}
    day = pl.col("session").map_elements(lambda on: moved[on.toordinal()], pl.Date)
    return {name: frame.with_columns(day) for name, frame in small_market(sessions, seed=3).items()}


def written(job: ModuleType, session: date, frames: Frames, stores: Stores) -> pl.DataFrame:
    reader = in_memory(frames, stores)
    job.run(session, reader)
    return pl.concat(output.frame for output in reader.outputs)


def totals(frames: Frames, sessions: list[date], stores: Stores) -> Frames:
    rows = [written(session_totals, day, frames, stores).with_columns(session=pl.lit(day)) for day in sessions]
    return {**frames, "session_totals": pl.concat(rows)}


def medians(session: date, frames: Frames, stores: Stores) -> pl.DataFrame:
    return written(session_totals, session, frames, stores)


def factors(session: date, frames: Frames, stores: Stores) -> pl.DataFrame:
    return written(daily_factors, session, frames, stores)


def closes(session: date, frames: Frames, stores: Stores) -> pl.DataFrame:
    return previous_closes(session, in_memory(frames, stores), None)


@pytest.mark.parametrize(("reader", "look_back"), [(medians, 3), (factors, HISTORY), (closes, LOOK_BACK)])
def test_a_producer_does_not_reach_over_the_gap(
    reader: Callable[[date, Frames, Stores], pl.DataFrame], look_back: int, us: Stores
) -> None:
    at = look_back + 4
    frames = small(at + 1)
    gone = with_gap(frames, SESSIONS[at - look_back : at], GONE)
    answer = reader(SESSIONS[at], gone, us)
    assert answer.equals(reader(SESSIONS[at], anew(frames, SESSIONS[at], GONE), us), null_equal=True)
    assert not answer.equals(reader(SESSIONS[at], frames, us), null_equal=True), "the symbol's past does matter"


def test_minute_features_do_not_reach_over_the_gap(us: Stores) -> None:
    window, at = us.profile.constants.window, 11
    frames = small(at + 1)
    gone = totals(with_gap(frames, SESSIONS[at - window : at], GONE), SESSIONS[3:at], us)
    rows = written(minute_features, SESSIONS[at], gone, us)
    assert GONE not in rows["symbol"].to_list() and rows["symbol"].n_unique() > 2, "it has no history, so no features"
    whole = totals(frames, SESSIONS[3:at], us)
    assert GONE in written(minute_features, SESSIONS[at], whole, us)["symbol"].to_list()
