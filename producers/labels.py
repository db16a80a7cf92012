"""Job: each symbol's forward return, which evaluates its score of a session, once that return is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.features.labels import labels
from fpm.sessions import next_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "labels"
READS: Mapping[str, Window] = {
    "daily_bars": Window(
        ahead=lambda settings: settings.model_choices.reach, among=lambda settings: (1, settings.model_choices.reach)
    )
}
WRITES: tuple[str, ...] = (NAME,)


def run(session: date, stores: Stores) -> None:
    """Write the labels of `session`: the return between two later closes; none where an end was never delivered."""
    after = next_sessions(stores.market, session, stores.settings.model_choices.reach)
    ends = after[0], after[-1]
    daily = [stores.read("daily_bars", session), *(stores.read("daily_bars", day, day) for day in ends)]
    stores.write(NAME, session, labels(pl.concat(daily), session, ends))
