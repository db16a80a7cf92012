"""Each index's portfolio: the session's fills and marks of a real book, and at the week's end a decision.

A decision is made at a close, from the shares and the cash that are held, and filled in the next session. Between
decisions the book stands still and drifts with prices. A session starts from the custodian's book where there is one;
restrictions, approvals and holds are those of `desk`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from consumers.benchmark import PriceHistory, benchmark, unpriced
from consumers.desk import GAP, desk, morning, words
from consumers.mandates import SNAPSHOT_AGE, mandates
from consumers.order_history import REALISED, orders_since, tracking_error_realised
from consumers.streams import portfolios_read_scores, portfolios_read_stream_scores, stream_rows
from fpm.portfolio.book import Book, action_frame, cents, closes, last_rows
from fpm.portfolio.costs import CENTS
from fpm.portfolio.decide import Dates, decide, stood
from fpm.portfolio.fills import quotes
from fpm.portfolio.instructions import AWAITING, HELD, KEPT
from fpm.portfolio.mandate import decimals_of
from fpm.portfolio.restrictions import marked
from fpm.portfolio.second_solver import DIFFERS
from fpm.portfolio.session import DayPrices, Decision, carried, step
from fpm.portfolio.unpriced import priced, with_unpriced
from fpm.risk.estimate import PRESETS, risk_model
from fpm.risk.factor_returns import standard_score
from fpm.risk.stored import evidence, model_rows
from fpm.schema import TABLES
from fpm.sessions import next_sessions, previous_sessions
from fpm.store.jobs.inputs import Window
from fpm.store.lake.files import TYPES
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from consumers.desk import Desk
    from fpm.errors import FpmError
    from fpm.markets import Market
    from fpm.portfolio.book import Action
    from fpm.portfolio.decide import Decided
    from fpm.portfolio.instructions import Instruction
    from fpm.portfolio.mandate import Mandate
    from fpm.portfolio.session import Evening, Step
    from fpm.risk.estimate import RiskConfig
    from fpm.risk.half_lives import HalfLives
    from fpm.risk.model import RiskModel
    from fpm.risk.stored import Evidence
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

GONE_AFTER = 250  # a name without a bar for so many sessions leaves the book at its last price
LIQUIDITY = 20  # sessions whose mean traded value bounds a trade
LIQUIDITY_COLUMNS = ("session", "symbol", "close", "adj_factor", "volume", "amount")


def _risk_window(settings: Settings) -> int:
    return PRESETS[settings.preset].window


NAME = "portfolio"
READS = {
    "scores": Window(applies=portfolios_read_scores),
    "stream_scores": Window(
        required=False, applies=portfolios_read_stream_scores
    ),  # without: no decision, a walked book
    "vector_scores": Window(required=False, applies=portfolios_read_stream_scores),
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
    "custody": Window(back=GAP, include=False, required=False),
}
FILES = ("mandate",)
FINAL = True  # a decision that was served is never done again: a correction reaches the next one
SETTINGS = ("stream",)
RECENT = {"nav": "nav", "holdings": "shares", "decisions": "status", "custody": "shares"}  # null: withdrawn rows
BOOKS = ("holdings", "nav", "trades", "actions", "blocked")
WRITES = ("weights", *BOOKS, "targets", "decisions", "orders", "covariance", "specific_variances")


@dataclass(frozen=True)
class State:
    """What an index's earlier sessions left: the book of the last evening, and the decision that fills now, if any.

    `actions` lead from the simulated book to the custodian's. `pending`: targets that wait for approval, or null.
    """

    book: Book
    decision: Decision | None
    started: bool
    actions: tuple[Action, ...] = ()
    pending: pl.DataFrame | None = None


@dataclass(frozen=True)
class Knowledge:
    """What the decisions of every index share in one session.

    `history`: daily bars of the window, this session's too. `last`: newest row of every symbol before the session.
    `prices`: its own beside those, by decimals. `names`: `_names`, which few sessions need. `risk`: the model by
    half-lives; equal settings are computed once. `recent`: rows of `RECENT` of earlier sessions.
    """

    session: date
    history: PriceHistory
    last: pl.DataFrame
    prices: Callable[[int], DayPrices]
    members: pl.DataFrame
    names: Callable[[], pl.DataFrame]
    scores: pl.DataFrame
    risk: Callable[[HalfLives], RiskModel]
    desk: Desk
    recent: dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Day:
    """One index in one session: the book's step, the decision if there is one and its risk model, weights to serve."""

    mandate: Mandate
    step: Step
    decided: Decided | None
    weights: pl.DataFrame
    risk: RiskModel | None


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
    models = [model_rows(day.mandate.index, day.risk) for day in days if day.risk]
    for place, table in enumerate(("specific_variances", "covariance")):
        stores.write(table, session, pl.concat([empty(table), *(parts[place] for parts in models)]))


def in_force(session: date, stores: Stores) -> list[object]:
    """What the desk says that the session's rows depend on, for the digest of the job's inputs."""
    return desk(session, stores).content()


def empty(table: str) -> pl.DataFrame:
    """A table of the lake without a row."""
    return pl.DataFrame(schema={name: TYPES[kind] for name, kind in TABLES[table].columns.items()})


def is_rebalance(market: Market, session: date) -> bool:
    """Whether the calendar's next session lies in another ISO week."""
    return next_sessions(market, session, 1)[0].isocalendar()[:2] != session.isocalendar()[:2]


# --- what is known ------------------------------------------------------------------------------------------------
def _knowledge(session: date, stores: Stores) -> Knowledge:
    oldest = previous_sessions(stores.market, session, GONE_AFTER)[0]
    decimals = decimals_of(stores.market.exchange.tick)
    history = PriceHistory(stores.read("daily_bars", oldest, session), decimals)
    first = previous_sessions(stores.market, session, SNAPSHOT_AGE + GAP)[0]
    members = stores.read("index_members", first, session, columns=["index", "symbol", "weight"])
    names = cache(lambda: _names(session, history, stores))
    scores = stream_rows(session, session, stores)
    risk = _risk(session, names, stores)
    before = history.before(session)
    last = history.last(before) if before else last_rows(history.bars.clear())
    today = history.bars.filter(pl.col("session") == session)
    prices = cache(lambda decimals: DayPrices(today, last, decimals))
    span = previous_sessions(stores.market, session, GAP)
    recent = {table: stores.read(table, span[0], span[-1]).drop_nulls(column) for table, column in RECENT.items()}
    return Knowledge(session, history, last, prices, members, names, scores, risk, desk(session, stores), recent)


def _names(session: date, history: PriceHistory, stores: Stores) -> pl.DataFrame:
    """Every name with a bar so far: exposures, whether it can be traded, value traded, deviation of returns."""
    exposure = stores.read("exposures", session)
    bars, days = history.bars, history.sessions[-LIQUIDITY:]
    adjusted = pl.col("close") * pl.col("adj_factor").fill_null(1.0)
    needed = [name for name in LIQUIDITY_COLUMNS if name in bars.columns]
    recent = bars.select(needed).filter(pl.col("session").is_in(days)).sort("session")
    traded = pl.col("amount").fill_null(pl.col("close") * pl.col("volume")).fill_null(0.0)  # as `market_panel` has it
    liquidity = recent.group_by("symbol").agg(
        value=traded.sum() / len(days), deviation=adjusted.pct_change().std().fill_null(0.02)
    )
    today = bars.filter(pl.col("session") == session)
    # what fills ask, so that a decision and its orders agree
    quoted = quotes(today, today["symbol"].to_list(), history.decimals)
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


def _risk(session: date, names: Callable[[], pl.DataFrame], stores: Stores) -> Callable[[HalfLives], RiskModel]:
    """The session's risk model by half-lives, from the stored factor returns and residuals."""
    preset = PRESETS[stores.settings.preset]
    oldest = previous_sessions(stores.market, session, preset.window)[0]

    @cache
    def own() -> Evidence:  # most sessions decide nothing and need no model
        return evidence(
            names(), stores.read("factor_returns", oldest, session), stores.read("residuals", oldest, session)
        )

    @cache
    def model(config: RiskConfig) -> RiskModel:
        return risk_model(own().history, own().exposure_NK, own().cap_N, config)

    return lambda half_lives: model(half_lives.of(preset))


# --- one index ----------------------------------------------------------------------------------------------------
def _day(mandate: Mandate, knowledge: Knowledge, stores: Stores) -> Day:
    session, market = knowledge.session, stores.market
    state = _state(mandate, knowledge, stores)
    silent = previous_sessions(market, session, GONE_AFTER)[0]
    history, members = knowledge.history, knowledge.members
    before, now = (benchmark(mandate.index, day, history, members) for day in (history.before(session), session))
    moves = priced(before, closes(knowledge.last))
    today = step(mandate, session, state.book, knowledge.prices(mandate.decimals), moves, state.decision, silent)
    today = replace(today, actions=pl.concat([action_frame(mandate.index, session, state.actions), today.actions]))
    weights, decided, risk = now.rename({"weight": "benchmark_weight"}), None, None
    hold = knowledge.desk.hold(mandate.index)
    is_idle = not today.evening.book.shares and state.decision is None and state.pending is None
    is_due = is_rebalance(market, session) or is_idle or mandate.rebalance == "daily"
    if is_due or (hold is None and must_sell(knowledge, mandate.index, today.evening.book, state.pending)):
        names = scored(knowledge.names(), knowledge.scores, mandate.stream).join(
            weights, on="symbol", how="left", maintain_order="left"
        )
        names = marked(names, knowledge.desk.restricted(mandate.index))
        dates = Dates(session, knowledge.desk.fill_session, market.sessions_per_year)
        refusal = unpriced(mandate.index, session, history, members)
        universe = with_unpriced(names, knowledge.risk(mandate.half_lives), weights)
        risk = universe.risk
        decided = _decided(mandate, dates, today.evening, universe.names, risk, hold, refusal)
        realised = tracking_error_realised(mandate.index, session, today, stores)
        decided = replace(
            decided,
            decision=decided.decision.with_columns(tracking_error_realised=pl.lit(realised, dtype=pl.Float64)),
            orders=orders_since(mandate.index, session, GAP, decided, today, stores),
        )
    counted = _counted(today, started=state.started)
    served = priced(now, closes(today.evening.last)).rename({"weight": "benchmark_weight"})
    return Day(mandate, counted, decided, _weights(mandate.index, served, today, decided), risk)


def must_sell(knowledge: Knowledge, index: str, book: Book, pending: pl.DataFrame | None) -> bool:
    """Whether an excluded name is held that can be sold, and no decision that waits for approval sells it.

    `pending`: symbol, shares.
    """
    restricted = knowledge.desk.restricted(index)
    if not book.shares.keys() & restricted.keys():
        return False
    sold = set() if pending is None else set(pending.filter(pl.col("shares") == 0)["symbol"].to_list())
    excluded = marked(knowledge.names(), restricted).filter("excluded", "sellable")["symbol"].to_list()
    return bool((book.shares.keys() & excluded) - sold)


def _decided(
    mandate: Mandate,
    dates: Dates,
    evening: Evening,
    names: pl.DataFrame,
    risk: RiskModel,
    hold: Instruction | None,
    refusal: FpmError | None,
) -> Decided:
    """The decision of an evening: of a held index the book as it is; where a person must approve, it says so."""
    if hold:
        return stood(mandate, dates, evening, names, risk, HELD, words(hold))
    if refusal:
        return stood(mandate, dates, evening, names, risk, KEPT, str(refusal))
    decided = decide(mandate, dates, evening, names, risk)
    if not mandate.approval or decided.refusal:
        return decided
    waiting = decided.decision.with_columns(status=pl.lit(AWAITING))
    return replace(decided, decision=waiting, orders=decided.orders.clear())  # orders are served: none before approval


def _counted(today: Step, *, started: bool) -> Step:
    """The step without its value before the first purchase: the curves begin at the close after it."""
    return today if started or today.trades.height else replace(today, nav=today.nav.clear())


def _state(mandate: Mandate, knowledge: Knowledge, stores: Stores) -> State:
    own = pl.col("index") == mandate.index
    nav, holdings, decisions, books = (knowledge.recent[table].filter(own) for table in RECENT)
    book, since = Book({}, cents(mandate.capital)), None
    if nav.height:
        newest = nav.filter(pl.col("session") == nav["session"].max())
        since = newest["session"][0]
        rows = holdings.filter(pl.col("session") == since)
        book = Book(dict(rows.select("symbol", "shares").iter_rows()), cents(newest["cash"][0]))
    start = morning(mandate.index, book, since, knowledge.last, books)
    decision, pending = _orders(mandate, knowledge, decisions, stores)
    started = nav.height > 0 or start.is_real
    return State(start.book, decision, started, start.actions, pending)


def _orders(
    mandate: Mandate, knowledge: Knowledge, decisions: pl.DataFrame, stores: Stores
) -> tuple[Decision | None, pl.DataFrame | None]:
    """The decision that the session fills, and the targets of one that still waits for approval; None without."""
    index, said = mandate.index, knowledge.desk
    newest = decisions.filter(pl.col("session") == pl.col("session").max()).rows(named=True)
    if not newest or newest[0]["status"] in (KEPT, HELD):
        return None, None
    made, fills = newest[0]["session"], newest[0]["fill_session"]
    targets, as_delivered = (
        own.read("targets", made, made).filter(pl.col("index") == index).drop_nulls("shares").select("symbol", "shares")
        for own in (stores, stores.as_delivered())
    )
    filled_in = fills
    if newest[0]["status"] == AWAITING:
        filled_in = said.filled_in(index, made, fills, as_delivered)
        if filled_in is None or filled_in > knowledge.session:
            return None, targets
        targets = carried(targets, knowledge.history.bars, made, knowledge.session, knowledge.history.decimals)
    if filled_in != knowledge.session:
        return None, None
    return Decision(made, targets, said.forbidden(index), said.withheld(index)), None


def _weights(index: str, weights: pl.DataFrame, today: Step, decided: Decided | None) -> pl.DataFrame:
    """Rows of the table `weights`: every name with a price, also those at 0, so that a sold name is served as 0.

    `weights`: symbol, benchmark_weight. After a decision the weights it wants, else those that are held; so also after
    one that waits for approval.
    """
    nav = today.evening.nav / CENTS
    if decided and decided.decision["status"][0] != AWAITING:
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
    if row["second_solver"] == DIFFERS:
        log.error("a second solver finds another objective", difference=row["second_difference"], **note)
    if row["status"] == HELD:
        log.warning("the index is held, the book stays", reason=day.decided.refusal, **note)
    elif row["status"] == AWAITING:
        log.warning("a decision awaits approval, until then the book stays", fills=str(row["fill_session"]), **note)
    elif day.decided.refusal:
        log.error("no decision, the book stays", reason=day.decided.refusal, **note)
    elif row["relaxed"] != "{}":
        log.warning("bounds relaxed", **note)
    else:
        log.info("rebalanced", tracking_error=round(row["tracking_error"], 4), **note)
