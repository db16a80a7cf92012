"""Frames in blocks: the same rows as the whole frame, in the order that is promised."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.errors import StoreCorrupt
from fpm.store.frames import point_in_time
from fpm.store.frames import session_blocks as session_blocks_module
from fpm.store.frames.entities import Question, Serving, clocks
from fpm.store.frames.session_blocks import session_blocks
from fpm.store.lake.files import Lake

FIRST = datetime(2024, 1, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = pl.Datetime("us", "UTC")
SCORES = Serving("scores", {"symbol": "symbol", "stream": "stream"}, {"score": "score", "model": "model"}, 3 * DAY)


def put(lake: Lake, day: int, symbols: str = "ABC") -> None:
    """A partition with two versions of every row; the value says which day and version it is."""
    rows = [
        {
            "symbol": symbol,
            "stream": "dual",
            "score": day + late / 10,
            "spread": None,
            "vintage": "v",
            "model": "m",
            "event_timestamp": FIRST + day * DAY,
            "created_timestamp": FIRST + (day + late) * DAY,
        }
        for symbol in symbols
        for late in (0, 2)
    ]
    relative = lake.relative("scores", date(2024, 1, 1) + day * DAY)
    staged = lake.stage("scores", pl.DataFrame(rows, infer_schema_length=None), relative, lake.staging)
    lake.put(lake.staging / staged.path, relative)


def question(rows: list[tuple[str, int, int]], *, tied: bool = False) -> Question:
    """Rows of a symbol, the hours of its moment and of its knowledge after the first close, and the row's number."""
    entities = pl.DataFrame(
        [
            (symbol, "dual", FIRST + timedelta(hours=t), FIRST + timedelta(hours=k), i)
            for i, (symbol, t, k) in enumerate(rows)
        ],
        schema={"symbol": pl.String, "stream": pl.String, "event_timestamp": MOMENT, "known_at": MOMENT, "i": pl.Int64},
        orient="row",
    )
    return Question(entities, clocks(entities, tied=tied), [SCORES])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    folder = tmp_path_factory.mktemp("blocks")
    lake = Lake(folder / "lake", folder / "staging")
    for day in (0, 1, 2, 5, 6):
        put(lake, day)
    return lake


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("ABX"), st.integers(-30, 24 * 9), st.integers(-30, 24 * 12)), max_size=30),
    sessions=st.sampled_from([None, 1, 2, 5]),
    tied=st.booleans(),
)
def test_blocks_hold_the_rows_of_the_whole_frame(
    lake: Lake, rows: list[tuple[str, int, int]], sessions: int | None, tied: bool
) -> None:
    whole = point_in_time.frame(lake, question(rows, tied=tied))
    blocks = list(session_blocks(lake, question(rows, tied=tied), sessions))
    for position_M, block in blocks:
        assert block.equals(whole[position_M]) and block["event_timestamp"].dt.date().n_unique() <= (sessions or 99)
    by_day = whole.sort(pl.col("event_timestamp").dt.date(), maintain_order=True)
    assert pl.concat([block for _, block in blocks]).equals(by_day)


def test_rows_in_session_order_come_back_as_they_are(lake: Lake) -> None:
    ordered = question([(symbol, 24 * day, 24 * day) for day in range(8) for symbol in "BXA"])
    blocks = list(session_blocks(lake, ordered, 3))
    assert [block.height for _, block in blocks] == [9, 9, 6]
    assert pl.concat([block for _, block in blocks]).equals(point_in_time.frame(lake, ordered))


def test_no_entities_are_one_block_without_rows(lake: Lake) -> None:
    ((position_M, block),) = session_blocks(lake, question([]))
    assert len(position_M) == 0 and block.height == 0 and block.columns[-2:] == ["score", "model"]


def test_only_the_files_in_reach_of_some_sessions_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_blocks_module, "KEYED", 1)
    with TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake", Path(folder) / "staging")
        for day in range(0, 40, 10):
            put(lake, day)
        (lake.root / lake.relative("scores", date(2024, 1, 31))).write_bytes(b"not parquet")
        blocks = session_blocks(lake, question([("A", 24 * day, 24 * day) for day in range(0, 40, 10)]), 1)
        assert [next(blocks)[1]["score"].to_list() for _ in range(3)] == [[0.0], [10.0], [20.0]]
        with pytest.raises(StoreCorrupt):
            next(blocks)


def test_a_partition_replaced_between_two_blocks_is_read_again(tmp_path: Path) -> None:
    """The keys of all three days are read first; the correction of the last day comes before its values are read."""
    lake = Lake(tmp_path / "lake", tmp_path / "staging")
    for day in range(3):
        put(lake, day)
    blocks = session_blocks(lake, question([("C", 24 * day, 24 * day) for day in range(3)]), 1)
    first = next(blocks)
    put(lake, 2, "ABXC")
    pairs = [first, *blocks]
    assert [position_M.tolist() for position_M, _ in pairs] == [[0], [1], [2]]
    assert [block["score"].to_list() for _, block in pairs] == [[0.0], [1.0], [2.0]]
