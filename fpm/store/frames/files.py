"""Frames as Parquet files, written block by block: memory holds a few blocks, however long the history.

Blocks come in the order of their days. Where the entities have another order, the rows go to a scratch file once,
sorted into stretches of positions; each stretch is then read back and put in order, so the disk holds the frame twice
for a while. A file is written in a folder of its own beside its final name, then renamed, whole; the folder is always
removed.

N rows in all, M rows of a block.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fpm.store.frames.session_blocks import Block, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fpm.store.frames.point_in_time import Positions

GROUP = 32_768  # rows of a row group; of 158 columns 21 MB
SORTED_TOGETHER = 4 * GROUP  # rows sorted into stretches at a time
STRETCHES = 256  # at most; a stretch is sorted in memory
POSITION = "_position"


def write(blocks: Iterator[Block], count: int, out: Path, progress: Callable[[int], object] | None = None) -> None:
    """Write blocks that hold N = `count` rows in all as one file, in the order of their positions.

    `progress` is called with the number of rows written so far. A reader of `out` sees the old file or the new one.
    """
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        unfinished = Path(folder) / out.name
        _write(in_order(blocks, count, Path(folder)), unfinished, progress)
        unfinished.replace(out)


def in_order(blocks: Iterator[Block], count: int, folder: Path) -> Iterator[pl.DataFrame]:
    """The rows in the order of their positions; `folder` is for rows that come before their turn."""
    end = 0
    for position_M, rows in blocks:
        if span(position_M) != slice(end, end + len(position_M)):
            yield from _sorted(chain([(position_M, rows)], blocks), count, folder / "rows.arrow")
            return
        end += len(position_M)
        yield rows


def _sorted(blocks: Iterable[Block], count: int, path: Path) -> Iterator[pl.DataFrame]:
    """Rows of any order by way of the disk, one stretch of positions at a time."""
    size = max(GROUP, -(-count // STRETCHES))
    batches: dict[int, list[int]] = {}  # numbers of the record batches of every stretch
    number = 0
    positioned = (rows.with_columns(pl.Series(POSITION, position_M)) for position_M, rows in blocks)
    sink: pa.RecordBatchFileWriter | None = None
    for rows in _gathered(positioned, SORTED_TOGETHER):
        for stretch, part in _stretches(rows, size):
            table = _arrow(part)
            sink = sink or pa.ipc.new_file(str(path), table.schema)
            for batch in table.combine_chunks().to_batches():
                sink.write_batch(batch)
                batches.setdefault(stretch, []).append(number)
                number += 1
    assert sink is not None  # blocks that are out of order hold rows
    sink.close()
    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as stored:  # a mapped file would count as memory
        for stretch in sorted(batches):
            table = pa.Table.from_batches([stored.get_batch(number) for number in batches[stretch]])
            yield pl.DataFrame(pl.from_arrow(table)).sort(POSITION).drop(POSITION)


def _stretches(rows: pl.DataFrame, size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """The number of a stretch of `size` positions and the rows that belong there."""
    position_M: Positions = rows[POSITION].to_numpy()
    order_M = np.argsort(position_M)
    stretch_M = position_M[order_M] // size
    for part in np.split(order_M, np.flatnonzero(np.diff(stretch_M)) + 1):
        yield int(position_M[part[0]]) // size, rows[part]


def _gathered(frames: Iterable[pl.DataFrame], least: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of at least so many, except for the last."""
    pending: list[pl.DataFrame] = []
    for rows in frames:
        pending.append(rows)
        if sum(map(len, pending)) >= least:
            yield pl.concat(pending)
            pending = []
    if pending:
        yield pl.concat(pending)


def _write(frames: Iterable[pl.DataFrame], path: Path, progress: Callable[[int], object] | None) -> None:
    tables = _ahead(map(_arrow, _gathered(frames, GROUP)))
    first, count = next(tables), 0
    texts = [field.name for field in first.schema if not pa.types.is_floating(field.type)]
    with pq.ParquetWriter(path, first.schema, compression="zstd", compression_level=1, use_dictionary=texts) as sink:
        for table in chain([first], tables):
            sink.write_table(table, row_group_size=GROUP)
            count += len(table)
            if progress:
                progress(count)


def _ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same tables, the next one computed while the caller writes the one before."""
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = worker.submit(next, tables, None)
            yield table


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())
