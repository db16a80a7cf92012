"""Frames as the bytes of Postgres' binary COPY: ten times faster than text, and exact.

Format: https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format"; a vector is its dimension, an unused
16-bit word and the floats (pgvector `vector_send`). Cells are made column by column and joined row by row.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = struct.pack(">h", -1)
NULL = struct.pack(">i", -1)
POSTGRES_EPOCH = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000  # µs after 1970
FIXED = {"real": ">f4", "double precision": ">f8", "integer": ">i4", "bigint": ">i8", "boolean": "u1"}


def encode(frame: pl.DataFrame, types: dict[str, str]) -> bytes:
    """The columns named in `types` (name -> Postgres type), in that order, as one COPY stream.

    Types: text, real, double precision, integer, bigint, boolean, timestamptz, vector(n); nulls in any.
    """
    fields = struct.pack(">h", len(types))
    columns = [_cells(frame[name], kind) for name, kind in types.items()]
    rows = (fields + b"".join(row) for row in zip(*columns, strict=True))
    return b"".join([HEADER, *rows, TRAILER])


def _cells(column: pl.Series, kind: str) -> list[bytes]:
    """Every value as its length (int32) and its bytes."""
    present_N = column.is_not_null().to_numpy()
    if kind == "text":
        return [NULL if text is None else _sized(text.encode()) for text in column.to_list()]
    if kind == "timestamptz":
        moments_N = column.dt.epoch("us").fill_null(POSTGRES_EPOCH).to_numpy() - POSTGRES_EPOCH
        return _records(moments_N, present_N, np.dtype([("size", ">i4"), ("value", ">i8")]))
    if length := re.fullmatch(r"vector\((\d+)\)", kind):
        return _vectors(column, present_N, int(length[1]))
    filled = column.fill_null(False) if kind == "boolean" else column.fill_null(0)
    return _records(filled.to_numpy(), present_N, np.dtype([("size", ">i4"), ("value", FIXED[kind])]))


def _sized(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def _vectors(column: pl.Series, present_N: NDArray[np.bool_], length: int) -> list[bytes]:
    """pgvector's binary form; a null vector's floats are never looked at."""
    zeros = pl.lit([0.0] * length, dtype=pl.List(pl.Float32))
    filled = pl.select(pl.coalesce(column.cast(pl.List(pl.Float32)), zeros)).to_series()
    values_ND = filled.explode().to_numpy().reshape(len(column), length)
    kind = np.dtype([("size", ">i4"), ("dimension", ">i2"), ("unused", ">i2"), ("value", ">f4", (length,))])
    return _records(values_ND, present_N, kind, dimension=length)


def _records(
    values_N: NDArray[np.generic], present_N: NDArray[np.bool_], kind: np.dtype[np.void], dimension: int | None = None
) -> list[bytes]:
    """One fixed-size record a value, cut into cells; absent values are NULL."""
    records = np.zeros(len(values_N), kind)
    records["size"] = kind.itemsize - 4
    records["value"] = values_N
    if dimension is not None:
        records["dimension"] = dimension
    stream, step = records.tobytes(), kind.itemsize
    cells = [stream[start : start + step] for start in range(0, len(stream), step)]
    for row in np.flatnonzero(~present_N):
        cells[row] = NULL
    return cells
