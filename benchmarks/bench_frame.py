"""Point-in-time frames: through Feast, our engine alone, and the floor: a hand-written Polars as-of join.

Run `python benchmarks/bench_frame.py [--symbols 5300] [--sessions 60] [--shuffled] [--large]`. Every way reads the same
files, and its answer is compared with the floor's. Seconds: the shortest of several interleaved runs in one process, so
that a busy moment of the machine affects all ways. Memory: in a separate process, the peak minus the memory before the
call (libraries and entity rows), over the bytes of the answer. Feast's own DuckDB store runs beside the others if
`duckdb` is installed (`.venv-feast/bin/python`), in a process with limits on memory and time.
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
PEER_LIMITS = 16e9, 300  # bytes of address space beyond the start, and seconds
TTL = timedelta(days=10)
CASES = ((5300, 60, 158),)
LARGE = ((5300, 250, 158), (5300, 250, 286))


@dataclass(frozen=True)
class Setup:
    """Folder of the files, and whether the frame has the fingerprint's 128 numbers beside the 158 factors."""

    root: Path
    fingerprints: bool
    ordered: bool = True  # else entity rows are shuffled and one in a hundred has an unknown symbol

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


# --- the ways: functions that return a call which builds the frame
# ------------------------------------------------------
def polars_as_of(setup: Setup) -> Callable[[], pl.DataFrame]:
    """Return the floor, a careful hand-written as-of join.

    Files and entities are in order of time. The check that every row was known comes after the join, which is enough
    because every row has one version, known in time.
    """
    return _by_hand(
        setup,
        lambda rows, stored, keys: _checked(
            rows.join_asof(stored, on="event_timestamp", by=keys, tolerance=TTL, check_sortedness=False)
        ),
    )


def _checked(rows: pl.DataFrame) -> pl.DataFrame:
    if rows.select((pl.col("created_timestamp") > pl.col("known_at")).any()).item():
        raise AssertionError("a row was not known yet: one clock is not enough")
    return rows.drop("created_timestamp")


def polars_exact(setup: Setup) -> Callable[[], pl.DataFrame]:
    """Return less than the floor: a join on equal keys and moments, without any as-of logic."""
    return _by_hand(
        setup,
        lambda rows, stored, keys: _checked(
            rows.join(stored, on=["event_timestamp", *keys], how="left", maintain_order="left")
        ),
    )


def _by_hand(setup: Setup, join: Callable[[pl.DataFrame, pl.DataFrame, list[str]], pl.DataFrame]) -> Any:
    entities = setup.entities

    def call() -> pl.DataFrame:
        rows = entities if setup.ordered else entities.with_row_index("_position").sort("event_timestamp")
        for table in setup.tables:
            stored = pl.read_parquet(setup.files(table), hive_partitioning=False)
            rows = join(rows, stored, [key for key in ("symbol", "vintage") if key in stored.columns])
        return rows if setup.ordered else rows.sort("_position").drop("_position")

    return call


def engine(setup: Setup) -> Callable[[], pl.DataFrame]:
    """Return our engine without Feast: two clocks, verified checksums, every file held to its seal."""
    import wide

    from fpm.store.frames import point_in_time
    from fpm.store.frames.entities import Question, Serving, check_columns, clocks
    from fpm.store.lake.files import Lake
    from fpm.store.lake.seals import Seal, Seals, identity_of

    root = setup.root / "lake"

    def seals(table: str, path: str | None) -> dict[str, Seal]:
        paths = (root / table).rglob("*.parquet") if path is None else [root / path]
        return {file.relative_to(root).as_posix(): Seal("", identity_of(file.stat())) for file in paths}

    entities, lake = setup.entities, Lake(root, setup.root / "staging", Seals(root, seals))
    servings = [Serving("wide", {"symbol": "symbol"}, {name: name for name in wide.COLUMNS}, TTL)]
    if setup.fingerprints:
        keys = {"symbol": "symbol", "vintage": "vintage"}
        servings.append(Serving("fingerprints", keys, {"fingerprint": "fingerprint"}, TTL))

    def call() -> pl.DataFrame:
        check_columns(entities, servings)
        return point_in_time.frame(lake, Question(entities, clocks(entities), servings))

    return call


def feast(setup: Setup) -> Callable[[], Any]:
    """Return a user's call: `get_historical_features` over our offline store, to Arrow."""
    return _feast(setup, _ours(setup), setup.entities)


def feast_pandas(setup: Setup) -> Callable[[], Any]:
    """Return the same call with pandas entities, whose timestamps Feast converts first."""
    return _feast(setup, _ours(setup), setup.entities.to_pandas())


def _ours(setup: Setup) -> dict[str, str]:
    return {"type": "fpm.store.frames.offline_store.FpmOfflineStore", "lake": str(setup.root / "lake")}


def feast_duckdb(setup: Setup) -> Callable[[], Any]:
    """Return Feast's own DuckDB store on the same files; it has one clock."""
    return _feast(setup, {"type": "duckdb"}, setup.entities.drop("known_at").to_pandas())


def _feast(setup: Setup, offline: dict[str, str], entities: Any) -> Callable[[], Any]:
    import wide
    from feast import FeatureStore, RepoConfig

    scratch = Path(tempfile.mkdtemp(dir=setup.root))
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry=str(scratch / "registry.db"),
        offline_store=offline,
        online_store={"type": "sqlite", "path": str(scratch / "online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config, repo_path=scratch)
    folders = None if "lake" in offline else {table: setup.root / "lake" / table for table in setup.tables}
    store.apply(wide.definitions(folders))
    names = [f"wide:{name}" for name in wide.COLUMNS] + ["fingerprints:fingerprint"][: setup.fingerprints]
    return lambda: store.get_historical_features(entity_df=entities, features=names).to_arrow()


WAYS: dict[str, Callable[[Setup], Callable[[], Any]]] = {
    "exact-key join": polars_exact,
    FLOOR: polars_as_of,
    "our engine": engine,
    "Feast on our store": feast,
    "the same, pandas in": feast_pandas,
    PEER: feast_duckdb,
}


# --- one process per measurement
# -------------------------------------------------------------------------------------------
def generate(setup: Setup, symbols: int, sessions: int) -> dict[str, Any]:
    """Write the lake and one entity row per symbol and session, known at the cut-off."""
    import wide

    from fpm.store.lake.files import Lake

    names = wide.symbols(symbols)
    wide.fill(Lake(setup.root / "lake", setup.root / "staging"), sessions, names, setup.fingerprints)
    pl.concat(wide.entities(day, names, setup.fingerprints) for day in wide.days(sessions)).write_parquet(
        setup.root / "entities.parquet"
    )
    return {}


def measured(setup: Setup, way: str) -> dict[str, Any]:
    """Return seconds and peak megabytes of the first run, and size and checksum of its answer."""
    call = WAYS[way](setup)
    if way == PEER:
        limit_resources()
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


def limit_resources() -> None:
    """Limit the memory and the processor time of this process to those of the peer."""
    used = measure.resident("VmSize") * measure.MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (int(used + PEER_LIMITS[0]),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (2 * PEER_LIMITS[1],) * 2)


def timed(setup: Setup, repeats: int) -> dict[str, Any]:
    """Return the shortest wall time and processor time of every way but the peer's, in interleaved runs."""
    best: dict[str, tuple[float, float]] = {}
    calls = {way: make(setup) for way, make in WAYS.items() if way != PEER}
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
    """Return a sum of some columns weighted by row position, which depends on the order of rows."""
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
    results = {way: _result(where, way) for way in ways}
    best = measure.in_process(__file__, *where, "--timed", 5 if rows < 500_000 else 3)
    floor = results[FLOOR]
    assert floor is not None
    measure.show(
        f"point-in-time frame, {rows:,} rows x {width} ({floor['bytes']:.0f} MB)",
        ["way", "seconds", f"x {FLOOR}", "CPU seconds", "x", "added MB", "added / answer", "same rows in order"],
        [row(way, one, floor, best) for way, one in results.items()],
    )
    if PEER not in results:
        print(f"{PEER}: duckdb is not installed, not run")


def _result(where: Sequence[object], way: str) -> dict[str, Any] | None:
    """Return one way's measurements; None if the peer hit its limits."""
    try:
        return measure.in_process(__file__, *where, "--way", way)
    except subprocess.CalledProcessError:
        if way != PEER:
            raise
        return None


def row(way: str, one: dict[str, Any] | None, floor: dict[str, Any], best: dict[str, Any]) -> list[object]:
    if one is None:
        return [way, f"ended beyond {PEER_LIMITS[0] / 1e9:.0f} GB or {PEER_LIMITS[1]} s", *[""] * 6]
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
    options = parser.parse_args()
    if options.root is not None:
        setup = Setup(options.root, options.width == 286, not options.shuffled)
        print(json.dumps(_measurement(setup, options)))
        return
    for symbols, sessions, width in LARGE if options.large else CASES:
        compare(options.symbols or symbols, options.sessions or sessions, options.width or width, options.shuffled)


def _measurement(setup: Setup, options: argparse.Namespace) -> dict[str, Any]:
    if options.way:
        return measured(setup, options.way)
    return timed(setup, options.timed) if options.timed else generate(setup, options.symbols, options.sessions)


if __name__ == "__main__":
    main()
