"""Point-in-time frames: through Feast, our engine alone, and the floor: a hand-written Polars as-of join.

Run `python benchmarks/bench_frame.py [--symbols 5300] [--sessions 60] [--large]`. Every way reads the same files and
runs in a process of its own; its answer is compared with the floor's. Peak: resident memory of the whole process, less
what it held before the call (the libraries and the entity rows), over the bytes of the answer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import measure
import polars as pl

FLOOR = "Polars as-of join"
TTL = timedelta(days=10)
CASES = ((5300, 60, 158),)
LARGE = ((5300, 250, 158), (5300, 250, 286))


@dataclass(frozen=True)
class Place:
    """Where the files lie, and whether the 128 of the fingerprint are asked for beside the 158."""

    root: Path
    fingerprints: bool

    @property
    def entities(self) -> pl.DataFrame:
        return pl.read_parquet(self.root / "entities.parquet")

    @property
    def tables(self) -> tuple[str, ...]:
        return ("wide", "fingerprints")[: 1 + self.fingerprints]

    def files(self, table: str) -> list[str]:
        return sorted(map(str, (self.root / "lake" / table).glob("**/*.parquet")))


# --- the ways: each gives a call that makes the frame anew ------------------------------------------------------
def polars_as_of(place: Place) -> Callable[[], pl.DataFrame]:
    """Floor: as a careful person writes it, for one clock. Files and entities lie in order of time."""
    return _by_hand(
        place,
        lambda rows, stored, keys: rows.join_asof(
            stored, on="event_timestamp", by=keys, tolerance=TTL, check_sortedness=False
        ),
    )


def polars_exact(place: Place) -> Callable[[], pl.DataFrame]:
    """Below the floor: no question of time at all, the same keys and moments."""
    return _by_hand(
        place,
        lambda rows, stored, keys: rows.join(stored, on=["event_timestamp", *keys], how="left", maintain_order="left"),
    )


def _by_hand(place: Place, join: Callable[[pl.DataFrame, pl.DataFrame, list[str]], pl.DataFrame]) -> Any:
    entities = place.entities.drop("known_at")

    def call() -> pl.DataFrame:
        rows = entities
        for table in place.tables:
            stored = pl.read_parquet(place.files(table), hive_partitioning=False).drop("created_timestamp")
            rows = join(rows, stored, [key for key in ("symbol", "vintage") if key in stored.columns])
        return rows

    return call


def engine(place: Place) -> Callable[[], pl.DataFrame]:
    """Ours, without Feast: two clocks, page checksums verified."""
    import wide

    from fpm.store import point_in_time
    from fpm.store.lake import Lake

    entities, lake = place.entities, Lake(place.root / "lake", place.root / "staging")
    servings = [point_in_time.Serving("wide", {"symbol": "symbol"}, {name: name for name in wide.COLUMNS}, TTL)]
    if place.fingerprints:
        keys = {"symbol": "symbol", "vintage": "vintage"}
        servings.append(point_in_time.Serving("fingerprints", keys, {"fingerprint": "fingerprint"}, TTL))
    return lambda: point_in_time.frame(lake, entities, servings)


def feast(place: Place) -> Callable[[], Any]:
    """Ours, as a user asks for it: `get_historical_features` over our offline store."""
    return _feast(
        place, {"type": "fpm.store.offline.FpmOfflineStore", "lake": str(place.root / "lake")}, place.entities
    )


def feast_duckdb(place: Place) -> Callable[[], Any]:
    """Feast's own DuckDB store on the same files; it has one clock."""
    return _feast(place, {"type": "duckdb"}, place.entities.drop("known_at"))


def _feast(place: Place, offline: dict[str, str], entities: pl.DataFrame) -> Callable[[], Any]:
    import wide
    from feast import FeatureStore, RepoConfig

    scratch = Path(tempfile.mkdtemp(dir=place.root))
    config = RepoConfig(
        project="benchmark", provider="local", registry=str(scratch / "registry.db"), offline_store=offline,
        online_store={"type": "sqlite", "path": str(scratch / "online.db")}, entity_key_serialization_version=3,
    )  # fmt: skip
    store = FeatureStore(config=config, repo_path=scratch)
    folders = None if "lake" in offline else {table: place.root / "lake" / table for table in place.tables}
    store.apply(wide.definitions(folders))
    asked = [f"wide:{name}" for name in wide.COLUMNS] + ["fingerprints:fingerprint"][: place.fingerprints]
    rows = entities.to_pandas()
    return lambda: store.get_historical_features(entity_df=rows, features=asked).to_arrow()


WAYS: dict[str, Callable[[Place], Callable[[], Any]]] = {
    "exact-key join": polars_exact, FLOOR: polars_as_of, "our engine": engine, "Feast on our store": feast,
    "Feast on DuckDB": feast_duckdb,
}  # fmt: skip


# --- one process each -------------------------------------------------------------------------------------------
def generate(place: Place, symbols: int, sessions: int) -> dict[str, Any]:
    """The lake, and one entity row for every symbol and session, known at the cut-off."""
    import wide

    from fpm.store.lake import Lake

    names = wide.symbols(symbols)
    wide.fill(Lake(place.root / "lake", place.root / "staging"), sessions, names, place.fingerprints)
    pl.concat(wide.entities(day, names, place.fingerprints) for day in wide.days(sessions)).write_parquet(
        place.root / "entities.parquet"
    )
    return {}


def measured(place: Place, way: str) -> dict[str, Any]:
    """Seconds (the shortest of four runs), processor seconds and peak megabytes of the first, and what came out."""
    call = WAYS[way](place)
    measure.reset_peak()
    before = measure.resident("VmRSS")
    answers: list[Any] = []
    started = time.process_time()
    first = measure.seconds(lambda: answers.append(call()), 1)
    busy = time.process_time() - started
    peak = measure.resident("VmHWM")
    answer = answers.pop()
    told = {
        "busy": busy, "peak": peak, "added": peak - before, "bytes": answer_size(answer) / measure.MEGABYTE,
        "checksum": checksum(pl.DataFrame(answer)),
    }  # fmt: skip
    del answer
    return told | {"seconds": min(first, measure.seconds(call, 3))}


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
def compare(symbols: int, sessions: int, width: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-frame-") as folder:
        measure.in_process(__file__, "--root", folder, "--width", width, "--symbols", symbols, "--sessions", sessions)
        ways = [way for way in WAYS if way != "Feast on DuckDB" or importlib.util.find_spec("duckdb")]
        told = {way: measure.in_process(__file__, "--root", folder, "--width", width, "--way", way) for way in ways}
    floor = told[FLOOR]
    measure.show(
        f"point-in-time frame, {symbols * sessions:,} rows x {width} ({floor['bytes']:.0f} MB)",
        ["way", "seconds", f"x {FLOOR}", "CPU seconds", "peak MB", "added / answer", "same rows in order"],
        [row(way, one, floor) for way, one in told.items()],
    )
    if "Feast on DuckDB" not in told:
        print("Feast on DuckDB: duckdb is not installed, not run")


def row(way: str, one: dict[str, Any], floor: dict[str, Any]) -> list[object]:
    same = abs(one["checksum"] - floor["checksum"]) <= 1e-9 * abs(floor["checksum"])
    figures = one["seconds"], one["seconds"] / floor["seconds"], one["busy"], one["peak"], one["added"] / one["bytes"]
    return [way, *figures, "yes" if same else "NO"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int)
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--width", type=int, choices=(158, 286))
    parser.add_argument("--large", action="store_true", help="250 sessions, with and without fingerprints")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.root is not None:
        place = Place(asked.root, asked.width == 286)
        print(json.dumps(measured(place, asked.way) if asked.way else generate(place, asked.symbols, asked.sessions)))
        return
    for symbols, sessions, width in LARGE if asked.large else CASES:
        compare(asked.symbols or symbols, asked.sessions or sessions, asked.width or width)


if __name__ == "__main__":
    main()
