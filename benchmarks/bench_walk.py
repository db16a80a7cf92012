"""CPU of `fpm enhance` on a new home of daily tables: a refusal, the walk, the walk again, another index of it.

Run `python benchmarks/bench_walk.py [--symbols 1450] [--sessions 700] [--walk 79] [--preset default]`. A line is one
command in its own process, user and system time of it without the database server's. Of the walk the seconds a session
are those of both jobs and the forecast tests, the risk model's evidence of the sessions before included; the walk again
reads the ledger. `fpm simulate --daily` makes the exchange: three nested indices, scores of an oracle.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
import polars as pl

from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings

STREAM = ("--stream", "oracle")


def fpm(home: Path, *words: object) -> float:
    """CPU seconds of one command; its output is thrown away."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"FPM_HOME": str(home), "FPM_LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "fpm", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 75):
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(folder: Path, options: argparse.Namespace) -> None:
    home, raw = folder / "home", folder / "raw"
    fpm(home, "setup", "--market", "cn", "--preset", options.preset)
    refusal = min(fpm(home, "enhance", "CSI300", "2024-01-02", "2024-02-02") for _ in range(3))
    fpm(home, "simulate", raw, "--symbols", options.symbols, "--sessions", options.sessions, "--daily")
    for other in ("oracle.parquet", "exchange.json"):
        (raw / other).unlink(missing_ok=True)
    ingest = fpm(home, "ingest", raw)
    days = pl.read_parquet(raw / "daily_bars.parquet", columns=["session"])["session"].unique().sort().to_list()
    first, last = days[-1 - options.walk], days[-2]  # the last one's successor may lie beyond the tables
    rows = [("a refusal: no bars", refusal, None), ("ingest", ingest, ingest / len(days))]
    ways = {"the walk": "CSI300", "again": "CSI300", "another index": "CSI500", "again, that index": "CSI500"}
    for name, index in ways.items():
        spent = fpm(home, "enhance", index, first, last, *STREAM)
        rows.append((f"{name}: {index}", spent, spent / options.walk))
    title = f"fpm enhance, {options.symbols:,} names, {options.walk} of {len(days)} sessions, preset {options.preset}"
    measure.show(title, ["command", "CPU s", "CPU s a session"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1450)
    parser.add_argument("--sessions", type=int, default=700)
    parser.add_argument("--walk", type=int, default=79)
    parser.add_argument("--preset", default="default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-walk-") as folder:
        settings = Settings(home=Path(folder) / "home", market="cn", preset=options.preset)
        try:
            compare(Path(folder), options)
        finally:
            stop_server(settings)


if __name__ == "__main__":
    main()
