"""Frames written in blocks hold the rows of the whole frame, in the order of the entities, or no file is written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.store.frames import files
from fpm.store.frames.session_blocks import Block

ROWS = pl.DataFrame(
    {
        "symbol": [f"S{i % 7}" for i in range(200)],
        "number": range(200),
        "moment": [datetime(2024, 1, 1, tzinfo=UTC)] * 200,
        "value": pl.Series([None if i % 5 == 0 else i / 3 for i in range(200)], dtype=pl.Float32),
        "vector": pl.Series([[float(i), -float(i)] for i in range(200)], dtype=pl.Array(pl.Float32, 2)),
    }
)


def blocks(position_N: list[int], size: int) -> Iterator[Block]:
    """The rows at these positions, so many at a time; without any, one block without rows, as session blocks are."""
    for first in range(0, max(1, len(position_N)), size):
        position_M = np.array(position_N[first : first + size], dtype=np.int64)
        yield position_M, ROWS[position_M]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 200), first=st.integers(0, 200), size=st.integers(1, 60), seed=st.integers(0, 9))
def test_a_file_holds_the_rows_in_the_order_of_their_positions(
    tmp_path_factory: pytest.TempPathFactory, count: int, first: int, size: int, seed: int
) -> None:
    """Some blocks come in order, the others not; stretches and row groups are much smaller than the frame."""
    position_N = [*range(min(first, count)), *random.Random(seed).sample(range(first, count), max(0, count - first))]
    out, counts = tmp_path_factory.mktemp("frames") / "frame.parquet", list[int]()
    with pytest.MonkeyPatch.context() as patch:
        for name, rows in (("GROUP", 16), ("SORTED_TOGETHER", 50), ("STRETCHES", 8)):
            patch.setattr(files, name, rows)
        files.write(blocks(position_N, size), count, out, counts.append)
    assert pl.read_parquet(out).equals(ROWS[:count]) and counts == sorted(counts) and counts[-1] == count
    assert [path.name for path in out.parent.iterdir()] == ["frame.parquet"]
    groups = pq.ParquetFile(out).metadata
    assert max((groups.row_group(i).num_rows for i in range(groups.num_row_groups)), default=0) <= 16


@pytest.mark.parametrize("order", [list(range(200)), list(reversed(range(200)))])
@pytest.mark.parametrize("wrong", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, order: list[int], wrong: type[BaseException]
) -> None:
    def interrupted() -> Iterator[Block]:
        for number, block in enumerate(blocks(order, 20)):
            if number == 7:
                raise wrong
            yield block

    out = tmp_path / "frame.parquet"
    out.write_bytes(b"the old one")
    with pytest.raises(wrong):
        files.write(interrupted(), 200, out)
    assert out.read_bytes() == b"the old one" and [path.name for path in tmp_path.iterdir()] == ["frame.parquet"]
