"""Price limits of an exchange's boards: how far a price may lie from the reference of its session.

They stand in the exchange's file, one table a board (`[[cn.limits]]`); an exchange without one has no limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import polars as pl


@dataclass(frozen=True)
class Limit:
    """A board's limit. Of several that fit a symbol-session the last one of the file holds.

    `codes`: regular expression of its symbols, suffix included; `share` of the reference price, up and down.
    `first`, `last`: sessions in which it holds, None for no bound. `st`: it is that of names under special treatment.
    `free`: first sessions of a listing that have no limit.
    """

    codes: str
    share: float
    first: date | None = None
    last: date | None = None
    st: bool = False
    free: int = 5


# Polars is not asked itself: a process that has used its threads once has none to give to the children that it forks.
BEYOND_RUST = re.compile(r"\(\?<?[=!]|\(\?P=|\\[1-9]")
KINDS: dict[str, tuple[type, ...]] = {
    "codes": (str,),
    "share": (float,),
    "first": (date,),
    "last": (date,),
    "st": (bool,),
    "free": (int,),
}


def limits_of(exchange: str, tables: Any, faults: list[str]) -> tuple[Limit, ...]:
    """The limits of one exchange's section; what is wrong with one is added to `faults`, and it is left out."""
    limits = []
    for number, table in enumerate(tables if isinstance(tables, list) else [tables], 1):
        wrong = [f"[{exchange}] limits, table {number}: {text}" for text in _faults(table)]
        faults += wrong
        limits += [] if wrong else [Limit(**table)]
    return tuple(limits)


def _faults(table: Any) -> Iterable[str]:
    if not isinstance(table, dict):
        yield "it is no table"
        return
    for key, value in table.items():
        if key not in KINDS:
            yield f"unknown key {key}"
        elif not isinstance(value, KINDS[key]) or (isinstance(value, bool) and key != "st"):
            yield f"{key} is {str(value)[:40]!r}"
    for key in ("codes", "share"):
        if key not in table:
            yield f"it lacks {key}"
    share = table.get("share")
    if isinstance(share, float) and not 0 < share < 1:
        yield "share is no share between 0 and 1"
    codes = str(table.get("codes", ""))
    try:
        re.compile(codes)
    except (re.error, OverflowError, RecursionError):
        yield "codes is no regular expression"
    if BEYOND_RUST.search(codes):
        yield "codes is no regular expression of Polars: it looks around or back"


def with_limits(rows: pl.DataFrame, limits: Sequence[Limit]) -> pl.DataFrame:
    """`rows` (symbol, session, st or null) with `share` and `free` of the limit in force, null where there is none."""
    import polars as pl

    share, free = pl.lit(None, pl.Float64), pl.lit(None, pl.Int64)
    session = pl.col("session")
    for limit in limits:
        fits = pl.col("symbol").str.contains(f"^(?:{limit.codes})$")
        fits = fits if limit.first is None else fits & (session >= limit.first)
        fits = fits if limit.last is None else fits & (session <= limit.last)
        fits = fits & pl.col("st").fill_null(False) if limit.st else fits
        share = pl.when(fits).then(limit.share).otherwise(share)
        free = pl.when(fits).then(limit.free).otherwise(free)
    return rows.with_columns(share.alias("share"), free.alias("free"))
