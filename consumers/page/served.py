"""The scores of the newest sessions as they were served, and what followed, as panels (T sessions, N symbols)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from consumers.streams import served_beside
from fpm.evaluation.rank_ic import centred_ranks, sort
from fpm.panels import axes, pivot, pivots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from fpm.evaluation.rank_ic import SortedPanel
    from fpm.panels import Floats
    from fpm.store.ledger.stores import Stores

SESSIONS = 120  # half a year: what a curve on a page can show


@dataclass(frozen=True)
class Stream:
    """One stream: scores, the same sorted, places in the market (0 lowest, 1 highest) and spreads over seeds."""

    score_TN: Floats
    score: SortedPanel
    place_TN: Floats
    spread_TN: Floats


@dataclass(frozen=True)
class Served:
    """The panels. `label_TN`: the return that followed, NaN until it is known."""

    sessions: Sequence[date]
    symbols: Sequence[str]
    streams: Mapping[str, Stream]
    label_TN: Floats


def served(stores: Stores, sessions: int = SESSIONS) -> Served:
    """Panels of the newest sessions with scores; without any they are empty.

    A company is one symbol, the one that it has at the newest session.
    """
    days = sorted({*stores.sessions("scores"), *stores.sessions("vector_scores")})[-sessions:]
    if not days:
        return Served((), (), {}, np.empty((0, 0)))
    stores = stores.named_apart(days[-1])
    columns = ["symbol", "stream", "score", "spread"]
    own = stores.read_served("scores", days[0], days[-1], columns=columns)
    rows = pl.concat([own, served_beside(days[0], days[-1], columns, stores)])
    labels = stores.read("labels", days[0], days[-1], columns=["symbol", "label"])
    days, symbols = axes(rows)
    streams = {}
    for (stream,), part in sorted(rows.partition_by("stream", as_dict=True).items()):
        panels = pivots(part, ["score", "spread"], days, symbols)
        score = sort(panels["score"])
        streams[str(stream)] = Stream(panels["score"], score, places(score), panels["spread"])
    return Served(days, symbols, streams, pivot(labels, "label", days, symbols))


def places(panel: SortedPanel) -> Floats:
    """Place of each value among its session's, 0 lowest and 1 highest, ties in their middle; NaN where there is none.

    >>> places(sort(np.array([[3.0, 1.0, np.nan, 2.0]]))).tolist()
    [[1.0, 0.0, nan, 0.5]]
    """
    count_T1 = panel.available_TN.sum(axis=1, keepdims=True)
    return np.asarray(centred_ranks(panel) / np.maximum(count_T1 - 1, 1) + 0.5)
