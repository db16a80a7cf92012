"""What the footers of Parquet files say, without reading a value: rows, and nulls by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path


def rows_of(path: Path) -> int:
    """Number of rows of a file."""
    return int(pq.read_metadata(path).num_rows)


def null_counts(path: Path) -> dict[str, int]:
    """Column -> its nulls, of the columns whose footer counts them; those of a vector are not counted."""
    metadata = pq.read_metadata(path)
    counts: dict[str, int] = {}
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            statistics = column.statistics
            if "." in column.path_in_schema or statistics is None or not statistics.has_null_count:
                continue
            counts[column.path_in_schema] = counts.get(column.path_in_schema, 0) + int(statistics.null_count)
    return counts
