"""The symbol-sessions of a training, read session by session: years of a whole market do not fit into memory.

Shapes: N symbol-sessions, S symbols of one session, T minutes, F features.
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

Rows = tuple[tuple[str, ...], np.ndarray]  # symbols and features x_STF of a session, in half precision
Read = Callable[[date], Rows]


@dataclass(frozen=True)
class SymbolSessions:
    """Some symbol-sessions and their features x_NTF, in half precision; NaN = unavailable.

    Half precision is enough: the error of a price stays below 5e-4 of its distance from the open.
    """

    features: np.ndarray
    symbols: tuple[str, ...]
    sessions: tuple[date, ...]

    def __len__(self) -> int:
        return len(self.features)

    def rows_of(self, session: date) -> Rows:
        """The rows of one session."""
        rows = [i for i, other in enumerate(self.sessions) if other == session]
        return tuple(self.symbols[i] for i in rows), self.features[rows]

    def select(self, rows: Sequence[int]) -> SymbolSessions:
        """The rows at these positions."""
        return SymbolSessions(
            self.features[list(rows)], tuple(self.symbols[i] for i in rows), tuple(self.sessions[i] for i in rows)
        )

    def sample(self, most: int) -> SymbolSessions:
        """At most `most` rows, evenly spaced."""
        return self.select(sorted({round(i) for i in np.linspace(0, len(self) - 1, min(most, len(self)))}))


@dataclass(frozen=True)
class SessionSummary:
    """What a survey keeps of a session: number of rows, digest of their content, and a sample of them."""

    rows: int
    digest: str
    sample: SymbolSessions


@dataclass(frozen=True)
class History:
    """Sessions that were surveyed once and can be read again, always with the same content.

    Arrays stay in memory (`cache`) while they fit into `budget` bytes; the budget does not change what is read.
    """

    source: Read
    summaries: Mapping[date, SessionSummary]
    budget: int
    cache: dict[date, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def rows(self, sessions: Sequence[date]) -> int:
        """Number of rows of these sessions."""
        return sum(self.summaries[session].rows for session in sessions)

    def sample(self, sessions: Sequence[date], most: int) -> SymbolSessions:
        """At most `most` rows, evenly spaced among the samples of these sessions."""
        return _concatenated([self.summaries[session].sample for session in sessions]).sample(most)

    def no_rows(self) -> np.ndarray:
        """An array of no rows in the common shape: (0, T, F)."""
        return next(summary.sample.features[:0] for summary in self.summaries.values() if summary.rows)

    def read(self, session: date) -> np.ndarray:
        """Features x_STF of one session.

        Raises StoreCorrupt where they differ from the survey's.
        """
        if session in self.cache:
            return self.cache[session]
        symbols, x_STF = self.source(session)
        if digest(symbols, x_STF) != self.summaries[session].digest:
            raise StoreCorrupt(
                code="FPM-ML-111",
                wrong=f"the features of {session} have changed since the training began",
                effect="the training stopped; the checkpoint of its last epoch stays",
                todo="start the training again: it begins anew with the present features",
            )
        self.remember(session, x_STF)
        return x_STF

    def remember(self, session: date, x_STF: np.ndarray) -> None:
        """Keep a session's array in memory if the budget allows it."""
        if sum(array.nbytes for array in self.cache.values()) + x_STF.nbytes <= self.budget:
            self.cache[session] = x_STF

    @property
    def digest(self) -> str:
        """Digest of the whole content."""
        digests = [(session, summary.digest) for session, summary in sorted(self.summaries.items())]
        return sha256(repr(digests).encode()).hexdigest()


def survey(read: Read, samples: Mapping[date, int], budget: int, progress: Progress) -> History:
    """Read every session once and keep a summary of each, with a sample of `samples` rows.

    Besides the cache of `budget` bytes, one session at a time is in memory. Several processes share the sessions and
    exchange their summaries.
    """
    history = History(read, {}, budget)
    own_sessions = sorted(samples)[distributed.rank() :: distributed.processes()]
    summaries: list[tuple[date, SessionSummary]] = []
    for done, session in enumerate(own_sessions, 1):
        symbols, x_STF = read(session)
        sample = SymbolSessions(x_STF, symbols, (session,) * len(symbols)).sample(samples[session])
        summaries.append((session, SessionSummary(len(x_STF), digest(symbols, x_STF), sample)))
        history.remember(session, x_STF)
        progress(done, len(own_sessions), f"reading {session}")
    return History(read, dict(sorted(distributed.from_all(summaries))), budget, history.cache)


def digest(symbols: Sequence[str], x_STF: np.ndarray) -> str:
    """Digest of a session's content."""
    sha = sha256(repr((tuple(symbols), x_STF.shape, x_STF.dtype.str)).encode())
    sha.update(np.ascontiguousarray(x_STF).data)
    return sha.hexdigest()


def _concatenated(parts: Sequence[SymbolSessions]) -> SymbolSessions:
    filled = [part for part in parts if len(part)] or list(parts[:1])
    return SymbolSessions(
        np.concatenate([part.features for part in filled]),
        tuple(symbol for part in filled for symbol in part.symbols),
        tuple(session for part in filled for session in part.sessions),
    )
