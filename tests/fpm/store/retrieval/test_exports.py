"""Files for other programs: a bad question gets an error by name, and no file is written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fpm import sessions
from fpm.errors import FpmError, InputRefused
from fpm.schema import DAILY_FACTORS, FINGERPRINT_SIZE
from fpm.store.ledger.stores import Stores
from fpm.store.retrieval import exports, features
from fpm.store.settings import Settings
from tests.lake_files import put

CN = sessions.market("cn")
FIRST, SECOND = sessions.next_sessions(CN, date(2024, 1, 4), 2)
CLOSE = sessions.close(CN, SECOND)
CUT_OFF = sessions.cut_off(CN, SECOND)


@pytest.fixture
def filled(settings: Settings, stores: Stores) -> Stores:
    """Two sessions of A and B, B delisted after the first; fingerprints of two vintages."""
    features.apply(settings)
    for day, symbols in ((FIRST, ["A", "B"]), (SECOND, ["A"])):
        clocks = {"event_timestamp": sessions.close(CN, day), "created_timestamp": sessions.cut_off(CN, day)}
        keys = pl.DataFrame({"symbol": symbols}).with_columns(
            **{name: pl.lit(moment) for name, moment in clocks.items()}
        )
        bars = keys.with_columns(**{name: pl.lit(1.0) for name in ("open", "close", "volume")})
        put(settings, "daily_bars", day, bars)
        put(settings, "daily_factors", day, keys.with_columns(**{name: pl.lit(0.5) for name in DAILY_FACTORS}))
        vector = pl.lit([0.25] * FINGERPRINT_SIZE, dtype=pl.Array(pl.Float32, FINGERPRINT_SIZE)).alias("fingerprint")
        for vintage in ("v1", "v2"):
            put(settings, "fingerprints", day, keys.with_columns(vector, vintage=pl.lit(vintage)), vintage)
    return stores


def entities(**changes: object) -> pl.DataFrame:
    """A in both sessions under v1."""
    closes = [sessions.close(CN, FIRST), CLOSE]
    rows = pl.DataFrame({"symbol": ["A", "A"], "event_timestamp": closes, "vintage": "v1"})
    return rows.with_columns(
        **{name: value if isinstance(value, pl.Series) else pl.lit(value) for name, value in changes.items()}
    )


def frame_file(
    stores: Stores, folder: Path, rows: pl.DataFrame, name: str = "dual_stream", known_at: datetime | None = CUT_OFF
) -> Path:
    rows.write_parquet(folder / "entities.parquet")
    exports.frame(name, folder / "entities.parquet", known_at, folder / "frame.parquet", stores)
    return folder / "frame.parquet"


def test_a_good_question_is_answered(filled: Stores, tmp_path: Path) -> None:
    frame = pl.read_parquet(frame_file(filled, tmp_path, entities()))
    assert frame["fingerprint"].arr.first().to_list() == [0.25, 0.25]
    delisted = entities(symbol="B")
    assert (
        pl.read_parquet(frame_file(filled, tmp_path, delisted)).height == 2
    )  # a symbol that was in the store keeps its rows


@pytest.mark.parametrize("as_text", [False, True])
def test_a_session_stands_for_its_close_and_its_cut_off(filled: Stores, tmp_path: Path, as_text: bool) -> None:
    days = entities().select("symbol", "vintage", session=pl.Series([FIRST, SECOND]))
    days = days.with_columns(pl.col("session").cast(pl.String)) if as_text else days
    days.write_parquet(tmp_path / "entities.parquet")
    exports.frame("dual_stream", tmp_path / "entities.parquet", None, tmp_path / "by_session.parquet", filled)
    moments = [sessions.cut_off(CN, FIRST), CUT_OFF]
    answer = pl.read_parquet(frame_file(filled, tmp_path, entities(known_at=pl.Series(moments)), known_at=None))
    assert pl.read_parquet(tmp_path / "by_session.parquet").select(answer.columns).equals(answer)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (entities().drop("event_timestamp"), "FPM-FRAME-001"),
        (entities().drop("symbol"), "FPM-FRAME-001"),
        (entities().with_columns(pl.col("event_timestamp").dt.replace_time_zone(None)), "FPM-FRAME-002"),
        (entities().with_columns(pl.col("event_timestamp").dt.to_string()), "FPM-FRAME-002"),
        (entities(event_timestamp=pl.Series([CLOSE, None])), "FPM-FRAME-005"),
        (entities(symbol=pl.Series(["A", "AA"])), "FPM-FRAME-003"),
        (entities(vintage="v3"), "FPM-PIT-016"),
        (entities(vintage=pl.Series(["v1", "v2"])), "FPM-PIT-017"),
        (entities(known_at=CLOSE.replace(tzinfo=None)), "FPM-PIT-003"),
        (entities(known_at=datetime.now(UTC) + timedelta(days=1)), "FPM-PIT-015"),
        (entities(fingerprint=1.0), "FPM-PIT-007"),
        (entities().select("symbol", session=pl.lit("2 Jan")), "FPM-FRAME-005"),
        (entities().select("symbol", session=pl.lit(date(2024, 1, 6))), "FPM-PIT-018"),
    ],
)
def test_a_bad_question_has_a_name_and_leaves_no_file(
    filled: Stores, tmp_path: Path, rows: pl.DataFrame, code: str
) -> None:
    rows.write_parquet(tmp_path / "entities.parquet")
    with pytest.raises(FpmError, match=code) as refusal:
        exports.frame("dual_stream", tmp_path / "entities.parquet", None, tmp_path / "frame.parquet", filled)
    assert "nothing was" in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["entities.parquet"]


def test_unknown_names_and_moments_to_come(filled: Stores, tmp_path: Path) -> None:
    with pytest.raises(FpmError, match=r"FPM-PIT-008.*dual_stream"):
        frame_file(filled, tmp_path, entities(), name="dual_steam")
    with pytest.raises(FpmError, match="FPM-PIT-003"):
        frame_file(filled, tmp_path, entities(), known_at=CLOSE.replace(tzinfo=None))
    with pytest.raises(InputRefused, match="FPM-PIT-015"):
        frame_file(filled, tmp_path, entities(), known_at=datetime.now(UTC) + timedelta(hours=1))
    assert not (tmp_path / "frame.parquet").exists()
