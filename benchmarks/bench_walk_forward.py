"""Wall time of a walk-forward by one process and by two, on two homes of one exchange; and whether both hold the same.

Run `python benchmarks/bench_walk_forward.py [--symbols 150] [--sessions 260] [--tested 120] [--preset demo]`. Features
and labels are there before the clock starts. Peer: one worker. The models and the scores of both homes are compared by
their digests.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings


def fpm(home: Path, workers: int, *words: object) -> float:
    """Wall seconds of one command; its output is thrown away."""
    environment = os.environ | {"FPM_HOME": str(home), "FPM_WORKERS": str(workers), "FPM_LOG_LEVEL": "error"}
    started = time.perf_counter()
    command = [sys.executable, "-m", "fpm", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - started


def content(home: Path) -> dict[str, str]:
    """Digest of every file of the models and of the scores."""
    roots = (home / "models", home / "lake" / "scores")
    files = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
    assert files, home
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def compare(folder: Path, options: argparse.Namespace) -> None:
    raw, homes = folder / "raw", {workers: folder / f"home{workers}" for workers in (1, 2)}
    spent: dict[int, float] = {}
    for workers, home in homes.items():
        fpm(home, 2, "setup", "--market", "cn", "--preset", options.preset)
        if not raw.exists():
            fpm(home, 2, "simulate", raw, "--symbols", options.symbols, "--sessions", options.sessions)
        fpm(home, 2, "ingest", raw)
        days = sorted(path.stem for path in (raw / "minute_bars").glob("*.parquet"))
        fpm(home, 2, "backfill", "all", days[0], days[-1])
        spent[workers] = fpm(home, workers, "walk-forward", days[-options.tested], days[-1])
        stop_server(Settings(home=home))
    same = content(homes[1]) == content(homes[2])
    rows = [(f"{workers} worker(s)", seconds, seconds / spent[1]) for workers, seconds in spent.items()]
    measure.show(
        f"walk-forward, {options.symbols} x {options.sessions}, {options.tested} tested, models and scores "
        f"{'the same' if same else 'NOT THE SAME'}",
        ["way", "seconds", "of one worker"],
        rows,
    )
    if not same:
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=150)
    parser.add_argument("--sessions", type=int, default=260)
    parser.add_argument("--tested", type=int, default=120)
    parser.add_argument("--preset", default="demo")
    with tempfile.TemporaryDirectory(prefix="bench-walk-forward-") as folder:
        compare(Path(folder), parser.parse_args())


if __name__ == "__main__":
    main()
