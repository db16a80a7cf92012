"""The most similar fingerprints: over a whole history, and over the published session.

The first search is exact; its floor is one numpy matrix-vector product over the same memory-mapped matrix. The second
uses pgvector's index: recall, and the time to fill the index after a publication; its floor is the exact scan. Vectors
are mixtures of twelve latents with noise.

    python benchmarks/bench_similar.py [--rows N] [--symbols S] [--large]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import measure
import numpy as np
import polars as pl

from fpm.evaluation import analogues
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.online.neighbours import index_published, online_fingerprints, published_neighbours
from fpm.store.online.publication import publish_online
from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings

ROWS, LARGE, SYMBOLS, LATENTS, K, QUERIES, NIGHTS = 318_000, 1_300_000, 5_300, 12, 20, 30, 4
COLUMNS = {"length": np.float32, "symbol": np.int32, "session": np.int32, "known": np.int64, "until": np.int64}
EVENT = datetime(2026, 1, 5, 7, tzinfo=UTC)


def vectors(rows: int, seed: int) -> np.ndarray:
    rng, mix_LD = np.random.default_rng(seed), np.random.default_rng(0).normal(size=(LATENTS, 128))
    values_ND: np.ndarray = rng.normal(size=(rows, LATENTS)) @ mix_LD + 2 * rng.normal(size=(rows, 128))
    return values_ND.astype(np.float32)


# --- exact, over history ------------------------------------------------------------------------------------------
def write(folder: Path, rows: int, symbols: int) -> None:
    """Write the columns of an archive: one session after the other, with every symbol."""
    with (folder / "vector").open("wb") as matrix, (folder / "length").open("wb") as lengths:
        for number, start in enumerate(range(0, rows, 50_000)):
            part_ND = vectors(min(50_000, rows - start), 1 + number)
            matrix.write(part_ND.tobytes())
            lengths.write(np.linalg.norm(part_ND, axis=1).tobytes())
    row_N = np.arange(rows)
    columns = {
        "symbol": row_N % symbols,
        "session": 15_000 + row_N // symbols,
        "known": row_N // symbols,
        "until": np.full(rows, np.iinfo(np.int64).max),
    }
    for name, values_N in columns.items():
        (folder / name).write_bytes(values_N.astype(COLUMNS[name]).tobytes())


def exact(folder: Path, rows: int, symbols: int) -> dict[str, float]:
    """Return the seconds of the floor and of ours."""
    columns = {f"{name}_N": np.memmap(folder / name, kind, "r") for name, kind in COLUMNS.items()}
    names = tuple(f"{number:06d}.SZ" for number in range(symbols))
    matrix_ND = np.memmap(folder / "vector", np.float32, "r", shape=(rows, 128))
    archive = analogues.Vectors(vintage="v", symbols=names, vector_ND=matrix_ND, **columns)
    query_D = vectors(1, 999)[0]
    last = analogues.date.fromordinal(analogues.EPOCH + int(archive.session_N[-1]))

    def search() -> None:
        eligible_N = analogues.eligible(archive, names[7], (last - timedelta(days=20), last), rows)
        analogues.nearest(archive, query_D, eligible_N, K)

    return measure.interleaved({"floor": lambda: matrix_ND @ query_D, "ours": search}, repeats=9)


def compare_exact(rows: int, symbols: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-similar-") as folder:
        write(Path(folder), rows, symbols)
        table = []
        for threads in (1, 2):
            command = [sys.executable, __file__, "--folder", folder, "--rows", str(rows), "--symbols", str(symbols)]
            environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            spent = json.loads(done.stdout.splitlines()[-1])
            table.append([threads, 1e3 * spent["floor"], 1e3 * spent["ours"], spent["ours"] / spent["floor"]])
    measure.show(
        f"exact, {rows:,} x 128, k = {K}", ["BLAS threads", "matrix-vector product ms", "search ms", "ratio"], table
    )


# --- over the published session -----------------------------------------------------------------------------------
def compare_online(symbols: int) -> None:
    """Publish several nights in one database; a search falls back to the scan while the index is not up to date."""
    with tempfile.TemporaryDirectory(prefix="bench-similar-") as folder:
        settings = Settings(home=Path(folder), fsync=False, log_level="error")
        stores = open_stores(settings)
        try:
            bring, index = zip(*(one_night(stores, symbols, night) for night in range(NIGHTS)), strict=True)
            by_index = measured_queries(stores, symbols)
            stores.ledger.execute("TRUNCATE online.nearest_fingerprints")
            scanned = measured_queries(stores, symbols)
        finally:
            stores.ledger.close()
            stop_server(settings)
    measure.show(
        f"the published session, {symbols:,} x 128, k = {K}: published in {min(bring[1:]):.2f} s",
        ["way", "s more a night", "query ms", "recall"],
        [["HNSW", min(index[1:]), *by_index], ["exact scan (floor)", 0.0, *scanned]],
    )


def one_night(stores: Stores, symbols: int, night: int) -> tuple[float, float]:
    """Return the seconds of the publication and of the index after it."""
    frames = {"fingerprints": published(symbols, night)}
    publication = Publication((EVENT + timedelta(days=night)).date(), ("fingerprints",), 1, f"{night}", "v")
    return (
        measure.seconds(lambda: publish_online(publication, frames, stores), 1),
        measure.seconds(lambda: index_published(stores), 1),
    )


def measured_queries(stores: Stores, symbols: int) -> tuple[float, float]:
    """Return the median milliseconds of a query and the share of the true k that it finds."""
    stores.ledger.execute("ANALYZE online.fingerprints, online.nearest_fingerprints")
    session, matrix_ND = online_fingerprints(stores), vectors(symbols, 100 + NIGHTS - 1).astype(np.float64)
    unit_ND = matrix_ND / np.linalg.norm(matrix_ND, axis=1, keepdims=True)
    spent, shares = [], []
    for query_D in vectors(QUERIES, 7):

        def ask(query: list[float] = query_D.tolist()) -> set[str]:  # noqa: B008  bound to this query
            neighbours, _ = published_neighbours(query, session, session.known_at, "", K, stores)
            return set(neighbours["symbol"].to_list())

        spent.append(measure.seconds(ask, 2))
        true = {f"{row:06d}.SZ" for row in np.argsort(-(unit_ND @ query_D))[:K]}
        shares.append(len(true & ask()) / K)
    return 1e3 * float(np.median(spent)), float(np.mean(shares))


def published(symbols: int, night: int) -> pl.DataFrame:
    event = EVENT + timedelta(days=night)
    return pl.DataFrame(
        {
            "symbol": [f"{number:06d}.SZ" for number in range(symbols)],
            "vintage": "v",
            "fingerprint": pl.Series(vectors(symbols, 100 + night)).cast(pl.List(pl.Float32)),
            "event_timestamp": [event] * symbols,
            "created_timestamp": [event] * symbols,
        }
    ).with_columns(pl.col("event_timestamp", "created_timestamp").dt.cast_time_unit("us"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--symbols", type=int, default=SYMBOLS)
    parser.add_argument("--large", action="store_true", help=f"{LARGE:,} rows")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(exact(options.folder, options.rows, options.symbols)))
        return
    compare_exact(LARGE if options.large else options.rows, options.symbols)
    compare_online(options.symbols)


if __name__ == "__main__":
    main()
