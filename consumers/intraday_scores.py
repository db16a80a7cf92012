"""Scores of the running session so far, in every stream, and their publication online.

The scorer in force reads its look-back: vectors of whole sessions before this one, then the session cut at the minute,
with its day so far. No whole session's row is written or read here as this session's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from consumers.scores import trained_streams
from fpm.features.daily_factors import HISTORY, daily_factors
from fpm.features.running_daily import running_daily
from fpm.nn.scorer import streams
from fpm.nn.scorer.panel import panel
from fpm.schema import CLOCKS, INTRADAY_FINGERPRINTS, INTRADAY_SCORES
from fpm.sessions import previous_sessions
from fpm.store.jobs.minutes import EVENT, as_known, bars_so_far, publish_minute, session_before
from fpm.store.log import log
from fpm.store.online.running import publish_running
from fpm.store.retrieval.dual_stream import dual_stream

if TYPE_CHECKING:
    from fpm.nn.scorer.panel import Panel
    from fpm.nn.scorer.streams import Streams
    from fpm.running_session import Cut
    from fpm.store.jobs.publishing import Outcome
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

NAME = INTRADAY_SCORES.name


def run(at: Cut, stores: Stores) -> Outcome:
    """Write the scores of the session cut at a minute by the scorer in force.

    Raises TryLater where no scorer is in force, or an input is missing; LookAhead and ModelRefused as scores have them.
    """
    knowledge = as_known(at, stores)
    assert knowledge.known_at is not None
    model = stores.models.in_force("scorer", at.session)
    return publish_minute(NAME, scores(at, model, knowledge), at, max(knowledge.known_at, model.born), stores)


def scores(at: Cut, model: Model, knowledge: Stores) -> pl.DataFrame:
    """The table's rows for a minute by one scorer, from what was known. Raises the errors of `run`."""
    trained, vintage = trained_streams(model, at.session, knowledge), str(model.manifest["vintage"])
    window = running_panel(at, vintage, trained, knowledge)
    scored, short = streams.scores(trained, window, at.session, knowledge.settings.workers)
    log.info("scored", scorer=model.id, symbols=scored["symbol"].n_unique(), short_of_look_back=len(short))
    return scored.with_columns(vintage=pl.lit(at.vintage(vintage)), model=pl.lit(model.id))


def publish(at: Cut, stores: Stores) -> str:
    """Put a minute's scores online; returns `published`, or `unchanged` where they are."""
    rows = stores.as_of(None).read(NAME, at.session).filter(pl.col(EVENT) == at.moment)
    return publish_running(at, rows.drop("session"), stores)


def running_panel(at: Cut, vintage: str, trained: Streams, knowledge: Stores) -> Panel:
    """The panel of the scorer's look-back, whose last session is the running one."""
    config = trained.config
    before = previous_sessions(knowledge.market, at.session, config.look_back - 1)
    past = dual_stream(knowledge, before[0], before[-1], vintage)
    today = _today(at, vintage, knowledge).select(name for name in past.columns if name not in (*CLOCKS, "known_at"))
    today = today.with_columns(pl.col("fingerprint").cast(past.schema["fingerprint"]))
    whole = pl.concat([past, today], how="diagonal_relaxed")
    return panel(whole, [*before, at.session], config.factors)


def _today(at: Cut, vintage: str, knowledge: Stores) -> pl.DataFrame:
    """The running session as the scorer reads a session: one row a symbol; the vintage is the scorer's, here alone."""
    before, market = session_before(at, knowledge), knowledge.market
    daily = running_daily(bars_so_far(at, knowledge), market, knowledge.read("daily_bars", before))
    daily = daily.with_columns(session=pl.lit(at.session))
    first = previous_sessions(market, at.session, HISTORY)[0]
    history = pl.concat([knowledge.read("daily_bars", first, before).drop(CLOCKS), daily], how="diagonal_relaxed")
    vectors = knowledge.read(INTRADAY_FINGERPRINTS.name, at.session).filter(
        (pl.col(EVENT) == at.moment) & (pl.col("vintage") == at.vintage(vintage))
    )
    rows = vectors.select("symbol", "fingerprint").join(daily, on="symbol")
    return rows.join(daily_factors(history, at.session), on="symbol").with_columns(vintage=pl.lit(vintage))
