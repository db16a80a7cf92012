"""The training array equals the frame, through Feast on a real lake and registry."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from fpm import sessions
from fpm.errors import UsageError
from fpm.schema import DAILY_FACTORS, FINGERPRINT_SIZE
from fpm.store.ledger.stores import Stores
from fpm.store.retrieval import exports, features
from fpm.store.retrieval.training_matrix import training_matrix
from fpm.store.settings import Settings
from tests.lake_files import put

CN = sessions.market("cn")
SESSIONS = sessions.next_sessions(CN, date(2024, 1, 4), 5)
SYMBOLS = ["A", "B", "C"]


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """Fingerprints, bars and factors of five sessions; C has no fingerprint, one factor is null."""
    features.apply(settings)
    rng = np.random.default_rng(7)
    for day in SESSIONS:
        clocks = {
            "event_timestamp": pl.lit(sessions.close(CN, day)),
            "created_timestamp": pl.lit(sessions.cut_off(CN, day)),
        }
        keys = pl.DataFrame({"symbol": SYMBOLS}).with_columns(**clocks)
        vectors = pl.Series("fingerprint", rng.standard_normal((2, FINGERPRINT_SIZE), np.float32))
        factors = {name: rng.standard_normal(3, np.float32) for name in DAILY_FACTORS}
        bars = {name: rng.standard_normal(3) for name in ("open", "high", "low", "close", "volume")}
        tables = {
            "fingerprints": keys[:2].with_columns(vectors, vintage=pl.lit("v1")),
            "daily_factors": keys.with_columns(**factors).with_columns(gap_1=pl.lit(None, pl.Float32)),
            "daily_bars": keys.with_columns(**bars),
        }
        for table, rows in tables.items():
            put(settings, table, day, rows, "v1" if table == "fingerprints" else None)
    return settings


def entities(*, shuffled: bool) -> pl.DataFrame:
    rows = pl.DataFrame({"session": SESSIONS}).join(pl.DataFrame({"symbol": [*SYMBOLS, "X"]}), how="cross")
    rows = rows.with_columns(vintage=pl.lit("v1"), note=pl.int_range(rows.height))
    return rows.sample(fraction=1, shuffle=True, seed=3) if shuffled else rows


def expected(frame: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Cell by cell."""
    columns = []
    for name in names:
        column, _, index = name.partition("[")
        values = frame[column].to_list()
        if index:
            values = [vector and vector[int(index.rstrip("]"))] for vector in values]
        columns.append(np.array([np.nan if value is None else value for value in values], np.float32))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("shuffled", [False, True])
def test_the_array_holds_the_frame_in_the_order_of_the_rows(filled: Settings, shuffled: bool) -> None:
    rows = entities(shuffled=shuffled)
    frame = features.frame(filled, "dual_stream", rows)
    matrix = training_matrix(filled, "dual_stream", rows, sessions=2)
    assert len(matrix.names) == matrix.x_NF.shape[1] == FINGERPRINT_SIZE + len(DAILY_FACTORS) + 7
    assert {"fingerprint[127]", "log_size", "close"} <= set(matrix.names)
    np.testing.assert_array_equal(matrix.x_NF, expected(frame, matrix.names))
    assert np.isnan(matrix.x_NF[:, matrix.names.index("gap_1")]).all()
    assert np.isfinite(matrix.x_NF[:, matrix.names.index("log_size")]).sum() == 3 * len(SESSIONS)


def test_columns_and_the_array_may_be_arguments(filled: Settings) -> None:
    rows = entities(shuffled=False)
    columns = ["close", "fingerprint", "log_size"]
    own = np.empty((len(rows), FINGERPRINT_SIZE + 2), np.float32)
    matrix = training_matrix(filled, "dual_stream", rows, columns=columns, out_NF=own)
    assert matrix.x_NF is own and matrix.names[0] == "close" and matrix.names[-1] == "log_size"
    np.testing.assert_array_equal(own, expected(features.frame(filled, "dual_stream", rows), matrix.names))


def test_a_null_boolean_is_no_number_either(filled: Settings) -> None:
    matrix = training_matrix(filled, "daily_bars", entities(shuffled=False), columns=["suspended", "volume"])
    assert np.isnan(matrix.x_NF[:, 0]).all()


def test_texts_and_arrays_of_another_shape_are_refused(filled: Settings) -> None:
    rows = entities(shuffled=False)
    with pytest.raises(UsageError, match=r"FPM-PIT-011.*'industry'.*'beta'"):
        training_matrix(filled, "daily_bars", rows, columns=["close", "industry", "beta"])
    for wrong in (np.empty((3, 1), np.float32), np.empty((len(rows), 1))):
        with pytest.raises(UsageError, match="FPM-PIT-012"):
            training_matrix(filled, "daily_bars", rows, columns=["close"], out_NF=wrong)


def test_batches_and_the_arrow_stream_are_the_frame(filled: Settings) -> None:
    rows = entities(shuffled=False)
    frame = features.frame(filled, "dual_stream", rows)
    assert pl.concat(features.frame_batches(filled, "dual_stream", rows, sessions=2)).equals(frame)
    _, job = features.retrieval(filled, "dual_stream", rows)
    reader = job.to_arrow_reader(2)
    assert isinstance(reader, pa.RecordBatchReader) and set(frame.columns) == set(reader.schema.names)
    assert pl.DataFrame(pl.from_arrow(reader.read_all())).select(frame.columns).equals(frame)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_written_frame_is_the_frame_in_the_order_of_the_entities(
    stores: Stores, filled: Settings, tmp_path: Path, shuffled: bool
) -> None:
    """The file that `fpm frame` writes, and nothing else in the folder."""
    rows, counts = entities(shuffled=shuffled).filter(pl.col("symbol") != "X"), list[tuple[int, int]]()
    closes = {day: sessions.close(CN, day) for day in SESSIONS}
    moments = pl.col("session").replace_strict(closes, return_dtype=pl.Datetime("us", "UTC"))
    rows = rows.with_columns(event_timestamp=moments).drop("session")
    rows.write_parquet(tmp_path / "entities.parquet")
    known_at, out = sessions.cut_off(CN, SESSIONS[-1]), tmp_path / "frame.parquet"
    count = exports.frame(
        "dual_stream",
        tmp_path / "entities.parquet",
        known_at,
        out,
        stores,
        lambda done, total, _: counts.append((done, total)),
    )
    assert pl.read_parquet(out).equals(features.frame(filled, "dual_stream", rows, known_at))
    assert count == rows.height and counts[-1] == (rows.height, rows.height)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_entities_come_in_every_form(filled: Settings, tmp_path: Path) -> None:
    rows = (
        entities(shuffled=True).drop("session").with_columns(event_timestamp=pl.lit(sessions.cut_off(CN, SESSIONS[2])))
    )
    path = tmp_path / "entities.parquet"
    rows.write_parquet(path)
    frame = features.frame(filled, "daily_factors", rows)
    assert frame["log_size"].null_count() == len(SESSIONS)  # X is unknown
    for form in (rows.to_pandas(), rows.to_arrow(), path, str(path)):
        assert features.frame(filled, "daily_factors", form).equals(frame)
    for wrong in (tmp_path / "none.parquet", "SELECT 1"):
        with pytest.raises(UsageError, match="FPM-PIT-001"):
            features.frame(filled, "daily_factors", wrong)
