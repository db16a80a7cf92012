"""Who knew what when: clocks, births, folds, windows, symbols that are gone, rows that are there twice.

Frames of stored rows have session, their table's keys and both clocks; every function gives the first finding or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.leaks.checks import DUPLICATES, ROWS, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

CLOCK, OVERLAP, VINTAGES, SURVIVORS = "two clocks", "label overlap", "one vintage a window", "survivorship"
EVENT, CREATED = "event_timestamp", "created_timestamp"


@dataclass(frozen=True)
class FoldBounds:
    """The first and last label session of a scorer's train and validation, and the first session it served."""

    model: str
    train: tuple[date, date]
    validation: tuple[date, date]
    served: date


def two_clocks(table: str, rows: pl.DataFrame, earliest: Mapping[date, datetime]) -> Finding | None:
    """No row known before the moment it describes, nor before `earliest` of its session: cut-off, inputs, birth."""
    bound = pl.col("session").replace_strict(earliest, default=None, return_dtype=pl.Datetime("us", "UTC"))
    early = rows.sort("session").filter(
        (pl.col(CREATED) < pl.col(EVENT)) | (pl.col(CREATED) < bound) | pl.col(CREATED).is_null()
    )
    if early.is_empty():
        return None
    known, day = early[CREATED][0], early["session"][0]
    why = "the moment it describes" if known is None or known < early[EVENT][0] else "its inputs or its model"
    return Finding(CLOCK, f"{table}.{CREATED}", day, f"{known} lies before {why}")


def unique_rows(table: str, rows: pl.DataFrame, keys: Sequence[str]) -> Finding | None:
    """Every key and event once for each moment of knowledge."""
    twice = rows.filter(rows.select("session", *keys, EVENT, CREATED).is_duplicated()).sort("session", *keys)
    if twice.is_empty():
        return None
    return Finding(DUPLICATES, f"{table}.{keys[0]}", twice["session"][0], f"{twice[keys[0]][0]} is there twice")


def corrections(table: str, before: pl.DataFrame, after: pl.DataFrame) -> Finding | None:
    """Whatever was there must still be there, bit for bit: a correction is appended, with its own arrival."""
    lost = before.join(after, on=before.columns, how="anti", nulls_equal=True, maintain_order="left")
    if lost.is_empty():
        return None
    row, keys = (
        lost.row(0, named=True),
        [name for name in ("session", "symbol", EVENT, CREATED) if name in lost.columns],
    )
    there = after.filter(pl.all_horizontal(pl.col(key).eq_missing(pl.lit(row[key])) for key in keys))
    changed = [name for name in before.columns if there.height and there[name][0] != row[name]]
    column = changed[0] if changed else ROWS
    return Finding(CLOCK, f"{table}.{column}", row["session"], "was overwritten under the clock of the original")


def label_overlap(folds: Sequence[FoldBounds], sessions: Sequence[date], reach: int) -> Finding | None:
    """The last label of train ends before validation begins, that of validation before the first session served.

    `reach`: sessions after its own at which a label is complete. `sessions`: the market's, in order.
    """
    place = {session: number for number, session in enumerate(sessions)}
    for fold in folds:
        limits = ((fold.train[1], fold.validation[0], "validation"), (fold.validation[1], fold.served, "test"))
        for last, first, part in limits:
            if place[last] + reach >= place[first]:
                words = f"a label of {last} is complete {reach} sessions later, {part} begins {first}"
                return Finding(OVERLAP, f"scorer {fold.model}", first, words)
    return None


def out_of_sample(
    served: pl.DataFrame, through: Mapping[str, date], sessions: Sequence[date], purge: int
) -> Finding | None:
    """Every session (`served`: session, vintage) lies at least `purge` sessions after the last its encoder has seen."""
    place = {session: number for number, session in enumerate(sessions)}
    for session, vintage in served.select("session", "vintage").unique().sort("session", "vintage").rows():
        known = through.get(vintage)
        if known is None or place[session] - place[known] - 1 < purge:
            words = f"vintage {vintage} has seen sessions through {known}"
            return Finding(VINTAGES, "scores.vintage", session, words)
    return None


def one_vintage(window: pl.DataFrame, session: date, trained_on: str) -> Finding | None:
    """All vectors of a session's look-back (`window`: session, symbol, vintage) are of the scorer's own vintage."""
    other = window.filter(pl.col("vintage") != trained_on).sort("session", "symbol")
    if other.is_empty():
        return None
    words = f"the window of {session} holds {other['vintage'][0]}, its scorer knows {trained_on}"
    return Finding(VINTAGES, "fingerprints.vintage", other["session"][0], words)


def survivors(table: str, rows: pl.DataFrame, universe: pl.DataFrame) -> Finding | None:
    """Every symbol that was there in a session (`universe`: session, symbol) has its row, whatever became of it."""
    sessions = rows["session"].unique().to_list()
    there = universe.filter(pl.col("session").is_in(sessions)).sort("session", "symbol")
    missing = there.join(rows, on=["session", "symbol"], how="anti", maintain_order="left")
    if missing.is_empty():
        return None
    return Finding(
        SURVIVORS, f"{table}.symbol", missing["session"][0], f"{missing['symbol'][0]} was there and has no row"
    )
