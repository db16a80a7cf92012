"""Batches of mixed sessions, and which sessions are held out."""

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import chain

import numpy as np
import pytest
import torch

from fpm.errors import TryLater, UsageError
from fpm.nn.encoder.batches import (
    MixedSessions,
    Mixture,
    Share,
    Split,
    even_cuts,
    own_rows,
    read_ahead,
    recut,
    split,
    stretches,
)
from fpm.nn.encoder.history import History, SymbolSessions
from tests.fpm.nn.encoder.small_sessions import history_of

DAYS = [date(2024, 1, 2) + timedelta(days=i) for i in range(20)]
COUNTS = (7, 0, 12, 30, 1, 9, 25, 16)  # rows of eight sessions, 100 in all


def numbered(counts: tuple[int, ...] = COUNTS, budget: int = 10**9) -> History:
    """Sessions with these numbers of rows; each row is one value, its number."""
    days = tuple(day for day, count in zip(DAYS, counts, strict=False) for _ in range(count))
    values = np.arange(sum(counts), dtype=np.float32).reshape(-1, 1, 1)
    rows = SymbolSessions(values, tuple(map(str, range(sum(counts)))), days)
    return history_of(rows, dict.fromkeys(DAYS[: len(counts)], 5), budget)


def batches(history: History, mixture: Mixture, held_out: int = 0, share: Share | None = None) -> MixedSessions:
    days = sorted(history.summaries)
    parts = Split(tuple(days[: len(days) - held_out]), tuple(days[len(days) - held_out :]))
    return MixedSessions(history, parts, mixture, share or Share())


def numbers(tensors: Iterator[torch.Tensor]) -> list[list[int]]:
    """The row numbers of each batch."""
    return [x_BTF.flatten().int().tolist() for x_BTF in tensors]


def test_the_last_sessions_are_held_out_and_six_before_them_are_dropped() -> None:
    parts = split(list(reversed(DAYS)), validation=3, purge=6)
    assert parts.train == tuple(DAYS[:11])
    assert parts.validation == tuple(DAYS[17:])
    assert split(DAYS, validation=0, purge=6).train == tuple(DAYS)


def test_too_short_a_history_says_so() -> None:
    with pytest.raises(TryLater, match="9 sessions"):
        split(DAYS[:9], validation=3, purge=6)
    assert split(DAYS[:10], validation=3, purge=6).train == (DAYS[0],)


@pytest.mark.parametrize("stretch", [1, 20, 40, 1000])
def test_an_epoch_uses_each_row_once_and_depends_on_seed_and_epoch_alone(stretch: int) -> None:
    source = batches(numbered(), Mixture(8, stretch, 1))
    first = numbers(source.train(0))
    assert (len(first), source.steps, {len(batch) for batch in first}) == (12, 12, {8})
    assert len(set(chain(*first))) == 96  # four are left out
    assert first == numbers(source.train(0))
    assert first != numbers(source.train(1))
    assert set(chain(*numbers(source.train(1)))) != set(chain(*first))  # and four others in the next epoch
    assert first != numbers(batches(numbered(), Mixture(8, stretch, 2)).train(0))


def test_a_batch_mixes_the_sessions_of_a_stretch() -> None:
    history = numbered((10,) * 10)
    whole = numbers(batches(history, Mixture(50, 1000, 1)).train(0))
    assert {row // 10 for row in whole[0]} == set(range(10))
    three = numbers(batches(history, Mixture(10, 30, 1)).train(0))
    assert all(len({row // 10 for row in batch}) <= 3 for batch in three)
    assert sum(len({row // 10 for row in batch}) == 3 for batch in three) > 5


@pytest.mark.parametrize("budget", [0, 4 * 30, 4 * 60])
def test_the_batches_do_not_depend_on_the_budget(budget: int) -> None:
    cached, read_again = (batches(numbered(budget=b), Mixture(8, 40, 1), held_out=2) for b in (10**9, budget))
    assert numbers(cached.train(3)) == numbers(read_again.train(3))
    assert numbers(cached.validation()) == numbers(read_again.validation())


def test_validation_is_in_order_and_whole() -> None:
    held_out = numbers(batches(numbered(), Mixture(8, 40, 1), held_out=4).validation())
    assert list(chain(*held_out)) == list(range(49, 100))  # 1 + 9 + 25 + 16 rows after the first 49
    assert sorted(len(batch) for batch in held_out) == [7] * 5 + [8] * 2  # 51 rows, at most 8 a batch
    assert numbers(batches(numbered(), Mixture(8, 40, 1)).validation()) == []


def test_fewer_rows_than_a_batch_make_one_batch() -> None:
    source = batches(numbered((3, 2)), Mixture(32, 4, 1))
    assert [sorted(batch) for batch in numbers(source.train(0))] == [[0, 1, 2, 3, 4]]
    assert source.steps == 1


@pytest.mark.parametrize("processes", [2, 4])
def test_the_processes_shares_are_the_batches_of_one(processes: int) -> None:
    alone = batches(numbered(), Mixture(8, 40, 1), held_out=4)
    shares = [batches(numbered(), Mixture(8, 40, 1), 4, Share(rank, processes)) for rank in range(processes)]
    for expected, parts in (
        (alone.train(2), [s.train(2) for s in shares]),
        (alone.validation(), [s.validation() for s in shares]),
    ):
        together = [list(chain(*rows)) for rows in zip(*map(numbers, parts), strict=True)]
        assert together == numbers(expected)
    smallest = min(len(batch) for share in shares for batch in numbers(share.validation()))
    assert smallest == {2: 3, 4: 1}[processes]  # of seven rows


def test_processes_that_cannot_share_a_batch_evenly_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be shared evenly by 3 processes"):
        batches(numbered(), Mixture(8, 40, 1), share=Share(0, 3))
    with pytest.raises(UsageError, match="too few rows: 100 to train on"):
        batches(numbered(), Mixture(128, 40, 1), share=Share(0, 2))
    with pytest.raises(UsageError, match="1 held out"):
        batches(numbered((7, 9, 1)), Mixture(8, 40, 1), held_out=1, share=Share(0, 2))


def test_rows_are_shared_batch_by_batch() -> None:
    position_N, cuts = np.arange(12), np.array([0, 4, 8, 10])  # the last batch has 2 rows; two rows are past the end
    assert own_rows(position_N, cuts, Share(0, 2)).nonzero()[0].tolist() == [0, 1, 4, 5, 8]
    assert own_rows(position_N, cuts, Share(1, 2)).nonzero()[0].tolist() == [2, 3, 6, 7, 9]
    assert own_rows(position_N, cuts, Share()).nonzero()[0].tolist() == list(range(10))


def test_cuts_are_even() -> None:
    assert even_cuts(10, 4).tolist() == [0, 3, 6, 10]
    assert even_cuts(8, 4).tolist() == [0, 4, 8]
    assert even_cuts(3, 4).tolist() == [0, 3]
    assert even_cuts(0, 4).tolist() == [0]


def test_stretches_are_as_long_as_they_may_be() -> None:
    counts = [len(stretch) for stretch in stretches(DAYS[:8], numbered(), 40)]
    assert counts == [3, 3, 1, 1]  # 7 + 0 + 12, 30 + 1 + 9, 25, 16
    assert [len(stretch) for stretch in stretches(DAYS[:8], numbered(), 1)] == [1] * 8


def test_rows_are_cut_anew_over_the_ends_of_blocks() -> None:
    blocks = iter([np.arange(0, 5), np.arange(5, 6), np.arange(6, 12)])
    assert [rows.tolist() for rows in recut(blocks, [2, 0, 6, 4], np.arange(0))] == [
        [0, 1],
        [],
        [2, 3, 4, 5, 6, 7],
        [8, 9, 10, 11],
    ]


def test_the_next_stretch_is_read_while_the_present_one_is_used() -> None:
    started = [threading.Event() for _ in range(3)]

    def read(number: int, stop: threading.Event) -> np.ndarray:
        started[number].set()
        return np.full(1, number)

    results = read_ahead((lambda stop, n=n: read(n, stop)) for n in range(3))
    assert next(results).item() == 0
    assert started[1].wait(5)
    assert not started[2].wait(0.05)  # two are in memory, never three
    assert [block.item() for block in results] == [1, 2]


def test_an_error_of_a_read_is_raised_and_an_abandoned_reader_ends() -> None:
    def broken(stop: threading.Event) -> np.ndarray:
        raise TryLater(code="FPM-ML-075", wrong="a", effect="b", todo="c")

    with pytest.raises(TryLater):
        list(read_ahead([broken]))
    before = threading.active_count()
    abandoned = batches(numbered(), Mixture(8, 20, 1)).train(0)
    next(abandoned)
    abandoned.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
