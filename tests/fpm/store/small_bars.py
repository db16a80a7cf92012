"""Daily bars that can be checked by hand, and their ingest."""

from datetime import date, datetime

import polars as pl

from fpm.schema import CLOCKS
from fpm.sessions import close, cut_off, market
from fpm.store.jobs.publishing import Outcome
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores

CN = market("cn")
SESSIONS = [date(2026, 1, day) for day in (5, 6, 7, 8, 9, 12, 13)]  # Monday to the Tuesday after, XSHG open on each


def bars(session: date, closes: dict[str, float], *later: tuple[datetime, dict[str, float]]) -> pl.DataFrame:
    """Daily bars with these closes by symbol; `later` are corrections with their moments of arrival."""
    versions = [(cut_off(CN, session), closes), *later]
    rows = [(symbol, price, created) for created, prices in versions for symbol, price in prices.items()]
    frame = pl.DataFrame(rows, schema=["symbol", "close", CLOCKS[1]], orient="row")
    return frame.with_columns(pl.lit(close(CN, session)).alias(CLOCKS[0]))


def ingest(stores: Stores, *corrections: tuple[date, datetime, dict[str, float]]) -> list[Outcome]:
    """Publish closes of A (1, 2, 3, …) and B (10, 20, 30, …) over SESSIONS.

    `corrections`: session, moment of arrival, closes.
    """
    outcomes = []
    for number, session in enumerate(SESSIONS, 1):
        later = [(moment, closes) for day, moment, closes in corrections if day == session]
        frame = bars(session, {"A": float(number), "B": 10.0 * number}, *later)
        outcomes.append(publish_frames("bars", session, {"daily_bars": frame}, stores))
    return outcomes
