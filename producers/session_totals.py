"""Job: each symbol's session total of every flow; the scales of later sessions are made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.features.bars import grid
from fpm.features.minute_features import PRESETS, raw_blocks
from fpm.features.session_totals import MEDIAN_INPUTS, slot_median, totals_of_blocks
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    import polars as pl

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
    dense = grid(bars, market, profile.view)
    median_ST = slot_median(earlier_amounts(session, stores), dense.symbols, market, profile)
    blocks = raw_blocks(dense, daily, median_ST, profile)
    stores.write(NAME, session, totals_of_blocks(blocks, dense, daily, profile))


def earlier_amounts(session: date, stores: Stores) -> Iterator[pl.DataFrame]:
    """What the slot medians need of each session of the history before this one, one after the other."""
    for day in previous_sessions(stores.market, session, stores.profile.constants.history):
        yield stores.read("minute_bars", day, day, columns=MEDIAN_INPUTS)
