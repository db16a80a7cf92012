"""Scores from outside: streams by name, two clocks, and every bad row by its code; the account balances."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fpm.errors import UsageError
from fpm.ingest.score_files import require_stream_name
from fpm.sessions import close, cut_off
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval.exports import table
from fpm.store.settings import Settings
from producers.bars import Arrival
from producers.delivery_check import Home, check
from tests.daily_home import DAYS, NAMES, NOW, US, daily_bars, take
from tests.prepared_home import PreparedHome, prepared
from tests.small_chain import quiet

DAY, NEXT, LAST = DAYS[0], DAYS[1], DAYS[-1]


def rows(day: date = DAY, **columns: Any) -> pl.DataFrame:
    """Four scores of a session, 0.1 to 0.4; `columns` are set on top."""
    frame = pl.DataFrame({"symbol": NAMES[:4], "session": [day] * 4, "score": [0.1, 0.2, 0.3, 0.4]})
    return frame.with_columns(**{name: pl.Series(cells) for name, cells in columns.items()})


def stored(stores: Stores, day: date = DAY, known_at: datetime | None = None) -> dict[tuple[str, str], float]:
    frame = stores.as_of(known_at).read("stream_scores", day, columns=["symbol", "stream", "score"])
    return {(symbol, stream): score for _, symbol, stream, score in frame.rows()}


@pytest.fixture(scope="module")
def prepared_home(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    folder = tmp_path_factory.mktemp("prepared")

    def fill(stores: Stores) -> None:
        daily_bars().write_parquet(folder / "daily_bars.parquet")
        take(stores, folder / "daily_bars.parquet")

    with prepared(postgres_server, folder / "home", fill, market="us") as home:
        yield home


@pytest.fixture
def us(prepared_home: PreparedHome, tmp_path: Path) -> Iterator[Stores]:
    with prepared_home.copied(tmp_path / "home") as stores:
        yield stores


# --- names ----------------------------------------------------------------------------------------------------------
def test_a_stream_is_named_by_column_option_or_file(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "mine.parquet")
    take(us, tmp_path / "mine.parquet")
    take(us, tmp_path / "mine.parquet", stream="other")  # the same bytes under another name are news
    rows(stream=["a", "a", "b", "b"]).write_csv(tmp_path / "third.csv")
    report = take(us, tmp_path / "third.csv", stream="unused").to_dict()
    assert report["reference"]["stream_scores"] == {"rows_in": 4, "rows_out": 4, "quarantined": 0}
    assert sorted({stream for _, stream in stored(us)}) == ["a", "b", "mine", "other"]
    assert stored(us)["NA.US", "mine"] == 0.1 and report["streams"]["b"]["rows"] == 2
    assert take(us, tmp_path / "mine.parquet").skipped == ["mine.parquet"]
    assert table("stream_scores", None, tmp_path / "out.parquet", us) == 12


def test_a_name_of_ours_is_refused(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "dual.parquet")
    report = take(us, tmp_path / "dual.parquet")
    assert [file["code"] for file in report.refused] == ["FPM-IN-163"]
    rows(stream=["dual", "dual", "x", "x"]).write_parquet(tmp_path / "some.parquet")
    assert take(us, tmp_path / "some.parquet").to_dict()["reference_faults"]["stream_scores"]["FPM-IN-163"]["rows"] == 2
    for name in ("dual", "", "a b", "../x"):
        with pytest.raises(UsageError, match="FPM-IN-163"):
            require_stream_name(name)


def test_other_spellings_are_known(us: Stores, tmp_path: Path) -> None:
    rows().rename({"symbol": "ticker", "session": "datetime", "score": "prediction"}).with_columns(
        pl.col("datetime").cast(pl.Datetime("ns"))
    ).write_parquet(tmp_path / "qlib.parquet")
    take(us, tmp_path / "qlib.parquet")
    assert stored(us)["ND.US", "qlib"] == 0.4


# --- two clocks -----------------------------------------------------------------------------------------------------
def test_history_in_bulk_is_known_from_the_cut_off(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "s.parquet")
    take(us, tmp_path / "s.parquet")
    limit = cut_off(US, DAY)
    assert len(stored(us, known_at=limit)) == 4 and stored(us, known_at=limit - timedelta(microseconds=1)) == {}


def test_a_home_that_publishes_knows_later_scores_from_their_arrival(us: Stores, tmp_path: Path) -> None:
    us.ledger.publish(us.ledger.begin("publish", DAY.isoformat(), ""), ())
    rows(NEXT).write_parquet(tmp_path / "s.parquet")
    take(us, tmp_path / "s.parquet")
    assert stored(us, NEXT, NOW - timedelta(microseconds=1)) == {} and len(stored(us, NEXT, NOW)) == 4


def test_a_rows_own_moment_counts_but_never_before_the_close(us: Stores, tmp_path: Path) -> None:
    end = close(US, DAY)
    moments = [end - timedelta(hours=3), end + timedelta(minutes=1), cut_off(US, DAY) + timedelta(days=2), None]
    rows(known_at=pl.Series(moments, dtype=pl.Datetime("us", "UTC"))).write_parquet(tmp_path / "s.parquet")
    take(us, tmp_path / "s.parquet")
    known = dict(us.read("stream_scores", DAY).select("symbol", "created_timestamp").rows())
    assert [known[f"{name}.US"] for name in NAMES[:4]] == [end, *moments[1:3], cut_off(US, DAY)]


def test_a_moment_without_a_zone_is_the_exchanges(us: Stores, tmp_path: Path) -> None:
    rows(known_at=["2024-10-01 17:30:00"] * 4).write_csv(tmp_path / "s.csv")
    take(us, tmp_path / "s.csv")
    known = us.read("stream_scores", DAY)["created_timestamp"].unique().to_list()
    assert known == [datetime(2024, 10, 1, 21, 30, tzinfo=UTC)]  # New York in summer


def test_a_correction_is_appended(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "s.parquet")
    take(us, tmp_path / "s.parquet")
    later = NOW + timedelta(days=1)
    early = close(US, DAY) + timedelta(minutes=1)  # a correction cannot say that it was known all along
    changed = rows(score=[0.1, 0.9, 0.3, 0.4], known_at=pl.Series([early] * 4, dtype=pl.Datetime("us", "UTC")))
    (tmp_path / "again").mkdir()
    changed.write_parquet(tmp_path / "again" / "s.parquet")
    take(us, tmp_path / "again" / "s.parquet", known_at=later)
    assert stored(us, known_at=later - timedelta(microseconds=1))["NB.US", "s"] == 0.2
    assert stored(us, known_at=later)["NB.US", "s"] == 0.9
    files = us.lake.files("stream_scores", DAY, DAY)
    assert us.lake.decode(files[0][1]).height == 5


def test_the_correction_of_one_score_is_no_flat_session(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "s.parquet")
    take(us, tmp_path / "s.parquet")
    rows().head(1).with_columns(score=pl.lit(0.7)).write_parquet(tmp_path / "t.parquet")
    take(us, tmp_path / "t.parquet", stream="s", known_at=NOW + timedelta(days=1))
    assert stored(us)["NA.US", "s"] == 0.7 and len(stored(us)) == 4


# --- bad input ------------------------------------------------------------------------------------------------------
SATURDAY, NAN, INF = date(2024, 10, 5), float("nan"), float("inf")
BAD = [
    (rows(score=[NAN, 0.2, 0.3, 0.4]), {"FPM-IN-160": 1}),
    (rows(score=[INF, 0.2, None, 0.4]), {"FPM-IN-160": 2}),
    (rows(symbol=["NA", "NB", "NC", "ZZTOP"]), {"FPM-IN-161": 1}),
    (rows(symbol=["NA", "NA", "NC", "ND"]), {"FPM-IN-015": 2}),
    (rows(session=[DAY, DAY, DAY, SATURDAY]), {"FPM-IN-135": 1}),
    (pl.concat([rows(), rows(NEXT, score=[0.5] * 4)]), {"FPM-IN-162": 4}),
    (pl.concat([rows(), rows(NEXT, score=[0.5, NAN, 0.5, None])]), {"FPM-IN-160": 2, "FPM-IN-162": 2}),
    (rows(stream=["a", "a", None, "a b"]), {"FPM-IN-163": 2}),
    (rows(known_at=pl.Series([NOW + timedelta(days=1), None, None, None])), {"FPM-IN-164": 1}),
]


@pytest.mark.parametrize(("frame", "codes"), BAD, ids=[" ".join(codes) for _, codes in BAD])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_bad_rows_are_set_aside_by_name(
    frame: pl.DataFrame, codes: dict[str, int], suffix: str, us: Stores, tmp_path: Path
) -> None:
    path = tmp_path / f"s.{suffix}"
    if suffix == "csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    answer = check([path], Arrival(NOW, NOW), Home(US, us), quiet)
    assert us.sessions("stream_scores") == [] and not answer.whole
    [seen] = answer.files
    assert {fault["code"]: fault["rows"] for fault in seen["quarantined"]} == codes
    report = take(us, path).to_dict()
    faults = report["reference_faults"]["stream_scores"]
    assert {code: fault["rows"] for code, fault in faults.items()} == codes
    counts = report["reference"]["stream_scores"]
    assert (
        counts["rows_in"] == frame.height == counts["rows_out"] + counts["quarantined"] + counts.get("deduplicated", 0)
    )
    assert counts["rows_out"] == seen["rows_out"] == sum(len(stored(us, day)) for day in us.sessions("stream_scores"))
    assert list((us.settings.quarantine / "stream_scores").rglob("*.parquet"))


def test_equal_rows_count_once_within_and_across_files(us: Stores, tmp_path: Path) -> None:
    pl.concat([rows(), rows().head(1)]).write_parquet(tmp_path / "scores.parquet")
    rows(score=[0.1, 0.2, 0.35, 0.4]).write_csv(tmp_path / "scores.csv")
    report = take(us, tmp_path).to_dict()
    counts = report["reference"]["stream_scores"]
    # in: 5 + 4; a copy in the file, three across files, the two that disagree set aside
    assert counts == {"rows_in": 9, "rows_out": 3, "quarantined": 2, "deduplicated": 4}
    assert report["reference_faults"]["stream_scores"]["FPM-IN-034"]["rows"] == 2
    assert sorted(symbol for symbol, _ in stored(us)) == ["NA.US", "NB.US", "ND.US"]


def test_symbols_of_bars_that_come_later_are_taken_then(settings: Settings, tmp_path: Path) -> None:
    stores = open_stores(settings.model_copy(update={"market": "us"}))
    rows().write_parquet(tmp_path / "s.parquet")
    assert take(stores, tmp_path / "s.parquet").reference["stream_scores"]["quarantined"] == 4
    folder = tmp_path / "raw"
    folder.mkdir()
    daily_bars().write_parquet(folder / "daily_bars.parquet")
    assert check([folder, tmp_path / "s.parquet"], Arrival(NOW, NOW), Home(US, stores), quiet).whole
    take(stores, folder, tmp_path / "s.parquet")
    assert len(stored(stores)) == 4
    stores.ledger.close()
