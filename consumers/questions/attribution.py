"""Where an index's excess return came from: styles, industries, score, specific, costs and blocked trades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from consumers.publish import standing
from fpm.portfolio.attribution import LINE_SCHEMA, NAME_SCHEMA, blocked_worth, brinson, grown, linked
from fpm.portfolio.attribution_walk import COLUMNS, walk_lines
from fpm.portfolio.book import exact_prices, last_rows
from fpm.portfolio.mandate import decimals_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from fpm.store.ledger.stores import Stores

TABLES = ("holdings", "trades", "blocked", "weights")
BARS = ["symbol", "close", "adj_factor", "pre_close"]
EXPOSURES = ["symbol", "industry", *COLUMNS]
STRETCH = 120  # sessions in memory at once
SILENT = 250  # sessions in which a name's last close may lie
KEY = ["session", "symbol"]


def contributions(index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """group, line, contribution over all sessions of the index's book, which sum to its return less the index's."""
    return linked(daily_lines(index, first, last, stores), daily_returns(index, first, last, stores))


def daily_returns(index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """session, portfolio_return, benchmark_return of every session after the first close."""
    nav = own_rows("nav", index, first, last, stores).sort("session")
    gain = pl.col("nav") / pl.col("nav").shift(1) - 1
    return nav.select("session", portfolio_return=gain, benchmark_return="benchmark_return").slice(1)


def daily_lines(index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """session, group, line, contribution of every session after the first close; a session's lines sum to its excess.

    Orders that were not filled count as held until the next fills.
    """
    stretches = _stretches(index, first, last, stores)
    lines = [walk_lines(each.days, each.names, each.exposures, each.factor_returns) for each in stretches]
    return pl.concat([pl.DataFrame(schema=LINE_SCHEMA), *lines])


def daily_brinson(index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """`attribution.brinson` of every session after the first close, by the industries of the evening before.

    A session's sum is what its book would have earned more than the index without trades, costs and actions.
    """
    names = [pl.DataFrame(schema={"session": pl.Date, "industry": pl.String, **NAME_SCHEMA})]
    for each in _stretches(index, first, last, stores):
        industries = each.exposures.select(*KEY, "industry")
        names.append(each.names.join(industries, on=KEY, how="left").select(names[0].columns))
    return brinson(pl.concat(names))


@dataclass(frozen=True)
class Stretch:
    """Some consecutive sessions, as `walk_lines` reads them."""

    days: pl.DataFrame
    names: pl.DataFrame
    exposures: pl.DataFrame
    factor_returns: pl.DataFrame


def _stretches(index: str, first: date, last: date, stores: Stores) -> Iterator[Stretch]:
    """Every session after the first close. Weights are those at the close before.

    Sessions are read a stretch at a time, so that years fit into memory. A company has one symbol throughout, so that
    what is held on the eve of a rename has a return on its day.
    """
    stores = stores.named_apart(last)
    nav = own_rows("nav", index, first, last, stores).sort("session")
    decimals = decimals_of(stores.market.exchange.tick)
    newest, lacking = _before(nav, decimals, stores), dict[str, float]()
    for start in range(0, nav.height - 1, STRETCH):
        days = _days(nav.slice(start, STRETCH + 1))
        opened, closed = days["before"][0], days["session"][-1]
        book = {table: own_rows(table, index, opened, closed, stores) for table in TABLES}
        bars = _whole(stores.read("daily_bars", opened, closed, columns=BARS))
        bars = bars.filter(pl.col("session").is_in([opened, *days["session"]]))  # of sessions without a book, none
        returns = session_returns(bars, newest, decimals)
        blocked, lacking = _blocked(days, book, returns, _closes(bars, newest, decimals), lacking)
        names = _names(days, book, blocked, returns)
        exposure = stores.read("exposures", opened, closed, columns=EXPOSURES)
        factors = stores.read("factor_returns", opened, closed, columns=["factor", "return"])
        evening = _whole(exposure, EXPOSURES).rename({"session": "before"})
        exposed = evening.join(days.select("session", "before"), on="before", how="inner")
        paid = book["trades"].group_by("session").agg(paid=pl.col("cost").sum())
        costs = days.join(paid, on="session", how="left").with_columns(
            cost=pl.col("paid").fill_null(0.0) / pl.col("nav_before")
        )
        own = costs.select("session", "portfolio_return", "benchmark_return", "cost")
        yield Stretch(own, names, exposed, factors)
        newest = last_rows(bars, newest, decimals)


def session_returns(bars: pl.DataFrame, newest: pl.DataFrame, decimals: int) -> pl.DataFrame:
    """session, symbol, return, of every session of the bars: `session.asset_returns` against the last row before it.

    `bars`: session and `BARS`. `newest`: the last row of every symbol before them (`book.last_rows`).
    """
    rows = pl.concat(
        [newest.select("session", *BARS[:3], pre_close=pl.lit(None, pl.Float64)), bars.select("session", *BARS)]
    )
    rows = (
        rows.filter(pl.col("close").is_finite() & (pl.col("close") > 0))
        .unique(KEY, keep="last")
        .sort("symbol", "session")
    )
    before = pl.col("close").round(decimals).shift(1).over("symbol")
    growth = pl.col("adj_factor") / pl.col("adj_factor").shift(1).over("symbol")
    reference = pl.coalesce(before / growth, pl.when(before.is_not_null()).then("pre_close"), before)
    gain = rows.select(*KEY, (pl.col("close") / reference - 1).alias("return"))
    return gain.filter(pl.col("return").is_finite())


def own_rows(table: str, index: str, first: date, last: date, stores: Stores) -> pl.DataFrame:
    """An index's rows of a table; without those that a session computed again has withdrawn."""
    return standing(table, stores.read(table, first, last).filter(pl.col("index") == index))


def _whole(rows: pl.DataFrame, columns: list[str] = BARS) -> pl.DataFrame:
    """The columns in float64; those that the rows lack are null."""
    lacking = [pl.lit(None).alias(name) for name in columns if name not in rows.columns]
    words = ("symbol", "industry")
    kinds = [pl.col(name).cast(pl.String if name in words else pl.Float64) for name in columns]
    return rows.with_columns(lacking).select("session", *kinds)


def _before(nav: pl.DataFrame, decimals: int, stores: Stores) -> pl.DataFrame:
    """The newest row of every symbol before the first session: names that are halted in it have an older one."""
    days = [day for day in stores.sessions("daily_bars") if nav.height and day < nav["session"][0]][-SILENT:]
    rows = (
        stores.read("daily_bars", days[0], days[-1], columns=BARS)
        if days
        else pl.DataFrame(schema={"session": pl.Date})
    )
    return last_rows(_whole(rows, BARS), decimals=decimals)


def _days(nav: pl.DataFrame) -> pl.DataFrame:
    """session, before, nav_before, portfolio_return, benchmark_return of every row but the first."""
    days = nav.select(
        "session",
        before=pl.col("session").shift(1),
        nav_before=pl.col("nav").shift(1),
        portfolio_return=pl.col("nav") / pl.col("nav").shift(1) - 1,
        benchmark_return="benchmark_return",
    )
    return days.slice(1)


def _closes(bars: pl.DataFrame, newest: pl.DataFrame, decimals: int) -> pl.DataFrame:
    """session, symbol, close of every session, the oldest ones those before the bars."""
    rows = pl.concat(
        [newest.select("session", "symbol", "close"), exact_prices(bars, decimals).select("session", "symbol", "close")]
    )
    return rows.filter(pl.col("close").is_finite() & (pl.col("close") > 0)).sort("session")


# --- orders that were not filled ------------------------------------------------------------------------------------
def _blocked(
    days: pl.DataFrame,
    book: Mapping[str, pl.DataFrame],
    returns: pl.DataFrame,
    closes: pl.DataFrame,
    lacking: Mapping[str, float],
) -> tuple[pl.DataFrame, dict[str, float]]:
    """session, symbol, blocked (worth at the close before), and what is lacking after the last session."""
    worth, rows = dict(lacking), []
    symbols = {*worth, *book["blocked"]["symbol"].to_list()}
    gains, prices = (frame.filter(pl.col("symbol").is_in(list(symbols))) for frame in (returns, closes))
    fills = {*book["blocked"]["session"].to_list(), *book["trades"]["session"].to_list()}
    for session, before in days.select("session", "before").iter_rows():
        if before in fills:
            own = book["blocked"].filter(pl.col("session") == before)
            last = prices.filter(pl.col("session") <= before).unique("symbol", keep="last", maintain_order=True)
            worth = blocked_worth(own, dict(last.select("symbol", "close").iter_rows()))
        if worth:
            rows += [(session, symbol, money) for symbol, money in worth.items()]
            worth = grown(worth, gains.filter(pl.col("session") == session))
    return pl.DataFrame(
        rows, schema={"session": pl.Date, "symbol": pl.String, "blocked": pl.Float64}, orient="row"
    ), worth


def _names(
    days: pl.DataFrame, book: Mapping[str, pl.DataFrame], blocked: pl.DataFrame, returns: pl.DataFrame
) -> pl.DataFrame:
    """session, symbol, weight, benchmark_weight, blocked, return of what the book or the index holds or lacks."""
    span = days.select("session", "before", "nav_before")
    held, base = (
        book[table].rename({"session": "before"}).join(span, on="before") for table in ("holdings", "weights")
    )
    weight = held.select(*KEY, weight=pl.col("value") / pl.col("nav_before"))
    members = base.filter(pl.col("benchmark_weight") > 0).select(*KEY, "benchmark_weight")
    lacks = blocked.join(span, on="session").select(*KEY, blocked=pl.col("blocked") / pl.col("nav_before"))
    rows = weight
    for other in (members, lacks):
        rows = rows.join(other, on=KEY, how="full", coalesce=True)
    filled = rows.with_columns(pl.col("weight", "benchmark_weight", "blocked").fill_null(0.0))
    return filled.join(returns, on=KEY, how="left").sort(KEY)
