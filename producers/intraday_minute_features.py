"""The 32 features of the running session's minutes so far, by the scales of whole sessions before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.features.bars import grid
from fpm.features.minute_features import by_symbol, minute_features, raw_blocks, standardised
from fpm.features.running_daily import running_daily
from fpm.features.session_totals import scales, slot_median
from fpm.schema import INTRADAY_MINUTE_FEATURES
from fpm.sessions import moment, previous_sessions
from fpm.store.jobs.minutes import EVENT, as_known, bars_so_far, publish_minute, session_before
from fpm.store.lake.files import CLOCK
from producers.session_totals import earlier_amounts

if TYPE_CHECKING:
    from fpm.running_session import Cut
    from fpm.store.jobs.publishing import Outcome
    from fpm.store.ledger.stores import Stores

NAME = INTRADAY_MINUTE_FEATURES.name


def run(at: Cut, stores: Stores) -> Outcome:
    """Write the features up to a minute, as known then; each row describes its own minute.

    Raises TryLater where the running session's bars, or the session before it, are missing.
    """
    knowledge = as_known(at, stores)
    assert knowledge.known_at is not None
    frame = _features(at, knowledge).with_columns(_ends(at, knowledge))
    return publish_minute(NAME, frame, at, knowledge.known_at, stores)


def _features(at: Cut, knowledge: Stores) -> pl.DataFrame:
    profile, market = knowledge.profile, knowledge.market
    bars = bars_so_far(at, knowledge)
    daily = running_daily(bars, market, knowledge.read("daily_bars", session_before(at, knowledge)))
    bars = bars.filter(pl.col("symbol").is_in(daily["symbol"].implode()))
    dense = grid(bars, market, profile.view)
    median_ST = slot_median(earlier_amounts(at.session, knowledge), dense.symbols, market, profile)
    days = previous_sessions(market, at.session, profile.constants.window)
    totals = knowledge.read("session_totals", days[0], days[-1])
    scales_SF = scales(totals, dense.symbols, by_symbol(daily, dense.symbols, "adj_factor"), profile)
    raw = raw_blocks(dense, daily, median_ST, profile)
    x_STF = standardised(raw, scales_SF, dense.traded_ST.shape[1], profile)
    return minute_features(dense, x_STF, profile).filter(pl.col("slot") <= at.position)


def _ends(at: Cut, knowledge: Stores) -> pl.Expr:
    """The moment of every minute of the view."""
    places = zip(knowledge.market.views[knowledge.profile.view], knowledge.market.slots, strict=True)
    ends = {place: moment(knowledge.market, at.session, minute) for place, minute in places if place >= 0}
    return pl.col("slot").replace_strict(list(ends), list(ends.values()), return_dtype=CLOCK).alias(EVENT)
