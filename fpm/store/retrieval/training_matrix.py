"""Numbers straight from the lake into the array that a model trains on, without a frame of the whole history.

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
    from fpm.store.frames.point_in_time import Positions
    from fpm.store.settings import Settings

ROWS = 4096  # of 158 numbers: 2.6 MB


@dataclass(frozen=True)
class TrainingMatrix:
    """The numbers `x_NF`, NaN where nothing was known, and their `names`; a vector's are ``fingerprint[0]``, ….

    N entity rows, F numbers.
    """

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
    """The numbers of a service or view for every entity row, in the order of the rows.

    `columns`: which of the service's, in which order (None: every number and vector, no texts). `out_NF`: where to
    write instead of a new array; a memory map, or the memory of a tensor (``tensor.numpy()``). `sessions`: how many
    are read at a time (None: a few megabytes).
    Raises UsageError for a column that the service lacks or that holds no numbers, for an `out_NF` of another shape
    or type, and what `features.frame_batches` raises.
    """
    rows, job = features.retrieval(settings, service_or_view, entities, known_at)
    return filled(job.blocks(sessions), rows, columns, out_NF)


def filled(
    blocks: Iterator[Block], entities: pl.DataFrame, columns: Sequence[str] | None, out_NF: NDArray[np.float32] | None
) -> TrainingMatrix:
    """The numbers beside the entities' own columns, from blocks with their positions; see `training_matrix`."""
    first = next(blocks)
    kinds = _numeric_columns(first[1].drop(entities.columns), columns)
    names = tuple(chain.from_iterable(_names(name, kind) for name, kind in kinds.items()))
    x_NF = _array(out_NF, (len(entities), len(names)))
    for position_M, rows in chain([first], blocks):
        _fill(x_NF, position_M, rows, kinds)
    return TrainingMatrix(names, x_NF)


def _numeric_columns(served: pl.DataFrame, columns: Sequence[str] | None) -> dict[str, Any]:
    """The types of these columns, or of all that hold numbers. Raises UsageError for one that does not."""
    numbers = {name: kind for name, kind in served.schema.items() if _is_numeric(kind)}
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


def _is_numeric(kind: Any) -> bool:
    cell = kind.inner if isinstance(kind, pl.Array) else kind
    return bool(cell.is_numeric()) or cell == pl.Boolean


def _names(name: str, kind: Any) -> list[str]:
    return [f"{name}[{i}]" for i in range(kind.size)] if isinstance(kind, pl.Array) else [name]


def _array(out_NF: NDArray[np.float32] | None, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A new array, or `out_NF` if it fits. Raises UsageError."""
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


def _fill(x_NF: NDArray[np.float32], position_M: Positions, rows: pl.DataFrame, kinds: dict[str, Any]) -> None:
    """Write a block at its positions, a few rows at a time: the transposed copy then stays in the processor's cache."""
    for first, part in zip(range(0, len(rows), ROWS), rows.iter_slices(ROWS), strict=True):
        _fill_part(x_NF, position_M[first : first + ROWS], part, kinds)


def _fill_part(x_NF: NDArray[np.float32], position_M: Positions, rows: pl.DataFrame, kinds: dict[str, Any]) -> None:
    """Write vectors one by one, and neighbouring scalars together."""
    whole, column = span(position_M), 0
    for is_vector, run in groupby(kinds.items(), key=lambda item: isinstance(item[1], pl.Array)):
        for names in [[name] for name, _ in run] if is_vector else [[name for name, _ in run]]:
            values_MK = _values(rows.select(names), kinds[names[0]])
            x_NF[position_M if whole is None else whole, column : column + values_MK.shape[1]] = values_MK
            column += values_MK.shape[1]


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
