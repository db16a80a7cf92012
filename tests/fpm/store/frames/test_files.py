"""Frames written in blocks: the rows of the whole frame, in the order of the entities, or no file at all."""

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

from fpm.store.frames import files as frame_files
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


def blocks(place_N: list[int], size: int) -> Iterator[Block]:
    """The rows at these places, so many at a time; without any, one block without rows, as session blocks are."""
    for at in range(0, max(1, len(place_N)), size):
        some = np.array(place_N[at : at + size], dtype=np.int64)
        yield some, ROWS[some]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 200), first=st.integers(0, 200), size=st.integers(1, 60), seed=st.integers(0, 9))
def test_a_file_holds_the_rows_in_the_order_of_their_places(
    tmp_path_factory: pytest.TempPathFactory, count: int, first: int, size: int, seed: int
) -> None:
    """Some blocks come in order, the others not; stretches and row groups are much smaller than the frame."""
    place_N = [*range(min(first, count)), *random.Random(seed).sample(range(first, count), max(0, count - first))]
    out, told = tmp_path_factory.mktemp("frames") / "frame.parquet", list[int]()
    with pytest.MonkeyPatch.context() as patch:
        for name, rows in (("GROUP", 16), ("LAID_DOWN", 50), ("STRETCHES", 8)):
            patch.setattr(frame_files, name, rows)
        frame_files.write(blocks(place_N, size), count, out, told.append)
    assert pl.read_parquet(out).equals(ROWS[:count]) and told == sorted(told) and told[-1] == count
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
        frame_files.write(interrupted(), 200, out)
    assert out.read_bytes() == b"the old one" and [path.name for path in tmp_path.iterdir()] == ["frame.parquet"]
