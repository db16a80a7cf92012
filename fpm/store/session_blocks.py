"""Point-in-time frames in blocks of sessions, for histories that memory should not hold at once.

The answer of an entity row does not depend on the others, so a block is the frame of its own rows: only the sessions
in their reach are opened and only their values are held. Memory is that of one block, however long the history; the
price is that keys and clocks within a time to live before each block are read again.

N entity rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from fpm.store import point_in_time
from fpm.store.lake import Lake
from fpm.store.point_in_time import Places, Serving
from fpm.two_clocks import EVENT

SESSIONS = 20  # of 5,300 symbols x 158: 67 MB a block; shorter blocks read more keys twice
Block = tuple[Places, pl.DataFrame]  # where the rows stand among the entities, and their frame


def session_blocks(
    lake: Lake, entities: pl.DataFrame, servings: Sequence[Serving], sessions: int = SESSIONS, *, tied: bool = False
) -> Iterator[Block]:
    """The rows of `point_in_time.frame`, at most `sessions` event days (UTC) at a time, and their places.

    Days come in order, the rows of one day in the order of `entities`: entities in session order come back as they
    are. Without entities there is one block, without rows. Raises what `point_in_time.frame` raises: about the
    entities now, about files with the block that needs them.
    """
    point_in_time.check(entities, servings)
    day_N = point_in_time.clocks(entities, tied=tied)[EVENT].dt.date().to_physical().to_numpy()
    place_N = np.argsort(day_N, kind="stable")
    starts = np.flatnonzero(np.diff(day_N[place_N], prepend=np.iinfo(np.int32).min))[::sessions]
    edges = [*starts.tolist(), len(entities)] if len(entities) else [0, 0]
    return (
        (place_N[first:last], point_in_time.frame(lake, taken(entities, place_N[first:last]), servings, tied=tied))
        for first, last in pairwise(edges)
    )


def span(place_M: Places) -> slice | None:
    """The places as a slice where they follow each other."""
    if not len(place_M):
        return slice(0, 0)
    return slice(int(place_M[0]), int(place_M[-1]) + 1) if (np.diff(place_M) == 1).all() else None


def taken(rows: pl.DataFrame, place_M: Places) -> pl.DataFrame:
    """The rows at some places; without a copy where they follow each other."""
    whole = span(place_M)
    return rows[place_M] if whole is None else rows[whole]
