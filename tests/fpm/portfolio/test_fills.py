"""Fills by hand: prices, limits, participation, lots and the cash that there is."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from fpm.errors import UsageError
from fpm.portfolio.book import Book
from fpm.portfolio.costs import Cost, flat
from fpm.portfolio.fills import Order, Quote, Terms, buy_lots, fill, quote, sale_lots

DAY = date(2025, 6, 3)
FREE = Terms(1.0, 100, flat(0.0))
ROW = {
    "open": 10.0,
    "high": 10.5,
    "low": 9.8,
    "close": 10.2,
    "volume": 1000.0,
    "amount": 10_123.0,
    "limit_up": 11.0,
    "limit_down": 9.0,
    "suspended": False,
}
LIQUID = Quote(10.0, 1e9, False, False)


def traded(book, orders, quotes, terms=FREE):
    """(book, {symbol: shares}, {symbol: reason}) of a session."""
    after, trades, blocked = fill(book, orders, quotes, DAY, terms)
    return after, {each.symbol: each.shares for each in trades}, {each.symbol: each.reason for each in blocked}


@pytest.mark.parametrize(
    ("columns", "price"),
    [
        ({}, 10.12),  # 10.123 to the cent
        ({"amount": 1_012_300.0}, 10.0),  # vwap of 1012 lies beyond the high: the open
        ({"amount": 9_791.0}, 9.79),  # a cent below the low is still the vwap
        ({"amount": 9_780.0}, 10.0),
        ({"amount": None}, 10.0),
        ({"volume": 0.0}, None),
        ({"volume": None}, None),
        ({"suspended": True}, None),
        ({"amount": None, "open": None}, None),
        ({"suspended": None, "limit_up": None, "limit_down": None}, 10.12),
        ({"amount": float("nan")}, 10.0),
    ],
)
def test_the_fill_is_the_vwap_where_it_can_be_one_else_the_open(columns, price):
    assert quote(ROW | columns).fill == price


@pytest.mark.parametrize(
    ("columns", "at_upper", "at_lower"),
    [
        ({}, False, False),
        ({"low": 11.0, "high": 11.0}, True, False),
        ({"low": 10.9951, "high": 11.0}, True, False),
        ({"low": 10.99, "high": 11.0}, False, False),  # it opened for a moment
        ({"low": 9.0, "high": 9.0}, False, True),
        ({"low": 11.0, "high": 11.0, "limit_up": None}, False, False),
    ],
)
def test_locked_is_a_whole_session_at_the_limit(columns, at_upper, at_lower):
    quoted = quote(ROW | columns)
    assert (quoted.at_upper, quoted.at_lower) == (at_upper, at_lower)


def test_limits_block_one_side_only():
    locked = {"A": Quote(11.0, 1e9, True, False), "B": Quote(9.0, 1e9, False, True)}
    book = Book({"A": 100, "B": 100}, 10_000_00)
    assert traded(book, [Order("A", "buy", 100), Order("B", "sell", 100)], locked)[1:] == (
        {},
        {"A": "limit", "B": "limit"},
    )
    assert traded(book, [Order("A", "sell", 100), Order("B", "buy", 100)], locked)[1] == {"A": 100, "B": 100}


def test_nothing_trades_without_a_quote():
    book = Book({"A": 100}, 0)
    quotes = {"B": Quote(None, 0.0, False, False)}
    after, done, why = traded(book, [Order("A", "sell", 100), Order("B", "buy", 100)], quotes)
    assert (after, done, why) == (book, {}, {"A": "no trading", "B": "no trading"})


def test_participation_is_a_share_of_the_volume_in_whole_lots():
    quotes = {"A": Quote(10.0, 12_999.0, False, False), "B": Quote(10.0, 5_550.0, False, False)}
    orders = [Order("A", "buy", 5000), Order("B", "sell", 900)]
    terms = Terms(0.1, 100, flat(0.0))
    _, done, why = traded(Book({"B": 900}, 10**9), orders, quotes, terms)
    assert done == {"A": 1200, "B": 500} and why == {"A": "participation", "B": "participation"}


@pytest.mark.parametrize(
    ("shares", "held", "sold"),
    [(350, 350, 350), (349, 350, 300), (300, 350, 300), (260, 350, 250), (50, 350, 50), (49, 350, 0), (500, 350, 350)],
)
def test_an_odd_lot_is_sold_whole_or_not_at_all(shares, held, sold):
    assert sale_lots("600000.SH", shares, held, 100) == sold


@pytest.mark.parametrize(
    ("shares", "held", "sold"), [(199, 1000, 0), (200, 1000, 200), (157, 157, 157), (233, 900, 233)]
)
def test_star_sells_200_and_more_or_a_small_rest_whole(shares, held, sold):
    assert sale_lots("688001.SH", shares, held, 100) == sold


def test_purchases_are_lots_and_on_star_200_and_more():
    assert [buy_lots("000001.SZ", count, 100) for count in (99, 100, 299)] == [0, 100, 200]
    assert [buy_lots("688001.SH", count, 100) for count in (199, 200, 233)] == [0, 200, 233]
    assert buy_lots("AAPL", 7, 1) == 7


def test_sales_pay_for_purchases_of_the_session_and_costs_are_taken_on_both_sides():
    """Sell 1,000 at 10.00 for 10,000 less 15.00; buy 500 at 12.34 for 6,170 and 9.26 (9.255 to the cent)."""
    quotes = {"A": LIQUID, "B": Quote(12.34, 1e9, False, False)}
    terms = Terms(1.0, 100, flat(0.0015))
    orders = [Order("B", "buy", 500), Order("A", "sell", 1000)]
    after, trades, blocked = fill(Book({"A": 1000}, 0), orders, quotes, DAY, terms)
    assert [(each.side, each.amount, each.cost) for each in trades] == [
        ("sell", 1_000_000, 1500),
        ("buy", 617_000, 926),
    ]
    assert after == Book({"B": 500}, 1_000_000 - 1500 - 617_000 - 926) and blocked == ()


def test_the_first_purchase_is_charged():
    after, trades, _ = fill(
        Book({}, 1_001_50), [Order("A", "buy", 100)], {"A": LIQUID}, DAY, Terms(1, 100, flat(0.0015))
    )
    assert after == Book({"A": 100}, 0) and trades[0].cost == 1_50


def test_a_cent_too_little_buys_a_lot_less():
    after, done, why = traded(Book({}, 2_002_99), [Order("A", "buy", 200)], {"A": LIQUID}, Terms(1, 100, flat(0.0015)))
    assert done == {"A": 100} and why == {"A": "cash"} and after.cash == 2_002_99 - 1_001_50


def test_purchases_shrink_together_then_single_lots_use_what_is_left():
    """10,000 and 5,000 wanted with 9,000: 6 and 3 lots."""
    orders = [Order("A", "buy", 1000), Order("B", "buy", 500)]
    after, done, why = traded(Book({}, 9_000_00), orders, {"A": LIQUID, "B": LIQUID})
    assert done == {"A": 600, "B": 300} and after.cash == 0 and set(why.values()) == {"cash"}
    _, done, _ = traded(Book({}, 9_500_00), orders, {"A": LIQUID, "B": LIQUID})
    assert done == {"A": 600, "B": 300}  # 500 are no lot
    _, done, _ = traded(Book({}, 10_999_00), orders, {"A": LIQUID, "B": LIQUID})
    assert done == {"A": 700, "B": 300}  # 733 and 366 shares, 999 yuan left


def test_least_costs_never_overdraw():
    """Every trade costs at least 5 yuan: 30 names of one lot at 1.00 with 1,000 yuan buy nine, 105 each."""
    names = [f"60{number:04d}.SH" for number in range(30)]
    terms = Terms(1.0, 100, tuple(Cost(date(2000, 1, 1), side, 0.0003, 5.0) for side in ("buy", "sell")))
    quotes = {name: Quote(1.0, 1e9, False, False) for name in names}
    after, done, _ = traded(Book({}, 1_000_00), [Order(name, "buy", 100) for name in names], quotes, terms)
    assert len(done) == 9 and after.cash == 1_000_00 - 9 * 105_00


def test_small_purchases_give_way_where_least_costs_exceed_the_cash():
    terms = Terms(1.0, 1, tuple(Cost(date(2000, 1, 1), side, 0.0, 40.0) for side in ("buy", "sell")))
    orders = [Order("A", "buy", 100), Order("B", "buy", 4), Order("C", "buy", 4)]
    after, done, why = traded(Book({}, 1_000_00), orders, dict.fromkeys("ABC", LIQUID), terms)
    assert after.cash >= 0 and done["A"] >= 80 and why["C"] == "cash"


def test_a_sale_that_costs_more_than_it_brings_waits():
    """Three shares at 1.00 cannot pay 5 yuan; six can."""
    terms = Terms(1.0, 100, tuple(Cost(date(2000, 1, 1), side, 0.0003, 5.0) for side in ("buy", "sell")))
    quotes = dict.fromkeys("AB", Quote(1.0, 1e9, False, False))
    after, done, why = traded(Book({"A": 3, "B": 6}, 0), [Order("A", "sell", 3), Order("B", "sell", 6)], quotes, terms)
    assert (after, done, why) == (Book({"A": 3}, 1_00), {"B": 6}, {"A": "cost"})


def test_random_sessions_keep_every_rule():
    """Cash and shares from the trades alone, lots and odd lots, limits and volume, over 300 sessions of 12 names."""
    generator = np.random.default_rng(8)
    names = [*(f"60000{number}.SH" for number in range(9)), *(f"68800{number}.SH" for number in range(3))]
    for _ in range(300):
        lot = int(generator.choice([1, 100]))
        costs = tuple(Cost(date(2000, 1, 1), side, float(generator.uniform(0, 0.01)), 5.0) for side in ("buy", "sell"))
        terms = Terms(float(generator.uniform(0.01, 1)), lot, costs)
        held = {name: int(generator.integers(0, 900)) for name in names if generator.random() < 0.6}
        quotes = {
            name: Quote(round(float(generator.lognormal(2, 1)), 2), float(generator.integers(0, 20_000)), *locked)
            for name, locked in zip(names, generator.random((12, 2)) < 0.1, strict=True)
        }
        orders = [
            Order(name, str(generator.choice(["buy", "sell"])), int(generator.integers(1, 2000))) for name in names
        ]
        book = Book({name: count for name, count in held.items() if count}, int(generator.integers(0, 2_000_000)))
        after, trades, blocked = fill(book, orders, quotes, DAY, terms)
        cash, shares = book.cash, dict(book.shares)
        for each in trades:
            sign, star = (1 if each.side == "buy" else -1), each.symbol.startswith("688")
            cash -= sign * each.amount + each.cost
            shares[each.symbol] = shares.get(each.symbol, 0) + sign * each.shares
            assert each.shares <= terms.participation * quotes[each.symbol].volume
            assert not (quotes[each.symbol].at_upper if sign > 0 else quotes[each.symbol].at_lower)
            assert star or sign < 0 or each.shares % lot == 0
            assert star or sign > 0 or each.shares % lot == 0 or shares[each.symbol] % lot == 0
            assert not star or each.shares >= 200 or shares[each.symbol] == 0
        assert after.cash == cash >= 0 and min(shares.values(), default=0) >= 0
        assert dict(after.shares) == {name: count for name, count in shares.items() if count}
        filled = {each.symbol: each.shares for each in trades}
        assert {(each.symbol, each.ordered, each.filled) for each in blocked} == {
            (order.symbol, order.shares, filled.get(order.symbol, 0))
            for order in orders
            if filled.get(order.symbol, 0) < order.shares
        }


def test_no_sale_of_what_is_not_held_and_no_trade_without_a_cost():
    assert traded(Book({"A": 100}, 0), [Order("A", "sell", 300)], {"A": LIQUID})[1:] == ({"A": 100}, {"A": "holding"})
    with pytest.raises(UsageError, match="FPM-PF-022"):
        fill(Book({"A": 100}, 0), [Order("A", "sell", 100)], {"A": LIQUID}, DAY, Terms(1, 100, ()))
