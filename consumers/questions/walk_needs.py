"""What an index's walk needs before it begins: bars, snapshots of the index, scores of the stream; refusals by name."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl

from consumers.benchmark import EVERY_NAME
from consumers.desk import GAP
from consumers.mandates import SNAPSHOT_AGE, named_mandates
from consumers.streams import require_stream, scored_sessions, stream_of, streams_there, table_of_stream
from fpm.errors import TryLater, UsageError
from fpm.schema import SCORES, VECTOR_SCORES
from fpm.sessions import next_sessions, previous_sessions, require_order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.store.ledger.stores import Stores

TODO = {
    SCORES.name: "fpm walk-forward FIRST LAST",
    VECTOR_SCORES.name: "fpm walk-forward FIRST LAST --vintage {vintage}",
}
REACH = SNAPSHOT_AGE + GAP  # sessions back in which a snapshot must lie


def require_inputs(index: str, first: date, last: date, stores: Stores) -> list[date]:
    """The sessions of the span that have bars and no scores of the stream in use: there the book is only walked.

    Raises UsageError for an unknown stream or index, TryLater where bars, scores or snapshots are missing.
    """
    require_order(first, last)
    days = [day for day in stores.sessions("daily_bars") if first <= day <= last]
    if not days:
        raise _no_bars(first, last, stores)
    _require_index(index, days, stores)
    scored = [_scored(stream_in_use(index, stores), first, last, stores)]
    if stores.settings.stream is None:  # other indices may have the default stream, whatever this one's mandate says
        scored.append(_scored(stream_of(stores.settings), first, last, stores))
    return sorted(set(days) - set(scored[0]))


def _scored(stream: str, first: date, last: date, stores: Stores) -> list[date]:
    """The sessions of a span with scores of a stream. Raises UsageError or TryLater where there are none."""
    scored = scored_sessions(stream, first, last, stores)
    if not scored:
        require_stream(stores)  # reads every session: last
        raise no_scores(stream, first, last, stores)
    return scored


def stream_in_use(index: str, stores: Stores) -> str:
    """The stream of an index's portfolio: the setting's, else the mandate's."""
    [mandate] = named_mandates([index], stores)
    return mandate.stream


def _require_index(index: str, days: Sequence[date], stores: Stores) -> None:
    """Raises where a session of `days` would have no snapshot of the index, or no snapshot lies in reach."""
    oldest = previous_sessions(stores.market, days[0], REACH)[0]
    rows = stores.read("index_members", oldest, days[-1], columns=["index"]).unique()
    if rows.is_empty() and index == EVERY_NAME:
        return
    own = rows.filter(pl.col("index") == index)["session"].sort().to_list()
    if not own:
        raise unknown_index(index, rows["index"].unique().sort().to_list(), stores)
    for before, after in pairwise([*own, None]):
        bound = next_sessions(stores.market, before, REACH)[-1]
        uncovered = [day for day in days if day > bound and (after is None or day < after)]
        if uncovered:
            raise _no_snapshot(index, uncovered[0], f"the one before is of {before}")
    if own[0] > days[0]:
        raise _no_snapshot(index, days[0], f"the first one is of {own[0]}")


def unknown_index(index: str, indices: Sequence[str], stores: Stores) -> UsageError:
    """The error for an index without members; `indices`: those that have some."""
    stored = stores.sessions("index_members")
    use = ", ".join(indices)
    if not indices:
        use = f"its snapshots reach from {stored[0]} to {stored[-1]}" if stored else EVERY_NAME
    return UsageError(
        code="FPM-PF-002",
        wrong=f"no members of index {index!r}",
        effect="nothing was computed",
        todo=f"use one of {use}, or ingest its members: fpm ingest PATH (docs/portfolios.md)",
    )


def no_scores(stream: str, first: date, last: date, stores: Stores) -> TryLater:
    """The error where a span has no scores of a stream, with what there is."""
    table = table_of_stream(stream, stores)
    scored = stores.sessions(table)
    there = f"; scored are {scored[0]} to {scored[-1]}" if scored else ""
    others = [name for name in streams_there(stores) if name != stream]
    use = f", or use --stream with {', '.join(others)}" if others and not scored else ""
    todo = TODO.get(table, "fpm ingest PATH").format(vintage=stream.removesuffix(".dual"))
    return TryLater(
        code="FPM-PF-075",
        wrong=f"no scores of {stream} from {first} to {last}{there}",
        effect="nothing was computed",
        todo=f"score these sessions first: {todo}{use}",
    )


def _no_bars(first: date, last: date, stores: Stores) -> TryLater:
    stored = stores.sessions("daily_bars")
    there = f": they reach from {stored[0]} to {stored[-1]}" if stored else ""
    return TryLater(
        code="FPM-PF-076",
        wrong=f"no daily bars from {first} to {last}{there}",
        effect="nothing was computed",
        todo="ingest them: fpm ingest PATH",
    )


def _no_snapshot(index: str, session: date, words: str) -> TryLater:
    return TryLater(
        code="FPM-PF-077",
        wrong=f"no members of {index} within {REACH} sessions before {session}: {words}",
        effect="nothing was computed",
        todo="ingest a snapshot at least every month, or intervals (docs/portfolios.md), or begin later",
    )
