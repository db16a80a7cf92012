"""Point-in-time frames in blocks of sessions, for histories that are too long for memory.

The answer of an entity row does not depend on the other rows, so some of them can be answered alone: only the sessions
in their reach are opened. Keys and clocks are read for many sessions together, because the sessions within a time to
live before the first are read once more. Values are read for few, so memory holds a few sessions, however long the
history.

N entity rows, M those of a block.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.store.frames import point_in_time
from fpm.store.frames.entities import Question
from fpm.store.frames.point_in_time import ATTEMPTS, Days, PartitionReplaced, Positions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm.store.lake.files import Lake

ROWS = 12_000  # of a block, about, where nobody says how many sessions; of 158 columns: 8 MB
KEYED = 40  # sessions whose keys are read together
Block = tuple[Positions, pl.DataFrame]  # where the rows stand among the entities, and their frame


def session_blocks(lake: Lake, question: Question, sessions: int | None = None) -> Iterator[Block]:
    """The rows of `point_in_time.frame`, at most `sessions` event days (UTC) at a time, and their positions.

    `sessions`: None for as many as make a block of a few megabytes, at least one.

    Days come in order, the rows of one day in the order of the entities: entities in session order come back as they
    are. Without entities there is one block, without rows. Raises what `point_in_time.frame` raises, with the block
    that needs the file.
    """
    position_N, day_N = point_in_time.by_day(question.clocks)
    rows, starts = len(question.rows), point_in_time.day_starts(day_N)
    sessions = sessions or max(1, ROWS * len(starts) // max(1, rows))
    edges = [*starts[:: sessions * -(-KEYED // sessions)], rows] if starts else [0, 0]
    return (
        block
        for first, last in pairwise(edges)
        for block in _together(lake, question, position_N[first:last], day_N[first:last], sessions)
    )


def _together(lake: Lake, question: Question, position_M: Positions, day_M: Days, sessions: int) -> Iterator[Block]:
    """Blocks of entity rows whose keys are read together.

    Where a partition is replaced meanwhile, the keys of the remaining rows are read again.
    """
    for _ in range(ATTEMPTS):
        rows, clocks = rows_at(question.rows, position_M), rows_at(question.clocks, position_M)
        try:
            tables = point_in_time.answers(lake, Question(rows, clocks, question.servings))
            for block in point_in_time.joined(rows, day_M, tables, sessions):
                yield position_M[: len(block)], block
                position_M, day_M = position_M[len(block) :], day_M[len(block) :]
        except PartitionReplaced:
            continue
        return
    raise point_in_time.always_replaced()


def span(position_M: Positions) -> slice | None:
    """The positions as a slice where they follow each other, else None."""
    if not len(position_M):
        return slice(0, 0)
    return slice(int(position_M[0]), int(position_M[-1]) + 1) if (np.diff(position_M) == 1).all() else None


def rows_at(rows: pl.DataFrame, position_M: Positions) -> pl.DataFrame:
    """The rows at these positions; without a copy where they follow each other."""
    whole = span(position_M)
    return rows[position_M] if whole is None else rows[whole]
