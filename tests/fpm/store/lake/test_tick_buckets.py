"""Records stored by session and symbol come back whole, from whatever file they came."""

from datetime import date
from pathlib import Path

import polars as pl

from fpm.store.lake.tick_buckets import Buckets

MONDAY, TUESDAY = date(2023, 2, 6), date(2023, 2, 7)


def tape(session: date, sids: list[int], first: int = 0) -> pl.DataFrame:
    columns = {"session": [session] * len(sids), "sid": sids, "row": list(range(first, first + len(sids)))}
    return pl.DataFrame(columns, schema_overrides={"sid": pl.Int32})


def test_every_symbol_lies_whole_in_one_bucket(tmp_path: Path) -> None:
    buckets = Buckets(tmp_path / "scratch", 3, 100)
    for batch in (tape(MONDAY, [2, 4, 6, 2]), tape(TUESDAY, [2])):
        buckets.add(batch, "0")
    buckets.add(tape(MONDAY, [2, 8], 10), "1")
    assert buckets.sessions() == [MONDAY, TUESDAY]
    parts = [buckets.read(MONDAY, number) for number in buckets.numbers(MONDAY)]
    rows = [(sid, own["row"].to_list()) for part in parts for (sid,), own in part.group_by("sid")]
    assert sorted(rows) == [(2, [0, 3, 10]), (4, [1]), (6, [2]), (8, [11])]
    assert [buckets.read(TUESDAY, number).height for number in buckets.numbers(TUESDAY)] == [1]
    buckets.remove()
    assert not (tmp_path / "scratch").exists()


def test_a_refused_file_leaves_nothing(tmp_path: Path) -> None:
    buckets = Buckets(tmp_path / "scratch", 2, 100)
    buckets.add(tape(MONDAY, [2, 4]), "0")
    buckets.add(tape(MONDAY, [2]), "1")
    buckets.drop("0")
    assert pl.concat(buckets.read(MONDAY, number) for number in buckets.numbers(MONDAY)).height == 1


def test_a_symbol_beyond_the_bound_is_named_and_its_records_counted(tmp_path: Path) -> None:
    buckets = Buckets(tmp_path / "scratch", 2, 3)
    buckets.add(tape(MONDAY, [2, 2, 4]), "0")
    buckets.add(tape(MONDAY, [2, 2, 4]), "0")
    assert buckets.left_out == 2
    assert buckets.too_large(MONDAY).rows() == [(2, "FPM-RES-143", "4 records, more than 3")]
    assert buckets.too_large(TUESDAY).is_empty()
