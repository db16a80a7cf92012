"""The real book of an index, as its custodian says it, and what it has more or less than the simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.portfolio.book import Action, Book, book_of, worth
from fpm.schema import CASH

if TYPE_CHECKING:
    from collections.abc import Mapping

KIND = "book"  # of the actions that lead from the simulated book to the real one; sorts before all others of a name


def real_book(rows: pl.DataFrame, priced: frozenset[str]) -> Book:
    """The book of an index's rows of `custody` at one session; `priced`: symbols that have a last close.

    Raises InputRefused 023 as `book.book_of`.
    """
    cash = rows.filter(pl.col("symbol") == CASH)["cash"].to_list()
    return book_of(rows.filter(pl.col("symbol") != CASH), cash[0] if cash else float("nan"), priced)


def differences(simulated: Book, real: Book, close: Mapping[str, float]) -> tuple[Action, ...]:
    """The actions that turn the simulated book into the real one, before the open.

    Shares that differ are handed over at the last raw close, so that such an action keeps the worth; the row `CASH` is
    the cash that this leaves to explain, and so the difference of the two books' worth.
    """
    moves = []
    for symbol in sorted(simulated.shares.keys() | real.shares.keys()):
        before, after = simulated.shares.get(symbol, 0), real.shares.get(symbol, 0)
        if before != after:
            moves.append(Action(symbol, KIND, before, after, worth(before - after, close[symbol])))
    rest = real.cash - simulated.cash - sum(move.cash for move in moves)
    return (*moves, Action(CASH, KIND, 0, 0, rest)) if rest else tuple(moves)
