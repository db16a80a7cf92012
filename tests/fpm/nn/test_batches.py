"""Batches of mixed sessions, and which sessions are held out."""

from datetime import date, timedelta

import numpy as np
import pytest

from fpm.errors import TryLater
from fpm.nn.batches import MixedSessions, split
from tests.fpm.nn.small_sessions import history

DAYS = [date(2024, 1, 2) + timedelta(days=i) for i in range(20)]


def numbered(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32).reshape(count, 1, 1)


def test_the_last_sessions_are_held_out_and_six_before_them_used_for_nothing() -> None:
    chosen = split(list(reversed(DAYS)), validation=3, purge=6)
    assert chosen.train == tuple(DAYS[:11])
    assert chosen.validation == tuple(DAYS[17:])
    assert split(DAYS, validation=0, purge=6).train == tuple(DAYS)


def test_too_short_a_history_says_so() -> None:
    with pytest.raises(TryLater, match="9 sessions"):
        split(DAYS[:9], validation=3, purge=6)
    assert split(DAYS[:10], validation=3, purge=6).train == (DAYS[0],)


def test_batches_mix_sessions_use_each_row_once_and_depend_on_seed_and_epoch_alone() -> None:
    batches = MixedSessions(numbered(100), numbered(0), size=32, seed=1)
    first = [batch.flatten().tolist() for batch in batches.train(0)]
    assert (len(first), batches.steps) == (3, 3)
    rows = [row for batch in first for row in batch]
    assert len(set(rows)) == 96
    assert max(first[0]) - min(first[0]) > 64  # from all over the history
    assert first == [batch.flatten().tolist() for batch in batches.train(0)]
    assert first != [batch.flatten().tolist() for batch in batches.train(1)]
    assert first != [batch.flatten().tolist() for batch in MixedSessions(numbered(100), numbered(0), 32, 2).train(0)]


def test_fewer_rows_than_a_batch_make_one_batch() -> None:
    batches = MixedSessions(numbered(5), numbered(7), size=32, seed=1)
    assert [len(batch) for batch in batches.train(0)] == [5]
    assert [len(batch) for batch in batches.validation()] == [7]
    assert not list(MixedSessions(numbered(5), numbered(0), 32, 1).validation())


def test_rows_of_some_sessions_and_a_spread_of_all() -> None:
    rows = history(days=4, symbols=3)
    some = rows.of([rows.sessions[0], rows.sessions[-1]])
    assert [*some.symbols] == ["000000.SZ", "000001.SZ", "000002.SZ"] * 2
    assert np.array_equal(some.x_NTF, rows.x_NTF[[0, 1, 2, 9, 10, 11]])
    assert rows.spread(2).sessions == (rows.sessions[0], rows.sessions[-1])
    assert len(rows.spread(100)) == 12
    assert len(rows.of([])) == len(rows.of([]).spread(5)) == 0
