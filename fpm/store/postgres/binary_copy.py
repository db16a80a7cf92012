"""Frames as the bytes of Postgres' binary COPY: ten times faster than text, and exact.

Format: https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format"; a vector is its dimension, an unused
16-bit word and the floats (pgvector `vector_send`). numpy builds neighbouring columns of fixed size as one record a
row; only rows with nulls are built cell by cell.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime
from itertools import chain, groupby, repeat
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = struct.pack(">h", -1)
NULL = struct.pack(">i", -1)
POSTGRES_EPOCH = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000  # µs after 1970
EPOCH_DAYS = POSTGRES_EPOCH // 86_400_000_000
FIXED = {
    "real": ">f4",
    "double precision": ">f8",
    "integer": ">i4",
    "bigint": ">i8",
    "boolean": "u1",
    "timestamptz": ">i8",
    "date": ">i4",
}


def encode(frame: pl.DataFrame, types: dict[str, str]) -> bytes:
    """The columns of `types` (name -> Postgres type), in that order, as one COPY stream.

    Types: text, real, double precision, integer, bigint, boolean, timestamptz, date, vector(n); all may hold nulls.
    """
    fields = struct.pack(">h", len(types))
    parts: list[list[bytes]] = []
    for text, run in groupby(types.items(), key=lambda column: column[1] == "text"):
        kinds = dict(run)
        parts += map(_texts, frame.select(*kinds)) if text else [_records(frame, kinds)]
    rows = zip(repeat(fields, len(frame)), *parts, strict=True)
    return b"".join([HEADER, *chain.from_iterable(rows), TRAILER])


def floats_of(cells: bytes) -> NDArray[np.float32]:
    """The floats of one vector in pgvector's binary form, or of several of one length, end to end.

    Shape (D,) for one vector, (N, D) for several.
    """
    length = int.from_bytes(cells[:2])
    if len(cells) == 4 + 4 * length:
        return np.frombuffer(cells, ">f4", offset=4).astype("<f4")
    records = np.frombuffer(cells, np.dtype([("head", ">i4"), ("value", ">f4", (length,))]))
    values_ND: NDArray[np.float32] = records["value"].astype("<f4")
    return values_ND


def _texts(column: pl.Series) -> list[bytes]:
    """Each text as its length (int32) and its bytes."""
    texts = column.to_list()
    cells = {text: struct.pack(">i", len(text.encode())) + text.encode() for text in set(texts) - {None}}
    return [cells.get(text, NULL) for text in texts]  # a vintage is the same in every row


def _records(frame: pl.DataFrame, types: dict[str, str]) -> list[bytes]:
    """The cells of each row side by side: one record of fixed size, shortened where a cell is null."""
    records = np.zeros(len(frame), np.dtype([(name, _cell(kind)) for name, kind in types.items()]))
    for name, kind in types.items():
        _fill(records[name], frame[name], kind)
    stream, step = records.tobytes(), records.dtype.itemsize
    rows = [stream[start : start + step] for start in range(0, len(stream), step)]
    present_NF = frame.select(pl.col(*types).is_not_null()).to_numpy()
    ends = np.cumsum([_cell(kind).itemsize for kind in types.values()]).tolist()
    for row in np.flatnonzero(~present_NF.all(axis=1)):
        cells = zip([0, *ends], ends, present_NF[row], strict=False)
        rows[row] = b"".join(rows[row][start:end] if present else NULL for start, end, present in cells)
    return rows


def _cell(kind: str) -> np.dtype[np.void]:
    """The layout of a value: its length (int32) and its bytes."""
    if length := _length(kind):
        return np.dtype([("size", ">i4"), ("dimension", ">i2"), ("unused", ">i2"), ("value", ">f4", (length,))])
    return np.dtype([("size", ">i4"), ("value", FIXED[kind])])


def _fill(cells_N: NDArray[np.void], column: pl.Series, kind: str) -> None:
    """Write a column into its cells; the filling of a null is never sent."""
    cells_N["size"] = cells_N.dtype.itemsize - 4
    if length := _length(kind):
        zeros = pl.lit([0.0] * length, dtype=pl.List(pl.Float32))
        filled = pl.select(pl.coalesce(column.cast(pl.List(pl.Float32)), zeros)).to_series()
        cells_N["dimension"] = length
        cells_N["value"] = filled.explode().to_numpy().reshape(len(column), length)
    elif kind == "timestamptz":
        cells_N["value"] = column.dt.epoch("us").fill_null(POSTGRES_EPOCH).to_numpy() - POSTGRES_EPOCH
    elif kind == "date":
        cells_N["value"] = column.to_physical().fill_null(EPOCH_DAYS).to_numpy() - EPOCH_DAYS
    else:
        cells_N["value"] = column.fill_null(False if kind == "boolean" else 0).to_numpy()


def _length(kind: str) -> int:
    """N of vector(n); 0 for other types."""
    match = re.fullmatch(r"vector\((\d+)\)", kind)
    return int(match[1]) if match else 0
