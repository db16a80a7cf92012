"""Index members as intervals (a symbol from a first to a last day) -> snapshots, as the table `index_members` has them.

A snapshot stands at every session at which a member comes or has left, and at the first one of every month, so that
none is older than a month.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.ingest.bar_files import SYNONYMS, RawFile, read_file
from fpm.ingest.cells import day_cells
from fpm.ingest.daily_files import ReferenceRows
from fpm.ingest.index_weights import NO_WEIGHT, in_shares_of_one, odd_snapshots
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.ingest.vendor_files import refusal
from fpm.schema import INDEX_MEMBERS
from fpm.sessions import previous_sessions
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from fpm.ingest.columns import Synonyms
    from fpm.markets import Market

NAMES: Synonyms = {
    **SYNONYMS,
    "symbol": (*SYNONYMS["symbol"], "con_code"),
    "first": ("from", "start", "from_date", "start_date", "in_date"),
    "last": ("to", "end", "to_date", "end_date", "out_date"),
}
FILE_OF_INDEX = re.compile(r"(?:index_)?member(?:s|ship)?_(?P<index>\w+)", re.IGNORECASE)
EVER = pl.date(9999, 12, 31)
SHARE_COUNTS = ("float_shares", "total_shares")
CAPITALISATION = {"session": pl.Date, "symbol": pl.String, "capitalisation": pl.Float64}
CURRENT = "40d"  # how old a capitalisation may be: as old as the snapshot before
SHOWN = 5  # names in words
EQUAL = "no weights: each member of a snapshot has the same, set anew at every snapshot"


def read_intervals(path: Path, market: Market, order: Order = NO_ORDER, *, through: date) -> ReferenceRows:
    """Snapshots of an index's members up to the session `through`, from rows index, symbol, first, last[, weight].

    The last day is the last one as a member; empty: still one. Without a column `index` the file's name says it
    (`members_SP500.parquet`). Without weights every member of a snapshot has the same until `by_capitalisation` knows
    better; the conversions say so.
    Days before the calendar's first are cut off.
    Raises InputRefused as `bar_files.read_file` does; also 008 a cell that is no day, 165 weights that do not sum to
    one, 168 no name of the index.
    """
    numbers = ("weight",)
    read = partial(read_file, path, ("symbol", "first", "last"), ("index", *numbers), order, numbers, NAMES)
    raw = read()
    rows = with_symbols(_typed(raw, order), market)
    faults = _faults(rows)
    good = rows.join(faults, on="row", how="anti", maintain_order="left")
    frame, conversions = _weighted(path, _snapshots(good, market, through), through)
    bad = raw.frame.join(faults, on="row", how="inner", maintain_order="left")
    bad = bad.with_columns(pl.lit(path.name).alias("source"))
    return ReferenceRows(
        path,
        INDEX_MEMBERS.name,
        raw.sha256,
        raw.frame.height,
        frame,
        bad,
        raw.synonyms,
        raw.ignored,
        read,
        conversions,
        has_weights="weight" in raw.frame.columns,
    )


def _typed(raw: RawFile, order: Order) -> pl.DataFrame:
    """row, index, symbol, first, last, and weight where the file has it."""
    frame = raw.frame
    weights = [pl.col("weight").cast(pl.Float64).fill_nan(None)] if "weight" in frame.columns else []
    typed = frame.select("row", "symbol", *weights).with_columns(
        *(day_cells(raw, name, order) for name in ("first", "last"))
    )
    if "index" in frame.columns:
        names = frame["index"].cast(pl.String).str.strip_chars()
        return typed.with_columns(names.set(names == "", None))
    name = FILE_OF_INDEX.fullmatch(raw.path.stem)
    if name is None or name["index"].lower() == "members":
        raise refusal(
            raw.path,
            code="FPM-IN-168",
            wrong="nothing says of which index these are the members",
            todo="add a column index, or name the file members_INDEX, e.g. members_SP500.parquet",
        )
    return typed.with_columns(index=pl.lit(name["index"].upper()))


def _faults(rows: pl.DataFrame) -> pl.DataFrame:
    """row, session (null), reason_code, reason of bad intervals."""
    weight = [Check(code="FPM-IN-022", condition=NO_WEIGHT, wrong="weight is no weight")]
    alone = [
        Check(code=pl.col("symbol_code"), condition=pl.col("symbol").is_null(), wrong="{symbol_reason}"),
        Check(code="FPM-IN-168", condition=pl.col("index").is_null(), wrong="no index"),
        Check(code="FPM-IN-167", condition=pl.col("first").is_null(), wrong="no first day"),
        Check(code="FPM-IN-167", condition=pl.col("first") > pl.col("last"), wrong="{first} is after {last}"),
        *(weight if "weight" in rows.columns else []),
    ]
    undated = rows.with_columns(session=pl.lit(None, pl.Date))
    faults = first_faults(undated, alone)
    others = undated.join(faults, on="row", how="anti", maintain_order="left")
    overlap = Check(
        code="FPM-IN-166",
        condition=_overlaps(),
        wrong="{symbol} has another interval for some of these days: the last day is the last one as a member",
    )
    return pl.concat([faults, first_faults(others, [overlap])]).sort("row")


def _overlaps() -> pl.Expr:
    """Whether an interval shares a day with another one of its index and symbol."""
    last = pl.col("last").fill_null(EVER)
    latest_before = last.cum_max().shift().over("index", "symbol", order_by="first")
    next_first = pl.col("first").shift(-1).over("index", "symbol", order_by="first")
    return (pl.col("first") <= latest_before) | (last >= next_first)


def _snapshots(intervals: pl.DataFrame, market: Market, through: date) -> pl.DataFrame:
    first: date | None = intervals.select(pl.col("first").min()).item()
    if first is None:
        return snapshots(intervals, [])
    count = max(0, (through - first).days)
    days = [day for day in [*previous_sessions(market, through, count), through] if day >= first]
    return snapshots(intervals, days)


def snapshots(intervals: pl.DataFrame, sessions: Sequence[date]) -> pl.DataFrame:
    """Rows (session, index, symbol, row and weight where there is one) of every snapshot.

    `intervals`: row, index, symbol, first, last (null: still a member). `sessions`: the market's, in order.
    """
    days = np.array(sessions, dtype="datetime64[D]")
    begins = np.array([i > 0 and day.month != sessions[i - 1].month for i, day in enumerate(sessions)], dtype=bool)
    kept = [name for name in ("row", "index", "symbol", "weight") if name in intervals.columns]
    parts = [intervals.select(pl.lit(None, pl.Date).alias("session"), *kept).clear()]
    for _, own in intervals.sort("index", "row").group_by("index", maintain_order=True):
        enter_N = np.searchsorted(days, own["first"].to_numpy())
        until = own["last"].fill_null(EVER).to_numpy()
        leave_N = np.searchsorted(days, until, side="right")  # the first session after the interval
        inside_N = enter_N < leave_N
        changes = np.concatenate([enter_N[inside_N], leave_N[inside_N], np.flatnonzero(begins)])
        for place in np.unique(changes):
            members_N = inside_N & (enter_N <= place) & (place < leave_N)
            if members_N.any():
                rows = own.filter(pl.Series(members_N)).select(pl.lit(sessions[place]).alias("session"), *kept)
                parts.append(rows)
    return pl.concat(parts).sort("session", *INDEX_MEMBERS.keys)


def _weighted(path: Path, frame: pl.DataFrame, through: date) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Snapshots with weights, and in words what they are and what was assumed."""
    session = pl.col("session")
    count, first, last = frame.select(
        session.n_unique(), session.min().alias("first"), session.max().alias("last")
    ).row(0)
    words = f"intervals as {count} snapshots from {first} to {last}, expanded through {through}"
    assumption = (f"{words}; the last day counts as one of membership",)
    if "weight" not in frame.columns:
        equal = 1 / pl.len().over("index", "session")
        return frame.with_columns(weight=equal), (*assumption, EQUAL)
    units = in_shares_of_one(frame)
    if (odd := odd_snapshots(units.rows).sort("session")).height:
        index, session, total = odd.row(0)
        raise refusal(
            path,
            code="FPM-IN-165",
            wrong=f"weights of {index} on {session} sum to {total:.6g}, and {odd.height} snapshots do not sum to 1",
            todo="give weights that sum to 1 on every day, or leave the column out: then all members weigh the same",
        )
    return units.rows, (*assumption, *units.conversions)


# --- weights that nobody gave -------------------------------------------------------------------------------------
def capitalisations(daily: pl.DataFrame) -> pl.DataFrame:
    """session, symbol, capitalisation of rows of `daily_bars`: close x float shares, else x total shares.

    Rows without either, or without a close, are left out; so is a table without these columns.
    """
    counts = [pl.col(name) for name in SHARE_COUNTS if name in daily.columns]
    if not counts:
        return pl.DataFrame(schema=CAPITALISATION)
    counted = pl.coalesce(pl.when(count.is_finite() & (count > 0)).then(count) for count in counts)
    rows = daily.select("session", "symbol", (pl.col("close") * counted).cast(pl.Float64).alias("capitalisation"))
    return rows.filter(pl.col("capitalisation").is_finite() & (pl.col("capitalisation") > 0))


def by_capitalisation(file: ReferenceRows, known: pl.DataFrame) -> ReferenceRows:
    """Snapshots of intervals without weights, weighed by each member's capitalisation at the snapshot's close.

    `known`: session, symbol, capitalisation; the newest one of the `CURRENT` days before a snapshot counts. A member
    without one weighs what it would with equal weights, and the conversions name it. So a count that comes a month
    later moves its own name, not the index from one rule to another.
    """
    if file.has_weights or file.frame.is_empty() or known.is_empty():
        return file
    newest = known.sort("session").with_columns(pl.col("session").cast(pl.Date))
    rows = file.frame.sort("session", maintain_order=True).join_asof(
        newest, on="session", by="symbol", tolerance=CURRENT, check_sortedness=False
    )
    snapshot, value = ["index", "session"], pl.col("capitalisation")
    rows = rows.with_columns(members=pl.len().over(snapshot), unknown=value.is_null().sum().over(snapshot))
    equal = 1 / pl.col("members")
    weight = value / value.sum().over(snapshot) * (1 - pl.col("unknown") * equal)
    rows = rows.with_columns(weight=pl.when(value.is_null()).then(equal).otherwise(weight))
    order = ["session", *INDEX_MEMBERS.keys]
    conversions = tuple(_assumption(rows) if text == EQUAL else text for text in file.conversions)
    return replace(file, frame=rows.select(file.frame.columns).sort(order), conversions=conversions)


def _assumption(rows: pl.DataFrame) -> str:
    """Where the weights are from, in words. `rows`: session, index, symbol, capitalisation, members, unknown."""
    each = rows.unique(["index", "session"])
    blind = each.filter(pl.col("unknown") == pl.col("members")).height
    if blind == each.height:
        return EQUAL
    words = "no weights: those of capitalisation at the close of each snapshot, float shares first"
    if blind:
        words += f"; equal ones in {blind} of {each.height} snapshots, where none is known"
    missing = rows.filter(pl.col("capitalisation").is_null() & (pl.col("unknown") < pl.col("members")))
    names = missing["symbol"].unique().sort().to_list()
    if names:
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        words += f"; without a capitalisation, and as with equal weights: {shown}"
    return words
