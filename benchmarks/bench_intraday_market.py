"""A whole market's running session, from its bars at a minute to published intraday scores: time and memory by step.

Run `python benchmarks/bench_intraday_market.py [--symbols 5300] [--minute 14:30] [--workers 2] [--home FOLDER]`. The
home is the night's own (`night_home.py`; `--home` keeps it, and `bench_night.py` takes it, too); what `fpm intraday`
does is measured step by step in a process of its own, where encoder and scorer use so many threads. CPU: this process
and its children; `server`: PostgreSQL's. Floor: the delivered bars decoded and written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_ingest
import bench_night
import measure
import polars as pl
import torch
from night_home import DAY, MARKET

from consumers import intraday_scores
from fpm.allocation import memory_reuse
from fpm.commands.intraday import STEPS
from fpm.running_session import Cut, cut
from fpm.store.ledger.stores import open_stores
from fpm.store.postgres.server import ensure_server, stop_server
from fpm.store.settings import Settings
from producers import intraday_bars

GOAL_SECONDS = 60


def until(delivery: Path, at: Cut, out: Path) -> Path:
    """The delivery's minute bars up to a minute of the session, as a vendor has them then; a folder."""
    file = out / "minute_bars" / f"{DAY}.parquet"
    file.parent.mkdir(parents=True)
    last = at.moment.astimezone(MARKET.zone).replace(tzinfo=None)
    bars = pl.read_parquet(delivery / "minute_bars" / file.name)
    bars.filter(pl.col("datetime") <= last).write_parquet(file)
    return out


@memory_reuse()
def run_intraday(settings: Settings, minute: str) -> dict[str, Any]:
    """Every step of `fpm intraday` on a seeded home: seconds, processor seconds, the server's, gigabytes."""
    torch.set_num_threads(1)
    stores = open_stores(settings)
    server = bench_night.postmaster(ensure_server(settings).dsn)
    at = cut(DAY, minute, stores.market, stores.profile.view)
    delivered = until(settings.home / "delivery", at, settings.home / "running")
    steps: dict[str, Callable[[], object]] = {"bars": lambda: intraday_bars.take([delivered], at, at.moment, stores)}
    steps |= {step.NAME: lambda step=step: step.run(at, stores) for step in STEPS}
    steps["publish"] = lambda: intraday_scores.publish(at, stores)
    answer = {name: _spent(step, server) for name, step in steps.items()}
    if intraday_scores.publish(at, stores) != "unchanged":
        raise RuntimeError("the minute was not published")
    floor = bench_ingest.processor_seconds(lambda: bench_ingest.floor(delivered, delivered / "floor.parquet"))
    stores.ledger.close()
    return {"steps": answer, "floor": floor}


def _spent(step: Callable[[], object], server: int) -> tuple[float, float, float, float]:
    measure.reset_peak()
    before = time.perf_counter(), bench_ingest.spent(), bench_night.spent_below(server)
    step()
    after = time.perf_counter(), bench_ingest.spent(), bench_night.spent_below(server)
    wall, processor, served = (late - early for late, early in zip(after, before, strict=True))
    return wall, processor, served, measure.resident() / 1e3


def show(answer: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the steps and their sum beside the goal."""
    rows = [[name, *figures] for name, figures in answer["steps"].items()]
    sums = [sum(row[column] for row in rows) for column in (1, 2, 3)]
    rows.append([f"all (goal {GOAL_SECONDS} s)", *sums, max(row[4] for row in rows)])
    rows.append(["floor: bars decoded and written", "-", answer["floor"], "-", "-"])
    heads = ["step", "wall s", "CPU s", "server CPU s", "peak GB"]
    measure.show(f"{options.symbols:,} symbols at {options.minute}, {options.workers} workers", heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--minute", default="14:30")
    parser.add_argument("--workers", type=int, default=2, help="FPM_WORKERS")
    parser.add_argument("--home", type=Path, help="keep the seeded home here")
    parser.add_argument("--run", type=Path, help="run the session of this seeded home, print JSON")
    options = parser.parse_args()
    if options.run:
        settings = bench_night.settings_of(options.run).model_copy(update={"workers": options.workers})
        try:
            print(json.dumps(run_intraday(settings, options.minute)))
        finally:
            stop_server(settings)
        return
    with tempfile.TemporaryDirectory(prefix="bench-intraday-") as name:
        kept = options.home or Path(name) / "seeded"
        bench_night.seeded(kept, options.symbols)
        home = Path(name) / "home"
        subprocess.run(["cp", "--archive", kept, home], check=True)  # the server's files belong to another user
        own = ("--minute", options.minute, "--workers", options.workers)
        show(measure.in_process(__file__, "--run", home, *own), options)


if __name__ == "__main__":
    sys.exit(main())
