"""Prices beyond the limits of their board, beside the close before: set aside by symbol and session, or named.

A limit is a share of the session's reference price: the close before, or less on an ex-date. So two prices of one
session are never further apart than the limit allows, and none lies above it seen from the close before; one below
may be an ex-date, which only adjustment factors tell. Without them such a session stays and is named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.price_limits import with_limits
from fpm.row_order import by_runs, in_order
from fpm.sessions import sessions_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from fpm.markets import Market

CODE, WRONG = "FPM-IN-185", "beyond the price limit of its board"
KEYS = ("session", "symbol")
SLACK = 0.01  # relative; a close from minutes lies up to 0.5 % beside the official one that limits are made from
WINDOW = 8  # sessions before, that tell whether a symbol is traded at all
MOST_AGE = 3  # sessions since the close before; whoever was halted longer may come back without a limit
LISTED = 30  # days after a listing, when its first sessions without limits are over
FACTS = {"st": pl.Boolean, "adj_factor": pl.Float64, "pre_close": pl.Float64, "list_date": pl.Date}


@dataclass(frozen=True)
class Jumps:
    """`faults`: session, symbol, reason of what is set aside. `falls`: the same of what may be an ex-date and stays."""

    faults: pl.DataFrame
    falls: pl.DataFrame


@dataclass
class Past:
    """What is known of one symbol before a session: position among the sessions, close and factor, oldest first."""

    closes: list[tuple[int, float, float | None]] = field(default_factory=list)

    def before(self, position: int) -> list[tuple[int, float, float | None]]:
        """The closes of the last `WINDOW` sessions."""
        return [each for each in self.closes if position - WINDOW <= each[0] < position]


def price_jumps(bars: pl.DataFrame, closes: pl.DataFrame, daily: pl.DataFrame, market: Market) -> Jumps:
    """The symbol-sessions of `bars` whose prices no limit of the exchange allows.

    `bars` has session, symbol, slot, high, low, close, volume, raw prices. `closes`: session, symbol, close, adj_factor
    of sessions before. `daily`: session, symbol and `FACTS` of the sessions of `bars`, null where unknown. Not judged:
    a symbol without a limit, with fewer sessions before than its listing has without limits, or back from a halt.
    """
    nothing = pl.DataFrame(schema={"session": pl.Date, "symbol": pl.String, "reason": pl.String})
    if not market.exchange.limits or bars.is_empty():
        return Jumps(nothing, nothing)
    days = with_limits(_days(bars, _with_factors(daily)), market.exchange.limits)
    past = _with_factors(closes).with_columns(pl.col("symbol").cast(pl.String)).drop_nulls("close")
    suspects = _suspects(days, past, market.exchange.tick)
    if suspects.is_empty():
        return Jumps(nothing, nothing)
    own, before = (rows.join(suspects, on="symbol", how="semi").sort(*KEYS) for rows in (days, past))
    sessions = [*before["session"].unique().to_list(), *own["session"].unique().to_list()]
    numbers = {each: i for i, each in enumerate(sessions_between(market, min(sessions), max(sessions)))}
    verdicts = [
        row
        for (symbol,), part in own.partition_by("symbol", as_dict=True, maintain_order=True).items()
        for row in _judged(
            part.iter_rows(named=True), _past(before.filter(pl.col("symbol") == symbol), numbers), numbers, market
        )
    ]
    rows = pl.DataFrame(verdicts, schema={**nothing.schema, "fall": pl.Boolean}, orient="row").sort(*KEYS)
    return Jumps(rows.filter(~pl.col("fall")).drop("fall"), rows.filter("fall").drop("fall"))


def _days(bars: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    """By symbol and session: high, low and close of the traded bars, and the facts of the day."""
    columns = bars.select(*KEYS, "slot", "high", "low", "close", "volume")
    traded = in_order(columns.filter((pl.col("volume") > 0) & (pl.col("low") > 0)), (*KEYS, "slot"))
    days = by_runs(traded, KEYS, pl.col("high").max(), pl.col("low").min(), pl.col("close").last())
    days = days.with_columns(pl.col("symbol").cast(pl.String))
    return days.join(daily.unique(KEYS, keep="last"), on=KEYS, how="left", maintain_order="left")


def _with_factors(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with `factor`: null in a session whose table has no factor but 1, which is no factor at all."""
    has_factors = (pl.col("adj_factor") != 1).any().over("session")
    return rows.with_columns(pl.when(has_factors).then(pl.col("adj_factor")).alias("factor"))


def _suspects(days: pl.DataFrame, past: pl.DataFrame, tick: float) -> pl.DataFrame:
    """Symbols with a session that may be beyond its limit: all that `_judged` finds, and a few more."""
    closes = pl.concat([past.select(*KEYS, "close"), days.select(*KEYS, "close")]).unique(KEYS, keep="last")
    before = closes.sort(*KEYS).with_columns(pl.col("close").shift().over("symbol").alias("before"))
    joined = days.join(before.select(*KEYS, "before"), on=KEYS, how="left")
    up, down, reference = 1 + pl.col("share"), 1 - pl.col("share"), pl.coalesce("before", "pre_close")
    wide = pl.col("high") * down > (pl.col("low") * up + 2 * tick) * (1 + SLACK)
    above = pl.col("high") > reference * up * (1 + SLACK) + tick
    beyond = above | (pl.col("low") < reference * down * (1 - SLACK) - tick)
    return joined.filter(pl.col("share").is_not_null() & (wide | beyond)).select("symbol").unique()


def _past(rows: pl.DataFrame, numbers: dict[date, int]) -> Past:
    return Past(
        [(numbers[day], close, factor) for day, close, factor in rows.select("session", "close", "factor").rows()]
    )


def _judged(
    days: Iterable[dict[str, Any]], past: Past, numbers: dict[date, int], market: Market
) -> Iterable[tuple[date, str, str, bool]]:
    """session, symbol, reason, whether it is a fall, of one symbol's `days`; what is set aside is no close before."""
    for day in days:
        position = numbers[day["session"]]
        fault, fall = _verdict(day, past.before(position), position, market.exchange.tick)
        if fault or fall:
            yield day["session"], day["symbol"], fault or fall, not fault
        if not fault:
            past.closes.append((position, day["close"], day["factor"]))


def _verdict(
    day: dict[str, Any], before: Sequence[tuple[int, float, float | None]], position: int, tick: float
) -> tuple[str, str]:
    """The fault and the fall of one symbol-session, in words; "" for none."""
    share, listed = day["share"], day["list_date"] is not None and (day["session"] - day["list_date"]).days > LISTED
    if share is None or not (listed or len(before) >= day["free"]):
        return "", ""
    age = position - before[-1][0] if before else 1
    reference, factor = before[-1][1:] if before else (day["pre_close"], None)
    if not reference or age > MOST_AGE:
        return "", ""
    high, low, percent = day["high"], day["low"], f"it is {share:.0%}"
    if high * (1 - share) > (low * (1 + share) + 2 * tick) * (1 + SLACK):
        return f"{WRONG}: prices from {low:.10g} to {high:.10g} in one session: {percent}", ""
    has_factors = factor is not None and day["factor"] is not None
    acted = has_factors and factor != day["factor"]
    if high > reference * (1 + share) ** age * (1 + SLACK) + tick and not acted:
        return f"{WRONG}: a price of {high:.10g} after a close of {reference:.10g}: {percent}", ""
    if low < reference * (1 - share) ** age * (1 - SLACK) - tick and not acted:
        text = f"{WRONG}: a price of {low:.10g} after a close of {reference:.10g}: {percent}"
        return (text, "") if has_factors else ("", f"{text}, or an ex-date: no adjustment factor says which")
    return "", ""
