"""Order and runs against a plain loop over the rows."""

from itertools import groupby, pairwise

import numpy as np
import polars as pl
import pytest

from fpm.row_order import ascending, by_runs, in_order

KEYS = ("session", "symbol")


def rows(*pairs: tuple[int | None, str | None]) -> pl.DataFrame:
    frame = pl.DataFrame(pairs, schema={"session": pl.Int64, "symbol": pl.String}, orient="row")
    return frame.with_columns(value=pl.int_range(pl.len()))


@pytest.mark.parametrize(
    ("frame", "strictly", "at_all"),
    [
        (rows(), True, True),
        (rows((1, "b")), True, True),
        (rows((1, "a"), (1, "b"), (2, "a")), True, True),
        (rows((1, "a"), (1, "a"), (2, "a")), False, True),
        (rows((1, "b"), (1, "a")), False, False),
        (rows((2, "a"), (1, "b")), False, False),
        (rows((1, None)), False, False),
        (rows((1, None), (1, "a")), False, False),  # a null is above and below nothing
        (rows((1, "a"), (None, "b")), False, False),
    ],
)
def test_order(frame: pl.DataFrame, *, strictly: bool, at_all: bool) -> None:
    assert ascending(frame, KEYS) is strictly
    assert (in_order(frame, KEYS) is frame) is at_all
    assert in_order(frame, KEYS)["session"].drop_nulls().is_sorted()


def test_order_and_runs_of_many_frames() -> None:
    random = np.random.default_rng(4)
    for _ in range(200):
        count = int(random.integers(0, 30))
        pairs = list(zip(random.integers(0, 3, count).tolist(), random.choice(list("abc"), count), strict=True))
        frame = rows(*[(number, str(letter)) for number, letter in pairs])
        keys = frame.select(KEYS).rows()
        assert ascending(frame, KEYS) == all(before < after for before, after in pairwise(keys))
        assert in_order(frame, KEYS).select(KEYS).rows() == sorted(keys)
        runs = by_runs(frame, KEYS, pl.col("value").sum(), pl.len().alias("rows")).rows()
        plain = [(key, [row[2] for row in run]) for key, run in groupby(frame.rows(), key=lambda row: row[:2])]
        assert runs == [(*key, sum(values), len(values)) for key, values in plain]
