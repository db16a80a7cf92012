"""What a session costs a worker, and what it costs the one caller that publishes it: docs/scale.md.

Run `python benchmarks/bench_scale.py [--symbols 400] [--sessions 3] [--machines 1 2 4 8 16] [--cores 16]
[--caller 0.05]`. A generated market of the default preset; each job of the backfill runs as on a cluster: a worker
computes and stages, the caller takes the partition's lock and publishes. Both are told as CPU and as wall seconds, with
the bytes that a partition takes; then the bill of ten years of 5,300 symbols.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import measure
from bench_minute_features import FIRST, MARKET, PROFILE, generated

from fpm import sessions
from fpm.features.minute_features import PRESETS
from fpm.store.jobs.runner import _in_worker, _publish, publish_frames, run_job
from fpm.store.jobs.staging import run_of
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings
from producers import daily_factors, labels, minute_features, session_totals

MARKET_SYMBOLS, TEN_YEARS = 5300, 2430
JOBS = (session_totals, minute_features, daily_factors, labels)


@dataclass(frozen=True)
class Cost:
    """Least of several sessions: CPU and wall seconds of worker and caller, bytes of the partition."""

    job: str
    worker: float
    worker_wall: float
    caller: float
    caller_wall: float
    size: int


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a call's answer, its CPU seconds in this process, and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    answer = call()
    return answer, time.process_time() - cpu, time.perf_counter() - wall


def cost(job: Any, days: list[date], stores: Stores, run: str) -> Cost:
    """Compute and publish each day as a worker and its caller do."""
    spent = []
    for day in days:
        (content, files), *worker = timed(lambda day=day: _in_worker(job.__name__, day, stores.settings, None, run))
        if not files:
            raise RuntimeError(f"{job.NAME} {day}: nothing was staged")
        size = sum((stores.lake.staging / staged.staging).stat().st_size for staged in files)
        _, *caller = timed(lambda day=day, content=content, files=files: _publish(job, day, content, files, stores))
        spent.append((*worker, *caller, size))
    return Cost(job.NAME, *map(min, zip(*spent, strict=True)))


@contextmanager
def market(folder: Path, symbols: int, count: int) -> Iterator[tuple[Stores, list[date]]]:
    """A home with raw bars of the sessions that the last `count` need, and these."""
    settings = Settings(home=folder / "home", market="cn", preset="default")
    history = PRESETS["default"].history
    days = sessions.next_sessions(MARKET, FIRST, history + count + 6)
    try:
        stores = open_stores(settings)
        stores.decide_profile(PROFILE.name)
        for day in days:
            session = generated(day, symbols, seed=1)
            publish_frames("bars", day, {"minute_bars": session.minutes, "daily_bars": session.daily}, stores)
        for day in days[:history]:
            run_job(session_totals, day, stores)
        yield stores, days[history : history + count]
        stores.ledger.close()
    finally:
        stop_server(settings)


def bill(costs: list[Cost], scale: float, machines: int, cores: int, caller: float | None) -> list[object]:
    """Hours of a backfill job by job: workers in parallel, one caller, whichever is slower (docs/scale.md)."""
    pairs = [(one.worker * scale / (machines * cores), caller or one.caller_wall) for one in costs]
    hours = [TEN_YEARS * max(pair) / 3600 for pair in pairs]
    bound = sum(worker < publishing for worker, publishing in pairs)
    return [machines, machines * cores, sum(hours), f"{bound} of {len(costs)}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=400)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--caller", type=float, help="seconds of a publication, instead of those measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        home = market(Path(folder), options.symbols, options.sessions)
        with home as (stores, days), run_of(stores.ledger) as run:
            costs = [cost(job, days, stores, run) for job in JOBS]
            raw = [stores.lake.root / stores.lake.relative(table, days[-1]) for table in ("minute_bars", "daily_bars")]
            sizes = [path.stat().st_size for path in raw]
    scale = MARKET_SYMBOLS / options.symbols
    measure.show(
        f"one session of {options.symbols:,} symbols, least of {options.sessions}",
        ["job", "worker CPU s", "wall s", "caller CPU s", "wall s", "MB", f"worker at {MARKET_SYMBOLS:,}"],
        [
            [one.job, one.worker, one.worker_wall, one.caller, one.caller_wall, one.size / 1e6, one.worker * scale]
            for one in costs
        ],
    )
    stored = scale * (sum(sizes) + sum(one.size for one in costs))
    print(
        f"raw bars {sum(sizes) / 1e6:.3g} MB; all of it at {MARKET_SYMBOLS:,} symbols {stored / 1e6:,.0f} MB a session"
    )
    measure.show(
        f"{TEN_YEARS:,} sessions of {MARKET_SYMBOLS:,} symbols, these jobs",
        ["machines", "cores", "hours", "bound by the caller"],
        [bill(costs, scale, machines, options.cores, options.caller) for machines in options.machines],
    )


if __name__ == "__main__":
    main()
