"""Batches of mixed sessions for pre-training, from sessions that are read while others are trained on.

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
    """The last `validation` sessions are held out, the `purge` sessions before them are used for nothing.

    Raises TryLater where no session is left to train on.
    """
    ordered = sorted(set(sessions))
    end = len(ordered) - validation - (purge if validation else 0)
    if end < 1:
        raise TryLater(
            code="FPM-ML-075",
            wrong=f"{len(ordered)} sessions of features, {validation} to validate and {purge} purged leave none to train on",
            effect="no encoder was trained",
            todo="ingest more history or use a preset for short histories",
        )
    return Split(tuple(ordered[:end]), tuple(ordered[len(ordered) - validation :] if validation else ()))


@dataclass(frozen=True)
class Share:
    """Which part of every batch is one's own: that of process `rank` of so many."""

    rank: int = 0
    processes: int = 1

    def of(self, size: int) -> tuple[int, int]:
        """First and last + 1 of the own rows of a batch."""
        return self.rank * size // self.processes, (self.rank + 1) * size // self.processes


@dataclass(frozen=True)
class Mixture:
    """`size`: rows of a batch. `mixed`: the sessions that are mixed with each other have at most so many rows
    together, or are one; two such stretches are in memory. `seed`: of the order.
    """

    size: int
    mixed: int
    seed: int


@dataclass(frozen=True)
class MixedSessions:
    """Batches x_BTF of training rows shuffled over symbols and sessions, and of validation rows in order.

    An epoch puts the sessions in a new order, cuts it into stretches and shuffles the rows of each. The order is a
    function of seed and epoch alone: not of the memory, the reading ahead, or the number of processes. The training
    batches of an epoch are of one size: what is left over after the last full batch is left out, another remainder
    each epoch; those of the validation are as even as can be. Every process yields its share of each batch.
    """

    history: History
    split: Split
    mixture: Mixture
    share: Share = Share()
    device: str = "cpu"

    def __post_init__(self) -> None:
        size, processes = self.mixture.size, self.share.processes
        trained, held_out = self.history.rows(self.split.train), self.history.rows(self.split.validation)
        if processes > 1 and (size % processes or trained < size or 0 < held_out < processes):
            raise UsageError(
                code="FPM-ML-082",
                wrong=f"batches of {size} rows cannot be shared evenly by {processes} processes, or there are "
                f"too few rows: {trained} to train on, {held_out} held out",
                effect="nothing was trained",
                todo="start fewer processes, of a number that divides the batch",
            )

    @property
    def steps(self) -> int:
        return max(1, self.history.rows(self.split.train) // self.mixture.size)

    def train(self, epoch: int) -> Iterator[Tensor]:
        random = torch.Generator().manual_seed(self.mixture.seed * 100_003 + epoch)
        order = torch.randperm(len(self.split.train), generator=random).tolist()
        mixed = stretches([self.split.train[i] for i in order], self.history, self.mixture.mixed)
        shuffled = ((each, torch.randperm(self.history.rows(each), generator=random).numpy()) for each in mixed)
        rows, size = self.history.rows(self.split.train), self.mixture.size
        return self._batches(shuffled, np.arange(self.steps + 1) * min(size, rows))

    def validation(self) -> Iterator[Tensor]:
        in_order = (((each,), np.arange(self.history.rows([each]))) for each in self.split.validation)
        return self._batches(in_order, even_cuts(self.history.rows(self.split.validation), self.mixture.size))

    def _batches(self, ordered: Iterable[tuple[Sequence[date], np.ndarray]], cuts: np.ndarray) -> Iterator[Tensor]:
        """The own rows of the ordered stretches, in batches that begin and end at the cuts."""
        shares = [high - low for low, high in map(self.share.of, np.diff(cuts).tolist())]
        for x_BTF in recut(read_ahead(self._reads(ordered, cuts)), shares, self.history.none()):
            yield to_tensor(x_BTF, self.device)

    def _reads(
        self, ordered: Iterable[tuple[Sequence[date], np.ndarray]], cuts: np.ndarray
    ) -> Iterator[Callable[[Event], np.ndarray]]:
        first = 0
        for sessions, order_N in ordered:
            own_N = order_N[own(first + np.arange(len(order_N)), cuts, self.share)]
            first += len(order_N)
            if len(own_N):
                yield partial(stretch, self.history, sessions, own_N)


def even_cuts(rows: int, size: int) -> np.ndarray:
    """Where to cut rows into as few batches of at most `size` as can be, all alike: the penalties of a last batch of
    one row would mean nothing.
    """
    count = -(-rows // size)
    return np.arange(count + 1) * rows // max(1, count)


def stretches(sessions: Sequence[date], history: History, most: int) -> Iterator[tuple[date, ...]]:
    """The sessions in their order, as many at a time as have at most so many rows together, at least one."""
    together: list[date] = []
    count = 0
    for session in sessions:
        rows = history.rows([session])
        if together and count + rows > most:
            yield tuple(together)
            together, count = [], 0
        together.append(session)
        count += rows
    if together:
        yield tuple(together)


def own(place_N: np.ndarray, cuts: np.ndarray, share: Share) -> np.ndarray:
    """Which rows are one's own, by their place in the order of all; those past the last cut are nobody's."""
    batch_N = np.searchsorted(cuts, place_N, side="right") - 1
    inside_N = batch_N < len(cuts) - 1
    size_N = np.append(np.diff(cuts), 0)[batch_N]
    low_N, high_N = (rank * size_N // share.processes for rank in (share.rank, share.rank + 1))
    within_N = place_N - cuts[batch_N]
    return np.asarray(inside_N & (low_N <= within_N) & (within_N < high_N))


def stretch(history: History, sessions: Sequence[date], wanted_N: np.ndarray, stop: Event) -> np.ndarray:
    """The wanted rows x_NTF, in that order, of some sessions whose rows are numbered through.

    One session is in memory beside them at a time. Once `stop` is set nobody waits for the rest.
    """
    ends = np.cumsum([history.rows([session]) for session in sessions])
    sorted_N = np.argsort(wanted_N, kind="stable")
    cuts = np.searchsorted(wanted_N[sorted_N], [0, *ends])
    none = history.none()
    whole = np.empty((len(wanted_N), *none.shape[1:]), none.dtype)
    for number, session in enumerate(sessions):
        places = sorted_N[cuts[number] : cuts[number + 1]]
        if len(places) and not stop.is_set():
            x_STF = history.read(session)
            whole[places] = x_STF[wanted_N[places] - (ends[number] - len(x_STF))]
    return whole


def read_ahead(reads: Iterable[Callable[[Event], np.ndarray]]) -> Iterator[np.ndarray]:
    """What the reads return, in order; the next one runs in a thread while the present one is used."""
    stop, coming = Event(), None
    with ThreadPoolExecutor(1) as thread:
        try:
            for read in reads:
                following: Future[np.ndarray] = thread.submit(read, stop)
                if coming is not None:
                    yield coming.result()
                coming = following
            if coming is not None:
                yield coming.result()
        finally:
            stop.set()


def recut(blocks: Iterator[np.ndarray], lengths: Iterable[int], held: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of `held` and of the blocks one after the other, cut into these lengths."""
    for length in lengths:
        rows, held = held[:length], held[length:]
        while len(rows) < length:
            block, missing = next(blocks), length - len(rows)
            rows = np.concatenate([rows, block[:missing]]) if len(rows) else block[:missing]
            held = block[missing:]
        yield rows


def to_tensor(x_BTF: np.ndarray, device: str) -> Tensor:
    """Single precision on the device. To a GPU goes half precision, out of pinned memory, while it computes."""
    half = torch.from_numpy(np.ascontiguousarray(x_BTF))
    if device != "cpu":
        half = half.pin_memory().to(device, non_blocking=True)
    return half.float()
