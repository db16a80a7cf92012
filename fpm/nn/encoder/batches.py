"""Batches of mixed sessions for pre-training; the next sessions are read while the present ones are trained on.

A stretch is a run of sessions whose rows are shuffled with each other.

Shapes: N rows (symbol-sessions) of a stretch, B of a batch, S symbols of one session, T minutes, F features.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fpm.errors import TryLater, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date

    from fpm.nn.encoder.history import History


@dataclass(frozen=True)
class Split:
    """Sessions to train on and, after a purge, to validate on."""

    train: tuple[date, ...]
    validation: tuple[date, ...]


def split(sessions: Sequence[date], validation: int, purge: int) -> Split:
    """Hold out the last `validation` sessions and drop the `purge` sessions before them.

    Raises TryLater where no session is left to train on.
    """
    ordered = sorted(set(sessions))
    end = len(ordered) - validation - (purge if validation else 0)
    if end < 1:
        raise TryLater(
            code="FPM-ML-075",
            wrong=f"{len(ordered)} sessions of features, less {validation} for validation and {purge} purged, "
            "leave none to train on",
            effect="no encoder was trained",
            todo="ingest more history or use a preset for short histories",
        )
    return Split(tuple(ordered[:end]), tuple(ordered[len(ordered) - validation :] if validation else ()))


@dataclass(frozen=True)
class Share:
    """The part of every batch that belongs to process `rank` of `processes`."""

    rank: int = 0
    processes: int = 1

    def bounds(self, size: int) -> tuple[int, int]:
        """First row, and last + 1, of this process in a batch of `size` rows."""
        return self.rank * size // self.processes, (self.rank + 1) * size // self.processes


@dataclass(frozen=True)
class Mixture:
    """How rows are mixed.

    `size`: rows of a batch. `stretch`: a stretch has at most so many rows, or one session; two stretches are in memory.
    `seed`: of the order.
    """

    size: int
    stretch: int
    seed: int


@dataclass(frozen=True)
class MixedSessions:
    """Batches x_BTF: training rows shuffled over symbols and sessions, validation rows in order.

    Every epoch shuffles the sessions, cuts them into stretches and shuffles the rows of each stretch. The order depends
    on seed and epoch alone, not on memory, reading ahead, or the number of processes. All training batches have one
    size: each epoch drops another remainder after its last full batch. Validation batches are as even as possible.
    Every process yields its share of each batch.
    """

    history: History
    split: Split
    mixture: Mixture
    share: Share = Share()
    device: str = "cpu"

    def __post_init__(self) -> None:
        size, processes = self.mixture.size, self.share.processes
        train, held_out = self.history.rows(self.split.train), self.history.rows(self.split.validation)
        if processes > 1 and (size % processes or train < size or 0 < held_out < processes):
            raise UsageError(
                code="FPM-ML-082",
                wrong=f"batches of {size} rows cannot be shared evenly by {processes} processes, or there are "
                f"too few rows: {train} to train on, {held_out} held out",
                effect="nothing was trained",
                todo="start fewer processes, in a number that divides the batch size",
            )

    @property
    def steps(self) -> int:
        """Training batches in an epoch."""
        return max(1, self.history.rows(self.split.train) // self.mixture.size)

    def train(self, epoch: int) -> Iterator[Tensor]:
        """This process's share of the epoch's training batches."""
        random = torch.Generator().manual_seed(self.mixture.seed * 100_003 + epoch)
        order = torch.randperm(len(self.split.train), generator=random).tolist()
        parts = stretches([self.split.train[i] for i in order], self.history, self.mixture.stretch)
        shuffled = ((part, torch.randperm(self.history.rows(part), generator=random).numpy()) for part in parts)
        rows, size = self.history.rows(self.split.train), self.mixture.size
        return self._batches(shuffled, np.arange(self.steps + 1) * min(size, rows))

    def validation(self) -> Iterator[Tensor]:
        """This process's share of the validation batches."""
        in_order = (((session,), np.arange(self.history.rows([session]))) for session in self.split.validation)
        return self._batches(in_order, even_cuts(self.history.rows(self.split.validation), self.mixture.size))

    def _batches(self, ordered: Iterable[tuple[Sequence[date], np.ndarray]], cuts: np.ndarray) -> Iterator[Tensor]:
        """This process's rows of the ordered stretches, in batches that begin and end at the cuts."""
        lengths = [high - low for low, high in map(self.share.bounds, np.diff(cuts).tolist())]
        for x_BTF in recut(read_ahead(self._reads(ordered, cuts)), lengths, self.history.no_rows()):
            yield to_tensor(x_BTF, self.device)

    def _reads(
        self, ordered: Iterable[tuple[Sequence[date], np.ndarray]], cuts: np.ndarray
    ) -> Iterator[Callable[[Event], np.ndarray]]:
        first = 0
        for sessions, order_N in ordered:
            own_N = order_N[own_rows(first + np.arange(len(order_N)), cuts, self.share)]
            first += len(order_N)
            if len(own_N):
                yield partial(read_rows, self.history, sessions, own_N)


def even_cuts(rows: int, size: int) -> np.ndarray:
    """Cuts between the fewest possible batches of at most `size` rows, as even as possible.

    A last batch of one row would make the penalties meaningless.

    >>> even_cuts(10, 4).tolist()
    [0, 3, 6, 10]
    """
    count = -(-rows // size)
    return np.arange(count + 1) * rows // max(1, count)


def stretches(sessions: Sequence[date], history: History, most: int) -> Iterator[tuple[date, ...]]:
    """Consecutive sessions with at most `most` rows together, or a single session."""
    part: list[date] = []
    count = 0
    for session in sessions:
        rows = history.rows([session])
        if part and count + rows > most:
            yield tuple(part)
            part, count = [], 0
        part.append(session)
        count += rows
    if part:
        yield tuple(part)


def own_rows(position_N: np.ndarray, cuts: np.ndarray, share: Share) -> np.ndarray:
    """Whether each row is this process's, by its position in the epoch; rows after the last cut are no one's."""
    batch_N = np.searchsorted(cuts, position_N, side="right") - 1
    inside_N = batch_N < len(cuts) - 1
    size_N = np.append(np.diff(cuts), 0)[batch_N]
    low_N, high_N = (rank * size_N // share.processes for rank in (share.rank, share.rank + 1))
    within_N = position_N - cuts[batch_N]
    return np.asarray(inside_N & (low_N <= within_N) & (within_N < high_N))


def read_rows(history: History, sessions: Sequence[date], row_N: np.ndarray, stop: Event) -> np.ndarray:
    """Features x_NTF of the rows `row_N`, in that order; rows are numbered through all `sessions`.

    Besides the result, one session at a time is in memory. Once `stop` is set, the rest is not read.
    """
    ends = np.cumsum([history.rows([session]) for session in sessions])
    sorted_N = np.argsort(row_N, kind="stable")
    cuts = np.searchsorted(row_N[sorted_N], [0, *ends])
    no_rows = history.no_rows()
    x_NTF = np.empty((len(row_N), *no_rows.shape[1:]), no_rows.dtype)
    for number, session in enumerate(sessions):
        positions = sorted_N[cuts[number] : cuts[number + 1]]
        if len(positions) and not stop.is_set():
            x_STF = history.read(session)
            x_NTF[positions] = x_STF[row_N[positions] - (ends[number] - len(x_STF))]
    return x_NTF


def read_ahead(reads: Iterable[Callable[[Event], np.ndarray]]) -> Iterator[np.ndarray]:
    """The results of the reads, in order; a thread runs the next read while the caller uses the present result."""
    stop, pending = Event(), None
    with ThreadPoolExecutor(1) as thread:
        try:
            for read in reads:
                following: Future[np.ndarray] = thread.submit(read, stop)
                if pending is not None:
                    yield pending.result()
                pending = following
            if pending is not None:
                yield pending.result()
        finally:
            stop.set()


def recut(blocks: Iterator[np.ndarray], lengths: Iterable[int], rest: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of `rest` and then of the blocks, cut into parts of these lengths."""
    for length in lengths:
        rows, rest = rest[:length], rest[length:]
        while len(rows) < length:
            block, missing = next(blocks), length - len(rows)
            rows = np.concatenate([rows, block[:missing]]) if len(rows) else block[:missing]
            rest = block[missing:]
        yield rows


def to_tensor(x_BTF: np.ndarray, device: str) -> Tensor:
    """The rows on the device, in single precision; they travel to a GPU in half precision while it computes."""
    half = torch.from_numpy(np.ascontiguousarray(x_BTF))
    if device != "cpu":
        half = half.pin_memory().to(device, non_blocking=True)
    return half.float()
