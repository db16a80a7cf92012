"""The lake's files: canonical bytes, what is refused, the two clocks of a read, damage."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.errors import InputRefused, StoreCorrupt, TryLater, UsageError
from fpm.schema import TABLES
from fpm.store.jobs.runner import publish_frames
from fpm.store.lake.files import CLOCK, DecodedFiles, Lake, canonical, instant, latest
from fpm.store.ledger.stores import Stores
from tests.fpm.store.small_bars import SESSIONS, bars, ingest

EVENT = datetime(2026, 1, 5, 7, tzinfo=UTC)
CREATED = datetime(2026, 1, 5, 12, tzinfo=UTC)
SESSION = SESSIONS[0]


def labels(*rows: tuple[str, float | None, datetime]) -> pl.DataFrame:
    frame = pl.DataFrame(
        list(rows),
        schema={"symbol": pl.String, "label": pl.Float64, "created_timestamp": pl.Datetime("us", "UTC")},
        orient="row",
    )
    return frame.with_columns(pl.lit(EVENT).alias("event_timestamp"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", tmp_path / "staging")


@settings(deadline=None)
@given(
    st.permutations(
        [("A", 1.0, CREATED), ("A", 2.0, CREATED + timedelta(days=1)), ("B", None, CREATED), ("C", 3.0, CREATED)]
    )
)
def test_the_order_of_rows_does_not_change_the_bytes(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float, datetime]]
) -> None:
    folder = tmp_path_factory.mktemp("stage")
    staged = Lake(folder, folder).stage("labels", labels(*rows), "x/part-0.parquet", folder)
    ordered = sorted(rows, key=lambda row: (row[0], row[2]))
    again = Lake(folder, folder).stage("labels", labels(*ordered), "y/part-0.parquet", folder)
    assert (staged.sha256, staged.rows, staged.knowledge) == (again.sha256, 4, (CREATED, CREATED + timedelta(days=1)))


def test_nan_and_null_are_one_thing(lake: Lake) -> None:
    absent = lake.stage("labels", labels(("A", None, CREATED)), "x", lake.staging / "1")
    nan = lake.stage("labels", labels(("A", float("nan"), CREATED)), "x", lake.staging / "2")
    assert absent.sha256 == nan.sha256


def test_the_file_is_what_other_readers_expect(lake: Lake) -> None:
    """Read with pyarrow alone: types, sort order, compression; microseconds in UTC (nanoseconds break DuckDB)."""
    relative = lake.relative("labels", SESSION)
    assert relative == "labels/session=2026-01-05/part-0.parquet"
    lake.stage("labels", labels(("B", 1.0, CREATED), ("A", 2.0, CREATED)), relative, lake.staging)
    lake.put(lake.staging / relative, relative)
    stored = pq.ParquetFile(lake.root / relative)
    assert stored.schema_arrow.field("event_timestamp").type == pa.timestamp("us", "UTC")
    assert stored.schema_arrow.names == ["symbol", "label", "event_timestamp", "created_timestamp"]
    assert stored.metadata.row_group(0).column(0).compression == "ZSTD"
    assert stored.read().column("symbol").to_pylist() == ["A", "B"]
    assert (
        pl.read_parquet(lake.root / "labels/*/*.parquet", hive_partitioning=True)["session"].to_list() == [SESSION] * 2
    )


def test_vectors_come_back_bit_for_bit(lake: Lake) -> None:
    vectors = np.random.default_rng(7).standard_normal((3, 128)).astype(np.float32)
    frame = pl.DataFrame({"symbol": ["A", "B", "C"], "vintage": ["v"] * 3}).with_columns(
        pl.Series("fingerprint", vectors), event_timestamp=pl.lit(EVENT), created_timestamp=pl.lit(CREATED)
    )
    relative = lake.relative("fingerprints", SESSION, "v")
    lake.stage("fingerprints", frame, relative, lake.staging)
    assert np.array_equal(lake.decode(lake.staging / relative)["fingerprint"].to_numpy(), vectors)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (labels(("A", 1.0, CREATED)).with_columns(other=pl.lit(1)), "FPM-LAKE-001"),
        (labels(("A", 1.0, CREATED)).drop("label"), "FPM-LAKE-002"),
        (labels(("A", 1.0, CREATED)).with_columns(label=pl.lit("many")), "FPM-LAKE-004"),
        (labels(("A", 1.0, CREATED)).with_columns(symbol=pl.lit(None, dtype=pl.String)), "FPM-LAKE-005"),
        (labels(("A", 1.0, CREATED), ("A", 2.0, CREATED)), "FPM-LAKE-006"),
        (labels(("A", 1.0, EVENT - timedelta(microseconds=1))), "FPM-LAKE-007"),
        (labels(("A", float("inf"), CREATED)), "FPM-LAKE-008"),
    ],
)
def test_a_frame_that_is_not_the_table_is_refused(frame: pl.DataFrame, code: str) -> None:
    with pytest.raises(InputRefused, match=code):
        canonical(TABLES["labels"], frame)


@pytest.mark.parametrize("rows", [[], [("A", 1.0, CREATED), ("B", None, CREATED)]])
def test_a_canonical_frame_is_given_back_as_it_is(rows: list[tuple[str, float | None, datetime]]) -> None:
    frame = canonical(TABLES["labels"], labels(*rows))
    assert canonical(TABLES["labels"], frame) is frame


def test_rows_out_of_order_with_nan_and_other_types_become_canonical() -> None:
    """By hand: numbers of another type, columns in another order, NaN, rows upside down."""
    rows = labels(("B", float("nan"), CREATED), ("A", 2.0, CREATED)).with_columns(pl.col("label").cast(pl.Float32))
    frame = canonical(TABLES["labels"], rows.select("created_timestamp", "event_timestamp", "label", "symbol"))
    assert frame.rows() == [("A", 2.0, EVENT, CREATED), ("B", None, EVENT, CREATED)]
    assert frame.schema == {
        "symbol": pl.String,
        "label": pl.Float64,
        "event_timestamp": CLOCK,
        "created_timestamp": CLOCK,
    }


@pytest.mark.parametrize(
    "moment",
    [
        CREATED + timedelta(microseconds=1),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 1, 5, 20, tzinfo=ZoneInfo("Asia/Shanghai")),
    ],
)
def test_an_instant_is_the_moment_in_utc(moment: datetime) -> None:
    cell = pl.select(at=instant(moment))["at"]
    assert (cell.dtype, cell.to_list()) == (CLOCK, [moment])


def test_a_vendor_may_lack_columns_of_raw_tables() -> None:
    frame = canonical(TABLES["daily_bars"], bars(SESSION, {"A": 1.0}))
    assert frame["open"].to_list() == [None] and frame["list_date"].dtype == pl.Date


def test_a_read_gives_the_latest_version_known_at_that_moment() -> None:
    """Against the definition, row by row."""
    moments = [CREATED + timedelta(days=n) for n in range(4)]
    stored = canonical(TABLES["labels"], labels(("A", 1.0, moments[0]), ("A", 2.0, moments[2]), ("B", 3.0, moments[1])))
    rows = stored.select("symbol", "label", "created_timestamp").rows()
    for known_at in [None, CREATED - timedelta(microseconds=1), *moments]:
        expected = {symbol: label for symbol, label, created in rows if known_at is None or created <= known_at}
        answer = latest(TABLES["labels"], stored, known_at)
        assert dict(answer.select("symbol", "label").iter_rows()) == expected


def test_ranges_columns_and_absent_sessions(stores: Stores) -> None:
    ingest(stores)
    assert stores.sessions("daily_bars") == SESSIONS
    window = stores.read("daily_bars", SESSIONS[1], SESSIONS[3], columns=["session", "symbol", "close"])
    assert window.columns == ["session", "symbol", "close"]
    assert window.filter(pl.col("symbol") == "A").rows() == [(SESSIONS[n], "A", n + 1.0) for n in (1, 2, 3)]
    assert "created_timestamp" in stores.read("daily_bars", SESSIONS[1]).columns
    before = stores.read("daily_bars", date(2020, 1, 1), date(2020, 2, 1), columns=["symbol", "close"])
    assert before.is_empty() and before.schema["close"] == pl.Float64
    with pytest.raises(TryLater, match="FPM-LAKE-075"):
        stores.read("daily_bars", date(2020, 1, 1))
    with pytest.raises(UsageError, match="FPM-CFG-065"):
        stores.read("daily_bars", SESSIONS[1], SESSIONS[0])
    with pytest.raises(UsageError, match="FPM-CFG-003"):
        stores.read("weekly_bars", SESSIONS[1])


def test_a_vintage_belongs_to_tables_that_have_one(lake: Lake) -> None:
    assert lake.relative("fingerprints", SESSION, "v") == "fingerprints/vintage=v/session=2026-01-05/part-0.parquet"
    for table, vintage in (("fingerprints", None), ("labels", "v")):
        with pytest.raises(UsageError, match="FPM-LAKE-003"):
            lake.relative(table, SESSION, vintage)


def test_every_flipped_bit_is_noticed(stores: Stores) -> None:
    """One bit of each sampled byte: `verify` always notices; half a file is not read."""
    publish_frames("bars", SESSION, {"daily_bars": bars(SESSION, dict.fromkeys("ABCDEFGH", 1.0))}, stores)
    path = stores.lake.root / stores.lake.relative("daily_bars", SESSION)
    content = path.read_bytes()
    stores.verify("daily_bars", SESSION)
    for position in np.random.default_rng(1).choice(len(content), 40, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(position % 8)
        path.write_bytes(damaged)
        with pytest.raises(StoreCorrupt, match="FPM-LAKE-111"):
            stores.verify("daily_bars", SESSION)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreCorrupt, match="FPM-LAKE-111"):
        stores.read("daily_bars", SESSION)
    with pytest.raises(StoreCorrupt, match="FPM-LAKE-110"):
        Lake(stores.lake.root, stores.lake.staging).decode(path)


@pytest.mark.parametrize("large", [0, 1 << 20])
def test_a_column_of_a_large_file_and_of_a_small_one(lake: Lake, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large file only the columns' own bytes are read; the values are the same, and so is the refusal."""
    monkeypatch.setattr("fpm.store.lake.files._LARGE", large)
    relative = lake.relative("labels", SESSION)
    lake.stage("labels", labels(("A", 1.5, CREATED), ("B", None, CREATED)), relative, lake.staging)
    lake.put(lake.staging / relative, relative)
    path = lake.root / relative
    assert lake.decode_once(path, ["label", "absent"]).to_dict(as_series=False) == {"label": [1.5, None]}
    content = bytearray(path.read_bytes())
    content[pq.read_metadata(path).row_group(0).column(1).data_page_offset + 3] ^= 1
    path.write_bytes(content)
    assert lake.decode_once(path, ["symbol"])["symbol"].to_list() == ["A", "B"]
    with pytest.raises(StoreCorrupt, match="FPM-LAKE-110"):
        lake.decode_once(path, ["label"])


def test_a_replaced_file_is_read_again_and_the_cache_stays_small(lake: Lake) -> None:
    relative, cache = lake.relative("labels", SESSION), DecodedFiles(limit=1)
    for value in (1.0, 2.0):
        lake.stage("labels", labels(("A", value, CREATED)), relative, lake.staging)
        lake.put(lake.staging / relative, relative)
        assert lake.decode(lake.root / relative)["label"].to_list() == [value]
        assert cache.read(lake.root / relative, ("label",)).columns == ["label"]
    assert len(cache._frames) == 1
