"""Symbol-sessions in batches of mixed sessions, for pre-training.

Shapes: N symbol-sessions in all, B in a batch, T minutes, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor

from fpm.errors import TryLater


@dataclass(frozen=True)
class SymbolSessions:
    """Every symbol-session of a stretch of history; NaN = unavailable. Half precision is enough: it keeps the
    relative error of a price below 5e-4 of its distance from the open."""

    x_NTF: np.ndarray
    symbols: tuple[str, ...]
    sessions: tuple[date, ...]

    def __len__(self) -> int:
        return len(self.x_NTF)

    def of(self, wanted: Sequence[date]) -> SymbolSessions:
        """Those of the wanted sessions."""
        names = frozenset(wanted)
        return self._at([i for i, session in enumerate(self.sessions) if session in names])

    def spread(self, most: int) -> SymbolSessions:
        """At most so many rows, evenly from the whole."""
        return self._at(sorted({round(i) for i in np.linspace(0, len(self) - 1, min(most, len(self)))}))

    def _at(self, rows: list[int]) -> SymbolSessions:
        return SymbolSessions(
            self.x_NTF[rows], tuple(self.symbols[i] for i in rows), tuple(self.sessions[i] for i in rows)
        )


@dataclass(frozen=True)
class Split:
    """Sessions to train on and, after a purge, to validate on."""

    train: tuple[date, ...]
    validation: tuple[date, ...]


def split(sessions: Sequence[date], validation: int, purge: int) -> Split:
    """The last `validation` sessions are held out, the `purge` sessions before them are used for nothing.

    Raises TryLater where no session is left to train on.
    """
    ordered = sorted(set(sessions))
    end = len(ordered) - validation - (purge if validation else 0)
    if end < 1:
        raise TryLater(
            "FPM-ML-075",
            f"{len(ordered)} sessions of features, {validation} to validate and {purge} purged leave none to train on",
            "no encoder was trained", "ingest more history or use a preset for short histories",
        )  # fmt: skip
    return Split(tuple(ordered[:end]), tuple(ordered[len(ordered) - validation :] if validation else ()))


@dataclass(frozen=True)
class MixedSessions:
    """Batches x_BTF of training rows shuffled over symbols and sessions, and of validation rows in order.

    The order is a function of seed and epoch. The training batches of an epoch are of one size: what is left over
    after the last full batch is left out, another remainder each epoch.
    """

    training: np.ndarray
    held_out: np.ndarray
    size: int
    seed: int

    @property
    def steps(self) -> int:
        return max(1, len(self.training) // self.size)

    def train(self, epoch: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        order = torch.randperm(len(self.training), generator=generator).numpy()
        for step in range(self.steps):
            yield to_tensor(self.training[np.sort(order[step * self.size : (step + 1) * self.size])])

    def validation(self) -> Iterator[Tensor]:
        for start in range(0, len(self.held_out), self.size):
            yield to_tensor(self.held_out[start : start + self.size])


def to_tensor(x_BTF: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x_BTF)).float()
