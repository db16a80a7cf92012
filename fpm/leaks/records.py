"""Leak checks of stored rows: clocks, births of models, folds, look-backs, delisted symbols, duplicates.

Frames of stored rows have session, their table's keys and both clocks. Every function returns its first finding or
None.
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
    """First and last label session of a scorer's train and validation, and the first session it served."""

    model: str
    train: tuple[date, date]
    validation: tuple[date, date]
    served: date


@dataclass(frozen=True)
class FirstCopy:
    """The first file of a raw table's session: its earliest moment of knowledge, and the ledger's account of it.

    `began`: when the attempt that brought it began, by the ledger's wall clock. `rule`: the note of that attempt, which
    says why the copy is known from `known_at`; None where it says nothing.
    """

    table: str
    session: date
    known_at: datetime
    began: datetime
    rule: str | None


def two_clocks(table: str, rows: pl.DataFrame, earliest: Mapping[date, datetime]) -> Finding | None:
    """No row is known before the moment it describes, nor before `earliest` of its session (cut-off, inputs, birth)."""
    bound = pl.col("session").replace_strict(earliest, default=None, return_dtype=pl.Datetime("us", "UTC"))
    early = rows.sort("session").filter(
        (pl.col(CREATED) < pl.col(EVENT)) | (pl.col(CREATED) < bound) | pl.col(CREATED).is_null()
    )
    if early.is_empty():
        return None
    known_at, session = early[CREATED][0], early["session"][0]
    limit = "the moment it describes" if known_at is None or known_at < early[EVENT][0] else "its inputs or its model"
    return Finding(CLOCK, f"{table}.{CREATED}", session, f"{known_at} lies before {limit}")


def early_first_copies(copies: Sequence[FirstCopy], live: tuple[date, datetime] | None, stated: str) -> Finding | None:
    """No first copy of raw data claims to be known before the ledger saw it arrive.

    `live`: the session that the home published before any other, and when it did. History in bulk is free: sessions up
    to that one, and whatever was loaded before it; so is a copy whose rule begins with `stated`.
    """
    if live is None:
        return None
    arrived = [copy for copy in copies if not (copy.rule or "").startswith(stated)]
    late = [copy for copy in arrived if copy.session > live[0] and copy.began > live[1]]
    for copy in sorted(late, key=lambda copy: (copy.session, copy.table)):
        if copy.known_at < copy.began:
            explanation = f"the first copy claims to be known at {copy.known_at}, its ingest began at {copy.began}"
            return Finding(CLOCK, f"{copy.table}.{CREATED}", copy.session, explanation)
    return None


def unique_rows(table: str, rows: pl.DataFrame, keys: Sequence[str]) -> Finding | None:
    """Every key and event has one row for each moment of knowledge."""
    duplicates = rows.filter(rows.select("session", *keys, EVENT, CREATED).is_duplicated()).sort("session", *keys)
    if duplicates.is_empty():
        return None
    explanation = f"{duplicates[keys[0]][0]} is stored twice"
    return Finding(DUPLICATES, f"{table}.{keys[0]}", duplicates["session"][0], explanation)


def corrections(table: str, before: pl.DataFrame, after: pl.DataFrame) -> Finding | None:
    """Every earlier row is still there, bit for bit: a correction is appended with its own moment of knowledge."""
    lost = before.join(after, on=before.columns, how="anti", nulls_equal=True, maintain_order="left")
    if lost.is_empty():
        return None
    row = lost.row(0, named=True)
    keys = [name for name in ("session", "symbol", EVENT, CREATED) if name in lost.columns]
    same_keys = after.filter(pl.all_horizontal(pl.col(key).eq_missing(pl.lit(row[key])) for key in keys))
    changed = [name for name in before.columns if same_keys.height and same_keys[name][0] != row[name]]
    column = changed[0] if changed else ROWS
    return Finding(CLOCK, f"{table}.{column}", row["session"], "was overwritten under the clock of the original")


def label_overlap(folds: Sequence[FoldBounds], sessions: Sequence[date], reach: int) -> Finding | None:
    """The last label of train ends before validation begins, the last of validation before the first session served.

    `reach`: sessions from a label's own session to the one at which it is complete. `sessions`: the market's, in order.
    """
    position = {session: number for number, session in enumerate(sessions)}
    for fold in folds:
        limits = ((fold.train[1], fold.validation[0], "validation"), (fold.validation[1], fold.served, "test"))
        for last, first, part in limits:
            if position[last] + reach >= position[first]:
                explanation = f"a label of {last} is complete {reach} sessions later, {part} begins {first}"
                return Finding(OVERLAP, f"scorer {fold.model}", first, explanation)
    return None


def out_of_sample(
    served: pl.DataFrame, through: Mapping[str, date], sessions: Sequence[date], purge: int
) -> Finding | None:
    """At least `purge` sessions lie between every session of `served` (session, vintage) and its encoder's training.

    `through`: last training session of every vintage. `sessions`: the market's, in order.
    """
    position = {session: number for number, session in enumerate(sessions)}
    for session, vintage in served.select("session", "vintage").unique().sort("session", "vintage").rows():
        last = through.get(vintage)
        if last is None or position[session] - position[last] - 1 < purge:
            explanation = f"vintage {vintage} was trained on sessions through {last}"
            return Finding(VINTAGES, "scores.vintage", session, explanation)
    return None


def trained_after_birth(folds: Sequence[FoldBounds], born: Mapping[str, date]) -> Finding | None:
    """No scorer over vectors from outside learns from a session that their encoder has seen (`born`, by scorer)."""
    for fold in folds:
        if fold.train[0] <= born[fold.model]:
            explanation = f"trains on a session that its encoder has seen: they reach to {born[fold.model]}"
            return Finding(VINTAGES, f"scorer {fold.model}", fold.train[0], explanation)
    return None


def one_vintage(window: pl.DataFrame, session: date, vintage: str) -> Finding | None:
    """All vectors of a session's look-back (`window`: session, symbol, vintage) have the scorer's own `vintage`."""
    other = window.filter(pl.col("vintage") != vintage).sort("session", "symbol")
    if other.is_empty():
        return None
    explanation = f"the look-back of {session} has vintage {other['vintage'][0]}, its scorer {vintage}"
    return Finding(VINTAGES, "fingerprints.vintage", other["session"][0], explanation)


def survivors(table: str, rows: pl.DataFrame, universe: pl.DataFrame) -> Finding | None:
    """Every symbol of a session's `universe` (session, symbol) has a row, whatever became of it later."""
    sessions = rows["session"].unique().to_list()
    expected = universe.filter(pl.col("session").is_in(sessions)).sort("session", "symbol")
    missing = expected.join(rows, on=["session", "symbol"], how="anti", maintain_order="left")
    if missing.is_empty():
        return None
    explanation = f"{missing['symbol'][0]} was in the universe and has no row"
    return Finding(SURVIVORS, f"{table}.symbol", missing["session"][0], explanation)
