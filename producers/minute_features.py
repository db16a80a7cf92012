"""Job: the 32 features of every symbol and minute of a session, standardised by earlier sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.features.bars import grid
from fpm.features.minute_features import PRESETS, by_symbol, minute_features, raw_features, standardise
from fpm.features.session_totals import MEDIAN_INPUTS, scales, slot_median
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "minute_features"
READS: Mapping[str, Window] = {
    "minute_bars": Window(back=lambda settings: PRESETS[settings.preset].history),
    "daily_bars": Window(),
    "session_totals": Window(back=lambda settings: PRESETS[settings.preset].window, include=False),
}
WRITES: tuple[str, ...] = (NAME,)


def run(session: date, stores: Stores) -> None:
    """Write the features of `session` under the home's profile; symbols without enough history have no rows."""
    profile, market = stores.profile, stores.market
    bars, daily = stores.read("minute_bars", session), stores.read("daily_bars", session)
    before = previous_sessions(market, session, max(profile.constants.window, profile.constants.history))
    earlier = stores.read("minute_bars", before[-profile.constants.history], before[-1], columns=MEDIAN_INPUTS)
    totals = stores.read("session_totals", before[-profile.constants.window], before[-1])
    dense = grid(bars, market, profile.view)
    raw_STF = raw_features(dense, daily, slot_median(earlier, dense.symbols, market, profile), profile)
    scales_SF = scales(totals, dense.symbols, by_symbol(daily, dense.symbols, "adj_factor"), profile)
    stores.write(NAME, session, minute_features(dense, standardise(raw_STF, scales_SF, profile), profile))
