"""Does a value know what was not known yet: the past must not move when the future does.

A check maps frames, and where it judges code a function from frames to a frame, to one `Finding` or None. What is
asked here is asked of values: the inputs after a cut are changed, and everything up to the cut has to keep its bits.
Who knew what when is asked by `leak_records`, scores and labels are judged by `leak_scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from fpm.errors import FpmError

Frames = dict[str, pl.DataFrame]
Function = Callable[[Frames], pl.DataFrame]
ROWS = "rows"  # the column named where a row is there that should not be, or the other way round
TRUNCATION, PERTURBATION, DUPLICATES = "truncation", "future perturbation", "duplicated rows"


@dataclass(frozen=True)
class Finding:
    """The first place where a check failed: `column` as "table.column", `session` (or minute) where it shows."""

    check: str
    column: str
    session: Any
    explanation: str


def first_leak(function: Function, inputs: Frames, time: str, cuts: Iterable[Any]) -> tuple[str, Any] | None:
    """The earliest (column, time) of the result that changes with what comes after a cut; None where none does."""
    found = leaks(function, inputs, time, cuts)
    return min(found.items(), key=lambda place: place[1]) if found else None


def leaks(function: Function, inputs: Frames, time: str, cuts: Iterable[Any]) -> dict[str, Any]:
    """Every column of the result that changes with what comes after one of `cuts`, and its earliest such time.

    `function` maps the frames to one frame with a column `time`; its other columns that are not floats are keys. At
    each cut the inputs that have the column `time` are once truncated after it and once distorted after it; all rows
    of the result up to the cut must be the same bit for bit. Rows that come or go are the column "rows".
    """
    whole, found = function(inputs), dict[str, Any]()
    for cut in cuts:
        expected = _until(whole, time, cut)
        for _, changed in disturbances(inputs, time, cut):
            for column, when in differences(expected, _until(function(changed), time, cut), time).items():
                found[column] = min(when, found.get(column, when))
    return found


def future_leak(table: str, function: Function, inputs: Frames, time: str, cut: Any) -> Finding | None:
    """`leaks` at one cut, as the finding of the first disturbance that shows."""
    expected = _until(function(inputs), time, cut)
    for check, changed in disturbances(inputs, time, cut):
        found = difference(check, table, expected, _until(function(changed), time, cut), time)
        if found:
            return found
    return None


def stored_leak(table: str, rows: pl.DataFrame, function: Function, inputs: Frames, cut: Any) -> Finding | None:
    """What is stored up to a session against what the inputs up to it say, whatever comes after: bit for bit.

    Catches what was computed by other code, or from inputs that were changed since. `rows` and the result of
    `function` have a column session.
    """
    expected = _until(rows, "session", cut)
    for check, changed in disturbances(inputs, "session", cut):
        found = difference(check, table, expected, _until(function(changed), "session", cut), "session")
        if found:
            return found
    return None


def duplicates(table: str, function: Function, inputs: Frames, time: str) -> Finding | None:
    """Every row of every input given twice changes nothing, or is refused by an error of ours."""
    try:
        twice = function({name: pl.concat([frame, frame]) for name, frame in inputs.items()})
    except FpmError:
        return None
    return difference(DUPLICATES, table, function(inputs), twice, time)


def disturbances(inputs: Frames, time: str, cut: Any) -> Iterator[tuple[str, Frames]]:
    """The inputs truncated after the cut, then distorted after it, each under the name of its check."""
    yield TRUNCATION, _each(inputs, time, lambda frame: frame.filter(pl.col(time) <= cut))
    yield PERTURBATION, _each(inputs, time, lambda frame: distorted(frame, pl.col(time) > cut))


def distorted(frame: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """Every float of the rows `where` changed, by another factor in each row, and every third such row left out."""
    row = pl.int_range(pl.len()) % 7
    changed = pl.selectors.float() * pl.when(where).then(0.5 + row / 5).otherwise(1.0)
    return frame.with_columns(changed).cast(frame.schema).filter(~where | (pl.int_range(pl.len()) % 3 > 0))


def difference(check: str, table: str, expected: pl.DataFrame, got: pl.DataFrame, time: str) -> Finding | None:
    """The first column, in the order of the table, of the earliest time at which the bits differ."""
    found = differences(expected, got, time)
    if not found:
        return None
    column = min(found, key=lambda name: found[name])
    words = "comes or goes" if column == ROWS else "is another value"
    return Finding(check, f"{table}.{column}", found[column], f"{words} when what comes later is another")


def differences(expected: pl.DataFrame, got: pl.DataFrame, time: str) -> dict[str, Any]:
    """Every float column in which rows of the same keys differ by a bit, and the earliest time of each."""
    keys = [name for name, kind in expected.schema.items() if not kind.is_float()]
    expected, got = (frame.sort(time, *[key for key in keys if key != time]) for frame in (expected, got))
    unmatched = pl.concat(
        [
            expected.join(got, on=keys, how="anti", nulls_equal=True).select(time),
            got.join(expected, on=keys, how="anti", nulls_equal=True).select(time),
        ]
    )
    if unmatched.height:
        return {ROWS: unmatched[time].min()}
    if expected.height != got.height:
        return {ROWS: _first_count_that_differs(expected[time], got[time])}
    return {
        column: expected[time][int(np.argmax(differs))]
        for column in expected.columns
        if column not in keys and (differs := _differs(expected[column], got[column])).any()
    }


def _each(inputs: Frames, time: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Frames:
    return {name: change(frame) if time in frame.columns else frame for name, frame in inputs.items()}


def _until(frame: pl.DataFrame, time: str, cut: Any) -> pl.DataFrame:
    return frame.filter(pl.col(time) <= cut)


def _first_count_that_differs(expected: pl.Series, got: pl.Series) -> Any:
    counts = expected.value_counts(name="expected").join(got.value_counts(name="got"), on=expected.name, how="full")
    return counts.filter(pl.col("expected").ne_missing(pl.col("got")))[expected.name].min()


def _differs(expected: pl.Series, got: pl.Series) -> np.ndarray:
    """Rows that are not the same bits; a null equals a null and a NaN a NaN."""
    bits = np.int32 if expected.dtype == pl.Float32 else np.int64
    x, y = (np.array(series.cast(expected.dtype).fill_null(float("nan")).to_numpy()) for series in (expected, got))
    both_nan = np.isnan(x) & np.isnan(y)
    differs = (x.view(bits) != y.view(bits)) & ~both_nan
    return np.asarray(differs | (expected.is_null() != got.is_null()).to_numpy())
