"""The symbol-sessions of a stretch of history, read session by session: a whole market's years fit no memory.

Shapes: N symbol-sessions in all, S symbols of one session, T minutes, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from fpm.errors import StoreCorrupt
from fpm.nn import distributed

if TYPE_CHECKING:
    from fpm.progress import Progress

Rows = tuple[tuple[str, ...], np.ndarray]  # a session's symbols and its x_STF in half precision
Read = Callable[[date], Rows]


@dataclass(frozen=True)
class SymbolSessions:
    """Some symbol-sessions; NaN = unavailable. Half precision is enough: it keeps the relative error of a price below
    5e-4 of its distance from the open.
    """

    x_NTF: np.ndarray
    symbols: tuple[str, ...]
    sessions: tuple[date, ...]

    def __len__(self) -> int:
        return len(self.x_NTF)

    def of(self, session: date) -> Rows:
        """One session's, as `Read` gives them."""
        rows = [i for i, each in enumerate(self.sessions) if each == session]
        return tuple(self.symbols[i] for i in rows), self.x_NTF[rows]

    def spread(self, most: int) -> SymbolSessions:
        """At most so many rows, evenly from the whole."""
        rows = sorted({round(i) for i in np.linspace(0, len(self) - 1, min(most, len(self)))})
        return SymbolSessions(
            self.x_NTF[rows], tuple(self.symbols[i] for i in rows), tuple(self.sessions[i] for i in rows)
        )


@dataclass(frozen=True)
class Surveyed:
    """What is remembered of a session: how many rows, a digest of their content, and a few of them."""

    rows: int
    digest: str
    few: SymbolSessions


@dataclass(frozen=True)
class History:
    """Sessions that were surveyed once and can be read again, always with the same content.

    Arrays stay in memory while they fit into `budget` bytes; what is read is the same whatever the budget.
    """

    source: Read
    surveyed: Mapping[date, Surveyed]
    budget: int
    _kept: dict[date, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def rows(self, sessions: Sequence[date]) -> int:
        return sum(self.surveyed[session].rows for session in sessions)

    def few(self, sessions: Sequence[date], most: int) -> SymbolSessions:
        """At most so many rows, evenly from what the survey took of these sessions."""
        return _joined([self.surveyed[session].few for session in sessions]).spread(most)

    def none(self) -> np.ndarray:
        """No row, of the shape that all have: (0, T, F)."""
        return next(each.few.x_NTF[:0] for each in self.surveyed.values() if each.rows)

    def read(self, session: date) -> np.ndarray:
        """x_STF of one session. Raises StoreCorrupt where it is not what was surveyed."""
        if session in self._kept:
            return self._kept[session]
        symbols, x_STF = self.source(session)
        if digest(symbols, x_STF) != self.surveyed[session].digest:
            raise StoreCorrupt(
                code="FPM-ML-111",
                wrong=f"the features of {session} are not those the training began with",
                effect="the training stopped; its last epoch is kept",
                todo="start it again: it begins anew with what is there now",
            )
        self.keep(session, x_STF)
        return x_STF

    def keep(self, session: date, x_STF: np.ndarray) -> None:
        """Hold a session's array if there is room."""
        if sum(each.nbytes for each in self._kept.values()) + x_STF.nbytes <= self.budget:
            self._kept[session] = x_STF

    @property
    def digest(self) -> str:
        """Of the whole content."""
        return sha256(repr([(day, each.digest) for day, each in sorted(self.surveyed.items())]).encode()).hexdigest()


def survey(read: Read, samples: Mapping[date, int], budget: int, progress: Progress) -> History:
    """Read every session once, one in memory at a time besides `budget` bytes that are kept, and remember `samples`
    rows of each. Several processes share the sessions and tell each other.
    """
    history = History(read, {}, budget)
    mine = sorted(samples)[distributed.rank() :: distributed.processes()]
    found: list[tuple[date, Surveyed]] = []
    for done, session in enumerate(mine, 1):
        symbols, x_STF = read(session)
        few = SymbolSessions(x_STF, symbols, (session,) * len(symbols)).spread(samples[session])
        found.append((session, Surveyed(len(x_STF), digest(symbols, x_STF), few)))
        history.keep(session, x_STF)
        progress(done, len(mine), f"reading {session}")
    return History(read, dict(sorted(distributed.from_all(found))), budget, history._kept)


def digest(symbols: Sequence[str], x_STF: np.ndarray) -> str:
    """Of a session's content."""
    named = sha256(repr((tuple(symbols), x_STF.shape, x_STF.dtype.str)).encode())
    named.update(np.ascontiguousarray(x_STF).data)
    return named.hexdigest()


def _joined(parts: Sequence[SymbolSessions]) -> SymbolSessions:
    filled = [part for part in parts if len(part)] or list(parts[:1])
    return SymbolSessions(
        np.concatenate([part.x_NTF for part in filled]),
        tuple(symbol for part in filled for symbol in part.symbols),
        tuple(session for part in filled for session in part.sessions),
    )
