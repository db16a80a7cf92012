"""The leak check of the running session: what was scored at a minute rests on what was known then.

The whole session and those after it are in the home by now. Scores are computed again from bars up to their minute; a
formula that reads what came later, where it is there, gives other bits than it gave that day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from consumers import intraday_scores
from fpm.leaks.checks import Finding, difference
from fpm.leaks.records import two_clocks
from fpm.running_session import cut
from fpm.schema import CLOCKS, INTRADAY_BARS, INTRADAY_FINGERPRINTS, INTRADAY_MINUTE_FEATURES
from fpm.store.jobs.minutes import as_known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from fpm.store.ledger.stores import Stores

RUNNING = "running session"
TABLES = (INTRADAY_BARS.name, INTRADAY_MINUTE_FEATURES.name, INTRADAY_FINGERPRINTS.name, intraday_scores.NAME)


def findings(span: tuple[date, date], sessions: int, stores: Stores) -> Iterator[Finding | None]:
    """Clocks of every running session of the span, and the scores of some again, spread over those that have bars.

    Retention may have removed the bars of others.
    """
    days = [day for day in stores.sessions(intraday_scores.NAME) if span[0] <= day <= span[1]]
    for day in days:
        yield from _clocks(day, stores)
    with_bars = set(stores.sessions(INTRADAY_BARS.name))
    days = [day for day in days if day in with_bars]
    chosen = {round(position) for position in np.linspace(0, len(days) - 1, min(sessions, len(days)))}
    for position in sorted(chosen):
        yield from _again(days[position], stores)


def _clocks(session: date, stores: Stores) -> Iterator[Finding | None]:
    """No row is known before its own minute, and no vector has the vintage of whole sessions."""
    for table in TABLES:
        rows = [stores.lake.decode(path) for _, path in stores.lake.files(table, session, session)]
        for frame in rows:
            dated = frame.with_columns(session=pl.lit(session))
            yield two_clocks(table, dated, {session: dated[CLOCKS[0]].min()})  # type: ignore[dict-item]  # a moment
            if "vintage" in frame.columns and not frame["vintage"].str.contains("@").all():
                yield Finding(RUNNING, f"{table}.vintage", session, "is that of whole sessions")


def _again(session: date, stores: Stores) -> Iterator[Finding | None]:
    rows = stores.as_of(None).read(intraday_scores.NAME, session)
    for (vintage, model_id), own in sorted(rows.partition_by("vintage", "model", as_dict=True).items()):
        at = cut(session, vintage.rpartition("@")[2], stores.market, stores.profile.view)
        knowledge = as_known(at, stores)
        again = intraday_scores.scores(at, stores.models.load("scorer", model_id), knowledge)
        stored = own.drop(CLOCKS)
        typed = again.with_columns(session=pl.lit(session)).select(stored.columns).cast(stored.schema)
        yield difference(RUNNING, intraday_scores.NAME, stored, typed, "session")
