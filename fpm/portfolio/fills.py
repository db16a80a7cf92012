"""What an exchange makes of orders in one session: trades at its prices, within its rules.

The fill is the session's vwap = amount / volume where it lies between low and high, else the open, to the cent. Nothing
trades while suspended or without volume; in a session spent wholly at a limit, nothing can be bought at the upper limit
or sold at the lower one (limit orders wait behind the queue). Sales come first and pay for purchases of the same
session; what was bought is sold from the next session on (T+1), since orders hold one side of a symbol each.

Lots are those of the Shanghai and Shenzhen trading rules (2023, chapter 3): purchases in whole lots, a holding's odd
lot is sold in one piece; on the STAR market (688) orders have 200 shares or more, and a rest below that is sold whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf, isfinite
from typing import TYPE_CHECKING

import polars as pl

from fpm.portfolio.book import Book, worth
from fpm.portfolio.costs import Cost, cost_cents, cost_in_force

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

LOCKED = 0.005 + 1e-6  # prices nearer to a limit are at it
STAR, STAR_LEAST = "688", 200
TRADE_SCHEMA = {
    "index": pl.String,
    "session": pl.Date,
    "symbol": pl.String,
    "side": pl.String,
    "shares": pl.Int64,
    "price": pl.Float64,
    "amount": pl.Float64,
    "cost": pl.Float64,
    "decided": pl.Date,
}
BLOCKED_SCHEMA = {
    "index": pl.String,
    "session": pl.Date,
    "symbol": pl.String,
    "side": pl.String,
    "ordered": pl.Int64,
    "filled": pl.Int64,
    "reason": pl.String,
}


@dataclass(frozen=True)
class Order:
    """Shares to buy or sell of one symbol."""

    symbol: str
    side: str
    shares: int


QUOTED = ("open", "high", "low", "volume", "amount", "limit_up", "limit_down", "suspended")


@dataclass(frozen=True)
class Quote:
    """A symbol's session: the fill in money, None where nothing trades; volume in shares; locked at a limit or not."""

    fill: float | None
    volume: float
    at_upper: bool
    at_lower: bool


@dataclass(frozen=True)
class Trade:
    """One fill; `amount` and `cost` in cents."""

    symbol: str
    side: str
    shares: int
    price: float
    amount: int
    cost: int


@dataclass(frozen=True)
class Blocked:
    """What an order did not get, and why: no trading, limit, participation, lot, holding, cash or cost.

    Before the market a restriction or a hold may forbid it; then their own words are the reason.
    """

    symbol: str
    side: str
    ordered: int
    filled: int
    reason: str


@dataclass(frozen=True)
class Terms:
    """Rules of the fills: share of a session's volume that may be taken, shares of a lot, dated costs."""

    participation: float
    lot: int
    costs: Sequence[Cost]


# --- the session's prices -------------------------------------------------------------------------------------------
def quote(row: Mapping[str, object], decimals: int = 2) -> Quote:
    """Quote of one `daily_bars` row, from the columns `QUOTED`."""
    low, high, first = (_price(row.get(name), decimals) for name in ("low", "high", "open"))
    volume, amount = _number(row.get("volume"), 0.0), _number(row.get("amount"), 0.0)
    upper, lower = _price(row.get("limit_up"), decimals, inf), _price(row.get("limit_down"), decimals, -inf)
    trades = volume > 0 and not row.get("suspended") and low > 0
    vwap = amount / volume if volume > 0 else 0.0
    step = 10.0**-decimals
    fill = round(vwap if low - step <= vwap <= high + step else first, decimals)
    return Quote(fill if trades and fill > 0 else None, volume, low >= upper - LOCKED, high <= lower + LOCKED)


def quotes(today: pl.DataFrame, symbols: Sequence[str], decimals: int = 2) -> dict[str, Quote]:
    """Quotes of the symbols that have a row in the session; fills are rounded to `decimals`."""
    needed = [name for name in ("symbol", *QUOTED) if name in today.columns]
    rows = today.filter(pl.col("symbol").is_in(list(symbols))).select(needed)
    return {row["symbol"]: quote(row, decimals) for row in rows.iter_rows(named=True)}


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and isfinite(value) else otherwise


def _price(value: object, decimals: int, otherwise: float = 0.0) -> float:
    return round(_number(value, otherwise), decimals) if value is not None else otherwise


# --- how much of an order can be done -------------------------------------------------------------------------------
def buy_lots(symbol: str, shares: float, lot: int) -> int:
    """The largest purchase of at most `shares`.

    >>> buy_lots("600000.SH", 399, 100), buy_lots("688001.SH", 399, 100), buy_lots("688001.SH", 199, 100)
    (300, 399, 0)
    """
    if symbol.startswith(STAR):
        return floor(shares) if shares >= STAR_LEAST else 0
    return floor(shares / lot) * lot


def sale_lots(symbol: str, shares: float, held: int, lot: int) -> int:
    """The largest sale of at most `shares` out of `held`: whole lots, with the holding's odd lot whole or not at all.

    >>> sale_lots("600000.SH", 349, 350, 100), sale_lots("600000.SH", 260, 350, 100)
    (300, 250)
    """
    most = min(floor(shares), held)
    if symbol.startswith(STAR):
        return most if most >= STAR_LEAST or most == held else 0
    odd = held % lot
    return max(most // lot * lot, (most - odd) // lot * lot + odd if most >= odd else 0)


def _possible(order: Order, book: Book, quoted: Quote | None, terms: Terms) -> tuple[int, str]:
    """Shares that the session allows of an order whatever the cash, and what stands in the way of the rest."""
    if quoted is None or quoted.fill is None:
        return 0, "no trading"
    if quoted.at_upper if order.side == "buy" else quoted.at_lower:
        return 0, "limit"
    share = floor(terms.participation * quoted.volume)
    most = min(order.shares, share)
    if order.side == "buy":
        return buy_lots(order.symbol, most, terms.lot), "participation" if share < order.shares else "lot"
    position = book.shares.get(order.symbol, 0)
    reason = "holding" if position < min(order.shares, share) else "participation" if share < order.shares else "lot"
    return sale_lots(order.symbol, most, position, terms.lot), reason


# --- the session ----------------------------------------------------------------------------------------------------
def fill(
    book: Book, orders: Sequence[Order], quoted: Mapping[str, Quote], session: date, terms: Terms
) -> tuple[Book, tuple[Trade, ...], tuple[Blocked, ...]]:
    """The book after the session's trades, the trades, and what was ordered and not done.

    `orders`: at most one a symbol. Purchases shrink together to the cash there is, costs included.
    """
    by_side = {side: [each for each in orders if each.side == side and each.shares > 0] for side in ("sell", "buy")}
    trades: list[Trade] = []
    blocked: list[Blocked] = []
    for side, wanted in by_side.items():
        if not wanted:
            continue
        cost = cost_in_force(terms.costs, session, side)
        possible = {each.symbol: _possible(each, book, quoted.get(each.symbol), terms) for each in wanted}
        counts = {symbol: count for symbol, (count, _) in possible.items()}
        price = {symbol: quoted[symbol].fill or 0.0 for symbol, count in counts.items() if count}
        affordable = (
            _worthwhile(counts, price, cost)
            if side == "sell"
            else _affordable(counts, price, book.cash, cost, terms.lot)
        )
        for order in sorted(wanted, key=lambda each: each.symbol):
            count, (allowed, reason) = affordable[order.symbol], possible[order.symbol]
            if count < order.shares:
                why = reason if count == allowed else "cash" if side == "buy" else "cost"
                blocked.append(Blocked(order.symbol, side, order.shares, count, why))
            if count:
                trades.append(_trade(order.symbol, side, count, price[order.symbol], cost))
        sign, own = (1 if side == "buy" else -1), [trade for trade in trades if trade.side == side]
        spent = sum(sign * trade.amount + trade.cost for trade in own)
        book = book.changed({trade.symbol: sign * trade.shares for trade in own}, -spent)
    return book, tuple(trades), tuple(blocked)


def _trade(symbol: str, side: str, count: int, price: float, cost: Cost) -> Trade:
    amount = worth(count, price)
    return Trade(symbol, side, count, price, amount, cost_cents(amount, cost))


def _worthwhile(counts: Mapping[str, int], price: Mapping[str, float], cost: Cost) -> dict[str, int]:
    """Sales that bring at least what they cost: the least cost of a trade can exceed an odd lot's amount."""
    amount = {symbol: worth(count, price[symbol]) for symbol, count in counts.items() if count}
    return {
        symbol: count if count and cost_cents(amount[symbol], cost) <= amount[symbol] else 0
        for symbol, count in counts.items()
    }


def _affordable(
    counts: Mapping[str, int], price: Mapping[str, float], cash: int, cost: Cost, lot: int
) -> dict[str, int]:
    """Purchases that `cash` (cents) pays for.

    All shrink by one share, down to lots; then each gets one lot more, the greatest shortfall first, while cash lasts.
    """

    def spent(symbol: str, count: int) -> int:
        amount = worth(count, price[symbol]) if count else 0
        return amount + cost_cents(amount, cost) if count else 0

    needed = sum(spent(symbol, count) for symbol, count in counts.items())
    if needed <= cash:
        return dict(counts)
    purchase = {symbol: buy_lots(symbol, count * (cash / needed), lot) for symbol, count in counts.items()}
    left = cash - sum(spent(symbol, count) for symbol, count in purchase.items())
    by_shortfall = sorted(price, key=lambda symbol: ((purchase[symbol] - counts[symbol]) * price[symbol], symbol))
    for symbol in reversed(by_shortfall):  # the least cost of a trade does not shrink with it: small ones go first
        if left >= 0:
            break
        left, purchase[symbol] = left + spent(symbol, purchase[symbol]), 0
    for symbol in by_shortfall:
        first = STAR_LEAST if symbol.startswith(STAR) and not purchase[symbol] else lot
        more = buy_lots(symbol, min(purchase[symbol] + first, counts[symbol]), lot)
        extra = spent(symbol, more) - spent(symbol, purchase[symbol])
        if more > purchase[symbol] and extra <= left:
            purchase[symbol], left = more, left - extra
    return purchase
