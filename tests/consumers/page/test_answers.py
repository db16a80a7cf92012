"""Answers are made once, forgotten when there are too many, and change with the home."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial

import polars as pl

from consumers.page.answers import Answers, state
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores


def test_many_threads_make_one_answer() -> None:
    answers, made = Answers[str](2), []

    def make() -> str:
        made.append(1)
        time.sleep(0.05)
        return "answer"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: answers.of("key", make), range(8))) == {"answer"}
    assert len(made) == 1


def test_the_oldest_goes() -> None:
    answers, made = Answers[int](2), []

    def make(key: int) -> int:
        made.append(key)
        return key

    for key in (1, 2, 3, 3, 2, 1):
        assert answers.of(key, partial(make, key)) == key
    assert made == [1, 2, 3, 1]


def test_a_published_partition_is_another_state(stores: Stores) -> None:
    before = state(stores)
    assert state(stores) == before
    publish_frames(
        "bars", date(2025, 1, 2), {"daily_bars": pl.DataFrame({"symbol": ["600000.SH"], "close": [1.0]})}, stores
    )
    assert state(stores) != before
