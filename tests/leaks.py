"""The one check for look-ahead: what a function says about the past must not move when the future does.

`first_leak` is used for every feature, factor, fingerprint and score, and the planted leaks that it must catch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import polars as pl

Frames = dict[str, pl.DataFrame]


def first_leak(
    function: Callable[[Frames], pl.DataFrame], inputs: Frames, time: str, cuts: Iterable[Any]
) -> tuple[str, Any] | None:
    """The earliest (column, time) of the result that changes with what comes after a cut; None where none does."""
    found = leaks(function, inputs, time, cuts)
    return min(found.items(), key=lambda place: place[1]) if found else None


def leaks(function: Callable[[Frames], pl.DataFrame], inputs: Frames, time: str, cuts: Iterable[Any]) -> dict[str, Any]:
    """Every column of the result that changes with what comes after one of `cuts`, and its earliest such time.

    `function` maps the frames to one frame with a column `time`; its other columns that are not floats are keys. At
    each cut the inputs that have the column `time` are once truncated after it and once distorted after it; all rows
    of the result up to the cut must be the same bit for bit. Rows that come or go are the column "rows".
    """
    whole, found = function(inputs), dict[str, Any]()
    for cut in cuts:
        expected = _until(whole, time, cut)
        for changed in (_truncated(inputs, time, cut), _distorted(inputs, time, cut)):
            for column, when in _differences(expected, _until(function(changed), time, cut), time).items():
                found[column] = min(when, found.get(column, when))
    return found


def _truncated(inputs: Frames, time: str, cut: Any) -> Frames:
    return {
        name: frame.filter(pl.col(time) <= cut) if time in frame.columns else frame for name, frame in inputs.items()
    }


def _distorted(inputs: Frames, time: str, cut: Any) -> Frames:
    """Every float after the cut changed, by another factor in each row, and every third row left out."""
    return {
        name: _distort(frame, pl.col(time) > cut) if time in frame.columns else frame for name, frame in inputs.items()
    }


def _distort(frame: pl.DataFrame, later: pl.Expr) -> pl.DataFrame:
    row = pl.int_range(pl.len()) % 7
    changed = pl.selectors.float() * pl.when(later).then(0.5 + row / 5).otherwise(1.0)
    return frame.with_columns(changed).filter(~later | (pl.int_range(pl.len()) % 3 > 0))


def _until(frame: pl.DataFrame, time: str, cut: Any) -> pl.DataFrame:
    keys = [name for name, kind in frame.schema.items() if not kind.is_float()]
    return frame.filter(pl.col(time) <= cut).sort(time, *[key for key in keys if key != time])


def _differences(expected: pl.DataFrame, got: pl.DataFrame, time: str) -> dict[str, Any]:
    keys = [name for name, kind in expected.schema.items() if not kind.is_float()]
    unmatched = pl.concat(
        [
            expected.join(got, on=keys, how="anti", nulls_equal=True),
            got.join(expected, on=keys, how="anti", nulls_equal=True),
        ]
    )
    if unmatched.height:
        return {"rows": unmatched[time].min()}
    return {
        column: expected[time][int(np.argmax(differs))]
        for column in expected.columns
        if column not in keys and (differs := _differs(expected[column], got[column])).any()
    }


def _differs(expected: pl.Series, got: pl.Series) -> np.ndarray:
    """Rows that are not the same bits; a null equals a null and a NaN a NaN."""
    bits = np.int32 if expected.dtype == pl.Float32 else np.int64
    x, y = (np.array(series.fill_null(float("nan")).to_numpy()) for series in (expected, got))
    both_nan = np.isnan(x) & np.isnan(y)
    differs = (x.view(bits) != y.view(bits)) & ~both_nan
    return np.asarray(differs | (expected.is_null() != got.is_null()).to_numpy())
