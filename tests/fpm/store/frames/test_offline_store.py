"""Point-in-time frames from a real lake: against a slow reference that tests every row, and through Feast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import polars as pl
import pytest
from feast import FeatureStore, RepoConfig
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm import sessions
from fpm.errors import StoreCorrupt, TryLater, UsageError
from fpm.schema import FINGERPRINT_SIZE
from fpm.store.frames import point_in_time
from fpm.store.frames.entities import Question, Serving, clocks
from fpm.store.lake.files import Lake

CN = sessions.market("cn")
FIRST = date(2024, 1, 1)
MOMENT = pl.Datetime("us", "UTC")
HOUR = timedelta(hours=1)


def close(day: int) -> datetime:
    return sessions.close(CN, FIRST + timedelta(days=day))


def put(lake: Lake, table: str, day: int, rows: list[dict[str, Any]], vintage: str | None = None) -> None:
    """Publish one partition, as the job runner does, without a ledger."""
    relative = lake.relative(table, FIRST + timedelta(days=day), vintage)
    staged = lake.stage(table, pl.DataFrame(rows, infer_schema_length=None), relative, lake.staging)
    lake.put(lake.staging / staged.path, relative)


def fingerprint(symbol: str, vintage: str, day: int, known_at: datetime, value: float) -> dict[str, Any]:
    clocks = {"event_timestamp": close(day), "created_timestamp": known_at}
    return {"symbol": symbol, "vintage": vintage, "fingerprint": [value] * FINGERPRINT_SIZE, **clocks}


def score(symbol: str, day: int, known_at: datetime, value: float, stream: str = "dual") -> dict[str, Any]:
    return {
        "symbol": symbol,
        "stream": stream,
        "score": value,
        "spread": None,
        "vintage": "v1",
        "model": "m",
        "event_timestamp": close(day),
        "created_timestamp": known_at,
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", tmp_path / "staging")


@pytest.fixture
def store(tmp_path: Path, lake: Lake) -> FeatureStore:
    """Feast over that lake, without any database: its registry is a file."""
    from feature_repo import definitions

    registry, offline = str(tmp_path / "registry.db"), "fpm.store.frames.offline_store.FpmOfflineStore"
    store = FeatureStore(
        config=RepoConfig(
            project="test",
            provider="local",
            registry=registry,
            online_store=None,
            coerce_tz_aware=False,
            offline_store={"type": offline, "lake": str(lake.root)},
            repo_path=tmp_path,
        )
    )
    entities = [definitions.symbol, definitions.vintage, definitions.stream]
    store.apply([*entities, definitions.scores, definitions.fingerprints])
    return store


def frame(lake: Lake, entities: pl.DataFrame, serving: Serving) -> pl.DataFrame:
    return point_in_time.frame(lake, Question(entities, clocks(entities), [serving]))


# --- against every row -----------------------------------------------------------------------------------------
STORED = st.tuples(
    st.sampled_from("AB"), st.sampled_from(["v1", "v2"]), st.integers(0, 6), st.sampled_from([0, 13, 30, 100, 400])
)
REQUESTED = st.tuples(
    st.sampled_from("ABC"), st.sampled_from(["v1", "v2", "v3"]), st.integers(-24, 24 * 9), st.integers(-24, 24 * 24)
)


@settings(max_examples=40, deadline=None)
@given(
    stored=st.lists(STORED, max_size=25, unique=True),
    requested=st.lists(REQUESTED, max_size=15),
    ttl=st.sampled_from([None, timedelta(hours=25), timedelta(days=3), timedelta(days=10)]),
)
def test_a_frame_equals_a_search_of_every_row(
    stored: list[tuple[str, str, int, int]], requested: list[tuple[str, str, int, int]], ttl: timedelta | None
) -> None:
    with TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake", Path(folder) / "staging")
        rows = [
            fingerprint(symbol, vintage, day, close(day) + late * HOUR, float(number))
            for number, (symbol, vintage, day, late) in enumerate(stored)
        ]
        for day, vintage in {(day, vintage) for _, vintage, day, _ in stored}:
            own = [row for row in rows if row["event_timestamp"] == close(day) and row["vintage"] == vintage]
            put(lake, "fingerprints", day, own, vintage)
        entities = pl.DataFrame(
            [(symbol, vintage, close(0) + t * HOUR, close(0) + k * HOUR) for symbol, vintage, t, k in requested],
            schema={"symbol": pl.String, "vintage": pl.String, "event_timestamp": MOMENT, "known_at": MOMENT},
            orient="row",
        )
        keys, columns = ({name: name for name in names} for names in (("symbol", "vintage"), ("fingerprint",)))
        serving = Serving("fingerprints", keys, columns, ttl)
        served = frame(lake, entities, serving)
    assert served.drop("fingerprint").equals(entities)
    values = [None if vector is None else vector[0] for vector in served["fingerprint"].to_list()]
    assert values == [_obvious(row, rows, ttl) for row in entities.to_dicts()]


def _obvious(entity: dict[str, Any], rows: Sequence[dict[str, Any]], ttl: timedelta | None) -> float | None:
    best: tuple[datetime, datetime, float] | None = None
    for row in rows:
        if (row["symbol"], row["vintage"]) != (entity["symbol"], entity["vintage"]):
            continue
        event, known_at = row["event_timestamp"], row["created_timestamp"]
        if event > entity["event_timestamp"] or known_at > entity["known_at"]:
            continue
        if ttl is not None and event < entity["event_timestamp"] - ttl:
            continue
        if best is None or (event, known_at) > best[:2]:
            best = (event, known_at, row["fingerprint"][0])
    return best[2] if best else None


# --- worked by hand ----------------------------------------------------------------------------------------------
SCORES = Serving("scores", {"symbol": "symbol", "stream": "stream"}, {"score": "score"}, timedelta(days=10))


def entities(*rows: tuple[str, datetime, datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        [(symbol, "dual", event, known_at) for symbol, event, known_at in rows],
        schema={"symbol": pl.String, "stream": pl.String, "event_timestamp": MOMENT, "known_at": MOMENT},
        orient="row",
    )


def test_every_row_is_kept_in_its_order_repeated_rows_too(lake: Lake) -> None:
    put(lake, "scores", 0, [score("A", 0, close(0), 1.0), score("B", 0, close(0), 2.0)])
    late = close(1)
    rows = entities(("B", late, late), ("X", late, late), ("A", late, late), ("B", late, late))
    assert frame(lake, rows, SCORES)["score"].to_list() == [2.0, None, 1.0, 2.0]


def test_no_row_and_no_file_are_fine(lake: Lake) -> None:
    served = frame(lake, entities(), SCORES)
    assert served.columns == ["symbol", "stream", "event_timestamp", "known_at", "score"] and served.height == 0
    late = close(1)
    assert frame(lake, entities(("A", late, late)), SCORES)["score"].to_list() == [None]


def test_only_sessions_within_reach_are_opened(lake: Lake) -> None:
    for day in (0, 20, 40):
        put(lake, "scores", day, [score("A", day, close(day), float(day))])
    for day in (0, 40):
        (lake.root / lake.relative("scores", FIRST + timedelta(days=day))).write_bytes(b"not parquet")
    late = close(25)
    assert frame(lake, entities(("A", late, late)), SCORES)["score"].to_list() == [20.0]
    with pytest.raises(StoreCorrupt, match="FPM-LAKE-110"):
        frame(lake, entities(("A", close(41), close(41))), SCORES)


def test_a_partition_replaced_while_it_is_read_is_read_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The correction arrives between the keys and the values: the answer is the new file's, or none at all."""
    put(lake, "scores", 0, [score("A", 0, close(0), 1.0), score("B", 0, close(0), 2.0)])
    rows, joined = entities(("B", close(1), close(1))), point_in_time._joined
    corrections = iter(
        [[score("A", 0, close(0), 1.0), score("A", 0, close(0) + HOUR, 1.5), score("B", 0, close(0), 3.0)]]
    )

    def corrected(*arguments: Any) -> list[pl.DataFrame]:
        if correction := next(corrections, None):
            put(lake, "scores", 0, correction)
        return joined(*arguments)

    monkeypatch.setattr(point_in_time, "_joined", corrected)
    assert frame(lake, rows, SCORES)["score"].to_list() == [3.0]
    corrections = iter([[score("B", 0, close(0), float(n))] for n in range(9)])
    with pytest.raises(TryLater, match="FPM-PIT-075"):
        frame(lake, rows, SCORES)


def test_a_damaged_page_is_found(lake: Lake) -> None:
    put(lake, "scores", 0, [score(f"S{n:04}", 0, close(0), n / 7) for n in range(500)])
    path = lake.root / lake.relative("scores", FIRST)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt):
        frame(lake, entities(("S0001", close(1), close(1))), SCORES)


def test_columns_that_one_profile_lacks_are_null_there(lake: Lake) -> None:
    for day, name in ((0, "vwap"), (1, "price_pos")):
        clocks = {"event_timestamp": close(day), "created_timestamp": close(day)}
        put(lake, "minute_features", day, [{"symbol": "A", "slot": 241, "profile": name, name: 0.5, **clocks}])
    serving = Serving("minute_features", {"symbol": "symbol"}, {"vwap": "vwap", "price_pos": "price_pos"}, None)
    served = frame(lake, entities(("A", close(0), close(0)), ("A", close(1), close(1))), serving)
    assert served.select("vwap", "price_pos").rows() == [(0.5, None), (None, 0.5)]


# --- through Feast -----------------------------------------------------------------------------------------------
def _pandas(*rows: tuple[str, datetime]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": [symbol for symbol, _ in rows],
            "stream": "dual",
            "vintage": "v1",
            "event_timestamp": pd.to_datetime([event for _, event in rows]),
        }
    )


def test_without_known_at_nothing_is_served_before_it_was_known(lake: Lake, store: FeatureStore) -> None:
    put(lake, "scores", 0, [score("A", 0, close(0) + 5 * HOUR, 1.0), score("A", 0, close(3), 9.0)])
    moments = [close(0), close(0) + 5 * HOUR, close(2), close(3)]
    frame = _pandas(*(("A", moment) for moment in moments))
    served = store.get_historical_features(entity_df=frame, features=["scores:score"]).to_df()
    assert served["score"].fillna(-1).tolist() == [-1, 1.0, 1.0, 9.0]


def test_feasts_own_flag_ties_both_clocks(lake: Lake, store: FeatureStore) -> None:
    put(lake, "scores", 0, [score("A", 0, close(0), 1.0), score("A", 0, close(3), 9.0)])
    frame = _pandas(("A", close(1))).assign(known_at=pd.Timestamp(close(5)))
    request = {"entity_df": frame, "features": ["scores:score"]}
    assert store.get_historical_features(**request).to_df()["score"].tolist() == [9.0]
    tied = store.get_historical_features(**request, filter_by_created_timestamp=True)
    assert tied.to_df()["score"].tolist() == [1.0]


def test_several_views_full_names_and_another_zone(lake: Lake, store: FeatureStore) -> None:
    put(lake, "scores", 0, [score("A", 0, close(0), 1.0)])
    put(lake, "fingerprints", 0, [fingerprint("A", "v1", 0, close(0), 3.0)], "v1")
    frame = _pandas(("A", close(1)), ("B", close(1)))
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_convert("Asia/Shanghai")
    before = frame.copy()
    features = ["scores:score", "scores:model", "fingerprints:fingerprint"]
    job = store.get_historical_features(entity_df=frame, features=features, full_feature_names=True)
    served = job.to_df()
    assert list(served.columns[4:]) == ["scores__score", "scores__model", "fingerprints__fingerprint"]
    assert served["scores__model"].tolist() == ["m", None]
    assert served["fingerprints__fingerprint"][0].tolist() == [3.0] * FINGERPRINT_SIZE
    assert job.to_arrow().num_rows == 2 and frame.equals(before)


def test_a_join_key_may_have_another_name_in_the_frame(lake: Lake, store: FeatureStore) -> None:
    from feast import FeatureService

    put(lake, "scores", 0, [score("A", 0, close(0), 1.0)])
    view = store.get_feature_view("scores").with_join_key_map({"symbol": "leader"}).with_name("of_leader")
    service = FeatureService(name="leaders", features=[view[["score"]]])
    store.apply([service])
    frame = _pandas(("Z", close(1))).assign(leader="A")
    served = store.get_historical_features(entity_df=frame, features=service, full_feature_names=True)
    assert served.to_df()["of_leader__score"].tolist() == [1.0]


def test_sql_and_date_ranges_are_refused_by_name(store: FeatureStore) -> None:
    with pytest.raises(UsageError, match="FPM-PIT-001"):
        store.get_historical_features(entity_df="SELECT 1", features=["scores:score"])
    with pytest.raises(UsageError, match="FPM-PIT-001"):
        store.get_historical_features(features=["scores:score"], start_date=close(0), end_date=close(1))


def test_pull_gives_all_versions_or_the_newest(lake: Lake, store: FeatureStore) -> None:
    put(lake, "scores", 0, [score("A", 0, close(0), 1.0), score("A", 0, close(4), 2.0), score("B", 0, close(0), 3.0)])
    put(lake, "scores", 1, [score("A", 1, close(1), 4.0)])
    offline = store._get_provider().offline_store
    request: dict[str, Any] = {
        "config": store.config,
        "data_source": store.get_feature_view("scores").batch_source,
        "join_key_columns": ["symbol", "stream"],
        "feature_name_columns": ["score"],
        "timestamp_field": "event_timestamp",
        "created_timestamp_column": "created_timestamp",
    }
    everything = offline.pull_all_from_table_or_query(**request, start_date=close(0), end_date=close(1)).to_arrow()
    assert everything["score"].to_pylist() == [1.0, 2.0, 3.0, 4.0]
    newest = offline.pull_latest_from_table_or_query(**request, start_date=close(0), end_date=close(1)).to_arrow()
    assert sorted(newest["score"].to_pylist()) == [3.0, 4.0]
    first = offline.pull_latest_from_table_or_query(**request, start_date=close(0), end_date=close(1) - HOUR).to_arrow()
    assert sorted(first["score"].to_pylist()) == [2.0, 3.0]


def test_a_frame_can_be_saved_as_a_file(lake: Lake, store: FeatureStore, tmp_path: Path) -> None:
    put(lake, "scores", 0, [score("A", 0, close(0), 1.0)])
    job = store.get_historical_features(entity_df=_pandas(("A", close(1))), features=["scores:score"])
    path = tmp_path / "saved" / "frame.parquet"
    job.persist(SavedDatasetFileStorage(str(path)))
    assert pl.read_parquet(path)["score"].to_list() == [1.0]
    with pytest.raises(UsageError, match="FPM-PIT-006"):
        job.persist(SavedDatasetFileStorage(str(path)))
    job.persist(SavedDatasetFileStorage(str(path)), allow_overwrite=True)


def test_utc_is_what_comes_back(lake: Lake) -> None:
    put(lake, "scores", 0, [score("A", 0, close(0), 1.0)])
    rows = point_in_time.window(lake, "scores", ["symbol"], None, None)
    assert rows["event_timestamp"].to_list() == [datetime(2024, 1, 1, 7, tzinfo=UTC)]
