"""Another encoder's vectors: one vintage, one length, two clocks, and every bad row or file by its code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fpm.errors import UsageError
from fpm.ingest.ingest_report import IngestReport
from fpm.ingest.vector_files import require_vintage_name
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval.exports import table
from producers.bars import Arrival, ingest
from producers.delivery_check import Home, check
from producers.vectors import Statement
from tests.daily_home import DAYS, NAMES, NOW, US, daily_bars, scores, take
from tests.prepared_home import PreparedHome, prepared
from tests.small_chain import quiet

DAY, NEXT, LAST = DAYS[0], DAYS[1], DAYS[-2]  # the cut-off of the last has not passed
BORN = date(2024, 9, 30)  # a Monday, the session before the first bars
NAN, INF = float("nan"), float("inf")
MOMENT = pl.Datetime("us", "UTC")


def rows(day: date = DAY, **columns: Any) -> pl.DataFrame:
    """Four vectors of three numbers; `columns` are set on top."""
    vectors = [[0.1, 0.2, 0.3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]
    frame = pl.DataFrame({"symbol": NAMES[:4], "session": [day] * 4, "vector": vectors})
    return frame.with_columns(**{name: pl.Series(cells) for name, cells in columns.items()})


def bring(
    stores: Stores, path: Path, vintage: str | None = "cnn", born: date | None = BORN, known_at: datetime = NOW
) -> IngestReport:
    arrival = replace(Arrival(known_at, known_at), of_vectors=Statement(vintage, born))
    return ingest([path], arrival, stores, quiet)


def stored(
    stores: Stores, day: date = DAY, known_at: datetime | None = None, vintage: str = "cnn"
) -> dict[str, list[float]]:
    frame = stores.as_of(known_at).read("vectors", day, day, columns=["symbol", "vector"], vintage=vintage)
    return {symbol: vector for _, symbol, vector in frame.rows()}


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


# --- vintages -------------------------------------------------------------------------------------------------------
def test_vectors_are_stored_under_their_vintage(us: Stores, tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    rows().write_parquet(path)
    report = bring(us, path).to_dict()
    assert report["reference"]["vectors"] == {"rows_in": 4, "rows_out": 4, "quarantined": 0}
    assert report["streams"]["cnn"]["rows"] == 4
    assert stored(us)["NB.US"] == [1.0, 0.0, 0.0]
    model = us.models.record("vectors", "cnn")
    assert model.through == BORN and model.born == cut_off(US, BORN) and model.manifest["length"] == 3
    assert bring(us, path, born=None).skipped == ["mine.parquet"]
    bring(us, path, vintage="other")  # the same bytes under another name are news
    assert us.lake.vintages("vectors") == ["cnn", "other"]
    assert table("vectors", None, tmp_path / "out.parquet", us) == 8


def test_a_column_names_a_vintage_that_the_home_knows(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "a.parquet")
    bring(us, tmp_path / "a.parquet")
    rows(NEXT, vintage=["cnn"] * 4).write_parquet(tmp_path / "b.parquet")
    bring(us, tmp_path / "b.parquet", vintage=None, born=None)
    assert len(stored(us, NEXT)) == 4
    assert bring(us, tmp_path / "b.parquet", vintage=None, born=None).skipped == ["b.parquet"]


FILES = [  # name of the case, the file, vintage, born, code
    ("no vintage", rows(), None, BORN, "FPM-IN-221"),
    ("a stream of ours", rows(vintage=["dual"] * 4), None, BORN, "FPM-IN-221"),
    ("no name", rows(vintage=["a.b"] * 4), None, BORN, "FPM-IN-221"),
    ("two vintages", rows(vintage=["a", "a", "b", "b"]), None, BORN, "FPM-IN-222"),
    ("another vintage", rows(vintage=["b"] * 4), "cnn", BORN, "FPM-IN-222"),
    ("mixed lengths", rows(vector=[[1.0], [1.0], [1.0, 2.0], [1.0]]), "new", BORN, "FPM-IN-223"),
    ("the vintage's length", rows(NEXT, vector=[[1.0, 2.0]] * 4), "cnn", None, "FPM-IN-223"),
    ("nobody says its birth", rows(), "new", None, "FPM-IN-228"),
    ("another birth", rows(NEXT), "cnn", DAY, "FPM-IN-229"),
    ("a stream of scores", rows(), "mine", BORN, "FPM-IN-230"),
    ("numbers, no lists", rows(vector=[1.0, 2.0, 3.0, 4.0]), "new", BORN, "FPM-IN-008"),
    ("lists of text", rows(vector=[["a"], ["b"], ["c"], ["d"]]), "new", BORN, "FPM-IN-008"),
]


@pytest.mark.parametrize(("frame", "vintage", "born", "code"), [case[1:] for case in FILES], ids=[c[0] for c in FILES])
def test_files_refused_whole(
    frame: pl.DataFrame, vintage: str | None, born: date | None, code: str, us: Stores, tmp_path: Path
) -> None:
    rows().write_parquet(tmp_path / "first.parquet")
    bring(us, tmp_path / "first.parquet")
    scores().write_parquet(tmp_path / "mine.parquet")
    take(us, tmp_path / "mine.parquet")
    path = tmp_path / "vectors.parquet"
    frame.write_parquet(path)
    before = us.ledger.current(["vectors"])
    arrival = replace(Arrival(NOW, NOW), of_vectors=Statement(vintage, born))
    [seen] = check([path], arrival, Home(US, us), quiet).files
    assert (seen["goes_in"], seen["code"]) == ("refused", code)
    report = bring(us, path, vintage, born)
    assert [file["code"] for file in report.refused] == [code]
    assert us.ledger.current(["vectors"]) == before and {m.id for m in us.models.list("vectors")} == {"cnn"}


def test_a_csv_has_no_vectors(us: Stores, tmp_path: Path) -> None:
    (tmp_path / "vectors.csv").write_text("symbol,session,vector\nNA,2024-10-01,0.5\n")
    assert [file["code"] for file in bring(us, tmp_path / "vectors.csv").refused] == ["FPM-IN-220"]


def test_words_that_are_wrong(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "v.parquet")
    for born in (date(2024, 10, 5), date(2024, 12, 2)):  # a Saturday, a session to come
        with pytest.raises(UsageError, match="FPM-IN-227"):
            bring(us, tmp_path / "v.parquet", born=born)
    for name in ("dual", "", "a b", "../x", "a.dual", "x" * 59):
        with pytest.raises(UsageError, match="FPM-IN-221"):
            require_vintage_name(name)


def test_scores_may_not_take_the_name_of_a_vintage(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "v.parquet")
    bring(us, tmp_path / "v.parquet")
    scores().write_parquet(tmp_path / "cnn.parquet")
    faults = take(us, tmp_path / "cnn.parquet").to_dict()["reference_faults"]["stream_scores"]
    assert set(faults) == {"FPM-IN-231"} and us.sessions("stream_scores") == []


# --- two clocks -----------------------------------------------------------------------------------------------------
def test_history_in_bulk_is_known_from_the_cut_off_and_never_before_the_birth(us: Stores, tmp_path: Path) -> None:
    pl.concat([rows(), rows(NEXT)]).write_parquet(tmp_path / "v.parquet")
    bring(us, tmp_path / "v.parquet", born=DAY)
    for day in (DAY, NEXT):
        limit = cut_off(US, day)
        assert len(stored(us, day, limit)) == 4 and stored(us, day, limit - timedelta(microseconds=1)) == {}
    bring(us, tmp_path / "v.parquet", vintage="late", born=LAST)
    assert stored(us, DAY, cut_off(US, LAST) - timedelta(microseconds=1), "late") == {}
    assert len(stored(us, DAY, cut_off(US, LAST), "late")) == 4


def test_a_home_that_publishes_knows_later_vectors_from_their_arrival(us: Stores, tmp_path: Path) -> None:
    us.ledger.publish(us.ledger.begin("publish", DAY.isoformat(), ""), ())
    rows(NEXT).write_parquet(tmp_path / "v.parquet")
    bring(us, tmp_path / "v.parquet")
    assert stored(us, NEXT, NOW - timedelta(microseconds=1)) == {} and len(stored(us, NEXT, NOW)) == 4


def test_a_correction_is_appended_and_equal_vectors_change_nothing(us: Stores, tmp_path: Path) -> None:
    rows().write_parquet(tmp_path / "v.parquet")
    bring(us, tmp_path / "v.parquet")
    again = rows().with_columns(vector=pl.Series([[0.1, 0.2, 0.3], [9.0, 0.0, 0.0], *rows()["vector"][2:]]))
    again.write_parquet(tmp_path / "again.parquet")
    later = NOW + timedelta(days=1)
    bring(us, tmp_path / "again.parquet", known_at=later)
    assert stored(us, known_at=later - timedelta(microseconds=1))["NB.US"] == [1.0, 0.0, 0.0]
    assert stored(us, known_at=later)["NB.US"] == [9.0, 0.0, 0.0]
    [(_, path)] = us.lake.files("vectors", DAY, DAY)
    assert us.lake.decode(path).height == 5


# --- bad rows -------------------------------------------------------------------------------------------------------
GOOD = rows()["vector"].to_list()
LATE = cut_off(US, DAY) + timedelta(seconds=1)
BAD = [
    (rows(vector=[[NAN, 0.0, 0.0], *GOOD[1:]]), {"FPM-IN-224": 1}),
    (rows(vector=[[INF, 0.0, 0.0], None, [], GOOD[3]]), {"FPM-IN-224": 3}),
    (rows(vector=[[1e300, 0.0, 0.0], *GOOD[1:]]), {"FPM-IN-224": 1}),  # no number of single precision
    (rows(symbol=["NA", "NB", "NC", "ZZTOP"]), {"FPM-IN-161": 1}),
    (rows(symbol=["NA", "NA", "NC", "ND"]), {"FPM-IN-015": 2}),
    (rows(session=[DAY, DAY, DAY, date(2024, 10, 5)]), {"FPM-IN-135": 1}),
    (rows(known_at=pl.Series([LATE, cut_off(US, DAY), None, None], dtype=MOMENT)), {"FPM-IN-226": 1}),
    (rows(known_at=pl.Series([NOW + timedelta(days=1), None, None, None], dtype=MOMENT)), {"FPM-IN-225": 1}),
]


@pytest.mark.parametrize(("frame", "codes"), BAD, ids=[" ".join(codes) for _, codes in BAD])
def test_bad_rows_are_set_aside_by_name(frame: pl.DataFrame, codes: dict[str, int], us: Stores, tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    frame.write_parquet(path)
    answer = check([path], replace(Arrival(NOW, NOW), of_vectors=Statement("cnn", BORN)), Home(US, us), quiet)
    assert us.sessions("vectors") == [] and not answer.whole
    [seen] = answer.files
    assert {fault["code"]: fault["rows"] for fault in seen["quarantined"]} == codes
    report = bring(us, path).to_dict()
    faults = report["reference_faults"]["vectors"]
    assert {code: fault["rows"] for code, fault in faults.items()} == codes
    assert sum(len(stored(us, day)) for day in us.sessions("vectors")) == 4 - sum(codes.values()) == seen["rows_out"]
    assert list((us.settings.quarantine / "vectors").rglob("*.parquet"))


def test_two_files_that_disagree_lose_the_key(us: Stores, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    rows().write_parquet(folder / "vectors.parquet")
    rows(vector=[[5.0, 5.0, 5.0], *GOOD[1:]]).write_parquet(folder / "others.parquet")
    report = bring(us, folder).to_dict()
    counts = report["reference"]["vectors"]
    assert counts == {"rows_in": 8, "rows_out": 3, "quarantined": 2, "deduplicated": 3}
    assert sorted(stored(us)) == ["NB.US", "NC.US", "ND.US"]
