"""The order book of a snapshot: what no exchange shows in continuous trading.

Within a call a book may be crossed (its first level is the price at which the call would match) and has sizes without
prices; there it is not judged, nor while trading is interrupted.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.quarantine import Check
from fpm.ticks.tape import milliseconds

if TYPE_CHECKING:
    from collections.abc import Collection

LEVELS = 10
BOOK_SIDES = {"bid": ("Bid", "bid"), "ask": ("Ask", "ask", "Offer", "offer")}
PRICE_NAMES, SIZE_NAMES = ("Price", "price", "Px", "px"), ("Qty", "qty", "OrderQty", "orderqty", "Volume", "volume")
STRETCHES = ((milliseconds(9, 30), milliseconds(11, 30)), (milliseconds(13, 0), milliseconds(14, 57)))


def synonyms() -> dict[str, tuple[str, ...]]:
    """Our name of a level's price and size -> other names of it: bid_price1 is BidPrice1, bid1_price or bid_px_1."""
    names = {}
    for side, sides in BOOK_SIDES.items():
        for level in range(1, LEVELS + 1):
            for kind, kinds in (("price", PRICE_NAMES), ("qty", SIZE_NAMES)):
                words = [f"{own}{word}{level}" for own in sides for word in kinds]
                words += [f"{own}_{word.lower()}{mark}{level}" for own in sides for word in kinds for mark in ("", "_")]
                words += [f"{own.lower()}{level}_{word.lower()}" for own in sides for word in kinds]
                ours = f"{side}_{kind}{level}"
                names[ours] = tuple(word for word in dict.fromkeys(words) if word != ours)
    return names


def depth_checks(columns: Collection[str]) -> list[Check]:
    """What is wrong with the book of a row in continuous trading; `columns`: those that the file has.

    186 the best bid is not below the best ask. 187 a level that is not behind the one before it, or that is there
    (with a price or a size) while a price before it is not. Needs `time` (milliseconds of the day), `phase` or null.
    """
    time = pl.col("time")
    trading = pl.any_horizontal(time.is_between(*stretch, closed="left") for stretch in STRETCHES)
    if "phase" in columns:  # TRADE, T0, T111: continuous; everything else is a call, a halt or an interruption
        trading &= pl.col("phase").cast(pl.String).str.strip_chars().str.starts_with("T").fill_null(True)
    checks = []
    if {"bid_price1", "ask_price1"} <= set(columns):
        crossed = _there("bid_price1") & _there("ask_price1") & (pl.col("bid_price1") >= pl.col("ask_price1"))
        checks.append(
            Check(
                code="FPM-IN-186",
                condition=trading & crossed,
                wrong="crossed book: bid {bid_price1}, ask {ask_price1}",
            )
        )
    for side in BOOK_SIDES:
        levels = [level for level in range(1, LEVELS + 1) if f"{side}_price{level}" in columns]
        for before, level in pairwise(levels):
            near, far = f"{side}_price{before}", f"{side}_price{level}"
            behind = pl.col(far) < pl.col(near) if side == "bid" else pl.col(far) > pl.col(near)
            checks += [
                Check(
                    code="FPM-IN-187",
                    condition=trading & _there(near) & _there(far) & ~behind,
                    wrong=f"{side} level {level} ({{{far}}}) does not lie behind level {before} ({{{near}}})",
                ),
                Check(
                    code="FPM-IN-187",
                    condition=trading & ~_there(near) & _there(far),
                    wrong=f"{side} level {level} is there, level {before} is empty",
                ),
            ]
        checks += [
            Check(
                code="FPM-IN-187",
                condition=trading & ~_there(f"{side}_price{level}") & _there(f"{side}_qty{level}"),
                wrong=f"{side} level {level} has the size {{{side}_qty{level}}} and no price",
            )
            for level in levels
            if f"{side}_qty{level}" in columns
        ]
    return checks


def _there(name: str) -> pl.Expr:
    return (pl.col(name) > 0).fill_null(False)
