"""Which symbols a session should have: those of the session before that are neither halted nor delisted.

An ingest names what a session lacks of them, and a publication counts it; both ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from datetime import date

COLUMNS = ("symbol", "volume", "suspended", "delist_date")  # of daily rows, as far as a home has them
SHRINKAGE = 0.05  # of a list, from one delivery to the next; an index review replaces members, it does not lose them


@dataclass(frozen=True)
class Finding:
    """Symbols of one session that something is said about: the code, and what is wrong in words."""

    session: date
    code: str
    wrong: str
    symbols: tuple[str, ...]


def excused(session: date, today: pl.DataFrame, before: pl.DataFrame) -> frozenset[str]:
    """Symbols that may be absent: halted at the session, or delisted by it as its daily rows or those before say.

    `today`, `before`: daily rows of the session and of one before it (`COLUMNS`; absent ones say nothing).
    """
    halts = {"suspended": pl.col("suspended"), "volume": pl.col("volume") == 0}
    parts = [today.filter(halt.fill_null(False)) for name, halt in halts.items() if name in today.columns]
    halted = frozenset(symbol for part in parts for symbol in part["symbol"].to_list())
    return halted | delisted(session, today, before)


def delisted(by: date, *daily: pl.DataFrame) -> frozenset[str]:
    """Symbols of which a daily row says that their last day was `by` or earlier."""
    dated = [rows for rows in daily if "delist_date" in rows.columns]
    parts = [rows.filter((pl.col("delist_date") <= by).fill_null(False)) for rows in dated]
    return frozenset(symbol for part in parts for symbol in part["symbol"].to_list())


def shrinks(before: int, after: int) -> bool:
    """Whether a list of `before` symbols lost more than one, and more than `SHRINKAGE` of them, to have `after`.

    >>> shrinks(5012, 4310), shrinks(5012, 4762), shrinks(12, 11), shrinks(12, 10)
    (True, False, False, True)
    """
    return before - after > 1 and before - after > SHRINKAGE * before
