"""Each index's portfolio: the session's fills and marks of a real book, and at the week's end a decision.

A decision is made at a close, from the shares and the cash that are held, and filled in the next session. Between
decisions the book stands still and drifts with prices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from consumers.order_history import REALISED, orders_since, tracking_error_realised
from fpm.portfolio.book import Book, cents, closes, last_rows
from fpm.portfolio.costs import CENTS, flat
from fpm.portfolio.decide import Dates, decide
from fpm.portfolio.fills import quotes
from fpm.portfolio.mandate import Mandate, mandate_of, read_mandates
from fpm.portfolio.session import Decision, Evening, asset_returns, step
from fpm.risk.estimate import PRESETS, risk_model
from fpm.risk.factor_returns import exposures, factor_names, standard_score
from fpm.risk.history import stored_history
from fpm.schema import STYLES, TABLES
from fpm.sessions import next_sessions, previous_sessions
from fpm.store.jobs.inputs import Window
from fpm.store.lake.files import TYPES
from fpm.store.log import log

if TYPE_CHECKING:
    from datetime import date

    from fpm.markets import Market
    from fpm.portfolio.decide import Decided
    from fpm.portfolio.session import Step
    from fpm.risk.model import RiskModel
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

EVERY_NAME = "ALL"  # built-in index for data without index_members: equal weight over what the session trades
SNAPSHOT_AGE = 30  # sessions within which the last index snapshot must lie
GAP = 10  # sessions over which a book is carried when sessions between were not run
GONE_AFTER = 250  # a name without a bar for so many sessions leaves the book at its last price
LIQUIDITY = 20  # sessions whose mean traded value bounds a trade
FLAT_COST = 0.0015  # of each side, where the exchange's own rates are not known


def _risk_window(settings: Settings) -> int:
    return PRESETS[settings.preset].window


NAME = "portfolio"
READS = {
    "scores": Window(),
    "exposures": Window(),
    "factor_returns": Window(back=_risk_window, required=False),
    "residuals": Window(back=_risk_window, required=False),
    "daily_bars": Window(back=GONE_AFTER),
    "index_members": Window(back=SNAPSHOT_AGE + GAP, required=False),
    "holdings": Window(back=GAP, include=False, required=False),
    "nav": Window(back=REALISED, include=False, required=False),
    "blocked": Window(back=GAP, include=False, required=False),
    "targets": Window(back=GAP, include=False, required=False),
    "decisions": Window(back=GAP, include=False, required=False),
}
FILES = ("mandate",)
BOOKS = ("holdings", "nav", "trades", "actions", "blocked")
WRITES = ("weights", *BOOKS, "targets", "decisions", "orders", "covariance", "specific_variances")


@dataclass(frozen=True)
class State:
    """What an index's earlier sessions left: the evening of the last one, and the decision that fills now, if any."""

    evening: Evening
    decision: Decision | None
    started: bool


@dataclass(frozen=True)
class Knowledge:
    """What the decisions of every index share in one session.

    `bars`: daily bars of the window, this session's too. `last`: newest row of every symbol before the session.
    """

    session: date
    bars: pl.DataFrame
    last: pl.DataFrame
    members: pl.DataFrame
    names: pl.DataFrame
    scores: pl.DataFrame
    risk: RiskModel

    @property
    def before(self) -> pl.DataFrame:
        """Bars of the sessions before this one."""
        return self.bars.filter(pl.col("session") < self.session)

    @property
    def daily(self) -> pl.DataFrame:
        """Bars of this session."""
        return self.bars.filter(pl.col("session") == self.session)


@dataclass(frozen=True)
class Day:
    """One index in one session: the book's step, the decision if there is one, and the weights to serve."""

    mandate: Mandate
    step: Step
    decided: Decided | None
    weights: pl.DataFrame


def run(session: date, stores: Stores) -> None:
    """Write the session's book, decision and weights of every index."""
    knowledge = _knowledge(session, stores)
    days = [_day(mandate, knowledge, stores) for mandate in mandates(knowledge.members, stores)]
    for day in days:
        _log(day)
    stores.write("weights", session, pl.concat([day.weights for day in days]))
    for table in BOOKS:
        stores.write(table, session, pl.concat([getattr(day.step, table) for day in days]))
    decided = [day.decided for day in days if day.decided]
    for table, name in (("targets", "targets"), ("decisions", "decision"), ("orders", "orders")):
        rows = [getattr(each, name) for each in decided]
        stores.write(table, session, pl.concat([empty(table), *rows], how="diagonal_relaxed"))
    specific, covariance = risk_rows(knowledge.risk) if decided else (empty("specific_variances"), empty("covariance"))
    stores.write("specific_variances", session, specific)
    stores.write("covariance", session, covariance)


def empty(table: str) -> pl.DataFrame:
    """A table of the lake without a row."""
    return pl.DataFrame(schema={name: TYPES[kind] for name, kind in TABLES[table].columns.items()})


def mandates(members: pl.DataFrame, stores: Stores) -> list[Mandate]:
    """The mandate of every index that the home has members of, or of `EVERY_NAME`."""
    default = partial(_default, market=stores.market)
    own = read_mandates(stores.settings.mandate, default) if stores.settings.mandate else {}
    indices = sorted(members["index"].unique().to_list()) or [EVERY_NAME]
    return [own.get(index) or default(index) for index in indices]


def _default(index: str, market: Market) -> Mandate:
    """The mandate of an index on this exchange: its board lot, and costs of its own or a flat rate."""
    mandate = replace(mandate_of(index), lot=market.exchange.lot)
    return mandate if market.exchange.name == "cn" else replace(mandate, costs=flat(FLAT_COST))


def is_rebalance(market: Market, session: date) -> bool:
    """Whether the calendar's next session lies in another ISO week."""
    return next_sessions(market, session, 1)[0].isocalendar()[:2] != session.isocalendar()[:2]


# --- what is known ------------------------------------------------------------------------------------------------
def _knowledge(session: date, stores: Stores) -> Knowledge:
    oldest = previous_sessions(stores.market, session, GONE_AFTER)[0]
    bars = stores.read("daily_bars", oldest, session).sort("session", "symbol")
    first = previous_sessions(stores.market, session, SNAPSHOT_AGE + GAP)[0]
    members = stores.read("index_members", first, session, columns=["index", "symbol", "weight"])
    names = _names(session, bars, stores)
    scores = stores.read("scores", session, columns=["symbol", "stream", "score"])
    risk = _risk(session, names, stores)
    last = last_rows(bars.filter(pl.col("session") < session))
    return Knowledge(session, bars, last, members, names, scores, risk)


def _names(session: date, bars: pl.DataFrame, stores: Stores) -> pl.DataFrame:
    """Every name with a bar so far: exposures, whether it can be traded, value traded, deviation of returns."""
    exposure = stores.read("exposures", session)
    days = bars["session"].unique().sort().to_list()[-LIQUIDITY:]
    adjusted = pl.col("close") * pl.col("adj_factor").fill_null(1.0)
    recent = bars.filter(pl.col("session").is_in(days)).sort("session")
    liquidity = recent.group_by("symbol").agg(
        value=pl.col("amount").fill_null(0.0).sum() / len(days), deviation=adjusted.pct_change().std().fill_null(0.02)
    )
    today = bars.filter(pl.col("session") == session)
    quoted = quotes(today, today["symbol"].to_list())  # what fills ask, so that a decision and its orders agree
    trades = {name: quote for name, quote in quoted.items() if quote.fill is not None}
    gone = set(today.filter(pl.col("delist_date") <= session)["symbol"].to_list())
    rows = exposure.join(liquidity, on="symbol", how="left").sort("symbol")
    symbols = rows["symbol"].to_list()
    buyable = [name in trades and not trades[name].at_upper and name not in gone for name in symbols]
    sellable = [name in trades and not trades[name].at_lower for name in symbols]
    return rows.with_columns(pl.Series("buyable", buyable), pl.Series("sellable", sellable))


def scored(names: pl.DataFrame, scores: pl.DataFrame, stream: str) -> pl.DataFrame:
    """The names with the standardised score of a stream, null without one."""
    own = scores.filter(pl.col("stream") == stream).drop_nulls("score").select("symbol", "score")
    own = own.with_columns(pl.Series("score", standard_score(own["score"].to_numpy()), dtype=pl.Float64))
    return names.drop("score").join(own, on="symbol", how="left").sort("symbol")


def _risk(session: date, names: pl.DataFrame, stores: Stores) -> RiskModel:
    """The risk model of the session from the stored factor returns and residuals."""
    config = PRESETS[stores.settings.preset]
    oldest = previous_sessions(stores.market, session, config.window)[0]
    factors, residuals = (stores.read(table, oldest, session) for table in ("factor_returns", "residuals"))
    labels = set(factors["factor"].to_list()) | {f"industry:{name}" for name in names["industry"].to_list()}
    industries = sorted(name.removeprefix("industry:") for name in labels if name.startswith("industry:"))
    order = factor_names(industries, score=True)
    sessions = factors["session"].unique().sort().to_list()
    history = stored_history(factors, residuals, sessions, names["symbol"].to_list(), order)
    place = {name: number for number, name in enumerate(industries)}
    industry_N = np.array([place[name] for name in names["industry"].to_list()], dtype=np.int64)
    style_NS = names.select(STYLES).to_numpy()
    exposure_NK = exposures(style_NS, industry_N, industries, names["score"].cast(pl.Float64).to_numpy())
    return risk_model(history, exposure_NK, names["capitalisation"].to_numpy(), config)


def risk_rows(risk: RiskModel) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `specific_variances` and `covariance`, variances per session."""
    count = len(risk.factors)
    specific = pl.DataFrame({"symbol": risk.symbols, "specific_variance": risk.specific_N})
    pairs = {"factor": np.repeat(risk.factors, count), "other": np.tile(risk.factors, count)}
    return specific, pl.DataFrame({**pairs, "value": risk.covariance_KK.ravel()})


# --- one index ----------------------------------------------------------------------------------------------------
def _day(mandate: Mandate, knowledge: Knowledge, stores: Stores) -> Day:
    session, market = knowledge.session, stores.market
    state = _state(mandate, knowledge, stores)
    silent = previous_sessions(market, session, GONE_AFTER)[0]
    before, now = (benchmark(mandate.index, bars, knowledge.members) for bars in (knowledge.before, knowledge.bars))
    today = step(mandate, session, state.evening, knowledge.daily, before, state.decision, silent)
    weights, decided = now.rename({"weight": "benchmark_weight"}), None
    is_idle = not today.evening.book.shares and state.decision is None
    if is_rebalance(market, session) or is_idle or mandate.rebalance == "daily":
        names = scored(knowledge.names, knowledge.scores, mandate.stream).join(
            weights, on="symbol", how="left", maintain_order="left"
        )
        dates = Dates(session, next_sessions(market, session, 1)[0], market.sessions_per_year)
        decided = decide(mandate, dates, today.evening, names, knowledge.risk)
        realised = tracking_error_realised(mandate.index, session, today, stores)
        decided = replace(
            decided,
            decision=decided.decision.with_columns(tracking_error_realised=pl.lit(realised, dtype=pl.Float64)),
            orders=orders_since(mandate.index, session, GAP, decided, today, stores),
        )
    counted = _counted(today, started=state.started)
    return Day(mandate, counted, decided, _weights(mandate.index, weights, today, decided))


def _counted(today: Step, *, started: bool) -> Step:
    """The step without its value before the first purchase: the curves begin at the close after it."""
    return today if started or today.trades.height else replace(today, nav=today.nav.clear())


def _state(mandate: Mandate, knowledge: Knowledge, stores: Stores) -> State:
    span = previous_sessions(stores.market, knowledge.session, GAP)
    nav, holdings, decisions = (
        stores.read(table, span[0], span[-1]).filter(pl.col("index") == mandate.index).drop_nulls(column)
        for table, column in (("nav", "nav"), ("holdings", "shares"), ("decisions", "status"))  # null: withdrawn rows
    )
    book = Book({}, cents(mandate.capital))
    if nav.height:
        newest = nav.filter(pl.col("session") == nav["session"].max())
        rows = holdings.filter(pl.col("session") == newest["session"][0])
        book = Book(dict(rows.select("symbol", "shares").iter_rows()), cents(newest["cash"][0]))
    now = decisions.filter(pl.col("fill_session") == knowledge.session)
    decision = None
    if now.height:
        made = now["session"][0]
        targets = stores.read("targets", made, made).filter(pl.col("index") == mandate.index).drop_nulls("shares")
        decision = Decision(made, targets.select("symbol", "shares"))
    return State(Evening(book, knowledge.last), decision, started=nav.height > 0)


def benchmark(index: str, bars: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """symbol, weight of an index at the newest session of `bars`: the last snapshot before it, drifted by prices.

    Names that never had a bar are left out; the others sum to one. Of `EVERY_NAME`, equal weight over what trades.
    """
    nothing = pl.DataFrame(schema={"symbol": pl.String, "weight": pl.Float64})
    if bars.is_empty():
        return nothing
    newest = bars["session"].max()
    if index == EVERY_NAME:
        trades = bars.filter((pl.col("session") == newest) & (pl.col("volume") > 0)).filter(
            ~pl.col("suspended").fill_null(False)
        )
        return trades.select("symbol", weight=pl.lit(1.0) / max(1, trades.height))
    own = members.filter((pl.col("index") == index) & (pl.col("session") <= newest))
    if own.is_empty():
        return nothing
    snapshot = own["session"].max()
    then, now = (last_rows(rows) for rows in (bars.filter(pl.col("session") <= snapshot), bars))
    growth = asset_returns(now.with_columns(pre_close=pl.lit(None, pl.Float64)), then)
    rows = own.filter(pl.col("session") == snapshot).join(growth, on="symbol", how="inner")
    rows = rows.select("symbol", weight=pl.col("weight") * (1 + pl.col("return")))
    return rows.with_columns(pl.col("weight") / pl.col("weight").sum())


def _weights(index: str, weights: pl.DataFrame, today: Step, decided: Decided | None) -> pl.DataFrame:
    """Rows of the table `weights`: every name with a price, also those at 0, so that a sold name is served as 0.

    `weights`: symbol, benchmark_weight. After a decision the weights it wants, else those that are held.
    """
    nav = today.evening.nav / CENTS
    if decided:
        own = decided.targets.select("symbol", "weight")
    else:
        own = today.holdings.select("symbol", weight=pl.col("value") / nav)
    rows = pl.DataFrame({"symbol": sorted(closes(today.evening.last))})
    rows = rows.join(own, on="symbol", how="left").join(weights, on="symbol", how="left", maintain_order="left")
    filled = pl.col("weight", "benchmark_weight").fill_null(0.0)
    return rows.select("symbol", pl.lit(index).alias("index"), "weight", "benchmark_weight").with_columns(filled)


def _log(day: Day) -> None:
    if day.decided is None:
        return
    row = day.decided.decision.row(0, named=True)
    note = {"index": day.mandate.index, "relaxed": row["relaxed"], "shadow": row["shadow"]}
    if day.decided.refusal:
        log.error("no decision, the book stays", reason=day.decided.refusal, **note)
    elif row["relaxed"] != "{}":
        log.warning("bounds relaxed", **note)
    else:
        log.info("rebalanced", tracking_error=round(row["tracking_error"], 4), **note)
