"""Entity frames in every form, and the questions that are refused before anything is read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import FeatureStore

from fpm.errors import InputRefused, UsageError
from fpm.store.frames.entities import (
    FOREVER,
    Serving,
    check_columns,
    check_known_at,
    check_vintages,
    clocks,
    entity_rows,
)
from fpm.store.lake.files import Lake
from fpm.store.retrieval import features
from fpm.store.settings import Settings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAIVE = datetime(2024, 1, 5)  # noqa: DTZ001  the fault under test
HOUR = timedelta(hours=1)
MOMENT = pl.Datetime("us", "UTC")
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
    expected = rows("v1", None)
    expected.write_parquet(tmp_path / "rows.parquet")
    pandas: pd.DataFrame = expected.to_pandas()
    for form in (expected, pandas, expected.to_arrow(), tmp_path / "rows.parquet", str(tmp_path / "rows.parquet")):
        assert entity_rows(form).equals(expected)
    assert isinstance(expected.to_arrow(), pa.Table)


@pytest.mark.parametrize("form", ["SELECT 1", None, "nowhere.parquet", 7])
def test_sql_ranges_and_missing_files_are_refused(form: object) -> None:
    with pytest.raises(UsageError, match="FPM-PIT-001"):
        entity_rows(form)  # type: ignore[arg-type]


def test_rows_that_would_be_misread_are_refused() -> None:
    check_columns(rows("v1"), [FINGERPRINTS])
    for missing in ("event_timestamp", "symbol", "vintage"):
        with pytest.raises(UsageError, match=f"FPM-PIT-002.*'{missing}'"):
            check_columns(rows("v1").drop(missing), [FINGERPRINTS])
    with pytest.raises(UsageError, match=r"FPM-PIT-007.*'fingerprint'.*of fingerprints"):
        check_columns(rows("v1").with_columns(fingerprint=pl.lit(1.0)), [FINGERPRINTS])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"event_timestamp": pl.lit(NAIVE)}, "FPM-PIT-003"),
        ({"known_at": pl.lit(NAIVE)}, "FPM-PIT-003"),
        ({"known_at": pl.lit("2024-01-05")}, "FPM-PIT-003"),
        ({"event_timestamp": pl.lit(None, dtype=MOMENT)}, "FPM-PIT-004"),
        ({"known_at": pl.lit(None, dtype=MOMENT)}, "FPM-PIT-004"),
    ],
)
def test_moments_without_a_zone_or_a_value_are_refused(change: dict[str, pl.Expr], code: str) -> None:
    with pytest.raises(InputRefused, match=code):
        clocks(rows("v1").with_columns(**change))


def test_the_second_clock_and_its_defaults() -> None:
    later = rows("v1").with_columns(known_at=pl.lit(NOW + HOUR))
    for moments, known_at in (
        (clocks(rows("v1")), NOW),
        (clocks(rows("v1"), latest=True), FOREVER),
        (clocks(rows("v1"), latest=True, tied=True), NOW),
        (clocks(later), NOW + HOUR),
        (clocks(later, latest=True), NOW + HOUR),
        (clocks(later, tied=True), NOW),
    ):
        assert moments.rows() == [(NOW, known_at)]
        assert dict(moments.schema) == {"event_timestamp": MOMENT, "known_at": MOMENT}
    assert clocks(rows("v1").clear(), latest=True).rows() == []


def test_nobody_asks_what_will_be_known() -> None:
    now = rows("v1", "v1")
    check_known_at(now, NOW)
    check_known_at(now.with_columns(known_at=pl.lit(NOW)), NOW)
    check_known_at(now.with_columns(known_at=pl.lit(None, dtype=MOMENT)), NOW)
    with pytest.raises(InputRefused, match=r"FPM-PIT-015.*1 of 2 rows ask what is known at 2026-03-02 13:00"):
        check_known_at(now.with_columns(known_at=pl.Series([NOW, NOW + HOUR])), NOW)


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


def test_through_feast_the_first_of_several_faults_is_named(settings: Settings) -> None:
    """Columns, then what is still to come, then vintages, then zones; all before the job exists."""
    features.apply(settings)
    (settings.lake / "fingerprints" / "vintage=v1").mkdir(parents=True)
    naive = rows("v1").with_columns(pl.col("event_timestamp").dt.replace_time_zone(None))
    unknown = naive.with_columns(vintage=pl.lit("v2"))
    to_come = unknown.with_columns(known_at=pl.lit(datetime.now(UTC) + HOUR))
    with features.opened(settings) as store:
        for frame, code in (
            (to_come.drop("symbol"), "FPM-PIT-002"),
            (to_come, "FPM-PIT-015"),
            (unknown, "FPM-PIT-016"),
            (rows("v1", "v2"), "FPM-PIT-016"),
            (naive, "FPM-PIT-003"),
        ):
            with pytest.raises((InputRefused, UsageError), match=code):
                _ask(store, frame)


def _ask(store: FeatureStore, frame: pl.DataFrame) -> None:
    store.get_historical_features(entity_df=frame, features=["fingerprints:fingerprint"])  # type: ignore[arg-type]
