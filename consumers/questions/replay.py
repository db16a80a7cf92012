"""A night computed again: the scores of a session from what the store knew then, against the stored ones, bit for bit.

Nothing is written. The scorer is the one that was in force then: the stored scores name it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers.parity import Parity, compare
from consumers.publish import served_models
from consumers.questions.stock_days import require_session
from consumers.scores import NAME, scores
from fpm.errors import UsageError
from fpm.schema import STREAMS, TABLES
from fpm.sessions import cut_off

if TYPE_CHECKING:
    from datetime import date, datetime

    from fpm.store.ledger.stores import Stores


@dataclass(frozen=True)
class Replay:
    """One session as known at one moment; `streams` compares stored and rebuilt rows, stream by stream."""

    session: date
    known_at: datetime
    vintage: str
    model: str
    streams: dict[str, Parity]

    @property
    def equal(self) -> bool:
        """Whether every stream is equal to the last bit."""
        return all(parity.equal for parity in self.streams.values())

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document; `missing`: stored, not rebuilt; `extra`: rebuilt, not stored; `different`: cells."""
        rows = [
            {"stream": stream, "answer": "equal" if parity.equal else "different"}
            | {name: value for name, value in asdict(parity).items() if name not in ("view", "cells")}
            for stream, parity in self.streams.items()
        ]
        head = {"session": str(self.session), "known_at": self.known_at.isoformat()}
        return head | {"vintage": self.vintage, "model": self.model, "equal": self.equal, "streams": rows}


def replay(session: date, known_at: datetime | None, stores: Stores) -> Replay:
    """Rebuild the scores of `session` as known at `known_at` (default: its cut-off), and compare them with the stored.

    Raises UsageError for a day without trading or a moment before the first scores were known, TryLater where the
    session was never scored, StoreCorrupt where a file or a model is not what was recorded.
    """
    require_session(session, stores.market, code="FPM-RPL-001", effect="nothing was replayed")
    then = stores.as_of(known_at or cut_off(stores.market, session))
    stored = _stored(session, then)
    vintage, model = served_models(session, then)
    rebuilt = _bits(scores(stores.models.load("scorer", model), session, then))
    compared = {stream: compare(NAME, _of(stream, stored), _of(stream, rebuilt)) for stream in STREAMS}
    assert then.known_at is not None
    return Replay(session, then.known_at, vintage, model, compared)


def _stored(session: date, then: Stores) -> pl.DataFrame:
    """The stored scores as known then; a row without values was withdrawn."""
    then.verify(NAME, session)
    rows = then.read(NAME, session).drop_nulls("model")
    if rows.is_empty():
        ever = then.as_of(None).read(NAME, session, columns=["created_timestamp"])["created_timestamp"].to_list()
        raise UsageError(
            code="FPM-RPL-002",
            wrong=f"no score of {session} was known at {then.known_at}",
            effect="nothing was replayed",
            todo=f"give a moment from {min(ever)} on" if ever else "see in `fpm status` what the session lacks",
        )
    return _bits(rows)


def _bits(rows: pl.DataFrame) -> pl.DataFrame:
    """The table's columns with each float as the integer of its bits: 0.0 is not -0.0, and NaN is itself."""
    whole = rows.select(*TABLES[NAME].columns)
    floats = [name for name, kind in whole.schema.items() if kind == pl.Float64]
    return whole.with_columns(pl.Series(name, whole[name].to_numpy().view(np.int64)) for name in floats)


def _of(stream: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("stream") == stream)
