"""The real book: whole shares and cash in cents, and what an exchange does to them before it opens.

A session's reference price (`pre_close`) against the last raw close says what a share lost to a split or a dividend;
the share count and the adjustment factor say which of the two. Worth is kept: shares after x reference + cash = shares
before x last close, to half a cent a share. Fractions of a share are paid as cash at the reference price. Cash
dividends are gross; the tax on them depends on the holder and is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, isclose
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused
from fpm.portfolio.costs import CENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date

SAME = 1e-6  # relative difference below which two prices or factors are the same
TENTH = 10  # splits are announced per ten shares
SPLIT = 1.095  # without share counts, a smaller ratio of close to reference is a dividend
LEAST_SPLIT = 1.02  # a company whose share count grew by less has issued shares, not split them
COUNT_SLACK = 0.02  # share by which a count may exceed the ratio of prices and still be the split's
MONEY = ("open", "high", "low", "close", "pre_close", "limit_up", "limit_down")
LAST_COLUMNS = ("session", "symbol", "close", "adj_factor", "total_shares", "delist_date")
ENTITLES = ("pre_close", "adj_factor", "total_shares")
BEFORE = "_before"  # what the last row had, beside the session's own
ACTION_SCHEMA = {
    "index": pl.String,
    "session": pl.Date,
    "symbol": pl.String,
    "kind": pl.String,
    "shares_before": pl.Int64,
    "shares_after": pl.Int64,
    "cash": pl.Float64,
}


@dataclass(frozen=True)
class Book:
    """Shares held by symbol (none is 0) and cash in cents."""

    shares: Mapping[str, int] = field(default_factory=dict)
    cash: int = 0

    def value(self, close: Mapping[str, float]) -> int:
        """Worth in cents at raw closes."""
        return self.cash + sum(worth(count, close[symbol]) for symbol, count in self.shares.items())

    def changed(self, counts: Mapping[str, int], cash: int) -> Book:
        """The book with `counts` more shares of each symbol (fewer where negative) and `cash` more cents."""
        shares = {**self.shares}
        for symbol, count in counts.items():
            shares[symbol] = shares.get(symbol, 0) + count
        return Book({symbol: count for symbol, count in shares.items() if count}, self.cash + cash)


@dataclass(frozen=True)
class Entitlement:
    """What a share becomes on its ex-date: `ratio` shares and `dividend` in money (not cents)."""

    kind: str
    ratio: float
    dividend: float
    reference: float


@dataclass(frozen=True)
class Action:
    """One change of a holding that is no trade; `cash` in cents."""

    symbol: str
    kind: str
    shares_before: int
    shares_after: int
    cash: int


def cents(price: float) -> int:
    """A price or an amount in whole cents.

    >>> cents(10.29)
    1029
    """
    return round(price * CENTS)


def worth(count: float, price: float) -> int:
    """Worth of shares in whole cents; a price may be finer than a cent.

    >>> worth(1_000_000, 0.00001234), worth(300, 10.29)
    (1234, 308700)
    """
    return round(count * price * CENTS)


def book_of(holdings: pl.DataFrame, cash: float, known: frozenset[str]) -> Book:
    """The book of a table symbol, shares and an amount of cash; `known`: symbols that have ever had a close.

    Raises InputRefused, naming every fault: cash below zero, shares that are negative or no whole number, a symbol
    named twice or without any close.
    """
    faults = [] if cash >= 0 else [f"cash is {cash}"]
    shares: dict[str, int] = {}
    for symbol, count in holdings.select("symbol", "shares").iter_rows():
        if count is None or count < 0 or count != floor(count):
            faults.append(f"{symbol} has {count} shares")
        elif symbol in shares:
            faults.append(f"{symbol} is there twice")
        elif symbol not in known:
            faults.append(f"{symbol} has never had a close")
        else:
            shares[symbol] = int(count)
    if faults:
        raise InputRefused(
            code="FPM-PF-023",
            wrong=f"holdings: {'; '.join(faults)}",
            effect="the book before is kept",
            todo="give every symbol once, with whole shares of at least 0, and cash of at least 0",
        )
    return Book({symbol: count for symbol, count in shares.items() if count}, cents(cash))


def exact_prices(daily: pl.DataFrame, decimals: int = 2) -> pl.DataFrame:
    """Rows of `daily_bars` with prices to so many decimals: tables may hold them as float32."""
    money = [name for name in MONEY if name in daily.columns]
    return daily.with_columns(pl.col(money).cast(pl.Float64).round(decimals))


# --- what a symbol was before the session ------------------------------------------------------------------------
def last_rows(daily: pl.DataFrame, before: pl.DataFrame | None = None, decimals: int = 2) -> pl.DataFrame:
    """The newest row of every symbol in `daily` (and in `before`, an earlier answer): `LAST_COLUMNS`.

    Closes have so many decimals; rows without one do not count. Columns that `daily` lacks are null.
    """
    types = {"session": pl.Date, "symbol": pl.String, "delist_date": pl.Date}
    columns = [
        (pl.col(name) if name in daily.columns else pl.lit(None)).cast(types.get(name, pl.Float64)).alias(name)
        for name in LAST_COLUMNS
    ]
    rows = exact_prices(daily, decimals).select(columns).filter(pl.col("close").is_finite() & (pl.col("close") > 0))
    both = rows if before is None else pl.concat([before.select(LAST_COLUMNS), rows])
    return both.sort("session").unique("symbol", keep="last", maintain_order=True).sort("symbol")


def closes(last: pl.DataFrame) -> dict[str, float]:
    """Symbol -> last raw close."""
    return dict(zip(last["symbol"].to_list(), last["close"].to_list(), strict=True))


# --- corporate actions ----------------------------------------------------------------------------------------------
def entitlement(row: Mapping[str, object], before: Mapping[str, object], decimals: int = 2) -> Entitlement | None:
    """What a share of `before` (the last row of its symbol) becomes in the session of `row`; None for nothing.

    Reads close (of `before`), pre_close (of `row`), adj_factor and total_shares (of both); all but the close may be
    null. Without a pre_close, the change of the adjustment factor makes the reference price.
    """
    close = _number(before.get("close"))
    growth = _growth(row, before, "adj_factor")
    reference = _number(row.get("pre_close"))
    if close is None or (reference is None and growth is None):
        return None
    close = round(close, decimals)
    reference = round(close / growth if reference is None and growth else reference or close, decimals)
    if reference <= 0:
        return None
    half = 0.5 * 10.0**-decimals + 1e-10
    exact = close / growth if growth and abs(close / growth - reference) <= half else reference
    if isclose(reference, close, rel_tol=SAME) and exact > close * (1 - SAME):
        return None
    if reference > close:  # fewer, dearer shares
        return Entitlement("split", close / reference, 0.0, reference)
    ratio = _share_ratio(close / exact, _growth(row, before, "total_shares"))
    if ratio == 1:
        return Entitlement("cash", 1.0, close - exact, reference)
    rest = close - ratio * reference
    if abs(rest) <= half * ratio:  # the reference price is rounded to the cent: no dividend
        return Entitlement("split", ratio, 0.0, reference)
    if rest < 0:  # no such split at this reference price: as many shares as keep the worth
        return Entitlement("split", close / reference, 0.0, reference)
    return Entitlement("split", ratio, max(close - ratio * exact, 0.0), reference)


def _share_ratio(ratio: float, counts: float | None) -> float:
    """Shares that one becomes, from the ratio of close to reference and the growth of the company's share count.

    A count that grew by no more than the ratio says it; the rest of the ratio is a dividend. Without one, a ratio below
    `SPLIT` is a dividend, and a greater one is a split in whole tenths, as splits are announced.
    """
    if counts is not None and LEAST_SPLIT <= counts <= ratio * (1 + COUNT_SLACK):
        tenths = round(counts * TENTH) / TENTH
        return tenths if isclose(tenths, counts, rel_tol=1e-3) else counts
    return max(1.0, round(ratio * TENTH) / TENTH) if ratio >= SPLIT else 1.0


def _growth(row: Mapping[str, object], before: Mapping[str, object], column: str) -> float | None:
    now, then = _number(row.get(column)), _number(before.get(column))
    return now / then if now is not None and then is not None else None


def _number(value: object) -> float | None:
    """A finite number above zero; None for anything else."""
    return float(value) if isinstance(value, int | float) and 0 < value < float("inf") else None


def action_of(symbol: str, held: int, change: Entitlement) -> Action:
    """What an entitlement makes of `held` shares: whole shares, the rest as cash."""
    after = floor(held * change.ratio + 1e-9)
    fraction = max(held * change.ratio - after, 0.0) * change.reference
    return Action(symbol, change.kind, held, after, cents(fraction + held * change.dividend))


def entitlements(
    symbols: Collection[str], today: pl.DataFrame, last: pl.DataFrame, decimals: int = 2
) -> dict[str, Entitlement]:
    """Symbol -> entitlement in the session of `today`, against the last rows before it; only symbols with one."""
    keys = ["symbol", *(name for name in ENTITLES if name in today.columns)]
    rows = today.filter(pl.col("symbol").is_in(list(symbols))).select(keys)
    rows = rows.join(last, on="symbol", how="inner", suffix=BEFORE, maintain_order="left")
    if {"pre_close", "adj_factor"} <= set(keys):  # most rows change nothing: they are not looked at one by one
        moved = pl.col("pre_close").ne_missing(pl.col("close"))
        rows = rows.filter(moved | pl.col("adj_factor").ne_missing(pl.col("adj_factor" + BEFORE)))
    changes = {}
    for row in rows.iter_rows(named=True):
        before = {name: row.get(name + BEFORE, row[name]) for name in ("close", "adj_factor", "total_shares")}
        now = {name: row[name] for name in keys}
        if change := entitlement(now, before, decimals):
            changes[row["symbol"]] = change
    return changes


def actions_of(book: Book, today: pl.DataFrame, last: pl.DataFrame, decimals: int = 2) -> tuple[Action, ...]:
    """Splits and dividends of the names held, from the session's rows and the last rows before it."""
    changes = sorted(entitlements(book.shares, today, last, decimals).items())
    return tuple(action_of(symbol, book.shares[symbol], change) for symbol, change in changes)


def departures(
    book: Book,
    session: date,
    today: pl.DataFrame,
    last: pl.DataFrame,
    silent_since: date | None = None,
    terms: Mapping[str, float] | None = None,
) -> tuple[Action, ...]:
    """Names that leave the book: delisted by the session and without a row of it, at their last close or at `terms`.

    `silent_since`: names whose last row lies before this session leave too (homes without delisting dates).
    `terms`: symbol -> price that the exchange or the acquirer pays; these names leave whatever their date.
    """
    present = set(today["symbol"].to_list())
    gone = (pl.col("delist_date") <= session).fill_null(False) | pl.col("symbol").is_in(list(terms or {}))
    if silent_since is not None:
        gone |= pl.col("session") < silent_since
    left = last.filter(gone & pl.col("symbol").is_in(list(book.shares.keys() - present)))
    price = {**closes(left), **(terms or {})}
    counts = {symbol: book.shares[symbol] for symbol in left["symbol"].to_list()}
    return tuple(Action(name, "delisted", held, 0, worth(held, price[name])) for name, held in counts.items())


def after_actions(book: Book, actions: tuple[Action, ...]) -> Book:
    """The book once the actions are done."""
    counts = {action.symbol: action.shares_after - action.shares_before for action in actions}
    return book.changed(counts, sum(action.cash for action in actions))


def action_frame(index: str, session: date, actions: tuple[Action, ...]) -> pl.DataFrame:
    """Actions as rows, cash in money."""
    rows = [
        (index, session, each.symbol, each.kind, each.shares_before, each.shares_after, each.cash / CENTS)
        for each in actions
    ]
    return pl.DataFrame(rows, schema=ACTION_SCHEMA, orient="row")
