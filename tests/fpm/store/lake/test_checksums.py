"""Checksums inside a Parquet file: other readers ignore them, ours notice every damaged byte of their columns."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fpm.store.lake.checksums import Damaged, verified_columns, with_checksums

ROWS = pl.DataFrame(
    {
        "symbol": ["A", "B", "C"],
        "value": [1.5, None, -2.0],
        "vector": pl.Series([[1.0, 2.0]] * 3, dtype=pl.Array(pl.Float32, 2)),
    }
)


def parquet(rows: pl.DataFrame = ROWS, group: int | None = None) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows.to_arrow(), sink, row_group_size=group, write_page_checksum=True)
    return sink.getvalue()


@pytest.mark.parametrize("group", [None, 2])
def test_polars_arrow_and_its_data_sets_read_a_file_with_checksums(group: int | None, tmp_path: Path) -> None:
    content = with_checksums(memoryview(parquet(group=group)))
    path = tmp_path / "checksums.parquet"
    path.write_bytes(content)
    assert pl.read_parquet(path).equals(ROWS) and pl.read_parquet(content).equals(ROWS)
    assert pl.DataFrame(pl.from_arrow(pq.read_table(path, page_checksum_verification=True))).equals(ROWS)
    assert ds.dataset(path).to_table(columns=["value"]).column("value").to_pylist() == [1.5, None, -2.0]
    assert verified_columns(memoryview(content), None) == ["symbol", "value", "vector"]


@pytest.mark.parametrize("group", [None, 2])
def test_every_flipped_bit_is_noticed(group: int | None) -> None:
    """One bit of every byte but the first four, which nobody reads: the check fails or, for the table's mark, finds no
    table, and then Arrow checks page by page."""
    content = with_checksums(memoryview(parquet(group=group)))
    unnoticed = []
    for position in range(4, len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        try:
            if verified_columns(memoryview(damaged), None) is not None:
                unnoticed.append(position)
        except Damaged:
            continue
    assert unnoticed == []


def test_damage_is_noticed_in_the_columns_that_are_read() -> None:
    content = bytearray(with_checksums(memoryview(parquet())))
    at = content.index(np.array([1.5]).tobytes())
    content[at] ^= 1
    assert verified_columns(memoryview(content), ["symbol", "vector"]) == ["symbol", "value", "vector"]
    with pytest.raises(Damaged, match="value"):
        verified_columns(memoryview(content), ["symbol", "value"])


def test_equal_bytes_stay_equal_and_a_file_without_a_table_says_so() -> None:
    content = memoryview(parquet())
    assert with_checksums(content) == with_checksums(content)
    assert verified_columns(content, None) is None
    for unfinished in (b"", b"PAR1", bytes(content[:-1]), bytes(content[: len(content) // 2])):
        with pytest.raises(Damaged):
            verified_columns(memoryview(unfinished), None)
    assert pa.BufferReader(content).size() < len(with_checksums(content))
