"""A file of which nothing was stored has no receipt: ingested again it says the same again, not that it was empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.store.ledger.stores import Stores
from tests.daily_home import DAYS, NAMES, daily_bars, take
from tests.tape import tape, write

DAY = DAYS[0]


def bars(path: Path) -> None:
    write(tape("us", DAY).with_columns(high=pl.col("low") / 2), path)


def daily(path: Path) -> None:
    daily_bars().with_columns(high=pl.col("low") / 2).write_parquet(path)


def members(path: Path) -> None:
    row = {"index": "SP500", "session": DAY, "symbol": NAMES[0], "weight": -0.5}
    pl.DataFrame([row, row | {"symbol": NAMES[1]}]).write_parquet(path)


def scores(path: Path) -> None:
    pl.DataFrame({"symbol": NAMES[:2], "session": DAY, "score": float("nan")}).write_parquet(path)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("bars", bars), ("daily_bars", daily), ("index_members", members), ("scores", scores)],
)
def test_a_refusal_is_repeated_in_its_words(
    name: str, spoil: Callable[[Path], None], stores: Stores, tmp_path: Path
) -> None:
    stores.ledger.decide("market", "us")
    path = tmp_path / f"{name}.parquet"
    spoil(path)
    words = []
    for _ in range(3):
        with pytest.raises(InputRefused) as refusal:
            take(stores, path).require_content()
        words.append(str(refusal.value))
    assert words[0] == words[1] == words[2] and "nothing came" not in words[0]
