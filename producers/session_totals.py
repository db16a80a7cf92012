"""Job: each symbol's session total of every flow; the scales of later sessions are made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.features.bars import grid
from fpm.features.minute_features import PRESETS, raw_features
from fpm.features.session_totals import MEDIAN_INPUTS, session_totals, slot_median
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "session_totals"
READS: Mapping[str, Window] = {
    "minute_bars": Window(back=lambda settings: PRESETS[settings.preset].history),
    "daily_bars": Window(),
}
WRITES: tuple[str, ...] = (NAME,)


def run(session: date, stores: Stores) -> None:
    """Write the totals of `session` under the home's profile."""
    profile, market = stores.profile, stores.market
    bars, daily = stores.read("minute_bars", session), stores.read("daily_bars", session)
    before = previous_sessions(market, session, profile.constants.history)
    earlier = stores.read("minute_bars", before[0], before[-1], columns=MEDIAN_INPUTS)
    dense = grid(bars, market, profile.view)
    raw_STF = raw_features(dense, daily, slot_median(earlier, dense.symbols, market, profile), profile)
    stores.write(NAME, session, session_totals(raw_STF, dense, daily, profile))
