"""Two clocks: the stored row that answers "the value at t, as known at k".

A stored row describes a moment (`event_timestamp`, e) and could first be known at another
(`created_timestamp`, c). The row served for (keys, t, k) is, among those with e <= t, e >= t - ttl and
c <= k, the one with the greatest e, and of its versions the one with the greatest c. Both bounds are
inclusive, as in Feast.

N entities (Feast's word for the rows of a question), M stored rows, P parts, Q distinct moments; moments as int64
microseconds since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EVENT, CREATED, KNOWN_AT = "event_timestamp", "created_timestamp", "known_at"
NONE = -1
LOOKS = 2  # latest sessions searched one by one; a symbol silent for longer is searched for among all rows


@dataclass(frozen=True)
class _History:
    """Stored rows in the order (keys, e, c): position in the store, clocks, and the version that each row hides.

    `earlier_M[i]` is the nearest row before i, of the same keys, that was known strictly earlier than i.
    """

    stored_M: NDArray[np.int64]
    event_M: NDArray[np.int64]
    created_M: NDArray[np.int64]
    earlier_M: NDArray[np.int64]


def rows_as_of(entities: pl.DataFrame, stored: pl.DataFrame, keys: Sequence[str], ttl: timedelta | None) -> pl.Series:
    """For every entity the position of the stored row that answers it, null where none does.

    `entities` (N rows): keys, `event_timestamp`, `known_at`; `stored` (M rows): keys, `event_timestamp`,
    `created_timestamp`; all moments ``Datetime("us", "UTC")``. Keys that are null match nothing. A `ttl` of None
    or zero never ends. Without keys any row may answer. Returns N positions (UInt32) in the order of `entities`, for
    ``gather``.
    """
    if not keys:
        constant, keys = pl.lit(0).alias("_constant"), ["_constant"]
        entities, stored = entities.with_columns(constant), stored.with_columns(constant)
    ordered = stored.with_row_index("_stored").sort(*keys, EVENT, CREATED, maintain_order=True)
    row_N = _last_event(entities, ordered, keys)
    history = _history(ordered, keys)
    known_at_N, oldest_N = _moments(entities, KNOWN_AT), _oldest(entities, ttl)
    row_N = _step_back(row_N, history, known_at_N, oldest_N)
    if not len(stored):
        return pl.repeat(None, len(entities), dtype=pl.UInt32, eager=True)
    stored_N = np.where(row_N == NONE, NONE, history.stored_M[row_N])
    return pl.Series(stored_N).replace(NONE, None).cast(pl.UInt32)


def rows_in_parts(
    entities: pl.DataFrame, parts: Sequence[pl.DataFrame], keys: Sequence[str], ttl: timedelta | None
) -> NDArray[np.int64]:
    """`rows_as_of` over the rows of all parts, one part after the other; -1 for none.

    A daily partition holds one moment. Where all parts do, the last one due answers most entities, often row for row,
    and the next ones most of the rest: that takes a tenth of a search among all rows (benchmarks/bench_frame.py).
    """
    row_N, open_N = np.full(len(entities), NONE), np.arange(len(entities))
    if keys and all(_one_moment(part) for part in parts):
        open_N = _look_up(row_N, entities, parts, keys, ttl)
    if len(open_N) and parts:
        row_N[open_N] = _search(entities[open_N], parts, keys, ttl)
    return row_N


def newest_versions(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The greatest (e, c) of each key, in the order of the keys; without keys, of all rows."""
    ordered = rows.sort(*keys, EVENT, CREATED)
    return ordered.unique(keys, keep="last", maintain_order=True) if keys else ordered.tail(1)


def _one_moment(part: pl.DataFrame) -> bool:
    return not len(part) or part[EVENT].min() == part[EVENT].max()


def _look_up(
    row_N: NDArray[np.int64],
    entities: pl.DataFrame,
    parts: Sequence[pl.DataFrame],
    keys: Sequence[str],
    ttl: timedelta | None,
) -> NDArray[np.int64]:
    """Fill `row_N` from the last moments due, the latest first; returns the entities that may have an older answer."""
    first_P = np.cumsum([0, *map(len, parts)])
    moments: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        if len(part):
            moments.setdefault(int(_moments(part[:1], EVENT)[0]), []).append(number)
    event_Q, oldest_N = np.array(sorted(moments), np.int64), _oldest(entities, ttl)
    at_N, open_N = np.searchsorted(event_Q, _moments(entities, EVENT), side="right"), np.arange(len(entities))
    for _ in range(LOOKS):
        at_N -= 1
        open_N = open_N[at_N[open_N] >= 0]
        open_N = open_N[event_Q[at_N[open_N]] >= oldest_N[open_N]]
        for group in _groups(at_N[open_N]):
            entity_G, numbers = open_N[group], moments[int(event_Q[at_N[open_N[group[0]]]])]
            position_M = np.concatenate([np.arange(first_P[number], first_P[number + 1]) for number in numbers])
            stored = pl.concat([parts[number] for number in numbers])
            row_G = _at_one_moment(_rows(entities, entity_G), stored, keys)
            row_N[entity_G] = np.where(row_G == NONE, NONE, position_M[row_G])
        open_N = open_N[row_N[open_N] == NONE]
    return open_N


def _groups(value_N: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The positions of every distinct value."""
    order_N = np.argsort(value_N, kind="stable")
    return np.split(order_N, np.flatnonzero(np.diff(value_N[order_N])) + 1) if len(value_N) else []


def _rows(frame: pl.DataFrame, position_M: NDArray[np.int64]) -> pl.DataFrame:
    """The rows at ascending positions; without a copy where these are consecutive."""
    first, last = int(position_M[0]), int(position_M[-1]) + 1
    return frame[first:last] if last - first == len(position_M) else frame[position_M]


def _at_one_moment(entities: pl.DataFrame, stored: pl.DataFrame, keys: Sequence[str]) -> NDArray[np.int64]:
    """`rows_as_of` where every stored row has the same moment, which is due; -1 for none."""
    created_M, known_at_N = _moments(stored, CREATED), _moments(entities, KNOWN_AT)
    if created_M.min() > known_at_N.max():
        return np.full(len(entities), NONE)
    if created_M.max() > known_at_N.min() or stored.n_unique(keys) < len(stored):
        return _positions(rows_as_of(entities, stored, keys, None))
    if len(entities) == len(stored) and all(_same(entities[key], stored[key]) for key in keys):
        return np.arange(len(entities))
    numbered = stored.select(keys).with_row_index("_row")
    return _positions(entities.select(keys).join(numbered, on=list(keys), how="left", maintain_order="left")["_row"])


def _same(entities: pl.Series, stored: pl.Series) -> bool:
    """Whether both are equal row for row; a null equals nothing."""
    return not stored.null_count() and entities.equals(stored)


def _search(
    entities: pl.DataFrame, parts: Sequence[pl.DataFrame], keys: Sequence[str], ttl: timedelta | None
) -> NDArray[np.int64]:
    """`rows_as_of` among the rows of all parts whose key is asked for."""
    stored = pl.concat(parts).with_row_index("_row")
    if keys:
        stored = stored.join(entities.select(keys).unique(), on=list(keys), how="semi", maintain_order="left")
    row_N = _positions(rows_as_of(entities, stored, keys, ttl))
    if not len(stored):
        return row_N
    return np.where(row_N == NONE, NONE, stored["_row"].cast(pl.Int64).to_numpy()[row_N])


def _positions(rows: pl.Series) -> NDArray[np.int64]:
    return rows.cast(pl.Int64).fill_null(NONE).to_numpy()


def _last_event(entities: pl.DataFrame, ordered: pl.DataFrame, keys: Sequence[str]) -> NDArray[np.int64]:
    """Position in `ordered` of the last row with e <= t, whenever it became known; -1 for none."""
    right = ordered.select(*keys, EVENT).with_row_index("_position")
    left = entities.select(*keys, pl.col(EVENT).alias("_t")).with_row_index("_entity").sort("_t")
    joined = left.join_asof(
        right, left_on="_t", right_on=EVENT, by=list(keys), strategy="backward", check_sortedness=False
    )
    position = joined.sort("_entity")["_position"].cast(pl.Int64).fill_null(NONE)
    return position.to_numpy().copy()


def _history(ordered: pl.DataFrame, keys: Sequence[str]) -> _History:
    """Link every row to the nearest earlier-known row of the same keys.

    Pointer jumping: all rows strictly between `earlier[i]` and i are known no earlier than i, so where `earlier[i]`
    itself is not earlier, its own link may replace it. The links double each round: log2(M) rounds at most.
    """
    created_M = _moments(ordered, CREATED)
    earlier_M = np.arange(len(ordered), dtype=np.int64) - 1
    earlier_M[_starts(ordered, keys)] = NONE
    while True:
        late_M = (earlier_M != NONE) & (created_M[earlier_M] >= created_M)
        if not late_M.any():
            break
        earlier_M[late_M] = earlier_M[earlier_M[late_M]]
    return _History(ordered["_stored"].cast(pl.Int64).to_numpy(), _moments(ordered, EVENT), created_M, earlier_M)


def _starts(ordered: pl.DataFrame, keys: Sequence[str]) -> NDArray[np.bool_]:
    """True where a new combination of keys begins."""
    changed = ordered.select(pl.any_horizontal(pl.col(key).ne_missing(pl.col(key).shift()) for key in keys))
    starts_M = changed.to_series().to_numpy().copy()
    starts_M[:1] = True
    return starts_M


def _step_back(
    row_N: NDArray[np.int64], history: _History, known_at_N: NDArray[np.int64], oldest_N: NDArray[np.int64]
) -> NDArray[np.int64]:
    """From the last row by event back to the last one known by then, within its time to live."""
    open_N = np.flatnonzero(row_N != NONE)
    while len(open_N):
        at = row_N[open_N]
        expired = history.event_M[at] < oldest_N[open_N]
        row_N[open_N[expired]] = NONE
        unknown = ~expired & (history.created_M[at] > known_at_N[open_N])
        row_N[open_N[unknown]] = history.earlier_M[at[unknown]]
        open_N = open_N[unknown]
        open_N = open_N[row_N[open_N] != NONE]
    return row_N


def _oldest(entities: pl.DataFrame, ttl: timedelta | None) -> NDArray[np.int64]:
    """The earliest event that may still be served, by entity."""
    if not ttl:
        return np.full(len(entities), np.iinfo(np.int64).min)
    return _moments(entities, EVENT) - ttl // timedelta(microseconds=1)


def _moments(rows: pl.DataFrame, column: str) -> NDArray[np.int64]:
    return rows[column].dt.epoch("us").to_numpy()
