"""Entity frames of every kind, and the questions that are refused before anything is read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import FeatureStore

from fpm.errors import InputRefused, UsageError
from fpm.store.frames.entities import check_known_at, check_vintages, entity_rows
from fpm.store.frames.point_in_time import Serving
from fpm.store.lake.files import Lake
from fpm.store.retrieval import features
from fpm.store.settings import Settings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FINGERPRINTS = Serving(
    "fingerprints", {"symbol": "symbol", "vintage": "vintage"}, {"fingerprint": "fingerprint"}, timedelta(days=10)
)


def rows(*vintages: str | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"symbol": ["A"] * len(vintages), "vintage": vintages, "event_timestamp": [NOW] * len(vintages)},
        schema_overrides={"vintage": pl.String},
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    for vintage in ("v1", "v2"):
        (tmp_path / "fingerprints" / f"vintage={vintage}").mkdir(parents=True)
    return Lake(tmp_path, tmp_path / "staging")


def test_the_same_rows_in_every_form(tmp_path: Path) -> None:
    given = rows("v1", None)
    given.write_parquet(tmp_path / "rows.parquet")
    pandas: pd.DataFrame = given.to_pandas()
    for form in (given, pandas, given.to_arrow(), tmp_path / "rows.parquet", str(tmp_path / "rows.parquet")):
        assert entity_rows(form).equals(given)
    assert isinstance(given.to_arrow(), pa.Table)


@pytest.mark.parametrize("form", ["SELECT 1", None, "nowhere.parquet", 7])
def test_sql_ranges_and_missing_files_are_refused(form: object) -> None:
    with pytest.raises(UsageError, match="FPM-PIT-001"):
        entity_rows(form)  # type: ignore[arg-type]


def test_what_will_be_known_is_not_asked() -> None:
    asked = rows("v1", "v1")
    check_known_at(asked, NOW)
    check_known_at(asked.with_columns(known_at=pl.lit(NOW)), NOW)
    check_known_at(asked.with_columns(known_at=pl.lit(None, dtype=pl.Datetime("us", "UTC"))), NOW)
    with pytest.raises(InputRefused, match=r"FPM-PIT-015.*1 of 2 rows ask what is known at 2026-03-02 13:00"):
        check_known_at(asked.with_columns(known_at=pl.Series([NOW, NOW + HOUR])), NOW)


def test_one_vintage_that_is_there(lake: Lake) -> None:
    check_vintages(lake, rows("v1", None, "v1"), [FINGERPRINTS])
    check_vintages(lake, rows(None), [FINGERPRINTS])
    with pytest.raises(InputRefused, match=r"FPM-PIT-016.*'v3'.*use one of v1, v2"):
        check_vintages(lake, rows("v3"), [FINGERPRINTS])
    with pytest.raises(InputRefused, match=r"FPM-PIT-017.*v1, v2.*one vintage at a time"):
        check_vintages(lake, rows("v1", "v2"), [FINGERPRINTS])


def test_two_columns_of_one_vintage_each_may_stand_side_by_side(lake: Lake) -> None:
    both = rows("v1", "v1").with_columns(other=pl.lit("v2"))
    mapped = Serving(
        "fingerprints", {"symbol": "symbol", "vintage": "other"}, {"fingerprint": "the_other"}, timedelta(days=10)
    )
    check_vintages(lake, both, [FINGERPRINTS, mapped])


def test_tables_without_vintages_do_not_look_at_them(lake: Lake) -> None:
    scores = Serving("scores", {"symbol": "symbol", "stream": "stream"}, {"score": "score"}, None)
    check_vintages(lake, rows("v1", "v9"), [scores])


def test_feast_itself_refuses_them(settings: Settings) -> None:
    features.apply(settings)
    (settings.lake / "fingerprints" / "vintage=v1").mkdir(parents=True)
    with features.opened(settings) as store:
        for frame, code in (
            (rows("v1", "v2"), "FPM-PIT-016"),
            (rows("v1").with_columns(known_at=pl.lit(datetime.now(UTC) + HOUR)), "FPM-PIT-015"),
        ):
            with pytest.raises(InputRefused, match=code):
                _ask(store, frame)


def _ask(store: FeatureStore, frame: pl.DataFrame) -> None:
    store.get_historical_features(entity_df=frame, features=["fingerprints:fingerprint"])  # type: ignore[arg-type]
