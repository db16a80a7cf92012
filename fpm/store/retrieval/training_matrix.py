"""Straight from the lake into the array that a model trains on: no frame of the whole history in between.

N rows, F numbers a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fpm.errors import UsageError
from fpm.store.frames.session_blocks import Block, span
from fpm.store.retrieval import features

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from fpm.store.frames.entities import Entities
    from fpm.store.frames.point_in_time import Places
    from fpm.store.settings import Settings

ROWS = 4096  # of 158 numbers: 2.6 MB


@dataclass(frozen=True)
class TrainingMatrix:
    """`x_NF`: NaN where nothing was known; `names` of the F numbers, those of a vector are ``fingerprint[0]``, …"""

    names: tuple[str, ...]
    x_NF: NDArray[np.float32]


def training_matrix(
    settings: Settings,
    service_or_view: str,
    entities: Entities,
    known_at: datetime | None = None,
    *,
    columns: Sequence[str] | None = None,
    out_NF: NDArray[np.float32] | None = None,
    sessions: int | None = None,
) -> TrainingMatrix:
    """The numbers of a service or view for every entity row, in the order of the rows, one block of sessions at a time.

    `columns`: which of the service's, in which order (None: every number and vector, no texts). `out_NF`: where to
    write instead of a new array; a memory map, or the memory of a tensor (``tensor.numpy()``).
    Raises UsageError for a column that the service lacks or that holds no numbers, for an `out_NF` of another shape
    or type, and what `features.frame_batches` raises.
    """
    rows, job = features.retrieval(settings, service_or_view, entities, known_at)
    return filled(job.blocks(sessions), rows, columns, out_NF)


def filled(
    blocks: Iterator[Block], entities: pl.DataFrame, columns: Sequence[str] | None, out_NF: NDArray[np.float32] | None
) -> TrainingMatrix:
    """The numbers beside the entities' own columns, from blocks that each tell their places; see `training_matrix`."""
    first = next(blocks)
    chosen = _chosen(first[1].drop(entities.columns), columns)
    names = tuple(chain.from_iterable(_names(name, kind) for name, kind in chosen.items()))
    x_NF = _place(out_NF, (len(entities), len(names)))
    for place_M, rows in chain([first], blocks):
        _fill(x_NF, place_M, rows, chosen)
    return TrainingMatrix(names, x_NF)


def _chosen(served: pl.DataFrame, columns: Sequence[str] | None) -> dict[str, Any]:
    """Columns that hold numbers, with their types. Raises UsageError."""
    numbers = {name: kind for name, kind in served.schema.items() if _numeric(kind)}
    if columns is None:
        return numbers
    if unfit := [name for name in columns if name not in numbers]:
        raise UsageError(
            code="FPM-PIT-011",
            wrong=f"{unfit} are no numbers of the service",
            effect="nothing was read",
            todo=f"use of {', '.join(numbers) or 'another service'}",
        )
    return {name: numbers[name] for name in columns}


def _numeric(kind: Any) -> bool:
    cell = kind.inner if isinstance(kind, pl.Array) else kind
    return bool(cell.is_numeric()) or cell == pl.Boolean


def _names(name: str, kind: Any) -> list[str]:
    return [f"{name}[{i}]" for i in range(kind.size)] if isinstance(kind, pl.Array) else [name]


def _place(out_NF: NDArray[np.float32] | None, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A new array, or the given one if it fits."""
    if out_NF is None:
        return np.empty(shape, np.float32)
    if out_NF.shape != shape or out_NF.dtype != np.float32:
        raise UsageError(
            code="FPM-PIT-012",
            wrong=f"the array is {out_NF.dtype} {out_NF.shape}, not float32 {shape}",
            effect="nothing was written",
            todo="make it of that type and shape, or let it be made",
        )
    return out_NF


def _fill(x_NF: NDArray[np.float32], place_M: Places, rows: pl.DataFrame, chosen: dict[str, Any]) -> None:
    """Write a block at its places, some rows at a time: the transposed copy then stays in the processor's cache."""
    for at, some in zip(range(0, len(rows), ROWS), rows.iter_slices(ROWS), strict=True):
        _fill_some(x_NF, place_M[at : at + ROWS], some, chosen)


def _fill_some(x_NF: NDArray[np.float32], place_M: Places, rows: pl.DataFrame, chosen: dict[str, Any]) -> None:
    """Neighbouring scalars go together."""
    where, at = span(place_M), 0
    for vector, run in groupby(chosen.items(), key=lambda column: isinstance(column[1], pl.Array)):
        for part in [[name] for name, _ in run] if vector else [[name for name, _ in run]]:
            values_MK = _values(rows.select(part), chosen[part[0]])
            x_NF[place_M if where is None else where, at : at + values_MK.shape[1]] = values_MK
            at += values_MK.shape[1]


def _values(part: pl.DataFrame, kind: Any) -> NDArray[np.float32]:
    """M rows of scalars, or of one vector, NaN for null."""
    if not isinstance(kind, pl.Array):
        return part.cast(pl.Float32).to_numpy(order="c")
    vectors = part.to_series().cast(pl.Array(pl.Float32, kind.size))
    absent_M = vectors.is_null().to_numpy()
    if not absent_M.any():
        return vectors.to_numpy()
    values_MK = np.full((len(vectors), kind.size), np.nan, np.float32)
    values_MK[~absent_M] = vectors.drop_nulls().to_numpy()
    return values_MK
