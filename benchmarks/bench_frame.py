"""Point-in-time frames: through Feast, our engine alone, and the floor: a hand-written Polars as-of join.

Run `python benchmarks/bench_frame.py [--symbols 5300] [--sessions 60] [--shuffled] [--large]`. Every way reads the same
files; its answer is compared with the floor's. Seconds: the shortest of some runs in turns, in one process, so that a
busy moment of the machine hits all. Memory: in a process of its own; the peak less what it held before the call (the
libraries and the entity rows), over the bytes of the answer. Feast's own DuckDB store runs where `duckdb` is installed
(`.venv-feast/bin/python`), beside the others, in a process that is ended where it takes more than it may.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import measure
import polars as pl

FLOOR, PEER = "Polars as-of join", "Feast on DuckDB"
PEER_MAY = 16e9, 300  # bytes of addresses beyond its start, and seconds
TTL = timedelta(days=10)
CASES = ((5300, 60, 158),)
LARGE = ((5300, 250, 158), (5300, 250, 286))


@dataclass(frozen=True)
class Place:
    """Where the files lie, and whether the 128 of the fingerprint are asked for beside the 158."""

    root: Path
    fingerprints: bool
    ordered: bool = True  # or the entity rows lie in no order, and one in a hundred is of an unknown symbol

    @property
    def entities(self) -> pl.DataFrame:
        rows = pl.read_parquet(self.root / "entities.parquet")
        if self.ordered:
            return rows
        unknown = pl.when(pl.int_range(pl.len()) % 100 == 0).then(pl.lit("unknown")).otherwise("symbol")
        return rows.sample(fraction=1, shuffle=True, seed=1).with_columns(unknown.alias("symbol"))

    @property
    def tables(self) -> tuple[str, ...]:
        return ("wide", "fingerprints")[: 1 + self.fingerprints]

    def files(self, table: str) -> list[str]:
        return sorted(map(str, (self.root / "lake" / table).glob("**/*.parquet")))


# --- the ways: each gives a call that makes the frame anew ------------------------------------------------------
def polars_as_of(place: Place) -> Callable[[], pl.DataFrame]:
    """Floor: as a careful person writes it. Files and entities lie in order of time; that what is found was known is
    checked afterwards, which is enough where every row has one version, known by then.
    """
    return _by_hand(
        place,
        lambda rows, stored, keys: _known(
            rows.join_asof(stored, on="event_timestamp", by=keys, tolerance=TTL, check_sortedness=False)
        ),
    )


def _known(rows: pl.DataFrame) -> pl.DataFrame:
    if rows.select((pl.col("created_timestamp") > pl.col("known_at")).any()).item():
        raise AssertionError("a row was not known yet: one clock is not enough")
    return rows.drop("created_timestamp")


def polars_exact(place: Place) -> Callable[[], pl.DataFrame]:
    """Below the floor: no question of time at all, the same keys and moments."""
    return _by_hand(
        place,
        lambda rows, stored, keys: _known(
            rows.join(stored, on=["event_timestamp", *keys], how="left", maintain_order="left")
        ),
    )


def _by_hand(place: Place, join: Callable[[pl.DataFrame, pl.DataFrame, list[str]], pl.DataFrame]) -> Any:
    entities = place.entities

    def call() -> pl.DataFrame:
        rows = entities if place.ordered else entities.with_row_index("_asked").sort("event_timestamp")
        for table in place.tables:
            stored = pl.read_parquet(place.files(table), hive_partitioning=False)
            rows = join(rows, stored, [key for key in ("symbol", "vintage") if key in stored.columns])
        return rows if place.ordered else rows.sort("_asked").drop("_asked")

    return call


def engine(place: Place) -> Callable[[], pl.DataFrame]:
    """Ours, without Feast: two clocks, page checksums verified."""
    import wide

    from fpm.store.frames import point_in_time
    from fpm.store.frames.entities import Question, Serving, check_columns, clocks
    from fpm.store.lake.files import Lake

    entities, lake = place.entities, Lake(place.root / "lake", place.root / "staging")
    servings = [Serving("wide", {"symbol": "symbol"}, {name: name for name in wide.COLUMNS}, TTL)]
    if place.fingerprints:
        keys = {"symbol": "symbol", "vintage": "vintage"}
        servings.append(Serving("fingerprints", keys, {"fingerprint": "fingerprint"}, TTL))

    def call() -> pl.DataFrame:
        check_columns(entities, servings)
        return point_in_time.frame(lake, Question(entities, clocks(entities), servings))

    return call


def feast(place: Place) -> Callable[[], Any]:
    """Ours, as a user asks for it: `get_historical_features` over our offline store, for Arrow."""
    return _feast(place, _ours(place), place.entities)


def feast_pandas(place: Place) -> Callable[[], Any]:
    """The same with pandas entities, whose moments Feast converts first."""
    return _feast(place, _ours(place), place.entities.to_pandas())


def _ours(place: Place) -> dict[str, str]:
    return {"type": "fpm.store.frames.offline_store.FpmOfflineStore", "lake": str(place.root / "lake")}


def feast_duckdb(place: Place) -> Callable[[], Any]:
    """Feast's own DuckDB store on the same files; it has one clock."""
    return _feast(place, {"type": "duckdb"}, place.entities.drop("known_at").to_pandas())


def _feast(place: Place, offline: dict[str, str], entities: Any) -> Callable[[], Any]:
    import wide
    from feast import FeatureStore, RepoConfig

    scratch = Path(tempfile.mkdtemp(dir=place.root))
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry=str(scratch / "registry.db"),
        offline_store=offline,
        online_store={"type": "sqlite", "path": str(scratch / "online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config, repo_path=scratch)
    folders = None if "lake" in offline else {table: place.root / "lake" / table for table in place.tables}
    store.apply(wide.definitions(folders))
    asked = [f"wide:{name}" for name in wide.COLUMNS] + ["fingerprints:fingerprint"][: place.fingerprints]
    return lambda: store.get_historical_features(entity_df=entities, features=asked).to_arrow()


WAYS: dict[str, Callable[[Place], Callable[[], Any]]] = {
    "exact-key join": polars_exact,
    FLOOR: polars_as_of,
    "our engine": engine,
    "Feast on our store": feast,
    "the same, pandas in": feast_pandas,
    PEER: feast_duckdb,
}


# --- one process each -------------------------------------------------------------------------------------------
def generate(place: Place, symbols: int, sessions: int) -> dict[str, Any]:
    """The lake, and one entity row for every symbol and session, known at the cut-off."""
    import wide

    from fpm.store.lake.files import Lake

    names = wide.symbols(symbols)
    wide.fill(Lake(place.root / "lake", place.root / "staging"), sessions, names, place.fingerprints)
    pl.concat(wide.entities(day, names, place.fingerprints) for day in wide.days(sessions)).write_parquet(
        place.root / "entities.parquet"
    )
    return {}


def measured(place: Place, way: str) -> dict[str, Any]:
    """Seconds and peak megabytes of the first run, and what came out."""
    call = WAYS[way](place)
    if way == PEER:
        bounded()
    measure.reset_peak()
    before = measure.resident("VmRSS")
    answers: list[Any] = []
    first = measure.seconds(lambda: answers.append(call()), 1)
    peak, answer = measure.resident("VmHWM"), answers.pop()
    return {
        "seconds": first,
        "peak": peak,
        "added": peak - before,
        "bytes": answer_size(answer) / measure.MEGABYTE,
        "checksum": checksum(pl.DataFrame(answer)),
    }


def bounded() -> None:
    """This process ends where it asks for more memory or processor time than the peer may."""
    used = measure.resident("VmSize") * measure.MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (int(used + PEER_MAY[0]),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (2 * PEER_MAY[1],) * 2)


def timed(place: Place, repeats: int) -> dict[str, Any]:
    """Every way of ours and the floor's: shortest wall time and processor time, in turns."""
    best: dict[str, tuple[float, float]] = {}
    calls = {way: make(place) for way, make in WAYS.items() if way != PEER}
    for _ in range(repeats):
        for way, call in calls.items():
            busy = time.process_time()
            spent = measure.seconds(call, 1), time.process_time() - busy
            least = best.get(way, spent)
            best[way] = min(least[0], spent[0]), min(least[1], spent[1])
    return best


def answer_size(answer: Any) -> int:
    return int(answer.estimated_size() if isinstance(answer, pl.DataFrame) else answer.nbytes)


def checksum(answer: pl.DataFrame) -> float:
    """Of some values, each weighted by its place: rows in another order would tell."""
    total = 0.0
    for name in ("factor_000", "factor_157", "fingerprint"):
        if name in answer.columns:
            column = answer[name] if name != "fingerprint" else answer[name].cast(pl.List(pl.Float32)).list.last()
            total += float((column.cast(pl.Float64) * pl.int_range(len(column), eager=True).cast(pl.Float64)).sum())
    return total


# --- the table --------------------------------------------------------------------------------------------------
def compare(symbols: int, sessions: int, width: int, shuffled: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-frame-") as folder:
        where = ("--root", folder, "--width", width, *(["--shuffled"] if shuffled else []))
        measure.in_process(__file__, *where, "--symbols", symbols, "--sessions", sessions)
        show(where, symbols * sessions, width)


def show(where: Sequence[object], rows: int, width: int) -> None:
    ways = [way for way in WAYS if way != PEER or importlib.util.find_spec("duckdb")]
    told = {way: _told(where, way) for way in ways}
    best = measure.in_process(__file__, *where, "--timed", 5 if rows < 500_000 else 3)
    floor = told[FLOOR]
    assert floor is not None
    measure.show(
        f"point-in-time frame, {rows:,} rows x {width} ({floor['bytes']:.0f} MB)",
        ["way", "seconds", f"x {FLOOR}", "CPU seconds", "x", "added MB", "added / answer", "same rows in order"],
        [row(way, one, floor, best) for way, one in told.items()],
    )
    if PEER not in told:
        print(f"{PEER}: duckdb is not installed, not run")


def _told(where: Sequence[object], way: str) -> dict[str, Any] | None:
    """None where the peer was ended."""
    try:
        return measure.in_process(__file__, *where, "--way", way)
    except subprocess.CalledProcessError:
        if way != PEER:
            raise
        return None


def row(way: str, one: dict[str, Any] | None, floor: dict[str, Any], best: dict[str, Any]) -> list[object]:
    if one is None:
        return [way, f"ended beyond {PEER_MAY[0] / 1e9:.0f} GB or {PEER_MAY[1]} s", *[""] * 6]
    same = abs(one["checksum"] - floor["checksum"]) <= 1e-9 * abs(floor["checksum"])
    spent, busy = best.get(way, (one["seconds"], float("nan")))
    figures = spent, spent / best[FLOOR][0], busy, busy / best[FLOOR][1], one["added"], one["added"] / one["bytes"]
    return [way, *figures, "yes" if same else "NO"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int)
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--width", type=int, choices=(158, 286))
    parser.add_argument("--large", action="store_true", help="250 sessions, with and without fingerprints")
    parser.add_argument("--shuffled", action="store_true", help="entity rows in no order, one in a hundred unknown")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--timed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.root is not None:
        place = Place(asked.root, asked.width == 286, not asked.shuffled)
        print(json.dumps(_done(place, asked)))
        return
    for symbols, sessions, width in LARGE if asked.large else CASES:
        compare(asked.symbols or symbols, asked.sessions or sessions, asked.width or width, asked.shuffled)


def _done(place: Place, asked: argparse.Namespace) -> dict[str, Any]:
    if asked.way:
        return measured(place, asked.way)
    return timed(place, asked.timed) if asked.timed else generate(place, asked.symbols, asked.sessions)


if __name__ == "__main__":
    main()
