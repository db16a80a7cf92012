"""Frames as Parquet files, written as they come: memory is that of a few blocks, however long the history.

Blocks come in the order of their days. Where the entities have another order, the rows are laid down once, sorted into
stretches of places, and each stretch is then read back and put in order: the disk holds the frame twice for a while.
A file is made in a folder of its own beside its name, which it gets by rename, whole; the folder goes whatever happens.

N rows in all, M rows of a block.
"""

from __future__ import annotations

import os
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

    from fpm.store.frames.point_in_time import Places

GROUP = 32_768  # rows of a row group; of 158 columns 21 MB
LAID_DOWN = 4 * GROUP  # rows sorted into stretches at a time
STRETCHES = 256  # at most; a stretch is sorted in memory
PLACE = "_place"


def write(blocks: Iterator[Block], count: int, out: Path, progress: Callable[[int], None] = lambda rows: None) -> None:
    """Write blocks that hold N = `count` rows in all as one file, in the order of their places.

    `progress` is told how many rows the file has. A reader of `out` sees the old file or the new one.
    """
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        made = Path(folder) / out.name
        _write(in_order(blocks, count, Path(folder)), made, progress)
        os.replace(made, out)


def in_order(blocks: Iterator[Block], count: int, folder: Path) -> Iterator[pl.DataFrame]:
    """The rows in the order of their places; `folder` is for what has to wait for its turn."""
    given = 0
    for place_M, rows in blocks:
        if span(place_M) != slice(given, given + len(place_M)):
            yield from _sorted(chain([(place_M, rows)], blocks), count, folder / "rows.arrow")
            return
        given += len(place_M)
        yield rows


def _sorted(blocks: Iterable[Block], count: int, path: Path) -> Iterator[pl.DataFrame]:
    """Rows of any order by way of the disk, one stretch of places at a time."""
    size = max(GROUP, -(-count // STRETCHES))
    batches: dict[int, list[int]] = {}
    laid = 0
    placed = (rows.with_columns(pl.Series(PLACE, place_M)) for place_M, rows in blocks)
    sink: pa.RecordBatchFileWriter | None = None
    for rows in _gathered(placed, LAID_DOWN):
        for stretch, some in _stretches(rows, size):
            table = _arrow(some)
            sink = sink or pa.ipc.new_file(str(path), table.schema)
            for batch in table.combine_chunks().to_batches():
                sink.write_batch(batch)
                batches.setdefault(stretch, []).append(laid)
                laid += 1
    assert sink is not None  # blocks that are out of order hold rows
    sink.close()
    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as stored:  # a mapped file would count as memory
        for stretch in sorted(batches):
            table = pa.Table.from_batches([stored.get_batch(number) for number in batches[stretch]])
            yield pl.DataFrame(pl.from_arrow(table)).sort(PLACE).drop(PLACE)


def _stretches(rows: pl.DataFrame, size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    place_M: Places = rows[PLACE].to_numpy()
    order_M = np.argsort(place_M)
    stretch_M = place_M[order_M] // size
    for some in np.split(order_M, np.flatnonzero(np.diff(stretch_M)) + 1):
        yield int(place_M[some[0]]) // size, rows[some]


def _gathered(frames: Iterable[pl.DataFrame], least: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of at least so many, but for the last."""
    pending: list[pl.DataFrame] = []
    for rows in frames:
        pending.append(rows)
        if sum(map(len, pending)) >= least:
            yield pl.concat(pending)
            pending = []
    if pending:
        yield pl.concat(pending)


def _write(frames: Iterable[pl.DataFrame], path: Path, progress: Callable[[int], None]) -> None:
    gathered = _ahead(map(_arrow, _gathered(frames, GROUP)))
    first, written = next(gathered), 0
    texts = [field.name for field in first.schema if not pa.types.is_floating(field.type)]
    with pq.ParquetWriter(path, first.schema, compression="zstd", compression_level=1, use_dictionary=texts) as sink:
        for table in chain([first], gathered):
            sink.write_table(table, row_group_size=GROUP)
            written += len(table)
            progress(written)


def _ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same tables, each made while the one before is written."""
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = worker.submit(next, tables, None)
            yield table


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())
