"""One session of one index's portfolio, and the rows of a decision. A nightly job and a backtest call the same two.

A session does, in this order: corporate actions and departures before the open, the fills of the decision made at an
earlier close, the marks at the close. The frames have the columns of `fpm enhance --export`; money in the market's
currency, weights in shares of 1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from math import floor
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused
from fpm.portfolio.book import (
    SAME,
    Book,
    action_frame,
    actions_of,
    after_actions,
    closes,
    departures,
    entitlements,
    exact_prices,
    last_rows,
    worth,
)
from fpm.portfolio.costs import CENTS
from fpm.portfolio.fills import BLOCKED_SCHEMA, TRADE_SCHEMA, Blocked, Order, Terms, fill, quotes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.portfolio.mandate import Mandate
    from fpm.portfolio.restrictions import Restriction

STYLES = ("beta", "momentum", "residual_volatility", "liquidity", "nonlinear_size")
TARGET_SCHEMA = {"symbol": pl.String, "shares": pl.Int64}
HOLDING_SCHEMA = {
    "index": pl.String,
    "session": pl.Date,
    "symbol": pl.String,
    "shares": pl.Int64,
    "price": pl.Float64,
    "value": pl.Float64,
}
NAV_SCHEMA = {
    "index": pl.String,
    "session": pl.Date,
    "cash": pl.Float64,
    "nav": pl.Float64,
    "benchmark_return": pl.Float64,
}


@dataclass(frozen=True)
class Evening:
    """What an evening leaves: the book, and the newest row of every symbol so far (`last_rows`)."""

    book: Book
    last: pl.DataFrame

    @property
    def nav(self) -> int:
        """Worth of the book in cents at the last raw closes."""
        return self.book.value(closes(self.last))


class DayPrices:
    """A session's rows of `daily_bars` beside the evening before (`last_rows`): what every index asks of them, once."""

    def __init__(self, today: pl.DataFrame, before: pl.DataFrame, decimals: int = 2) -> None:
        self.today, self.before, self.decimals = exact_prices(today, decimals), before, decimals

    @cached_property
    def last(self) -> pl.DataFrame:
        """The newest row of every symbol after the session."""
        return last_rows(self.today, self.before, self.decimals)

    @cached_property
    def returns(self) -> pl.DataFrame:
        """symbol, return of the session (`asset_returns`)."""
        return asset_returns(self.today, self.before)


@dataclass(frozen=True)
class Decision:
    """Shares to hold, decided at the close of `session`: `targets` has symbol, shares (and may have more).

    `restrictions`: symbol -> what its orders may not do in the session of the fill. `withheld`: why no order is given.
    """

    session: date
    targets: pl.DataFrame
    restrictions: Mapping[str, Restriction] = field(default_factory=dict)
    withheld: str = ""


@dataclass(frozen=True)
class Step:
    """One session: the evening after it, and its rows of trades, actions, holdings, nav and blocked orders."""

    evening: Evening
    trades: pl.DataFrame
    actions: pl.DataFrame
    holdings: pl.DataFrame
    nav: pl.DataFrame
    blocked: pl.DataFrame


def step(
    mandate: Mandate,
    session: date,
    book: Book,
    prices: DayPrices,
    benchmark: pl.DataFrame,
    decision: Decision | None = None,
    silent_since: date | None = None,
    terms: Mapping[str, float] | None = None,
) -> Step:
    """The session of a book that the evening before left.

    `benchmark`: symbol and weight of the index at the previous close. `decision`: what is filled in this session, None
    for no trading. `silent_since`, `terms`: `book.departures`.
    """
    today, last = prices.today, prices.before
    actions = actions_of(book, today, last, prices.decimals)
    actions += departures(book, session, today, last, silent_since, terms)
    book = after_actions(book, actions)
    orders = orders_of(decision.targets, book, today, last, prices.decimals) if decision else ()
    orders, refused = permitted(orders, decision)
    rules = Terms(mandate.participation, mandate.lot, mandate.costs)
    quoted = quotes(today, [order.symbol for order in orders], prices.decimals)
    book, trades, blocked = fill(book, orders, quoted, session, rules)
    evening = Evening(book, prices.last)
    head, decided = (mandate.index, session), decision.session if decision else None
    gain = benchmark_return(benchmark, prices.returns)
    return Step(
        evening,
        pl.DataFrame(
            [
                (
                    *head,
                    each.symbol,
                    each.side,
                    each.shares,
                    each.price,
                    each.amount / CENTS,
                    each.cost / CENTS,
                    decided,
                )
                for each in trades
            ],
            schema=TRADE_SCHEMA,
            orient="row",
        ),
        action_frame(mandate.index, session, actions),
        holdings_frame(mandate.index, session, evening),
        pl.DataFrame([(*head, book.cash / CENTS, evening.nav / CENTS, gain)], schema=NAV_SCHEMA, orient="row"),
        pl.DataFrame(
            [(*head, each.symbol, each.side, each.ordered, each.filled, each.reason) for each in (*refused, *blocked)],
            schema=BLOCKED_SCHEMA,
            orient="row",
        ),
    )


def orders_of(
    targets: pl.DataFrame, book: Book, today: pl.DataFrame, last: pl.DataFrame, decimals: int = 2
) -> tuple[Order, ...]:
    """Orders from the shares held to those of `targets` (symbol, shares); a symbol that it lacks stays.

    Targets are in shares of the decision's evening: a split since then splits them too. A name that has left the book
    and has no row in the session gets no order.
    """
    wanted = dict(targets.select("symbol", "shares").iter_rows())
    changes, present = entitlements(wanted, today, last, decimals), set(today["symbol"].to_list())
    orders = []
    for symbol in sorted(wanted):
        count, held, change = wanted[symbol], book.shares.get(symbol, 0), changes.get(symbol)
        count = floor(count * change.ratio + 1e-9) if change else count
        if count != held and (held or symbol in present):
            orders.append(Order(symbol, "buy" if count > held else "sell", abs(count - held)))
    return tuple(orders)


def permitted(orders: tuple[Order, ...], decision: Decision | None) -> tuple[tuple[Order, ...], tuple[Blocked, ...]]:
    """The orders that may be given, and the others with what forbids them."""
    if decision is None:
        return orders, ()
    reasons = {
        order: decision.withheld or str(decision.restrictions[order.symbol])
        for order in orders
        if decision.withheld
        or (order.symbol in decision.restrictions and decision.restrictions[order.symbol].forbids(order.side))
    }
    refused = tuple(Blocked(each.symbol, each.side, each.shares, 0, reason) for each, reason in reasons.items())
    return tuple(order for order in orders if order not in reasons), refused


def carried(targets: pl.DataFrame, bars: pl.DataFrame, made: date, session: date, decimals: int = 2) -> pl.DataFrame:
    """Targets (symbol, shares) of the close of `made` in shares of the evening before `session`.

    `bars`: daily bars from before `made` on. Every split between the two sessions splits the targets, too.
    """
    wanted = dict(targets.select("symbol", "shares").iter_rows())
    own = bars.filter(pl.col("symbol").is_in(list(wanted)), pl.col("session") < session)
    for day in own.filter(pl.col("session") > made)["session"].unique().sort().to_list():
        before = last_rows(own.filter(pl.col("session") < day), decimals=decimals)
        changes = entitlements(wanted, exact_prices(own.filter(pl.col("session") == day), decimals), before, decimals)
        wanted |= {symbol: floor(wanted[symbol] * change.ratio + 1e-9) for symbol, change in changes.items()}
    return pl.DataFrame({"symbol": list(wanted), "shares": list(wanted.values())}, schema=TARGET_SCHEMA)


def benchmark_return(benchmark: pl.DataFrame, returns: pl.DataFrame) -> float:
    """Return of an index in a session at the weights (symbol, weight) of the close before.

    `returns`: `asset_returns`. A member without a row stands still. Weights are scaled to sum to one, 0 without any.
    """
    rows = benchmark.join(returns, on="symbol", how="left").with_columns(pl.col("return").fill_null(0))
    total = float(rows["weight"].sum())
    return float((rows["weight"] * rows["return"]).sum()) / total if total > 0 else 0.0


def asset_returns(today: pl.DataFrame, last: pl.DataFrame) -> pl.DataFrame:
    """symbol, return: close x adjustment factor against that of the last row.

    Where a factor is null, the close against the reference price.
    """
    then = last.select("symbol", close_before="close", factor_before="adj_factor")
    growth = pl.col("adj_factor") / pl.col("factor_before")
    reference = pl.coalesce(pl.col("close_before") / growth, pl.col("pre_close"), pl.col("close_before"))
    rows = _with_columns(today, ("adj_factor", "pre_close")).join(then, on="symbol", how="inner")
    returns = rows.select("symbol", (pl.col("close") / reference - 1).alias("return"))
    return returns.filter(pl.col("return").is_finite())


def _with_columns(frame: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """The frame with null numbers for the columns that it lacks."""
    return frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in names if name not in frame.columns)


def holdings_frame(index: str, session: date, evening: Evening) -> pl.DataFrame:
    """Every name held at its last raw close."""
    close = closes(evening.last)
    rows = [
        (index, session, symbol, count, close[symbol], worth(count, close[symbol]) / CENTS)
        for symbol, count in sorted(evening.book.shares.items())
    ]
    return pl.DataFrame(rows, schema=HOLDING_SCHEMA, orient="row")


# --- a decision's rows ----------------------------------------------------------------------------------------------
def targets_frame(index: str, session: date, evening: Evening, names: pl.DataFrame) -> pl.DataFrame:
    """Rows of `targets`: what is held and what shall be held, at the close of the decision's session.

    `names`: symbol, shares (after lots), benchmark_weight, score, tradable, industry, size, any of `STYLES`, perhaps
    restriction (its text). A name that is held and not among them keeps its shares, untradable and in no industry.
    Weights are shares x raw close over the book's worth. Raises InputRefused for names that were never priced or
    targets beyond the book's worth.
    """
    book, nav, close = evening.book, evening.nav / CENTS, closes(evening.last)
    book_rows = pl.DataFrame(
        {"symbol": list(book.shares), "shares_held": list(book.shares.values())},
        schema_overrides={"symbol": pl.String, "shares_held": pl.Int64},
    )
    prices = pl.DataFrame({"symbol": list(close), "close": list(close.values())})
    rows = names.join(book_rows, on="symbol", how="full", coalesce=True).join(prices, on="symbol", how="left")
    rows = rows.with_columns(
        pl.col("shares_held").fill_null(0),
        pl.col("shares").fill_null(pl.col("shares_held")).cast(pl.Int64),
        pl.col("benchmark_weight").fill_null(0.0),
        pl.col("tradable").fill_null(False),
        pl.col("industry").fill_null(""),
    )
    unpriced = rows.filter(pl.col("close").is_null() & (pl.col("shares") > 0))["symbol"].to_list()
    rows = rows.with_columns(
        weight_held=pl.col("shares_held") * pl.col("close").fill_null(0.0) / nav,
        weight=pl.col("shares") * pl.col("close").fill_null(0.0) / nav,
    )
    if unpriced or (rows["shares"] < 0).any() or float(rows["weight"].sum()) > 1 + SAME:
        raise InputRefused(
            code="FPM-PF-024",
            wrong=f"targets of {index} on {session}: {', '.join(unpriced) or 'shares below 0 or beyond the book'}",
            effect="the book of the evening before is kept",
            todo="decide whole shares of names with a close, worth no more than the book",
        )
    styles = [name for name in STYLES if name in names.columns]
    return rows.select(
        pl.lit(index).alias("index"),
        pl.lit(session).alias("session"),
        *("symbol", "shares_held", "shares", "close", "weight_held", "weight", "benchmark_weight"),
        *("score", "tradable", "industry", "size", *styles),
        pl.col("restriction") if "restriction" in rows.columns else pl.lit(None, pl.String).alias("restriction"),
    ).sort("symbol")


def decision_frame(
    mandate: Mandate,
    session: date,
    fill_session: date,
    status: str,
    tracking_error: float,
    objective: float,
    relaxed: Mapping[str, float] | None = None,
    shadow: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """The row of `decisions`: the mandate's bounds, what was relaxed by how much, and the price of every bound."""
    return pl.DataFrame(
        {
            "index": [mandate.index],
            "session": [session],
            "fill_session": [fill_session],
            "status": [status],
            "tracking_error": [float(tracking_error)],
            "tracking_error_cap": [mandate.tracking_error],
            "active_cap": [mandate.active],
            "industry_cap": [mandate.industry],
            "size_cap": [mandate.size],
            "style_cap": [mandate.style],
            "members_floor": [mandate.members],
            "turnover_cap": [mandate.turnover],
            "relaxed": [json.dumps(dict(relaxed or {}), sort_keys=True)],
            "shadow": [json.dumps(dict(shadow or {}), sort_keys=True)],
            "objective": [float(objective)],
        }
    )
