"""Leak checks of values: the past must not change when the future does.

The inputs after a cut are changed, and every result up to the cut must keep its bits. A check takes frames, and a
function from frames to a frame where it checks code, and returns one `Finding` or None. `records` checks clocks and
folds, `scores` checks scores and labels.
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
ROWS = "rows"  # stands for the column where a row is missing or should not be there
TRUNCATION, PERTURBATION, DUPLICATES = "truncation", "future perturbation", "duplicated rows"


@dataclass(frozen=True)
class Finding:
    """First place where a check failed: `column` as "table.column", and the `session` (or minute)."""

    check: str
    column: str
    session: Any
    explanation: str


def first_leak(function: Function, inputs: Frames, time: str, cuts: Iterable[Any]) -> tuple[str, Any] | None:
    """Earliest (column, time) of the result that depends on inputs after a cut; None without any."""
    earliest = leaks(function, inputs, time, cuts)
    return min(earliest.items(), key=lambda item: item[1]) if earliest else None


def leaks(function: Function, inputs: Frames, time: str, cuts: Iterable[Any]) -> dict[str, Any]:
    """Every column of the result that depends on inputs after one of `cuts`, with the earliest time at which it does.

    `function` maps the frames to one frame with a column `time`; its other columns that are not floats are keys. At
    each cut, the inputs with the column `time` are once truncated and once distorted after it; all rows of the result
    up to the cut must be the same bit for bit. Rows that appear or disappear count as the column "rows".
    """
    whole, earliest = function(inputs), dict[str, Any]()
    for cut in cuts:
        expected = _until(whole, time, cut)
        for _, changed in disturbances(inputs, time, cut):
            for column, when in differences(expected, _until(function(changed), time, cut), time).items():
                earliest[column] = min(when, earliest.get(column, when))
    return earliest


def future_leak(table: str, function: Function, inputs: Frames, time: str, cut: Any) -> Finding | None:
    """First finding of a function whose result up to one cut depends on its inputs after the cut."""
    expected = _until(function(inputs), time, cut)
    for check, changed in disturbances(inputs, time, cut):
        finding = difference(check, table, expected, _until(function(changed), time, cut), time)
        if finding:
            return finding
    return None


def stored_leak(table: str, rows: pl.DataFrame, function: Function, inputs: Frames, cut: Any) -> Finding | None:
    """First finding where stored rows up to a session differ from what its inputs up to that session give.

    It also finds rows that were computed by other code, or from inputs that changed since. `rows` and the result of
    `function` have a column session.
    """
    expected = _until(rows, "session", cut)
    for check, changed in disturbances(inputs, "session", cut):
        finding = difference(check, table, expected, _until(function(changed), "session", cut), "session")
        if finding:
            return finding
    return None


def duplicates(table: str, function: Function, inputs: Frames, time: str) -> Finding | None:
    """Finding where inputs with every row doubled change the result; a function may refuse them with an FpmError."""
    try:
        doubled = function({name: pl.concat([frame, frame]) for name, frame in inputs.items()})
    except FpmError:
        return None
    return difference(DUPLICATES, table, function(inputs), doubled, time)


def disturbances(inputs: Frames, time: str, cut: Any) -> Iterator[tuple[str, Frames]]:
    """Names of checks with their inputs: truncated after the cut, then distorted after it."""
    yield TRUNCATION, _changed(inputs, time, lambda frame: frame.filter(pl.col(time) <= cut))
    yield PERTURBATION, _changed(inputs, time, lambda frame: distort(frame, pl.col(time) > cut))


def distort(frame: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """Frame with the floats of the rows `where` scaled by a factor per row, and every third such row left out."""
    row = pl.int_range(pl.len()) % 7
    changed = pl.selectors.float() * pl.when(where).then(0.5 + row / 5).otherwise(1.0)
    return frame.with_columns(changed).cast(frame.schema).filter(~where | (pl.int_range(pl.len()) % 3 > 0))


def difference(check: str, table: str, expected: pl.DataFrame, actual: pl.DataFrame, time: str) -> Finding | None:
    """Finding of the earliest time at which the bits differ, in the first such column of the table."""
    earliest = differences(expected, actual, time)
    if not earliest:
        return None
    column = min(earliest, key=lambda name: earliest[name])
    effect = "appears or disappears" if column == ROWS else "changes its value"
    return Finding(check, f"{table}.{column}", earliest[column], f"{effect} when later rows change")


def differences(expected: pl.DataFrame, actual: pl.DataFrame, time: str) -> dict[str, Any]:
    """Float columns in which rows of the same keys differ by a bit, with the earliest time of each."""
    keys = [name for name, kind in expected.schema.items() if not kind.is_float()]
    expected, actual = (frame.sort(time, *[key for key in keys if key != time]) for frame in (expected, actual))
    unmatched = pl.concat(
        [
            expected.join(actual, on=keys, how="anti", nulls_equal=True).select(time),
            actual.join(expected, on=keys, how="anti", nulls_equal=True).select(time),
        ]
    )
    if unmatched.height:
        return {ROWS: unmatched[time].min()}
    if expected.height != actual.height:
        return {ROWS: _first_different_count(expected[time], actual[time])}
    return {
        column: expected[time][int(np.argmax(differs))]
        for column in expected.columns
        if column not in keys and (differs := _differs(expected[column], actual[column])).any()
    }


def _changed(inputs: Frames, time: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Frames:
    return {name: change(frame) if time in frame.columns else frame for name, frame in inputs.items()}


def _until(frame: pl.DataFrame, time: str, cut: Any) -> pl.DataFrame:
    return frame.filter(pl.col(time) <= cut)


def _first_different_count(expected: pl.Series, actual: pl.Series) -> Any:
    before, after = expected.value_counts(name="expected"), actual.value_counts(name="actual")
    counts = before.join(after, on=expected.name, how="full")
    return counts.filter(pl.col("expected").ne_missing(pl.col("actual")))[expected.name].min()


def _differs(expected: pl.Series, actual: pl.Series) -> np.ndarray:
    """Rows whose bits differ; a null equals a null, a NaN equals a NaN."""
    bits = np.int32 if expected.dtype == pl.Float32 else np.int64
    x, y = (np.array(series.cast(expected.dtype).fill_null(float("nan")).to_numpy()) for series in (expected, actual))
    both_nan = np.isnan(x) & np.isnan(y)
    differs = (x.view(bits) != y.view(bits)) & ~both_nan
    return np.asarray(differs | (expected.is_null() != actual.is_null()).to_numpy())
