"""`fpm verify` finds each planted fault and nothing else; no reader serves a forged partition."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumers import factor_returns, parity, portfolio, publish
from consumers.questions import diff, integrity
from consumers.questions.integrity import Fault
from fpm.errors import StoreCorrupt, UsageError
from fpm.sessions import close, cut_off
from fpm.store.frames import point_in_time
from fpm.store.frames.vector_archive import vector_archive
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import exports, features
from fpm.store.retrieval.training_matrix import training_matrix
from tests.consumers.questions.conftest import Command
from tests.consumers.small_lake import VINTAGE, SmallLake
from tests.prepared_home import PreparedHome, prepared
from tests.small_home import MONDAY, TUESDAY

OTHER = "another-20241115-0f0f0f0f"


def fill(stores: Stores) -> None:
    """Monday and Tuesday, Tuesday online; scores of Tuesday were corrected, fingerprints are of two vintages."""
    lake = SmallLake()
    features.apply(stores.settings)
    stores.ledger.decide("market", "cn")
    stores.ledger.decide("preset", "tiny")
    lake.fill(stores, MONDAY, TUESDAY)
    others = lake.fingerprints(TUESDAY).with_columns(vintage=pl.lit(OTHER))
    publish_frames("fingerprints", TUESDAY, {"fingerprints": others}, stores.for_vintage(OTHER))
    for session in (MONDAY, TUESDAY):
        run_job(factor_returns, session, stores)
        run_job(portfolio, session, stores)
    run_job(publish, TUESDAY, stores)


@pytest.fixture(scope="module")
def prepared_home(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    folder = tmp_path_factory.mktemp("prepared")
    with prepared(postgres_server, folder / "home", fill) as home:
        yield home


@pytest.fixture
def home(prepared_home: PreparedHome, tmp_path: Path) -> Iterator[Stores]:
    with prepared_home.copied(tmp_path / "home") as stores:
        yield stores


def faults(stores: Stores, *question: object) -> list[Fault]:
    table, span = question or (None, None)
    return list(integrity.integrity(table, span, stores, lambda *_: None).faults)  # type: ignore[arg-type]


def file_of(stores: Stores, table: str, vintage: str | None = None) -> Path:
    return stores.lake.root / stores.lake.relative(table, TUESDAY, vintage)


# --- readers and forgeries --------------------------------------------------------------------------------------------
def entities() -> pl.DataFrame:
    return pl.DataFrame({"symbol": SmallLake().names, "session": TUESDAY, "vintage": VINTAGE, "stream": "dual"})


def export(stores: Stores, table: str) -> object:
    return exports.table(table, None, stores.settings.home / "export.parquet", stores)


def frame_file(stores: Stores, table: str) -> object:
    folder = stores.settings.home
    rows = entities().drop("session").with_columns(event_timestamp=pl.lit(close(stores.market, TUESDAY)))
    rows.write_parquet(folder / "entities.parquet")
    known_at = cut_off(stores.market, TUESDAY)
    return exports.frame(table, folder / "entities.parquet", known_at, folder / "frame.parquet", stores)


def pulled(stores: Stores, table: str) -> object:
    with features.opened(stores.settings) as store:
        source = store.get_feature_view(table).batch_source
        provider = store._get_provider()
        moment = close(stores.market, TUESDAY)
        return provider.offline_store.pull_all_from_table_or_query(
            store.config, source, ["symbol"], [], "event_timestamp", "created_timestamp", moment, moment
        ).to_arrow()


READERS: dict[str, Callable[[Stores, str], object]] = {
    "read": lambda stores, table: stores.read(table, TUESDAY, vintage=vintage_of(table)),
    "read of a column": lambda stores, table: stores.read(
        table, MONDAY, TUESDAY, columns=["symbol"], vintage=vintage_of(table)
    ),
    "read as served": lambda stores, table: stores.for_vintage(vintage_of(table)).read_served(table, MONDAY, TUESDAY),
    "export": export,
    "frame": lambda stores, table: features.frame(stores.settings, table, entities()),
    "frame in blocks": lambda stores, table: list(features.frame_batches(stores.settings, table, entities())),
    "frame file": frame_file,
    "training matrix": lambda stores, table: training_matrix(stores.settings, table, entities()),
    "pull of Feast": pulled,
    "diff": lambda stores, table: diff.diff(
        cut_off(stores.market, MONDAY), cut_off(stores.market, TUESDAY), TUESDAY, stores
    ),
    "publication": lambda stores, table: publish.run(TUESDAY, stores),
    "parity": lambda stores, table: parity.run(TUESDAY, stores),
}
VECTOR_READERS = {"vector archive": lambda stores, table: vector_archive(VINTAGE, stores)}


def vintage_of(table: str) -> str | None:
    return VINTAGE if table == "fingerprints" else None


def forgeries(stores: Stores, table: str, older: bytes) -> dict[str, bytes]:
    """Contents of forged files by what is wrong with them; all but half a file are whole, with valid checksums."""
    path = file_of(stores, table, vintage_of(table))
    rows = stores.lake.decode(path)
    edit = pl.col("score") * 1.0001 if table == "scores" else pl.col("fingerprint").reverse()
    relative, scratch = path.relative_to(stores.lake.root).as_posix(), stores.lake.staging / "forgery"
    stores.lake.stage(table, rows.with_columns(edit), relative, scratch)
    forged = {
        "an edited value": (scratch / relative).read_bytes(),
        "the file of another session": (
            stores.lake.root / stores.lake.relative(table, MONDAY, vintage_of(table))
        ).read_bytes(),
        "an older version": older,
        "half a file": path.read_bytes()[: path.stat().st_size // 2],
    }
    if table == "fingerprints":
        forged["the file of another vintage"] = file_of(stores, table, OTHER).read_bytes()
    return forged


@pytest.mark.parametrize("table", ["scores", "fingerprints"])
def test_no_reader_serves_a_forged_partition(home: Stores, table: str) -> None:
    path = file_of(home, table, vintage_of(table))
    older, vintaged = path.read_bytes(), home.for_vintage(vintage_of(table))
    corrected = home.lake.decode(path)
    late = pl.lit(cut_off(home.market, TUESDAY), dtype=pl.Datetime("us", "UTC")) + pl.duration(hours=1)
    change = {"score": pl.col("score") + 1} if table == "scores" else {"fingerprint": pl.lit(None)}
    change = {**change, "created_timestamp": late}
    publish_frames(table, TUESDAY, {table: pl.concat([corrected, corrected.with_columns(**change)[:1]])}, vintaged)
    readers = READERS | (VECTOR_READERS if table == "fingerprints" else {})
    run_job(publish, TUESDAY, home)
    for name, read in readers.items():
        if name != "vector archive":  # it keeps what it has read; a forgery may not enter
            read(home, table)
    sound, before = path.read_bytes(), path.stat()
    assert older != sound
    fresh = open_stores(home.settings)
    for what, content in forgeries(home, table, older).items():
        path.write_bytes(content)  # in place, with the former time of modification
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        for name, read in readers.items():
            for stores in (home, fresh):
                with pytest.raises(StoreCorrupt, match="FPM-LAKE-111") as refused:
                    read(stores, table)
                assert str(path) in refused.value.wrong, (what, name)
        assert [fault.place for fault in faults(home, table, (TUESDAY, TUESDAY))][:1] == [str(path)], what
    path.write_bytes(sound)  # restored from a backup
    for name, read in readers.items():
        assert read(home, table) is not False, name
    assert faults(home) == []
    fresh.ledger.close()


def test_a_file_that_nobody_published_is_refused(home: Stores, tmp_path: Path) -> None:
    wednesday = home.lake.root / "scores/session=2024-12-04/part-0.parquet"
    wednesday.parent.mkdir()
    shutil.copy(file_of(home, "scores"), wednesday)
    with pytest.raises(StoreCorrupt, match=r"FPM-LAKE-111.*the ledger does not know it"):
        exports.table("scores", None, tmp_path / "out.parquet", home)
    assert not (tmp_path / "out.parquet").exists()
    (fault,) = faults(home)
    assert fault.place == str(wednesday) and "does not know" in fault.wrong


def test_publications_beside_a_reader_are_never_taken_for_forgeries(home: Stores) -> None:
    rows = home.lake.decode(file_of(home, "scores"))
    other = open_stores(home.settings)
    with ThreadPoolExecutor(1) as writer:
        publishing = writer.submit(
            lambda: [
                publish_frames("scores", TUESDAY, {"scores": rows.with_columns(pl.col("score") + number)}, other)
                for number in range(1, 26)
            ]
        )
        reads, symbols = 0, entities()
        while not publishing.done() or reads < 10:
            assert home.read("scores", TUESDAY).height == 36
            assert point_in_time.window(home.lake, "scores", ["symbol"], None, None).height == 72
            reads += 1
    assert [outcome.status for outcome in publishing.result()] == ["published"] * 25
    assert features.frame(home.settings, "scores", symbols)["score"].null_count() == 0
    other.ledger.close()


# --- verify -----------------------------------------------------------------------------------------------------------
def lose(home: Stores) -> str:
    file_of(home, "daily_factors").unlink()
    return "fpm run daily_factors 2024-12-03"


def lose_raw(home: Stores) -> str:
    file_of(home, "daily_bars").unlink()
    return "fpm ingest PATH"


def change(home: Stores) -> str:
    path = file_of(home, "weights")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    return "fpm run portfolio 2024-12-03"


def add(home: Stores) -> str:
    (home.lake.root / "labels").mkdir(exist_ok=True)
    (home.lake.root / "labels" / "notes.parquet").write_bytes(b"mine")
    return "move it out of the lake"


def change_weights(home: Stores) -> str:
    (home.models.root / "encoder" / VINTAGE / "weights.safetensors").write_bytes(b"f")
    return "fpm train encoder --through 2024-11-15"


def change_manifest(home: Stores) -> str:
    (home.models.root / "scorer" / "scorer-1" / "manifest.json").write_bytes(b"{}")
    return "fpm train scorer --through 2024-11-15"


def add_weights(home: Stores) -> str:
    (home.models.root / "scorer" / "scorer-1" / "more.safetensors").write_bytes(b"{}")
    return "move it out of the model's folder"


def change_online(home: Stores) -> str:
    assert home.ledger.execute("UPDATE online.scores SET score = score + 1e-12 WHERE symbol = '600003.SH'") == 3
    return "fpm run publish 2024-12-03"


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        (lose, "missing"),
        (lose_raw, "missing"),
        (change, "changed: sha256"),
        (add, "does not know"),
        (change_weights, "changed: sha256"),
        (change_manifest, "changed: sha256"),
        (add_weights, "no file of this model"),
        (change_online, "3 cells differ (score)"),
    ],
)
def test_each_planted_fault_is_found_and_says_what_to_run(
    home: Stores, command: Command, plant: Callable[[Stores], str], word: str
) -> None:
    todo = plant(home)
    answer = command(home, "verify", "--json")
    document = json.loads(answer.output)
    assert answer.code == 1 and not document["sound"]
    fault, *rest = document["faults"]
    assert word in fault["wrong"] and todo in fault["todo"]
    assert all("not compared" in other["wrong"] for other in rest), "online rows need the lake's"


def test_a_sound_home_is_sound_and_a_copy_is_not_hashed_twice(home: Stores, command: Command) -> None:
    answer = command(home, "verify", "--json")
    document = json.loads(answer.output)
    assert answer.code == 0 and document["sound"] and document["faults"] == []
    ((count,),) = home.ledger.query("SELECT count(*) FROM fpm.files")
    assert document["files"] == count + 4, "two models of two files"
    assert document["online_rows"] == 12 + 12 + 36 + 12 + 12, "and as many fills as weights"
    assert "verify" in answer.errors, "a line of progress"
    path = file_of(home, "scores")
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    asked = "SELECT identity FROM fpm.files WHERE path = %s"
    name = path.relative_to(home.lake.root).as_posix()
    ((before,),) = home.ledger.query(asked, (name,))
    assert command(home, "verify", "scores", str(TUESDAY)).code == 0
    ((after,),) = home.ledger.query(asked, (name,))
    assert before != after and after.split(":")[0] == str(path.stat().st_ino)


def test_table_and_sessions_narrow_the_question(home: Stores, command: Command) -> None:
    change(home)
    assert faults(home, "scores", (MONDAY, MONDAY)) == []
    assert faults(home, "weights", (MONDAY, MONDAY)) == []
    assert command(home, "verify", "weights", str(MONDAY), str(TUESDAY)).code == 1
    with pytest.raises(UsageError, match="FPM-CFG-003"):
        faults(home, "weihgts", None)


def test_a_publication_meanwhile_is_no_fault(home: Stores) -> None:
    """Scores are published anew while verify is at an earlier file."""
    rows = home.lake.decode(file_of(home, "scores"))
    done = []

    def publish_once(number: int, total: int, item: object) -> None:
        if number == 1:
            nudged = rows.with_columns(score=pl.Series(np.nextafter(rows["score"].to_numpy(), np.inf)))
            publish_frames("scores", TUESDAY, {"scores": nudged}, home)
        done.append((number, total))

    answer = integrity.integrity("scores", (MONDAY, TUESDAY), home, publish_once)
    assert [fault.place for fault in answer.faults] == [f"online scores, session {TUESDAY}"]
    assert done == [(1, 2), (2, 2)]
