"""Readers that never pause during publications: errors, mixed reads, and the time of a read, idle and loaded.

Run `python benchmarks/bench_publish_under_load.py [--reads 10000] [--symbols 5300] [--readers 2]`. Two versions of one
session alternate without a pause, each replacing every value of two views. Readers, in separate processes, run one
statement over both whole views. A read is mixed if it returns two versions, sessions or publications, or not all rows.
The floor: the same reads on the same machine without publications.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any

import measure
import numpy as np
import polars as pl
import psycopg

from fpm.schema import STREAMS
from fpm.sessions import close, cut_off
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.online.publication import publish_online
from fpm.store.postgres.server import ensure_server, stop_server
from fpm.store.settings import Settings

SESSION = date(2024, 12, 2)
VIEWS = ("scores", "weights")
QUERY = (
    "SELECT count(*), max(session) - min(session), max(publication) - min(publication), min(version), max(version) "
    "FROM ("
    "SELECT session, publication, score AS version FROM serving.scores UNION ALL "
    "SELECT session, publication, weight FROM serving.weights) AS both_views"
)


@dataclass(frozen=True)
class Reads:
    """The reads of one phase by all readers; `seconds` of every read."""

    errors: int
    mixed: int
    versions: int
    seconds: list[float]

    def cells(self) -> list[object]:
        half, most = np.quantile(self.seconds, [0.5, 0.99]) * 1e3
        return [len(self.seconds), self.errors, self.mixed, self.versions, float(half), float(most)]


def frames(stores: Stores, symbols: int, version: int) -> dict[str, pl.DataFrame]:
    """Return both views with the version's number as every value; a version is known later than the one before."""
    names = [f"{number:06d}.SZ" for number in range(symbols)]
    known_at = cut_off(stores.market, SESSION) + timedelta(seconds=version)
    clocks = {"event_timestamp": close(stores.market, SESSION), "created_timestamp": known_at}
    moments = [pl.lit(moment, dtype=pl.Datetime("us", "UTC")).alias(name) for name, moment in clocks.items()]
    scores = [pl.DataFrame({"symbol": names, "stream": stream, "score": float(version)}) for stream in STREAMS]
    weights = pl.DataFrame({"symbol": names, "index": "ALL", "weight": float(version), "benchmark_weight": 0.0})
    origin = {"vintage": "benchmark", "model": "benchmark"}
    return {
        "scores": pl.concat(scores).with_columns(
            *moments, spread=pl.lit(0.1), **{name: pl.lit(value) for name, value in origin.items()}
        ),
        "weights": weights.with_columns(moments),
    }


def publish(stores: Stores, rows: dict[str, pl.DataFrame], version: int) -> None:
    publication = Publication(SESSION, VIEWS, 0, f"{version}", "benchmark", "benchmark")
    if publish_online(publication, rows, stores) != "published":
        raise RuntimeError("nothing was published")


# --- readers ------------------------------------------------------------------------------------------------------
def read(dsn: str, reads: int, rows: int) -> dict[str, Any]:
    """Run one reader: time and check `reads` statements."""
    errors, mixed, versions, seconds = 0, 0, set(), []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(reads):
            start = time.perf_counter()
            try:
                row = connection.execute(QUERY).fetchone()
            except psycopg.Error:
                errors += 1
                continue
            seconds.append(time.perf_counter() - start)
            assert row is not None
            mixed += row[:3] != (rows, 0, 0) or row[3] != row[4]
            versions.add(row[3])
    return {"errors": errors, "mixed": mixed, "versions": len(versions), "seconds": seconds}


@dataclass(frozen=True)
class Reader:
    """A process whose output goes to a file, so that it never waits for us."""

    process: subprocess.Popen[str]
    output: IO[str]


def begin(dsn: str, reads: int, rows: int) -> Reader:
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115  the reader outlives this call
    command = [sys.executable, __file__, "--read", str(reads), "--rows", str(rows)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, text=True)
    assert process.stdin is not None
    process.stdin.write(dsn + "\n")  # it contains a password, so it is not an argument
    process.stdin.close()
    return Reader(process, output)


def outcome(readers: list[Reader]) -> Reads:
    answers = []
    for reader in readers:
        if reader.process.wait():
            raise RuntimeError("a reader ended badly")
        reader.output.seek(0)
        answers.append(json.load(reader.output))
    return Reads(
        sum(answer["errors"] for answer in answers),
        sum(answer["mixed"] for answer in answers),
        max(answer["versions"] for answer in answers),
        [second for answer in answers for second in answer["seconds"]],
    )


# --- the run ------------------------------------------------------------------------------------------------------
def compare(settings: Settings, options: argparse.Namespace) -> None:
    dsn, stores = ensure_server(settings).dsn, open_stores(settings)
    count, reads = options.symbols * (len(STREAMS) + 1), -(-options.reads // options.readers)
    publish(stores, frames(stores, options.symbols, 0), 0)
    idle = outcome([begin(dsn, max(1, reads // 10), count) for _ in range(options.readers)])
    readers = [begin(dsn, reads, count) for _ in range(options.readers)]
    spent, version = [], 0
    while any(reader.process.poll() is None for reader in readers):
        version += 1
        rows = frames(stores, options.symbols, version)
        spent.append(measure.seconds(lambda rows=rows, number=version: publish(stores, rows, number), 1))
    loaded = outcome(readers)
    measure.show(
        f"{options.readers} readers of {count:,} rows in two views",
        ["phase", "reads", "errors", "mixed", "versions read", "p50 ms", "p99 ms"],
        [["nobody publishes (floor)", *idle.cells()], ["publications without a pause", *loaded.cells()]],
    )
    half, most = (float(np.quantile(loaded.seconds, q) / np.quantile(idle.seconds, q)) for q in (0.5, 0.99))
    print(f"loaded / idle: p50 {half:.2f}, p99 {most:.2f}")
    print(f"{len(spent)} publications, median {float(np.median(spent)):.2f} s, longest {max(spent):.2f} s")
    stores.ledger.close()
    if loaded.errors or loaded.mixed:
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=10_000)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--read", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(sys.stdin.readline().strip(), options.read, options.rows)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-publish-under-load-") as folder:
        settings = Settings(home=Path(folder) / "home", market="cn", preset="default")
        try:
            compare(settings, options)
        finally:
            stop_server(settings)


if __name__ == "__main__":
    main()
