"""Point-in-time frames in blocks of sessions, for histories that memory should not hold at once.

The answer of an entity row does not depend on the others, so a part of the entity rows can be answered alone: only the
sessions in its reach are opened. Keys and clocks are read for many sessions together, since those within a time to live
before the first are read once more; values for few, so that memory is that of a few sessions, however long the history.

N entity rows, M those of a block.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.store.frames import point_in_time
from fpm.store.frames.point_in_time import ATTEMPTS, Places, Replaced, Serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fpm.store.lake.files import Lake

ROWS = 12_000  # of a block, about, where nobody says how many sessions; of 158 columns: 8 MB
KEYED = 40  # sessions whose keys are read together
Block = tuple[Places, pl.DataFrame]  # where the rows stand among the entities, and their frame


def session_blocks(
    lake: Lake, entities: pl.DataFrame, servings: Sequence[Serving], sessions: int | None = None, *, tied: bool = False
) -> Iterator[Block]:
    """The rows of `point_in_time.frame`, at most `sessions` event days (UTC) at a time, and their places.

    `sessions`: None for as many as make a block of a few megabytes, at least one.

    Days come in order, the rows of one day in the order of `entities`: entities in session order come back as they
    are. Without entities there is one block, without rows. Raises what `point_in_time.frame` raises: about the
    entities now, about files with the block that needs them.
    """
    point_in_time.check(entities, servings)
    wanted = point_in_time.clocks(entities, tied=tied)
    place_N, day_N = point_in_time.by_day(wanted)
    starts = np.flatnonzero(np.diff(day_N, prepend=np.iinfo(np.int32).min)).tolist()
    sessions = sessions or max(1, ROWS * len(starts) // max(1, len(entities)))
    edges = [*starts[:: sessions * -(-KEYED // sessions)], len(entities)] if starts else [0, 0]
    return (
        block
        for first, last in pairwise(edges)
        for block in _together(lake, entities, wanted, servings, place_N[first:last], day_N[first:last], sessions)
    )


def _together(
    lake: Lake,
    entities: pl.DataFrame,
    wanted: pl.DataFrame,
    servings: Sequence[Serving],
    place_M: Places,
    day_M: NDArray[np.int32],
    sessions: int,
) -> Iterator[Block]:
    """Blocks of entity rows whose keys are read together. Where a partition is replaced meanwhile, what is left is
    asked anew.
    """
    for _ in range(ATTEMPTS):
        rows, moments = taken(entities, place_M), taken(wanted, place_M)
        try:
            found = point_in_time.answers(lake, rows, moments, servings)
            for block in point_in_time.joined(rows, day_M, found, sessions):
                yield place_M[: len(block)], block
                place_M, day_M = place_M[len(block) :], day_M[len(block) :]
            return
        except Replaced:
            continue
    raise point_in_time.always_replaced()


def span(place_M: Places) -> slice | None:
    """The places as a slice where they follow each other."""
    if not len(place_M):
        return slice(0, 0)
    return slice(int(place_M[0]), int(place_M[-1]) + 1) if (np.diff(place_M) == 1).all() else None


def taken(rows: pl.DataFrame, place_M: Places) -> pl.DataFrame:
    """The rows at some places; without a copy where they follow each other."""
    whole = span(place_M)
    return rows[place_M] if whole is None else rows[whole]
