"""Whether portfolios moved as much as the risk model said: one row a session, index and kind of portfolio.

The session's returns are those that its factor returns and residuals give; the forecasts are those of the newest
decision before it. Every session adds its rows of `risk_forecasts`; the figures are those of the last year's rows.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.portfolio.instructions import AWAITING
from fpm.risk.bias import PRESETS, bias
from fpm.risk.nights import KINDS, SCHEMA, family_rows, own_row, session_returns, z_values
from fpm.risk.stored import stored_model
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.risk.bias import BiasConfig
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

READ = ["session", "index", "kind", "portfolio", "predicted", "realised"]  # of the nights before
GAP = 10  # sessions over which a decision's forecast stays in force


def _history(settings: Settings) -> int:
    """Sessions before this one that the windows of the last year reach."""
    return 2 * settings.venue.sessions_per_year - 2


NAME = "risk_tests"
READS = {
    "daily_bars": Window(),
    "factor_returns": Window(),
    "residuals": Window(),
    "exposures": Window(back=GAP, include=False, required=False),
    "decisions": Window(back=GAP, include=False, required=False),
    "targets": Window(back=GAP, include=False, required=False),
    "covariance": Window(back=GAP, include=False, required=False),
    "specific_variances": Window(back=GAP, include=False, required=False),
    "trades": Window(back=GAP, include=False, required=False),
    "nav": Window(back=GAP, required=False),
    "risk_forecasts": Window(back=_history, include=False, required=False),
}
WRITES = ("risk_forecasts", "risk_tests")


def run(session: date, stores: Stores) -> None:
    """Write the session's forecasts and returns of every kind, and the figures of the window that ends with it."""
    config = replace(PRESETS[stores.settings.preset], year=stores.market.sessions_per_year)
    tonight = forecasts(session, config, stores)
    oldest = previous_sessions(stores.market, session, _history(stores.settings))
    before = stores.read("risk_forecasts", oldest[0], oldest[-1], columns=READ).drop_nulls("predicted")
    rows = pl.concat([before.select(READ), tonight.select(READ)])
    stores.write("risk_forecasts", session, tonight)
    indices = newest_decisions(session, stores)["index"].to_list()
    stores.write("risk_tests", session, figures(rows, indices, config))


def figures(rows: pl.DataFrame, indices: Sequence[str], config: BiasConfig) -> pl.DataFrame:
    """Rows of `risk_tests` from rows of `risk_forecasts` of the window's sessions: every index with every kind."""
    tests, none = [], rows.clear()
    apart = rows.partition_by("index", "kind", as_dict=True)
    for index in indices:
        for kind in KINDS:
            figures = bias(z_values(apart.get((index, kind), none)), config)
            tests.append({"index": index, "kind": kind, **asdict(figures), "inside": figures.inside})
    return pl.DataFrame(tests, schema_overrides=_TYPES) if tests else pl.DataFrame(schema=_TYPES)


_TYPES = {
    **dict.fromkeys(("index", "kind", "reason", "share_reason"), pl.String),
    **dict.fromkeys(("sessions", "windows"), pl.Int64),
    **dict.fromkeys(("bias", "low", "high", "share", "share_low", "share_high"), pl.Float64),
    "inside": pl.Boolean,
}


# --- one night ----------------------------------------------------------------------------------------------------
def forecasts(session: date, config: BiasConfig, stores: Stores) -> pl.DataFrame:
    """Rows of `risk_forecasts` of the session, with it: every kind of every index whose decision is in force."""
    newest = newest_decisions(session, stores)
    head = (pl.lit(session).alias("session"), pl.col("index"))
    frames = [pl.DataFrame(schema={"session": pl.Date, "index": pl.String, **SCHEMA})]
    if newest.is_empty():
        return frames[0]
    returns = _returns(session, stores)
    span, decisions = previous_sessions(stores.market, session, GAP), _decisions(session, stores)
    nav = stores.read("nav", span[0], session).drop_nulls("nav").sort("session")
    trades = stores.read("trades", span[0], span[-1]).drop_nulls("shares")
    carried_out = filled(decisions, trades, session)
    for index, decided in newest.select("index", "session").iter_rows():
        families = _families(index, decided, returns, config, stores)
        own = _own(
            session,
            carried_out.filter(pl.col("index") == index),
            nav.filter(pl.col("index") == index),
            stores.market.sessions_per_year,
        )
        both = pl.concat([own, families]).with_columns(index=pl.lit(index, dtype=pl.String))
        frames.append(both.select(*head, *SCHEMA))
    return pl.concat(frames)


def newest_decisions(session: date, stores: Stores) -> pl.DataFrame:
    """The newest decision of every index before the session, at most `GAP` sessions old."""
    return _decisions(session, stores).unique("index", keep="last", maintain_order=True).sort("index")


def _decisions(session: date, stores: Stores) -> pl.DataFrame:
    span = previous_sessions(stores.market, session, GAP)
    return stores.read("decisions", span[0], span[-1]).drop_nulls("status").sort("session")


def filled(decisions: pl.DataFrame, trades: pl.DataFrame, session: date) -> pl.DataFrame:
    """The decisions that the book followed before a session, oldest first.

    One that had to wait for a person's approval is among them from the session of its first trade (`decided`): until
    then the book is the one of the decision before it.
    """
    first = trades.group_by("index", session="decided").agg(filled=pl.col("session").min())
    rows = decisions.join(first, on=["index", "session"], how="left", maintain_order="left")
    since = pl.when(pl.col("status") == AWAITING).then("filled").otherwise("fill_session")
    return rows.filter(since < session).drop("filled")


def _returns(session: date, stores: Stores) -> dict[str, float]:
    """Symbol -> return of the session, of the names that traded in it."""
    span = previous_sessions(stores.market, session, GAP)
    evenings = [day for day in stores.sessions("exposures") if span[0] <= day < session]
    if not evenings:
        return {}
    bars = stores.read("daily_bars", session, columns=["symbol", "close", "volume", "suspended"])
    is_traded = (
        ~pl.col("suspended").fill_null(False) & (pl.col("close") > 0) & ~(pl.col("volume") <= 0).fill_null(False)
    )
    traded = bars.filter(is_traded)["symbol"].to_list()
    factors, residuals = (stores.read(table, session) for table in ("factor_returns", "residuals"))
    return session_returns(stores.read("exposures", evenings[-1]), factors, residuals, traded)


def _families(index: str, decided: date, returns: dict[str, float], config: BiasConfig, stores: Stores) -> pl.DataFrame:
    """Rows of the optimised and the random portfolios of the index's members at a decision."""
    specific, covariance, targets = (
        stores.read(table, decided).filter(pl.col("index") == index)
        for table in ("specific_variances", "covariance", "targets")
    )
    members = targets.filter(pl.col("benchmark_weight") > 0)["symbol"].to_list()
    if covariance.is_empty() or not members or not returns:
        return pl.DataFrame(schema=SCHEMA)
    model = stored_model(stores.read("exposures", decided), specific, covariance)
    return family_rows(model, members, returns, decided, config)


def _own(session: date, filled: pl.DataFrame, nav: pl.DataFrame, sessions_per_year: int) -> pl.DataFrame:
    """The row of the index's own active return, by the last decision that was filled before the session."""
    if filled.is_empty() or nav.height < 2 or nav["session"][-1] != session:
        return pl.DataFrame(schema=SCHEMA)
    decision, before, today = filled.row(-1, named=True), *nav.tail(2).rows(named=True)
    active = today["nav"] / before["nav"] - 1 - today["benchmark_return"]
    predicted = decision["tracking_error"]
    return own_row(np.nan if predicted is None else predicted / sessions_per_year**0.5, active, decision["session"])
