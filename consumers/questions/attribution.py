"""Where an index's excess return came from: styles, industries, score, specific, costs and blocked trades."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from consumers.publish import standing
from fpm.portfolio.attribution import (
    LINE_SCHEMA,
    NAME_SCHEMA,
    Day,
    attribution,
    blocked_worth,
    grown,
    linked,
)
from fpm.portfolio.book import closes, last_rows
from fpm.portfolio.mandate import decimals_of
from fpm.portfolio.session import asset_returns
from fpm.risk.factor_returns import exposures, factor_names
from fpm.risk.model import RiskModel
from fpm.schema import STYLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.store.ledger.stores import Stores

TABLES = ("nav", "holdings", "trades", "blocked", "weights")


def contributions(index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """group, line, contribution over all sessions of the index's book, which sum to its return less the index's."""
    lines, days = daily_lines(index, first, last, stores), own_rows("nav", index, first, last, stores).sort("session")
    returns = days.select(
        "session", portfolio_return=pl.col("nav") / pl.col("nav").shift(1) - 1, benchmark_return="benchmark_return"
    )
    return linked(lines, returns.slice(1))


def daily_lines(index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """session, group, line, contribution of every session after the first close; a session's lines sum to its excess.

    Weights are those at the close before. Orders that were not filled count as held until the next fills.
    """
    book = {table: own_rows(table, index, first, last, stores) for table in TABLES}
    nav, decimals = book["nav"].sort("session"), decimals_of(stores.market.exchange.tick)
    parts = [pl.DataFrame(schema=LINE_SCHEMA)]
    newest, lacking = _rows(nav["session"][0], stores) if nav.height else None, dict[str, float]()
    for before, today in pairwise(nav.iter_rows(named=True)):
        assert newest is not None
        bars = stores.read("daily_bars", today["session"])
        returns = asset_returns(bars, newest)
        lacking = _lacking(book["blocked"], book["trades"], before["session"], newest, lacking)
        day = _day(book, before, today, returns, lacking)
        parts.append(attribution(day, _model(before["session"], stores), _factor_returns(today["session"], stores)))
        newest, lacking = (
            last_rows(bars.with_columns(session=pl.lit(today["session"])), newest, decimals),
            grown(lacking, returns),
        )
    return pl.concat(parts)


def own_rows(table: str, index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """An index's rows of a table; without those that a session computed again has withdrawn."""
    return standing(table, stores.read(table, first, last).filter(pl.col("index") == index))


def _rows(session: date, stores: Stores) -> pl.DataFrame:
    """The newest row of every symbol up to a session: names that are halted in it have an older one."""
    days = [day for day in stores.sessions("daily_bars") if day <= session][-250:]
    decimals = decimals_of(stores.market.exchange.tick)
    return last_rows(stores.read("daily_bars", days[0], days[-1]), decimals=decimals)


def _lacking(
    blocked: pl.DataFrame, trades: pl.DataFrame, session: date, newest: pl.DataFrame, before: Mapping[str, float]
) -> dict[str, float]:
    """Worth at the session's close of what its fills did not give; without fills, what the ones before did not."""
    own = blocked.filter(pl.col("session") == session)
    is_fill = own.height or trades.filter(pl.col("session") == session).height
    return blocked_worth(own, closes(newest)) if is_fill else dict(before)


def _day(
    book: Mapping[str, pl.DataFrame],
    before: Mapping[str, object],
    today: Mapping[str, object],
    returns: pl.DataFrame,
    lacking: Mapping[str, float],
) -> Day:
    nav_before, nav_today = float(str(before["nav"])), float(str(today["nav"]))
    then = pl.col("session") == before["session"]
    held = book["holdings"].filter(then).select("symbol", weight=pl.col("value") / nav_before)
    base = book["weights"].filter(then & (pl.col("benchmark_weight") > 0)).select("symbol", "benchmark_weight")
    missing = pl.DataFrame(
        {"symbol": list(lacking), "blocked": [money / nav_before for money in lacking.values()]},
        schema={"symbol": pl.String, "blocked": pl.Float64},
    )
    names = held.join(base, on="symbol", how="full", coalesce=True).join(
        missing, on="symbol", how="full", coalesce=True
    )
    names = names.with_columns(pl.col("weight", "benchmark_weight", "blocked").fill_null(0.0))
    names = names.join(returns, on="symbol", how="left").select(list(NAME_SCHEMA)).sort("symbol")
    cost = float(book["trades"].filter(pl.col("session") == today["session"])["cost"].sum()) / nav_before
    session: date = today["session"]  # type: ignore[assignment]
    return Day(session, names, nav_today / nav_before - 1, float(str(today["benchmark_return"])), cost)


def _model(session: date, stores: Stores) -> RiskModel:
    """The exposures of a session; attribution needs no variances."""
    rows = stores.read("exposures", session).sort("symbol")
    industries = sorted(rows["industry"].unique().to_list())
    place = {name: number for number, name in enumerate(industries)}
    industry_N = np.array([place[name] for name in rows["industry"]], dtype=np.int64)
    names = factor_names(industries, score=True)
    exposure_NK = exposures(rows.select(STYLES).to_numpy(), industry_N, industries)
    exposure_NK = np.hstack([exposure_NK, rows["score"].fill_null(0.0).to_numpy()[:, None]])
    unknown = np.zeros((len(names), len(names)))
    return RiskModel(tuple(rows["symbol"]), names, exposure_NK, unknown, np.zeros(rows.height))


def _factor_returns(session: date, stores: Stores) -> dict[str, float]:
    rows = stores.read("factor_returns", session)
    return dict(rows.select("factor", pl.col("return").fill_nan(0.0).fill_null(0.0)).iter_rows())
