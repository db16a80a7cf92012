"""Restrictions: what is in force on a day, and what the optimiser may do with names under them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from fpm.portfolio.book import Action, Book
from fpm.portfolio.custody import differences, real_book
from fpm.portfolio.fills import Order
from fpm.portfolio.lots import optimise_lots
from fpm.portfolio.problem import Bounds
from fpm.portfolio.restrictions import Restriction, in_force, marked
from fpm.portfolio.session import Decision, carried, permitted
from tests.fpm.portfolio.instances import instance

FIRST, LAST = date(2024, 3, 4), date(2024, 3, 8)
ROWS = pl.DataFrame(
    [
        ("A", "", FIRST, None, "frozen", "merger"),
        ("B", "CSI300", FIRST, LAST, "exclude", "sanctions"),
        ("C", "CSI500", FIRST, LAST, "no_buy", "cap"),
    ],
    schema=["symbol", "index", "first", "last", "kind", "reason"],
    orient="row",
)


@pytest.mark.parametrize(
    ("index", "day", "symbols"),
    [
        ("CSI300", date(2024, 3, 3), []),
        ("CSI300", FIRST, ["A", "B"]),
        ("CSI300", LAST, ["A", "B"]),
        ("CSI300", date(2024, 3, 9), ["A"]),
        ("CSI500", LAST, ["A", "C"]),
    ],
)
def test_both_days_belong_to_a_restriction(index: str, day: date, symbols: list[str]) -> None:
    assert list(in_force(ROWS, index, day)) == symbols


def test_marked_names() -> None:
    names = pl.DataFrame({"symbol": ["A", "B", "C", "D"], "buyable": True, "sellable": True})
    rows = marked(names, in_force(ROWS, "CSI300", FIRST) | {"C": Restriction("no_buy", "cap")})
    assert rows.select("restriction", "restricted", "excluded", "buyable", "sellable").rows() == [
        ("frozen: merger", False, False, False, False),
        ("exclude: sanctions", False, True, True, True),
        ("no_buy: cap", True, False, True, True),
        (None, False, False, True, True),
    ]


def test_orders_that_a_restriction_or_a_hold_forbids() -> None:
    orders = (Order("A", "sell", 100), Order("B", "sell", 200), Order("B2", "buy", 300), Order("D", "buy", 400))
    rules = {"A": Restriction("frozen", "x"), "B": Restriction("exclude", "y"), "B2": Restriction("no_buy", "z")}
    given, refused = permitted(orders, Decision(FIRST, pl.DataFrame(), rules))
    assert given == (orders[1], orders[3])
    assert [(each.symbol, each.filled, each.reason) for each in refused] == [
        ("A", 0, "frozen: x"),
        ("B2", 0, "no_buy: z"),
    ]
    given, refused = permitted(orders, Decision(FIRST, pl.DataFrame(), withheld="held by ben"))
    assert given == () and {each.reason for each in refused} == {"held by ben"}


@pytest.mark.parametrize("seed", range(6))
def test_lots_obey_restrictions(seed: int) -> None:
    """Frozen: the same shares. Excluded: the fewest that participation allows. Not to be bought: never more."""
    generator = np.random.default_rng(seed)
    problem = instance(40, seed=seed)
    price_N, value = generator.uniform(5, 60, 40).round(2), 5e7
    share_N = (problem.weight_N * value / price_N / 100).astype(np.int64) * 100
    pick_N = generator.permutation(40)
    frozen, excluded, closed = pick_N[:3], pick_N[3:6], pick_N[6:9]
    mark = {name: np.zeros(40, dtype=bool) for name in ("frozen", "excluded", "closed")}
    for name, places in (("frozen", frozen), ("excluded", excluded), ("closed", closed)):
        mark[name][places] = True
    free_N = ~mark["frozen"]
    participation_N = np.where(pick_N[3] == np.arange(40), 0.004, 0.2)  # one of the excluded can be sold in part
    problem = replace(
        problem,
        tradable_N=free_N,
        buyable_N=free_N,
        sellable_N=free_N,
        excluded_N=mark["excluded"],
        restricted_N=mark["closed"],
        participation_N=participation_N,
    )
    answer = optimise_lots(problem, Bounds(turnover=0.02), price_N, value, share_N)
    after_N = answer.share_N
    assert (after_N[frozen] == share_N[frozen]).all()
    assert (after_N[closed] <= share_N[closed]).all()
    assert (after_N[excluded[1:]] == 0).all()
    left = after_N[excluded[0]]
    most = int(0.004 * value / price_N[excluded[0]])  # shares that may be sold
    assert max(0, share_N[excluded[0]] - most) <= left < max(0, share_N[excluded[0]] - most) + 100
    sold = float(((share_N - after_N)[excluded] * price_N[excluded]).sum()) / value
    assert "turnover" in answer.solution.relaxed or sold <= 0.02


def test_the_difference_of_two_books_by_hand() -> None:
    simulated, close = Book({"A": 300, "B": 100}, 50_000), {"A": 10.0, "B": 2.5, "C": 7.0}
    rows = pl.DataFrame({"symbol": ["A", "C", "CASH"], "shares": [200, 10, 0], "cash": [None, None, 750.0]})
    real = real_book(rows, frozenset(close))
    assert real == Book({"A": 200, "C": 10}, 75_000)
    assert differences(simulated, real, close) == (
        Action("A", "book", 300, 200, 100_000),
        Action("B", "book", 100, 0, 25_000),
        Action("C", "book", 0, 10, -7_000),
        Action("CASH", "book", 0, 0, 75_000 - 50_000 - 118_000),
    )
    assert differences(simulated, simulated, close) == ()


def test_targets_that_waited_split_with_their_names() -> None:
    days = [date(2024, 3, day) for day in (4, 5, 6)]
    bars = pl.DataFrame(
        {
            "session": [day for day in days for _ in "AB"],
            "symbol": ["A", "B"] * 3,
            "close": [20.0, 5.0, 10.0, 5.0, 10.0, 5.0],
            "pre_close": [20.0, 5.0, 10.0, 5.0, 10.0, 5.0],
            "adj_factor": [1.0, 1.0, 2.0, 1.0, 2.0, 1.0],
            "total_shares": [1e9, 1e9, 2e9, 1e9, 2e9, 1e9],
            "delist_date": pl.Series([None] * 6, dtype=pl.Date),
        }
    )
    targets = pl.DataFrame({"symbol": ["A", "B"], "shares": [300, 700]})
    assert carried(targets, bars, days[0], days[2]).rows() == [("A", 600), ("B", 700)]
    assert carried(targets, bars, days[1], days[2]).rows() == [("A", 300), ("B", 700)]
