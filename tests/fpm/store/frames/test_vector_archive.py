"""The archive equals the lake's partitions of one vintage after new ones, corrections, a kill and damage."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
import pytest

from fpm.errors import StoreCorrupt, TryLater
from fpm.evaluation.analogues import EPOCH, Vectors
from fpm.schema import FINGERPRINT_SIZE
from fpm.sessions import cut_off, market, sessions_between
from fpm.store.frames import vector_archive as archive
from fpm.store.frames.vector_archive import STATEMENT, vector_archive
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores

DAYS = sessions_between(market("cn"), date(2024, 3, 1), date(2024, 3, 29))
Row = tuple[date, str, int, int, tuple[float, ...]]
NEVER = np.iinfo(np.int64).max


def put(stores: Stores, session: date, rows: list[tuple[str, float | None, datetime]], vintage: str = "v") -> None:
    """Publish a partition: symbol, the value all numbers of its vector have, known at."""
    values = [None if value is None else [value] * FINGERPRINT_SIZE for _, value, _ in rows]
    frame = pl.DataFrame(
        {
            "symbol": [symbol for symbol, _, _ in rows],
            "vintage": vintage,
            "fingerprint": pl.Series(values, dtype=pl.Array(pl.Float32, FINGERPRINT_SIZE)),
            "created_timestamp": pl.Series([known_at for _, _, known_at in rows], dtype=pl.Datetime("us", "UTC")),
        }
    )
    publish_frames("fingerprints", session, {"fingerprints": frame}, stores.for_vintage(vintage))


def night(stores: Stores, session: date, number: float) -> list[tuple[str, float | None, datetime]]:
    known_at = cut_off(stores.market, session)
    return [("600000.SH", number + 1, known_at), ("600001.SH", -number - 1, known_at)]


def fill(stores: Stores, days: list[date], vintage: str = "v") -> None:
    for session in days:
        put(stores, session, night(stores, session, DAYS.index(session)), vintage)


def live(vectors: Vectors) -> set[Row]:
    """Every version that ever comes into force."""
    return {
        (
            date.fromordinal(EPOCH + int(vectors.session_N[row])),
            vectors.symbols[vectors.symbol_N[row]],
            int(vectors.known_N[row]),
            int(vectors.until_N[row]),
            tuple(vectors.vector_ND[row].tolist()),
        )
        for row in range(len(vectors.known_N))
        if vectors.until_N[row] > vectors.known_N[row] and vectors.length_N[row] > 0
    }


def in_lake(stores: Stores, vintage: str = "v") -> set[Row]:
    """The same, by loops over the lake's files."""
    rows = set()
    for session, path in stores.lake.files("fingerprints", DAYS[0], DAYS[-1], vintage):
        versions = pl.read_parquet(path, hive_partitioning=False).sort("symbol", "created_timestamp").to_dicts()
        for number, row in enumerate(versions):
            later = [r for r in versions[number + 1 :] if r["symbol"] == row["symbol"]]
            until = later[0]["created_timestamp"] if later else None
            micro = [None if m is None else round(m.timestamp() * 1e6) for m in (row["created_timestamp"], until)]
            if row["fingerprint"] is not None:
                rows.add((session, row["symbol"], micro[0], micro[1] or NEVER, tuple(row["fingerprint"])))
    return rows


def statement(stores: Stores) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder(stores) / STATEMENT).read_bytes())
    return content


def folder(stores: Stores) -> Path:
    return stores.settings.home / "vectors" / "v"


def test_only_new_partitions_are_appended(stores: Stores) -> None:
    fill(stores, DAYS[:4])
    first = vector_archive("v", stores)
    assert live(first) == in_lake(stores) and statement(stores)["rows"] == 8
    before = (folder(stores) / "1" / "vector.raw").read_bytes()
    fill(stores, DAYS[6:8])
    fill(stores, DAYS[4:6])  # a backfill comes later than what it precedes
    second = vector_archive("v", stores)
    assert live(second) == in_lake(stores) and statement(stores)["rows"] == 16
    assert (folder(stores) / "1" / "vector.raw").read_bytes()[: len(before)] == before
    assert len(live(first)) == 8, "a reader who opened it before still sees the same rows"
    touched = (folder(stores) / STATEMENT).stat().st_mtime_ns
    vector_archive("v", stores)
    assert (folder(stores) / STATEMENT).stat().st_mtime_ns == touched, "nothing new, nothing written"


def test_a_correction_keeps_both_versions_each_in_its_time(stores: Stores) -> None:
    fill(stores, DAYS[:6])
    vector_archive("v", stores)
    later = cut_off(stores.market, DAYS[9])
    rows = night(stores, DAYS[2], 2)
    put(stores, DAYS[2], [*rows, ("600000.SH", 99.0, later), ("600001.SH", None, later)])
    vectors = vector_archive("v", stores)
    assert live(vectors) == in_lake(stores)
    assert statement(stores)["rows"] == 16 and statement(stores)["generation"] == 1
    last_known = {row[4][0] for row in live(vectors) if row[0] == DAYS[2] and row[2] <= row[3] and row[3] == NEVER}
    assert last_known == {99.0}, "the other symbol's was withdrawn"


def test_with_many_dead_rows_a_new_generation_is_written(stores: Stores) -> None:
    fill(stores, DAYS[:3])
    old = vector_archive("v", stores)
    for session in DAYS[:2]:
        known_at = cut_off(stores.market, session)
        put(stores, session, [("600000.SH", 7.0, known_at), ("600001.SH", 8.0, known_at)])
    vectors = vector_archive("v", stores)
    assert live(vectors) == in_lake(stores) and statement(stores)["generation"] == 2 and len(vectors.known_N) == 6
    assert [path.name for path in folder(stores).iterdir() if path.is_dir()] == ["2"]
    assert len(live(old)) == 6, "a mapped generation outlives its files"


@pytest.mark.parametrize("damage", ["cut", "gone", "statement", "rest"])
def test_damage_is_repaired_from_the_lake(stores: Stores, damage: str) -> None:
    fill(stores, DAYS[:3])
    vector_archive("v", stores)
    matrix = folder(stores) / "1" / "vector.raw"
    if damage == "cut":
        os.truncate(matrix, 100)
    elif damage == "gone":
        matrix.unlink()
    elif damage == "statement":
        (folder(stores) / STATEMENT).write_text("{")
    else:  # a killed extension leaves bytes beyond the stated rows
        with matrix.open("ab") as stream:
            stream.write(b"half a row")
        fill(stores, DAYS[3:4])
    assert live(vector_archive("v", stores)) == in_lake(stores)


def test_a_killed_extension_shows_nothing(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(stores, DAYS[:3])
    before = live(vector_archive("v", stores))
    fill(stores, DAYS[3:5])

    def killed(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            vector_archive("v", stores)
    contents = archive._contents(folder(stores))
    assert contents is not None and live(archive._mapped(folder(stores), "v", contents)) == before
    assert live(vector_archive("v", stores)) == in_lake(stores)


def test_two_at_once_make_one_archive(stores: Stores) -> None:
    fill(stores, DAYS[:6])
    answers: list[set[Row]] = []
    threads = [Thread(target=lambda: answers.append(live(vector_archive("v", stores)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [in_lake(stores)] * 4 and statement(stores)["rows"] == 12


def test_each_vintage_has_its_own(stores: Stores) -> None:
    fill(stores, DAYS[:2])
    fill(stores, DAYS[1:4], "w")
    assert live(vector_archive("v", stores)) == in_lake(stores)
    assert live(vector_archive("w", stores)) == in_lake(stores, "w")


def test_a_partition_of_another_vintage_is_refused_by_name(stores: Stores) -> None:
    fill(stores, DAYS[:1])
    frame = pl.DataFrame(
        {
            "symbol": ["600000.SH"],
            "vintage": ["other"],
            "fingerprint": pl.Series([[1.0] * FINGERPRINT_SIZE], dtype=pl.Array(pl.Float32, FINGERPRINT_SIZE)),
        }
    )
    publish_frames("fingerprints", DAYS[1], {"fingerprints": frame}, stores.for_vintage("v"))
    with pytest.raises(StoreCorrupt, match=r"FPM-VEC-110.*other"):
        vector_archive("v", stores)


def test_bytes_unlike_those_of_the_ledger_are_refused(stores: Stores) -> None:
    fill(stores, DAYS[:2])
    path = stores.lake.root / stores.lake.relative("fingerprints", DAYS[1], "v")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StoreCorrupt, match="FPM-LAKE-111"):
        vector_archive("v", stores)
    assert not (folder(stores) / STATEMENT).exists()


def test_no_fingerprint_yet(stores: Stores) -> None:
    with pytest.raises(TryLater, match="FPM-VEC-075"):
        vector_archive("v", stores)
    put(stores, DAYS[0], [])
    with pytest.raises(TryLater, match="FPM-VEC-075"):
        vector_archive("v", stores)


def test_moments_are_exact_to_the_microsecond(stores: Stores) -> None:
    known_at = datetime(2024, 3, 1, 12, 0, 0, 123457, tzinfo=UTC) + timedelta(days=1)
    put(stores, DAYS[0], [("600000.SH", 1.0, known_at)])
    (row,) = live(vector_archive("v", stores))
    assert row[2] == 1_709_380_800_123_457
