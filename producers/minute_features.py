"""Job: the 32 features of every symbol and minute of a session, standardised by earlier sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.features.bars import grid
from fpm.features.minute_features import PRESETS, by_symbol, minute_features, raw_blocks, standardised
from fpm.features.session_totals import scales, slot_median
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import Window
from producers.session_totals import earlier_amounts

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
    dense = grid(bars, market, profile.view)
    median_ST = slot_median(earlier_amounts(session, stores), dense.symbols, market, profile)
    before = previous_sessions(market, session, profile.constants.window)
    totals = stores.read("session_totals", before[0], before[-1])
    scales_SF = scales(totals, dense.symbols, by_symbol(daily, dense.symbols, "adj_factor"), profile)
    raw = raw_blocks(dense, daily, median_ST, profile)
    x_STF = standardised(raw, scales_SF, dense.traded_ST.shape[1], profile)
    stores.write(NAME, session, minute_features(dense, x_STF, profile))
